//! Who gets a turn, and when: lanes that always have bytes, under a paused clock.

use std::sync::atomic::AtomicU64;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;

const SEC: Duration = Duration::from_secs(1);

fn rate(bytes: u64) -> Option<Rate> {
    Some(Rate::per_second(bytes))
}

/// A process whose downloads have these limits.
fn process(clock: Clock, limit: Option<Rate>, own: &[Option<Rate>]) -> Vec<Limits> {
    let process = Limit::new(clock, limit);
    let with = |own: &Option<Rate>| Limits {
        process: Arc::clone(&process),
        transfer: Limit::new(clock, *own),
    };
    own.iter().map(with).collect()
}

/// Lanes that draw for ever.
#[derive(Default)]
struct Lanes {
    running: JoinSet<()>,
    drawn: Vec<Arc<AtomicU64>>,
}

impl Lanes {
    /// One more lane, whose draws bring what they should.
    fn add(&mut self, limits: &Limits) {
        let (limits, drawn) = (limits.clone(), Arc::<AtomicU64>::default());
        self.drawn.push(Arc::clone(&drawn));
        self.running.spawn(async move {
            loop {
                let turn = match limits.try_turn() {
                    Some(turn) => turn,
                    None => limits.turn().await,
                };
                let bytes = limits.quantum();
                limits.debit(bytes);
                drawn.fetch_add(bytes as u64, Ordering::Relaxed);
                drop(turn);
                // As a write to the file would, this lets the others look.
                tokio::task::yield_now().await;
            }
        });
    }

    /// What each has drawn in so much more time.
    async fn run(&self, clock: Clock, time: Duration) -> Vec<u64> {
        let read = || self.drawn.iter().map(|drawn| drawn.load(Ordering::Relaxed));
        let before: Vec<_> = read().collect();
        sleep_until(clock.instant(clock.now() + time)).await;
        read().zip(before).map(|(now, then)| now - then).collect()
    }
}

/// The sum is within 2 %, and so is each share if `equal`.
#[track_caller]
fn assert_shares(drawn: &[u64], sum: u64, equal: bool) {
    let near = |have: u64, want: u64| have.abs_diff(want) <= want / 50;
    assert!(near(drawn.iter().sum(), sum), "{drawn:?} of {sum}");
    let share = sum / drawn.len() as u64;
    assert!(
        !equal || drawn.iter().all(|one| near(*one, share)),
        "{drawn:?} of {share} each"
    );
}

#[tokio::test(start_paused = true)]
async fn lanes_of_a_download_share_equally() {
    let clock = Clock::start();
    for (limit, own) in [(rate(5_000_000), None), (None, rate(5_000_000))] {
        let limits = process(clock, limit, &[own]);
        let mut lanes = Lanes::default();
        for _ in 0..8 {
            lanes.add(&limits[0]);
        }
        let drawn = lanes.run(clock, 20 * SEC).await;
        assert_shares(&drawn, 100_000_000, true);
    }
}

#[tokio::test(start_paused = true)]
async fn downloads_share_equally_whatever_their_lanes_and_nobody_divides_by_the_dead() {
    let clock = Clock::start();
    let limits = process(clock, rate(1_000_000), &[None, None]);
    let mut many = Lanes::default();
    for _ in 0..16 {
        many.add(&limits[0]);
    }
    let mut one = Lanes::default();
    one.add(&limits[1]);
    let before: u64 = one.run(clock, 20 * SEC).await.iter().sum();
    assert_shares(&[before], 10_000_000, true);
    drop(many);
    let alone = one.run(clock, 20 * SEC).await;
    assert_shares(&alone, 20_000_000, true);
}

#[tokio::test(start_paused = true)]
async fn a_slow_download_leaves_the_rest_to_others() {
    let clock = Clock::start();
    let limits = process(clock, rate(1_000_000), &[rate(100_000), None]);
    let (mut slow, mut fast) = (Lanes::default(), Lanes::default());
    for _ in 0..4 {
        slow.add(&limits[0]);
        fast.add(&limits[1]);
    }
    let (slow, fast) = tokio::join!(slow.run(clock, 20 * SEC), fast.run(clock, 20 * SEC));
    assert_shares(&slow, 2_000_000, true);
    assert_shares(&fast, 18_000_000, true);
}

#[tokio::test(start_paused = true)]
async fn a_change_reaches_those_who_wait() {
    let clock = Clock::start();
    let limits = &process(clock, None, &[rate(1)])[0];
    limits.debit(50);
    assert!(limits.try_turn().is_none());
    for (next, soon) in [(rate(1), false), (rate(2), false), (rate(50_000), true)] {
        let mut waiter = pin!(limits.turn());
        assert!(
            timeout(SEC, &mut waiter).await.is_err(),
            "50 bytes are owed"
        );
        limits.transfer.set(next);
        let came = timeout(SEC / 100, &mut waiter).await.is_ok();
        assert_eq!(came, soon, "at {next:?}");
    }
    limits.transfer.set(rate(1));
    limits.debit(50);
    let mut waiter = pin!(limits.turn());
    assert!(timeout(SEC, &mut waiter).await.is_err());
    let now = clock.now();
    limits.transfer.set(None);
    drop(waiter.await);
    assert_eq!(clock.now(), now, "at once");
    assert!(!limits.is_set());
}

#[tokio::test(start_paused = true)]
async fn who_stops_waiting_gives_up_its_turn() {
    let clock = Clock::start();
    let limits = &process(clock, rate(1_000), &[rate(1_000)])[0];
    limits.debit(2_000);
    let (mut first, mut second) = (Box::pin(limits.turn()), pin!(limits.turn()));
    assert!(timeout(SEC, &mut first).await.is_err());
    assert!(timeout(SEC / 2, &mut second).await.is_err());
    drop(first);
    assert!(timeout(SEC, &mut second).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn buffers_are_small_where_little_is_in_flight() {
    let clock = Clock::start();
    const KIB: u64 = 1024;
    for (limit, own, buffer) in [
        (None, None, None),
        (rate(1), None, Some(64)),
        (None, rate(50 * KIB), Some(64)),
        (rate(500 * KIB), None, Some(150)),
        (rate(100_000 * KIB), rate(500 * KIB), Some(150)),
        (rate(5 * 1024 * KIB), None, None),
    ] {
        let limits = &process(clock, limit, &[own])[0];
        let kib = limits.receive_buffer().map(|bytes| bytes / 1024);
        assert_eq!(kib, buffer, "{limit:?} {own:?}");
    }
}
