//! A hand on the tap: bytes that a test lets go when it is ready, so that a moment in a download can be looked at
//! without sleeping.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds back what lies at or after an offset of the representation, until the test opens it further.
///
/// Clones are the same gate; it may be opened from any thread. See [`Deed::Hold`](crate::Deed::Hold) and
/// [`Deed::HoldHead`](crate::Deed::HoldHead).
#[derive(Clone, Debug)]
pub struct Gate {
    limit: Arc<watch::Sender<u64>>,
}

impl Gate {
    /// A gate that lets the bytes before `offset` pass; 0 lets none.
    #[must_use]
    pub fn at(offset: u64) -> Self {
        Self {
            limit: Arc::new(watch::Sender::new(offset)),
        }
    }

    /// Lets the bytes before `offset` pass; it never closes again.
    pub fn open_to(&self, offset: u64) {
        self.limit.send_if_modified(|limit| {
            let more = offset > *limit;
            *limit = offset.max(*limit);
            more
        });
    }

    /// Lets everything pass.
    pub fn open(&self) {
        self.open_to(u64::MAX);
    }

    /// First offset that may not pass.
    pub(crate) fn limit(&self) -> u64 {
        *self.limit.borrow()
    }

    /// Waits until the byte at `offset` may pass.
    pub(crate) async fn passes(&self, offset: u64) {
        self.limit
            .subscribe()
            .wait_for(|limit| *limit > offset)
            .await
            .map(drop)
            .expect("the gate holds the sender");
    }
}

impl PartialEq for Gate {
    /// True for clones of one gate.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.limit, &other.limit)
    }
}

impl Eq for Gate {}
