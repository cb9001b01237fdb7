//! Torture: the k-th operation of any port fails, in each way it can, for every k that a download makes.
//!
//! Read [`torture`]. A scene of 256 KiB is run once to learn its operations, and then once for each operation and way:
//! it must end in bounded time, without a panic, a leak or a false success; and then the same download must succeed.

mod disk;
mod fates;
mod judge;
mod network;
mod rack;
mod scenes;
mod wakes;

use std::collections::BTreeMap;
use std::path::Path;

use tur_core::ByteRange;
use tur_storage::{Disk as _, MemDisk, Open, Part, Place};

use self::fates::Op;
use self::judge::{Verdict, is_survivable, try_one};
use self::rack::Rack;
use self::scenes::{SIZE, Scene};
use super::stand::{DIR, NAME};

/// What was tried, and what came of it.
#[derive(Debug, Default)]
struct Tally {
    points: usize,
    cases: usize,
    missed: usize,
    hangs: usize,
    outcomes: BTreeMap<String, usize>,
    complaints: Vec<String>,
}

impl Tally {
    fn add(&mut self, case: &str, verdict: Verdict) {
        self.cases += 1;
        self.missed += usize::from(!verdict.hit);
        self.hangs += usize::from(verdict.hangs);
        let outcome = verdict.kind.map_or("success", |kind| kind.as_str());
        *self.outcomes.entry(outcome.to_owned()).or_default() += 1;
        for complaint in verdict.complaints {
            self.complaints.push(format!("{case}: {complaint}"));
        }
    }
}

/// The disk as the scene finds it.
fn prepared(scene: &Scene) -> MemDisk {
    let disk = MemDisk::new();
    let dir = disk.open_dir(Path::new(DIR), true).expect("made");
    if scene.old {
        let file = disk.open(&dir, NAME, Open::New(0o644)).expect("made");
        let slices = [std::io::IoSlice::new(b"an older file")];
        disk.write_at(&file, 0, &slices).expect("written");
    }
    if scene.left > 0 {
        leave(scene, &disk);
    }
    disk
}

/// Leaves what a run that was killed would leave.
fn leave(scene: &Scene, disk: &MemDisk) {
    let place = Place {
        dir: DIR.into(),
        name: tur_storage::FileName::new(NAME).expect("a name"),
        create_dirs: true,
    };
    let url = scene.job.target.to_string();
    let part = Part::open(disk.clone(), &place, &url).expect("opened").part;
    let behaviour = &scene.paths[0].1;
    let identity = tur_core::Identity {
        total: Some(SIZE),
        etag: behaviour.etag.clone(),
        last_modified: Some(tur_core::LastModified {
            text: tur_testkit::http_date(scenes::YESTERDAY),
            at: scenes::YESTERDAY,
            strong: true,
        }),
        ..tur_core::Identity::default()
    };
    part.begin(&url, &identity, false).expect("begun");
    let half = ByteRange::new(0, scene.left);
    let mut chunks = tur_core::Chunks::new();
    chunks.push(tur_testkit::content(0, half).into());
    let mut writer = part.writer(0, 1, half);
    let len = chunks.len();
    writer.write(&mut chunks, len).expect("written");
    writer.finish().expect("claimed");
}

/// The operations of the scene when nothing fails.
async fn operations(scene: &Scene, base: &MemDisk) -> Vec<Op> {
    let mut rack = Rack::new(scene, base);
    let done = rack.run(scene.job.clone(), &[]).await;
    done.expect("no hang")
        .expect("it succeeds when nothing fails");
    rack.fates.ops()
}

/// Strikes each operation of the scene in each way. There must be so many operations at least, so many of this kind
/// among them.
async fn torture(scene: Scene, points_min: usize, (op, n): (Op, usize)) {
    let base = prepared(&scene);
    let ops = operations(&scene, &base).await;
    let mut tally = Tally::default();
    for (at, op) in ops.iter().enumerate().step_by(scene.stride) {
        tally.points += 1;
        let k = at as u64 + 1;
        for way in scene.ways(*op) {
            let case = format!("{}, {k} ({op:?}), {way:?}", scene.name);
            let verdict = try_one(&scene, &base, &[(k, way)]).await;
            tally.add(&case, verdict);
        }
    }
    report(&scene, &tally, &ops);
    assert!(ops.len() >= points_min, "{} operations", ops.len());
    let of_kind = ops.iter().filter(|there| **there == op).count();
    assert!(of_kind >= n, "{of_kind} of {op:?}");
    // Opening, checkpoints and digests run on threads of their own: not every turn comes where it came before.
    assert!(tally.missed * 8 <= tally.cases, "{} missed", tally.missed);
}

