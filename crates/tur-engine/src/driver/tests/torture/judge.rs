//! What may come of a download that was struck, and whether it did: [`try_one`].

use tur_core::{Fault, Kind};
use tur_storage::MemDisk;

use super::fates::{Odd, Op, Way};
use super::rack::{Rack, Ran, read};
use super::scenes::{SIZE, Scene};
use crate::Completed;

/// What came of one strike, or of several.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// `None` for a success.
    pub(super) kind: Option<Kind>,
    pub(super) hangs: bool,
    /// True if all strikes hit.
    pub(super) hit: bool,
    /// Everything that must not be.
    pub(super) complaints: Vec<String>,
}

/// Kinds of failure that a strike may end in; none if it must not fail the download.
fn allowed(op: Op, way: &Way) -> &'static [Kind] {
    match way {
        Way::Fails(ill) | Way::DoneAndFails(ill) => match ill {
            super::fates::Ill::Interrupted | super::fates::Ill::Unsupported => &[],
            ill if ill.is_full() => &[Kind::DiskFull, Kind::Local],
            _ => &[Kind::Local],
        },
        Way::Fault(Fault::Tls(_)) => &[Kind::Tls],
        Way::Fault(Fault::Resolve { .. }) => &[Kind::Network],
        Way::Fault(Fault::Malformed(_)) if op == Op::Fetch => &[Kind::Protocol],
        Way::Fault(Fault::HeadTooLarge { .. }) => &[Kind::Limit],
        Way::Answers(Odd::Status(404)) => &[Kind::Server],
        // Another file than the one before it, and another than the one after it: that is one change too many.
        Way::Answers(Odd::Stranger) => &[Kind::Changed],
        _ => &[],
    }
}

/// True if a strike must not fail a download.
pub(super) fn is_survivable(op: Op, way: &Way) -> bool {
    allowed(op, way).is_empty()
}

/// Runs the scene with these strikes, judges what is left, and runs it again without.
pub(super) async fn try_one(scene: &Scene, base: &MemDisk, strikes: &[(u64, Way)]) -> Verdict {
    let mut rack = Rack::new(scene, base);
    let ran = rack.run(scene.job.clone(), strikes).await;
    let (struck, written) = (rack.fates.struck(), rack.fates.written());
    let mut verdict = Verdict {
        hit: struck.len() == strikes.len(),
        hangs: matches!(&ran, Err(text) if text == "it hangs"),
        complaints: rack.leaks().await,
        ..Verdict::default()
    };
    let mut kinds: Vec<Kind> = Vec::new();
    for (op, way) in &struck {
        kinds.extend(allowed(*op, way));
    }
    let case = Case {
        scene,
        base,
        struck: &struck,
        written,
    };
    match &ran {
        Err(text) => verdict.complaints.push(text.clone()),
        Ok(Ok(done)) => case.succeeded(&rack, done, &mut verdict.complaints),
        Ok(Err(error)) => {
            verdict.kind = Some(error.kind());
            if !kinds.contains(&error.kind()) {
                let text = format!("it fails with {}: {error}", error.kind());
                verdict.complaints.push(text);
            }
            case.failed(&rack, &mut verdict.complaints);
        }
    }
    let kept = rack.exists("part");
    let before = rack.transport.inner.bytes_sent();
    let again = rack.run(scene.job.clone(), &[]).await;
    let sent = rack.transport.inner.bytes_sent() - before;
    verdict.complaints.extend(rack.leaks().await);
    let sent = Again {
        kept,
        sent,
        first: &ran,
    };
    case.goes_on(&rack, again, &sent, &mut verdict.complaints);
    verdict
}

/// One case while it is judged.
struct Case<'a> {
    scene: &'a Scene,
    base: &'a MemDisk,
    struck: &'a [(Op, Way)],
    written: u64,
}

/// The run without strikes.
struct Again<'a> {
    /// There was a part to go on with.
    kept: bool,
    /// Bytes that the origin sent.
    sent: u64,
    first: &'a Ran,
}

