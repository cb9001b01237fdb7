//! Taking back what was asked for, from anywhere: [`CancelToken`].

use std::fmt;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Cancels everything that was given a clone of it: the commands of one epoch, or a whole downloader. Cheap to clone;
/// all clones are one. It cannot be taken back.
///
/// A child is cancelled with its parent, and does not cancel it.
#[derive(Clone, Default)]
pub struct CancelToken(CancellationToken);

impl CancelToken {
    /// A token that nobody has cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels it and its children.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// True once it, or a parent of it, was cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    /// A token that is cancelled with this one, or by itself.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Ends when it is cancelled.
    pub(crate) fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.0.clone().cancelled_owned()
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken")
            .field(&self.is_cancelled())
            .finish()
    }
}
