//! One count over every operation of every port, and what is to become of the k-th: [`Fates`].

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tur_core::{Fault, TlsCause, Wait};

/// Operations after which a download goes round in circles.
const OPS_MAX: u64 = 200_000;

/// An operation of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Op {
    OpenDir,
    LookAt,
    Open,
    Make,
    Stat,
    Lock,
    Read,
    Write,
    Allocate,
    SetLen,
    Sync,
    SetTime,
    SetMode,
    Rename,
    Unlink,
    SyncDir,
    Room,
    Connect,
    Fetch,
    Fill,
    /// The driver is polled.
    Wake,
}

/// What the system says of a file operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ill {
    Io,
    NoSpace,
    Quota,
    Stale,
    ReadOnly,
    TooManyFiles,
    Interrupted,
    Unsupported,
}

/// An answer that is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Odd {
    Status(u16),
    Page,
    /// Its range lies elsewhere.
    Shifted,
    /// 206 without a range.
    NoRange,
    Unsatisfiable,
    /// Another entity tag, this once.
    Stranger,
}

/// What becomes of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// It is not done.
    Fails(Ill),
    /// It is done, and said to have failed.
    DoneAndFails(Ill),
    /// Half of it is done, and said so.
    Short,
    /// The network says this.
    Fault(Fault),
    /// The body brings what it has, and with it this.
    BytesThenFault(Fault),
    /// Nothing ever comes.
    Never,
    /// It takes this much longer.
    Later(Duration),
    /// A clean end, before the end.
    EndsEarly,
    /// Byte for byte, for a while.
    Trickles,
    /// Progress without a byte.
    Empty,
    Answers(Odd),
    /// Polled twice.
    Twice,
    /// Whatever was to be heard is heard so much later.
    Late(Duration),
    /// Polled once more after this time, though nothing has happened.
    Spurious(Duration),
}

impl Ill {
    pub(super) fn error(self) -> io::Error {
        match self {
            Ill::Io => io::Error::other("EIO"),
            Ill::NoSpace => ErrorKind::StorageFull.into(),
            Ill::Quota => ErrorKind::QuotaExceeded.into(),
            Ill::Stale => ErrorKind::StaleNetworkFileHandle.into(),
            Ill::ReadOnly => ErrorKind::ReadOnlyFilesystem.into(),
            Ill::TooManyFiles => io::Error::other("EMFILE"),
            Ill::Interrupted => ErrorKind::Interrupted.into(),
            Ill::Unsupported => ErrorKind::Unsupported.into(),
        }
    }
}

impl Op {
    /// Each way in which it may go wrong.
    pub(super) fn ways(self) -> Vec<Way> {
        match self {
            Op::Connect => connect_ways(),
            Op::Fetch => fetch_ways(),
            Op::Fill => fill_ways(),
            Op::Wake => vec![
                Way::Twice,
                Way::Late(Duration::from_millis(300)),
                Way::Late(Duration::from_secs(100)),
                Way::Spurious(Duration::from_millis(1)),
            ],
            _ => self.disk_ways(),
        }
    }

    fn disk_ways(self) -> Vec<Way> {
        let ills = [
            Ill::Io,
            Ill::NoSpace,
            Ill::Quota,
            Ill::Stale,
            Ill::Interrupted,
        ];
        let mut ways: Vec<_> = ills.map(Way::Fails).into();
        match self {
            Op::OpenDir | Op::Open | Op::Make => {
                ways.push(Way::Fails(Ill::TooManyFiles));
                ways.push(Way::Fails(Ill::ReadOnly));
            }
            Op::Read => ways.push(Way::Short),
            Op::Write => ways.extend([Way::Short, Way::DoneAndFails(Ill::Io)]),
            Op::Allocate => ways.push(Way::Fails(Ill::Unsupported)),
            Op::Rename | Op::Unlink | Op::SetLen | Op::Sync | Op::SyncDir => {
                ways.push(Way::DoneAndFails(Ill::Io));
            }
            _ => {}
        }
        ways
    }
}

