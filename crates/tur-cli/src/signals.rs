//! Ctrl-C and its relatives: the first one asks the download to stop, the second one ends the program.
//!
//! Signals are listened to on a thread of their own, so that the second one works even while the program is held up
//! by a reader that does not read.

use std::io;
use std::process;
use std::thread;

use tokio::sync::oneshot;

/// Begins to listen. What comes back tells the exit code of the first signal.
///
/// # Errors
/// The system gives no signal handler or thread.
pub(crate) fn listen() -> io::Result<oneshot::Receiver<u8>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut signals = {
        // Handlers are in place before anything is begun that a signal would have to stop in good order.
        let _inside = runtime.enter();
        system::Signals::new()?
    };
    let (first, told) = oneshot::channel();
    thread::Builder::new()
        .name("tur-signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                let code = signals.next().await;
                // Nobody listens any more if the download has just ended: then the program ends by itself.
                first.send(code).ok();
                process::exit(i32::from(signals.next().await));
            });
        })?;
    Ok(told)
}

#[cfg(unix)]
mod system {
    use std::fs::File;
    use std::future::pending;
    use std::io::{self, Read as _};

    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// The signals that ask to stop, and those that must not kill.
    pub(super) struct Signals {
        interrupt: Signal,
        terminate: Signal,
        /// Absent if the parent wants it to be ignored, as `nohup` does.
        hangup: Option<Signal>,
        // Held for its handler: with it, a write beyond the limit fails with an error that the engine reports.
        _file_size: Option<Signal>,
    }

    impl Signals {
        /// Takes over the signals.
        pub(super) fn new() -> io::Result<Self> {
            let hangup = SignalKind::hangup();
            let hangup = match ignored() & mask(hangup) {
                0 => Some(signal(hangup)?),
                _ => None,
            };
            Ok(Self {
                interrupt: signal(SignalKind::interrupt())?,
                terminate: signal(SignalKind::terminate())?,
                hangup,
                _file_size: file_size().map(signal).transpose()?,
            })
        }

        /// Waits for the next signal and says its exit code.
        pub(super) async fn next(&mut self) -> u8 {
            tokio::select! {
                Some(()) = self.interrupt.recv() => 130,
                Some(()) = self.terminate.recv() => 143,
                Some(()) = come(&mut self.hangup) => 130,
                else => pending().await,
            }
        }
    }

    /// The next of a signal that may not be listened to.
    async fn come(signal: &mut Option<Signal>) -> Option<()> {
        match signal {
            Some(signal) => signal.recv().await,
            None => pending().await,
        }
    }

    /// SIGXFSZ, where its number is known.
    fn file_size() -> Option<SignalKind> {
        let known = cfg!(any(target_os = "macos", target_os = "freebsd"))
            || cfg!(all(
                target_os = "linux",
                not(any(target_arch = "mips", target_arch = "mips64"))
            ));
        known.then(|| SignalKind::from_raw(25))
    }

    /// The signals that were ignored when the program began, as a bit mask; none where the system does not tell.
    fn ignored() -> u64 {
        let mut status = String::new();
        let read = File::open("/proc/self/status")
            .and_then(|file| file.take(STATUS_BYTES_MAX).read_to_string(&mut status));
        match read {
            Ok(_) => ignored_in(&status),
            Err(_) => 0,
        }
    }

    fn ignored_in(status: &str) -> u64 {
        status
            .lines()
            .find_map(|line| line.strip_prefix("SigIgn:"))
            .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
            .unwrap_or(0)
    }

    fn mask(kind: SignalKind) -> u64 {
        1 << (kind.as_raw_value() - 1)
    }

    /// The file has about 1.5 KiB.
    const STATUS_BYTES_MAX: u64 = 64 * 1024;

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn ignored_signals_are_read_from_the_mask() {
            let status = "Name:\ttur\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
            assert_eq!(ignored_in(status) & mask(SignalKind::hangup()), 1);
            assert_eq!(ignored_in(status) & mask(SignalKind::interrupt()), 0);
            assert_ne!(ignored_in(status) & mask(SignalKind::pipe()), 0);
            assert_eq!(ignored_in("SigIgn:\tx"), 0);
            assert_eq!(ignored_in(""), 0);
        }
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    /// Ctrl-C.
    pub(super) struct Signals;

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits for the next Ctrl-C and says its exit code.
        pub(super) async fn next(&mut self) -> u8 {
            match tokio::signal::ctrl_c().await {
                Ok(()) => 130,
                Err(_) => std::future::pending().await,
            }
        }
    }
}
