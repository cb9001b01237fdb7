//! Who works on which file in this downloader: [`Tenants`], by which who comes next knows for whom to wait.
//!
//! A download that was let go of ends in its own time: it puts a file in place of which it has every byte, or leaves its part in
//! order. Until then the lock of the part is its own, and another one of the same file would find it busy, for a moment and
//! with nobody to blame but this process.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::handle::Wish;

/// See the module. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tenants(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next: u64,
    tenants: BTreeMap<u64, Tenant>,
}

#[derive(Debug)]
struct Tenant {
    path: PathBuf,
    wishes: watch::Receiver<Wish>,
    /// Closed when it is over.
    over: watch::Receiver<()>,
}

/// One download's, from before it opens its part until it has let go of it.
pub(crate) struct Tenure {
    tenants: Tenants,
    number: u64,
    /// Held for what its end tells.
    #[expect(dead_code, reason = "it tells by being dropped")]
    going: watch::Sender<()>,
}

impl Tenants {
    /// A download begins that works on the file at `path`; `wishes` tell when its caller lets go of it.
    pub(crate) fn enter(&self, path: PathBuf, wishes: watch::Receiver<Wish>) -> Tenure {
        let (going, over) = watch::channel(());
        let mut state = self.state();
        state.next += 1;
        let number = state.next;
        let tenant = Tenant { path, wishes, over };
        state.tenants.insert(number, tenant);
        Tenure {
            tenants: self.clone(),
            number,
            going,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each step leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenure {
    /// The file has another name.
    pub(crate) fn moves_to(&self, path: PathBuf) {
        if let Some(tenant) = self.tenants.state().tenants.get_mut(&self.number) {
            tenant.path = path;
        }
    }

    /// Waits for all others of the file at `path` that nobody wants any more.
    pub(crate) fn leaving(&self, path: &Path) -> impl Future<Output = ()> + use<> {
        let state = self.tenants.state();
        let others = state.tenants.iter().filter(|(number, tenant)| {
            **number != self.number && tenant.path == path && tenant.is_leaving()
        });
        let over: Vec<_> = others.map(|(_, tenant)| tenant.over.clone()).collect();
        async move {
            for mut over in over {
                // Nothing is ever told but the end, and that as an error.
                while over.changed().await.is_ok() {}
            }
        }
    }
}

impl Tenant {
    fn is_leaving(&self) -> bool {
        // An error says that the handle is gone.
        self.wishes.has_changed().is_err() || self.wishes.borrow().cancelled
    }
}

impl Drop for Tenure {
    fn drop(&mut self) {
        self.tenants.state().tenants.remove(&self.number);
    }
}

impl fmt::Debug for Tenure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tenure").field(&self.number).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn who_was_let_go_of_is_waited_for_and_nobody_else() {
        let tenants = Tenants::default();
        let (a, b) = (Path::new("a"), Path::new("b"));
        let enter = |path: &Path| {
            let (wishes, heard) = watch::channel(Wish::default());
            (tenants.enter(path.to_owned(), heard), wishes)
        };
        let (first, its) = enter(a);
        let (next, own) = enter(a);
        let is_free = |path| next.leaving(path).now_or_never().is_some();
        assert!(is_free(a), "it is wanted, and so it is busy");
        own.send_modify(|wish| wish.cancelled = true);
        assert!(is_free(a), "nobody waits for himself");
        its.send_modify(|wish| wish.cancelled = true);
        assert!(!is_free(a) && is_free(b));
        first.moves_to(b.to_owned());
        assert!(is_free(a) && !is_free(b));
        let mut waits = Box::pin(next.leaving(b));
        drop(its);
        assert!(waits.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waits.now_or_never().is_some() && is_free(b));
        let (gone, its) = enter(b);
        drop(its);
        assert!(!is_free(b), "its handle is gone");
        drop(gone);
        drop(next);
        assert!(tenants.state().tenants.is_empty());
    }
}