fn connect_ways() -> Vec<Way> {
    let (host, detail) = ("origin.test".to_owned(), "torture".to_owned());
    let offline = Fault::Offline {
        host: host.clone(),
        detail: detail.clone(),
    };
    let resolve = Fault::Resolve {
        host: host.clone(),
        detail: detail.clone(),
    };
    let untrusted = Fault::Tls(TlsCause::Untrusted(detail.clone()));
    vec![
        Way::Fault(Fault::Connect { host, detail }),
        Way::Fault(Fault::TimedOut(Wait::Connect, Duration::from_secs(10))),
        Way::Fault(offline),
        Way::Fault(resolve),
        Way::Fault(Fault::Exhausted("EMFILE".to_owned())),
        Way::Fault(untrusted),
        // Never is not among them: a transport bounds connecting, as its port demands.
        Way::Later(Duration::from_secs(9)),
    ]
}

fn fetch_ways() -> Vec<Way> {
    let odd = [
        Odd::Status(503),
        Odd::Status(500),
        Odd::Status(404),
        Odd::Page,
        Odd::Shifted,
        Odd::NoRange,
        Odd::Unsatisfiable,
        Odd::Stranger,
    ];
    let faults = [
        Fault::Lost("torture".to_owned()),
        Fault::Malformed("torture".to_owned()),
        Fault::HeadTooLarge { limit: 1 },
    ];
    let waits = [Way::Never, Way::Later(Duration::from_secs(20))];
    let answers = odd.map(Way::Answers).into_iter();
    answers.chain(faults.map(Way::Fault)).chain(waits).collect()
}

fn fill_ways() -> Vec<Way> {
    let lost = || Fault::Lost("reset".to_owned());
    vec![
        Way::Fault(lost()),
        Way::Fault(Fault::Truncated("torture".to_owned())),
        Way::Fault(Fault::Malformed("torture".to_owned())),
        Way::BytesThenFault(lost()),
        Way::Never,
        Way::Later(Duration::from_millis(70)),
        Way::Later(Duration::from_secs(20)),
        Way::EndsEarly,
        Way::Trickles,
        Way::Empty,
    ]
}

/// Shared by all ports of one world.
#[derive(Clone, Debug, Default)]
pub(super) struct Fates(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    ops: Vec<Op>,
    strikes: Vec<(u64, Way)>,
    struck: Vec<(Op, Way)>,
    written: u64,
}

impl Fates {
    /// From now on operations are counted from 1, and these are struck.
    pub(super) fn arm(&self, strikes: &[(u64, Way)]) {
        *self.lock() = State {
            strikes: strikes.to_vec(),
            ..State::default()
        };
    }

    /// An operation begins.
    pub(super) fn meet(&self, op: Op) -> Option<Way> {
        let mut state = self.lock();
        state.ops.push(op);
        let count = state.ops.len() as u64;
        assert!(
            count < OPS_MAX,
            "{count} operations: it goes round in circles"
        );
        // What runs on other threads may come a little earlier or later: then the next one that suits is struck.
        let suits = |(k, way): &(u64, Way)| *k <= count && op.ways().contains(way);
        let hit = state.strikes.iter().position(suits);
        let way = hit.map(|at| state.strikes.remove(at).1);
        if let Some(way) = &way {
            state.struck.push((op, way.clone()));
        }
        way
    }

    /// So many bytes were written to the part.
    pub(super) fn wrote(&self, len: u64) {
        self.lock().written += len;
    }

    /// The operations so far.
    pub(super) fn ops(&self) -> Vec<Op> {
        self.lock().ops.clone()
    }

    /// Those that were struck, and how.
    pub(super) fn struck(&self) -> Vec<(Op, Way)> {
        self.lock().struck.clone()
    }

    /// Bytes written to the part since it was armed.
    pub(super) fn written(&self) -> u64 {
        self.lock().written
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