/// Strikes two operations of the scene, chosen by seed.
async fn torture_twice(scene: Scene, seeds: u64) {
    let base = prepared(&scene);
    let ops = operations(&scene, &base).await;
    let mut tally = Tally {
        points: ops.len(),
        ..Tally::default()
    };
    for seed in 0..seeds {
        let mut dice = Dice(seed + 1);
        let mut strike = |from: usize| {
            let at = from + dice.below(ops.len() - from);
            let ways = scene.ways(ops[at]);
            let way = ways[dice.below(ways.len())].clone();
            (at as u64 + 1, way)
        };
        // One that ends the download would leave nothing to be struck.
        let mut first = strike(0);
        while !is_survivable(ops[first.0 as usize - 1], &first.1) {
            first = strike(0);
        }
        let second = strike((first.0 as usize).min(ops.len() - 1));
        let case = format!("{}, seed {seed} {first:?} {second:?}", scene.name);
        let verdict = try_one(&scene, &base, &[first, second]).await;
        tally.add(&case, verdict);
    }
    report(&scene, &tally, &ops);
    assert!(tally.missed * 2 <= tally.cases, "{} missed", tally.missed);
}

/// A small generator (splitmix).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).expect("below a usize")
    }
}

/// Prints what was tried, and fails if anything was wrong.
fn report(scene: &Scene, tally: &Tally, ops: &[Op]) {
    let mut kinds: BTreeMap<Op, usize> = BTreeMap::new();
    for op in ops {
        *kinds.entry(*op).or_default() += 1;
    }
    println!(
        "{}: {} failure points, {} cases, {} hangs, {} missed\n  {:?}\n  {kinds:?}",
        scene.name, tally.points, tally.cases, tally.hangs, tally.missed, tally.outcomes
    );
    for complaint in &tally.complaints {
        println!("WRONG {complaint}");
    }
    let first = tally.complaints.first();
    assert_eq!(first, None, "the first of {}", tally.complaints.len());
}

#[tokio::test(start_paused = true)]
async fn one_lane() {
    torture(Scene::one_lane(), 130, (Op::Fill, 16)).await;
}

#[tokio::test(start_paused = true)]
async fn four_lanes() {
    torture(Scene::four_lanes(), 120, (Op::Fetch, 4)).await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_takes_from_another() {
    torture(Scene::stealing(), 600, (Op::Fetch, 3)).await;
}

#[tokio::test(start_paused = true)]
async fn an_origin_without_ranges() {
    torture(Scene::without_ranges(), 130, (Op::Fill, 16)).await;
}

#[tokio::test(start_paused = true)]
async fn an_origin_without_a_length() {
    torture(Scene::without_length(), 130, (Op::Fill, 16)).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_replaced() {
    torture(Scene::overwriting(), 130, (Op::Fetch, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_a_half() {
    torture(Scene::resuming(), 80, (Op::Read, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_digest_that_is_asked_for() {
    torture(Scene::verified(), 130, (Op::Read, 1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_midway() {
    torture(Scene::changing(), 150, (Op::SetLen, 3)).await;
}

#[tokio::test(start_paused = true)]
async fn a_redirect() {
    torture(Scene::redirected(), 130, (Op::Connect, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn checkpoints_under_way() {
    torture(Scene::checkpointed(), 150, (Op::Sync, 4)).await;
}

#[tokio::test(start_paused = true)]
async fn two_strikes() {
    for scene in [
        Scene::one_lane(),
        Scene::stealing(),
        Scene::resuming(),
        Scene::changing(),
        Scene::overwriting(),
        Scene::checkpointed(),
    ] {
        torture_twice(scene, 150).await;
    }
}