impl Case<'_> {
    fn was(&self, ops: &[Op]) -> bool {
        self.struck.iter().any(|(op, _)| ops.contains(op))
    }

    /// The target is one of the versions.
    fn is_whole(&self, rack: &Rack) -> bool {
        let mut versions = self.scene.versions.iter();
        versions.any(|version| rack.is_whole(*version, SIZE))
    }

    fn succeeded(&self, rack: &Rack, done: &Completed, complaints: &mut Vec<String>) {
        if !self.is_whole(rack) {
            complaints.push("FALSE SUCCESS: the file is not what was served".to_owned());
        }
        if done.bytes != SIZE {
            complaints.push(format!("it says {} bytes", done.bytes));
        }
        // A journal that cannot be removed is no reason to fail a file that is whole.
        let excused = self.was(&[Op::Unlink, Op::LookAt, Op::SyncDir]);
        if rack.exists("part") || (rack.exists("tur") && !excused) {
            complaints.push("side files after a success".to_owned());
        }
    }

    fn failed(&self, rack: &Rack, complaints: &mut Vec<String>) {
        let before = read(&self.base.clone(), "");
        let now = read(&rack.disk.inner, "");
        let renamed = self.was(&[Op::Rename, Op::SyncDir]) && self.is_whole(rack);
        if now != before && !renamed {
            complaints.push("FALSE TARGET: a failure touched the target".to_owned());
        }
        let sides = (rack.exists("part"), rack.exists("tur"));
        let tidy = !self.was(&[Op::Unlink, Op::LookAt]) && !renamed;
        if sides.0 != sides.1 && tidy {
            complaints.push(format!("part and journal are not a pair: {sides:?}"));
        }
        let worth = self.scene.left + self.written;
        if worth == 0 && (sides.0 || sides.1) && tidy {
            complaints.push(format!("nothing landed, and this was left: {sides:?}"));
        }
        // Where ranges were given up midway, all comes anew as one stream, of which nothing could be gone on with.
        let streams = |(_, way): &(Op, Way)| {
            use super::fates::Odd::{NoRange, Shifted, Unsatisfiable};
            matches!(way, Way::Answers(NoRange | Shifted | Unsatisfiable))
        };
        let gave_up = self.struck.iter().any(streams);
        let usable = self.scene.resumable && worth > 0 && !self.was(&[Op::Sync]) && !gave_up;
        if usable && !sides.0 && !renamed && self.scene.versions.len() == 1 {
            complaints.push(format!("{worth} bytes landed and were thrown away"));
        }
    }

    fn goes_on(&self, rack: &Rack, ran: Ran, again: &Again<'_>, complaints: &mut Vec<String>) {
        let done = match ran {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => {
                return complaints.push(format!("it cannot be gone on with: {error}"));
            }
            Err(text) => return complaints.push(format!("then {text}")),
        };
        let last = *self.scene.versions.last().expect("a version");
        if !rack.is_whole(last, SIZE) {
            complaints.push("FALSE SUCCESS of the second run".to_owned());
        }
        if rack.exists("part") || rack.exists("tur") {
            complaints.push("side files after the second run".to_owned());
        }
        let waste = self.scene.waste;
        if done.already {
            if again.sent > 1 + waste {
                complaints.push(format!("{} bytes to compare a file", again.sent));
            }
            return;
        }
        // Without a length there is nothing to compare a file by.
        if matches!(again.first, Ok(Ok(_))) && self.scene.versions.len() == 1 && self.scene.framed {
            complaints.push("what was complete is fetched again".to_owned());
        }
        if again.sent > SIZE - done.resumed_bytes + waste {
            let text = format!("{} bytes sent, {} resumed", again.sent, done.resumed_bytes);
            complaints.push(text);
        }
        // Where nothing is missing, the last byte is asked for again, to see that it is still the same file.
        let worth = (self.scene.left + self.written).min(SIZE - 1);
        let usable = again.kept && self.scene.resumable && self.scene.versions.len() == 1;
        if usable && !self.was(&[Op::Sync]) && done.resumed_bytes < worth {
            let text = format!("{worth} bytes landed, {} resumed", done.resumed_bytes);
            complaints.push(text);
        }
    }
}
