//! The downloads that are tortured: [`Scene`], each of 256 KiB.

use std::time::Duration;

use tur_core::{Rate, Wall};
use tur_testkit::{Behaviour, Deed, Framing, Link, Ranges, TODAY, When};

use super::fates::{Op, Way};
use crate::OnExists;
use crate::driver::tests::stand::{KIB, PATH, RTT, job, job_of};
use crate::job::Job;

pub(super) const SIZE: u64 = 256 * KIB;

/// A download, and what may come of it.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) name: &'static str,
    pub(super) paths: Vec<(String, Behaviour)>,
    pub(super) job: Job,
    /// Versions that a success may be of; the last one is what the origin has in the end.
    pub(super) versions: Vec<u8>,
    /// Another file has the name.
    pub(super) old: bool,
    /// Bytes that an earlier run has left.
    pub(super) left: u64,
    /// True if what landed can be gone on with.
    pub(super) resumable: bool,
    /// True if the framing tells an early end.
    pub(super) framed: bool,
    /// Bytes that several lanes may receive in vain.
    pub(super) waste: u64,
    /// Each so-many-th operation is struck: all of them, unless there are too many of a kind.
    pub(super) stride: usize,
}

/// When the file was changed last: a day before it is asked for.
pub(super) const YESTERDAY: Wall = Wall::from_unix_secs(TODAY.unix_secs() - 86_400);

fn origin(rate: u64) -> Behaviour {
    Behaviour::new(SIZE)
        .last_modified(Some(YESTERDAY))
        .pace(Rate::per_second(rate))
}

impl Scene {
    fn new(name: &'static str, behaviour: Behaviour) -> Self {
        Self {
            name,
            paths: vec![(PATH.to_owned(), behaviour)],
            job: Job {
                lanes_max: 1,
                on_exists: OnExists::Overwrite,
                ..job()
            },
            versions: vec![0],
            old: false,
            left: 0,
            resumable: true,
            framed: true,
            waste: 0,
            stride: 1,
        }
    }

    /// The ways in which an operation of this scene may go wrong.
    pub(super) fn ways(&self, op: Op) -> Vec<Way> {
        let mut ways = op.ways();
        ways.retain(|way| self.framed || *way != Way::EndsEarly);
        ways
    }

    pub(super) fn link(&self) -> Link {
        Link {
            rtt: RTT,
            ..Link::default()
        }
    }

    pub(super) fn one_lane() -> Self {
        Self::new("one lane", origin(4 * 1024 * KIB))
    }

    pub(super) fn four_lanes() -> Self {
        let mut scene = Self::new("four lanes", origin(4 * 1024 * KIB));
        scene.job.lanes_max = 4;
        scene.job.lanes_start = Some(4);
        scene.job.piece_min = Some(16 * KIB);
        scene.waste = 4 * 16 * KIB;
        scene
    }

    /// The second connection is slow, so that the first one takes from it.
    pub(super) fn stealing() -> Self {
        let slow = Deed::Pace(Rate::per_second(128 * KIB));
        let behaviour = origin(1024 * KIB).rule(When::OnConnection(2), slow);
        let mut scene = Self::new("stealing", behaviour);
        scene.job.lanes_max = 2;
        scene.job.lanes_start = Some(2);
        scene.job.piece_min = Some(16 * KIB);
        scene.waste = 2 * 16 * KIB;
        // A slow body comes in small pieces. The stride shares no factor with the six operations of each of them.
        scene.stride = 5;
        scene
    }

    pub(super) fn without_ranges() -> Self {
        let behaviour = origin(4 * 1024 * KIB).ranges(Ranges::Ignored);
        Self {
            resumable: false,
            ..Self::new("without ranges", behaviour)
        }
    }

    pub(super) fn without_length() -> Self {
        let behaviour = origin(4 * 1024 * KIB)
            .ranges(Ranges::Ignored)
            .framing(Framing::Chunked);
        Self {
            resumable: false,
            framed: false,
            ..Self::new("without length", behaviour)
        }
    }

    pub(super) fn overwriting() -> Self {
        Self {
            old: true,
            ..Self::new("overwriting", origin(4 * 1024 * KIB))
        }
    }

    pub(super) fn resuming() -> Self {
        Self {
            left: SIZE / 2,
            ..Self::new("resuming", origin(4 * 1024 * KIB))
        }
    }

    pub(super) fn verified() -> Self {
        let mut scene = Self::new("verified", origin(4 * 1024 * KIB));
        let bytes = tur_testkit::content(0, tur_core::ByteRange::new(0, SIZE));
        let sum = <sha2::Sha256 as sha2::Digest>::digest(&bytes);
        let sum = format!("sha256:{}", crate::checksum::hex(&sum));
        scene.job.checksum = Some(sum.parse().expect("a checksum"));
        scene
    }

    pub(super) fn changing() -> Self {
        let behaviour = origin(2 * 1024 * KIB)
            .changes_after(1, 1)
            .rule(When::After(1), Deed::Modified(Some(TODAY)));
        let mut scene = Self::new("changing", behaviour);
        scene.job.lanes_max = 2;
        scene.job.lanes_start = Some(2);
        scene.job.piece_min = Some(16 * KIB);
        scene.versions = vec![0, 1];
        scene.waste = SIZE;
        scene
    }

    pub(super) fn redirected() -> Self {
        let to = Deed::Redirect {
            status: 302,
            location: "http://mirror.test/file.bin".to_owned(),
        };
        let mut scene = Self::new("redirected", origin(4 * 1024 * KIB));
        scene
            .paths
            .push(("/go".to_owned(), Behaviour::new(0).rule(When::Always, to)));
        scene.job.target = job_of("http://origin.test/go").target;
        // The body of a redirect.
        scene.waste = 100;
        scene
    }

    /// So slow that checkpoints run while bytes arrive.
    pub(super) fn checkpointed() -> Self {
        let behaviour = origin(4 * 1024 * KIB)
            .ranges(Ranges::ShortAtMost(SIZE / 2))
            .first_byte(Duration::from_secs(3));
        Self::new("checkpointed", behaviour)
    }
}
