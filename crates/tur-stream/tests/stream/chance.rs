//! Seeks and reads at random, held against the truth, while the origin fails: scenarios C6 and C14.
//!
//! After each pair it is looked at what was asked for meanwhile: never a byte that was covered before it.

use std::io::{Read as _, Seek as _, SeekFrom};

use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tur_core::{ByteRange, RangeSet, Rate};
use tur_engine::StorageKind;
use tur_stream::{AsyncReader, Fill, Media, Reader};
use tur_testkit::{Behaviour, Deed, Ranges, When, content};

use crate::stand::{KIB, MIB, Stand};

const SIZE: u64 = 6 * MIB;
/// Pairs on one file: then most of it has come.
const ROUND: u64 = 40;

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
}

/// Slow enough that most seeks lead into a hole, and failing in every way that can be read through.
fn failing(dice: &mut Dice) -> Behaviour {
    let unavailable = Deed::Status {
        status: 503,
        retry_after: None,
    };
    Behaviour::new(SIZE)
        .pace(Rate::per_second(16 * MIB))
        .rule(When::Every(5 + dice.below(4)), Deed::CutAfter(40 * KIB))
        .rule(When::Every(11 + dice.below(5)), unavailable)
        .rule(When::Every(17 + dice.below(9)), Deed::ResetAfter(10_000))
        .rule(
            When::Only(9 + dice.below(30)),
            Deed::Ranges(Ranges::Ignored),
        )
}

enum Either {
    Waits(Reader),
    Polls(AsyncReader),
}

/// A pair: the bytes at a place, as many as are wanted.
async fn pair(reader: &mut Either, at: u64, len: u64) -> Vec<u8> {
    let mut have = vec![0xee; usize::try_from(len).expect("short")];
    match reader {
        Either::Waits(reader) => {
            reader.seek(SeekFrom::Start(at)).expect("it seeks");
            reader.read_exact(&mut have).expect("it reads");
        }
        Either::Polls(reader) => {
            reader.seek(SeekFrom::Start(at)).await.expect("it seeks");
            reader.read_exact(&mut have).await.expect("it reads");
        }
    }
    have
}

/// Nobody has asked for what was there, in the requests from number `from` on.
fn assert_asked_once(stand: &Stand, from: usize, there: &RangeSet, seed: u64) {
    for seen in &stand.origin.seen()[from..] {
        // One without a range is made where ranges have failed for good.
        let Some(asked) = seen.range else { continue };
        let asked = ByteRange::new(asked.start, asked.end.min(SIZE));
        let twice = there.intersect(asked);
        assert!(
            twice.is_empty(),
            "seed {seed}: {asked} was asked for, and {twice:?} was there"
        );
    }
}

async fn round(storage: StorageKind, seed: u64) {
    let mut dice = Dice(seed);
    let stand = Stand::on(storage, failing(&mut dice));
    let fill = [Fill::All, Fill::Window][usize::from(seed.is_multiple_of(3))];
    let options = stand.options().fill(fill).look_ahead(256 * KIB);
    let media = Media::of(stand.download().lanes(4), options);
    let mut reader = match seed % 2 {
        0 => Either::Waits(media.reader()),
        _ => Either::Polls(media.async_reader()),
    };
    for _ in 0..ROUND {
        let at = dice.below(SIZE);
        let len = (1 + dice.below(20_000)).min(SIZE - at);
        // In this order: what is asked for and comes between the two is asked for once.
        let there = media.buffered();
        let from = stand.origin.seen().len();
        let have = pair(&mut reader, at, len).await;
        let meant = content(0, ByteRange::new(at, at + len));
        assert!(
            have == meant,
            "seed {seed}: wrong bytes at {at}, {len} of them"
        );
        assert_asked_once(&stand, from, &there, seed);
    }
    if fill == Fill::All {
        media.committed().await.expect("it is complete");
        stand.assert_file(0, SIZE);
    }
}

async fn rounds(storage: StorageKind, pairs: u64) {
    for seed in 0..pairs.div_ceil(ROUND) {
        round(storage, seed).await;
    }
}

/// So many pairs on each storage; `TUR_TEST_PAIRS=10000` makes it as many as that.
fn pairs() -> u64 {
    let asked = std::env::var("TUR_TEST_PAIRS").ok();
    asked.map_or(240, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn c6_c14_seeks_at_random_read_the_truth_on_pwrite() {
    rounds(StorageKind::Pwrite, pairs()).await;
}

#[tokio::test]
async fn c6_c14_seeks_at_random_read_the_truth_on_mmap() {
    rounds(StorageKind::Mmap, pairs()).await;
}
