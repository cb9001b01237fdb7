//! Pools in a world that follows random choices, and the rules by which sessions are opened and shared.

use super::*;
use proptest::prelude::*;

const LIMIT: usize = 3;
const IDLE_MAX: Duration = Duration::from_secs(5);

/// What the world does with the pool's actions, driven by random choices.
#[derive(Default)]
struct World {
    /// Requests that each session runs at once.
    room: usize,
    opening: BTreeSet<SessionId>,
    up: BTreeSet<SessionId>,
    lent: BTreeSet<(SessionId, Asker)>,
    wanting: BTreeSet<Asker>,
}

impl World {
    fn obey(&mut self, pool: &mut Pool) {
        while let Some(action) = pool.poll_action() {
            match action {
                PoolAction::Open(id, _) => assert!(self.opening.insert(id), "opened twice"),
                PoolAction::Lend(id, asker) => {
                    assert!(self.up.contains(&id), "lent, and not there");
                    assert!(self.wanting.remove(&asker), "lent to nobody");
                    assert!(self.lent.insert((id, asker)), "lent twice");
                    let lanes = self.lent.iter().filter(|(other, _)| *other == id).count();
                    assert!(lanes <= self.room, "{lanes} lanes have {id:?}");
                }
                PoolAction::Close(id) => {
                    self.opening.remove(&id);
                    self.up.remove(&id);
                    let lent = self.lent.iter().any(|(other, _)| *other == id);
                    assert!(!lent, "closed while lent");
                }
            }
        }
        assert!(pool.len() <= LIMIT);
    }

    /// Allows what is wanted, but for a limit of the whole.
    fn allow(&mut self, pool: &mut Pool, allowed: usize) {
        self.obey(pool);
        while pool.wants() > 0 && pool.len() < allowed {
            pool.allow();
            self.obey(pool);
        }
    }

    fn opened(&mut self) -> Option<PoolEvent> {
        let session = self.opening.pop_first()?;
        self.up.insert(session);
        let room = self.room;
        Some(PoolEvent::Opened { session, room })
    }

    fn returned(&mut self, room: usize) -> Option<PoolEvent> {
        let (session, asker) = self.lent.pop_first()?;
        if room == 0 {
            self.up.remove(&session);
        }
        Some(PoolEvent::Returned {
            session,
            asker,
            room,
        })
    }

    fn event(&mut self, pool: &mut Pool, choice: u8) -> Option<PoolEvent> {
        let asker = Asker {
            transfer: u64::from(choice % 2),
            lane: LaneId(u16::from(choice / 8)),
        };
        let has = self.lent.iter().any(|(_, other)| *other == asker);
        match choice % 12 {
            0..=2 if !has && self.wanting.insert(asker) => return Some(PoolEvent::Want(asker)),
            3 if self.wanting.remove(&asker) => return Some(PoolEvent::Withdraw(asker)),
            4 => return self.opened(),
            5 => {
                let id = self.opening.pop_first()?;
                // Its asker is told of the failure and stops wanting.
                let Some(State::Opening(asker)) = pool.sessions.get(&id) else {
                    panic!("it is being opened");
                };
                assert!(self.wanting.remove(asker));
                return Some(PoolEvent::Failed(id));
            }
            6 if choice.is_multiple_of(3) => return self.returned(0),
            6 => return self.returned(self.room),
            7 => pool.close_idle(),
            8 => pool.owe(usize::from(choice) % 3),
            9 => pool.postpone(self.opening.pop_first()?),
            _ => pool.allow(),
        }
        None
    }

    fn step(&mut self, pool: &mut Pool, choice: u8, now: Timestamp) {
        let event = self.event(pool, choice);
        pool.handle(now, event.unwrap_or(PoolEvent::Tick));
        self.allow(pool, usize::from(choice % 4));
    }
}

fn lane(transfer: u64, lane: u16) -> Asker {
    Asker {
        transfer,
        lane: LaneId(lane),
    }
}

fn want(pool: &mut Pool, askers: impl IntoIterator<Item = Asker>) {
    for asker in askers {
        pool.handle(Timestamp::ZERO, PoolEvent::Want(asker));
    }
}

/// Allows what is wanted; how many that was.
fn allow_all(pool: &mut Pool) -> usize {
    let before = pool.len();
    while pool.wants() > 0 {
        pool.allow();
    }
    pool.len() - before
}

fn open(pool: &mut Pool, id: u64, room: usize) {
    let session = SessionId(id);
    pool.handle(Timestamp::ZERO, PoolEvent::Opened { session, room });
}

fn give_back(pool: &mut Pool, id: u64, asker: Asker, room: usize) {
    let session = SessionId(id);
    let returned = PoolEvent::Returned {
        session,
        asker,
        room,
    };
    pool.handle(Timestamp::ZERO, returned);
}

/// Which sessions were lent since, and whether something else was to be done.
fn lent(pool: &mut Pool) -> Vec<(u64, Asker)> {
    core::iter::from_fn(|| pool.poll_action())
        .filter_map(|action| match action {
            PoolAction::Lend(id, asker) => Some((id.0, asker)),
            PoolAction::Open(..) | PoolAction::Close(_) => None,
        })
        .collect()
}

#[test]
fn nothing_is_opened_before_it_is_allowed_and_what_is_owed_goes() {
    let mut pool = Pool::new(LIMIT, IDLE_MAX, Some(1));
    want(&mut pool, (0..5).map(|n| lane(1, n)));
    assert_eq!((pool.poll_action(), pool.wants()), (None, LIMIT));
    for n in 0..LIMIT as u64 {
        pool.allow();
        let open = PoolAction::Open(SessionId(n), lane(1, n as u16));
        assert_eq!(pool.poll_action(), Some(open));
    }
    pool.allow();
    assert_eq!((pool.poll_action(), pool.wants()), (None, 0));
    // One that could not be opened here and now is opened for the same lane later.
    pool.postpone(SessionId(1));
    pool.allow();
    let again = PoolAction::Open(SessionId(3), lane(1, 1));
    assert_eq!(pool.poll_action(), Some(again));
    open(&mut pool, 0, 1);
    assert_eq!(lent(&mut pool), [(0, lane(1, 0))]);
    // Owed: two lanes wait, and still the session goes.
    pool.owe(1);
    give_back(&mut pool, 0, lane(1, 0), 1);
    assert_eq!(pool.poll_action(), Some(PoolAction::Close(SessionId(0))));
    assert_eq!((pool.poll_action(), pool.owed(), pool.len()), (None, 0, 2));
}

#[test]
fn many_transfers_share_one_session_where_there_is_room() {
    let mut pool = Pool::new(32, IDLE_MAX, None);
    want(&mut pool, (0..64).map(|n| lane(n, 0)));
    assert_eq!(allow_all(&mut pool), 1, "one tells what it has room for");
    open(&mut pool, 0, 100);
    assert_eq!(lent(&mut pool).len(), 64);
    want(&mut pool, (64..164).map(|n| lane(n, 0)));
    assert_eq!(lent(&mut pool).len(), 36);
    assert_eq!(
        allow_all(&mut pool),
        1,
        "64 wait, and one more has room for 100"
    );
    open(&mut pool, 1, 100);
    assert!(lent(&mut pool).iter().all(|(id, _)| *id == 1));
    // What comes next goes to the fuller one.
    give_back(&mut pool, 0, lane(0, 0), 100);
    want(&mut pool, [lane(200, 0)]);
    assert_eq!(lent(&mut pool), [(0, lane(200, 0))]);
}

#[test]
fn an_origin_with_room_for_one_gets_as_many_sessions_as_lanes() {
    let mut pool = Pool::new(32, IDLE_MAX, None);
    want(&mut pool, (0..8).map(|n| lane(n, 0)));
    assert_eq!(allow_all(&mut pool), 1);
    open(&mut pool, 0, 1);
    assert_eq!(allow_all(&mut pool), 7);
    // What fails tells nothing, and does not make the others fail one by one.
    let mut pool = Pool::new(32, IDLE_MAX, None);
    want(&mut pool, (0..8).map(|n| lane(n, 0)));
    assert_eq!(allow_all(&mut pool), 1);
    pool.handle(Timestamp::ZERO, PoolEvent::Failed(SessionId(0)));
    assert_eq!(allow_all(&mut pool), 7);
}

#[test]
fn lanes_of_one_transfer_take_a_session_each_while_there_may_be_more() {
    let mut pool = Pool::new(3, IDLE_MAX, None);
    want(&mut pool, (0..5).map(|n| lane(7, n)));
    assert_eq!(
        allow_all(&mut pool),
        3,
        "nothing is gained by waiting for the first"
    );
    (0..3).for_each(|id| open(&mut pool, id, 100));
    // The first three have one each, and the others what is there.
    let mut lent_now = lent(&mut pool);
    lent_now.sort_by_key(|(_, asker)| asker.lane);
    let first: Vec<u64> = lent_now[..3].iter().map(|(id, _)| *id).collect();
    assert_eq!((first, lent_now.len()), ([0, 1, 2].to_vec(), 5));
    // Another transfer finds room at once.
    want(&mut pool, [lane(8, 0)]);
    assert_eq!(lent(&mut pool).len(), 1);
}

#[test]
fn who_waits_for_a_session_of_its_own_holds_up_nobody() {
    let mut pool = Pool::new(4, IDLE_MAX, None);
    want(&mut pool, [lane(1, 0)]);
    allow_all(&mut pool);
    open(&mut pool, 0, 100);
    lent(&mut pool);
    want(&mut pool, [lane(1, 1), lane(2, 0)]);
    assert_eq!(lent(&mut pool), [(0, lane(2, 0))]);
    assert_eq!(pool.wants(), 1, "for the second lane");
}

#[test]
fn what_a_session_says_of_its_room_counts_from_then_on() {
    let mut pool = Pool::new(2, IDLE_MAX, None);
    want(&mut pool, (0..6).map(|n| lane(n, 0)));
    allow_all(&mut pool);
    open(&mut pool, 0, 100);
    assert_eq!(lent(&mut pool).len(), 6);
    let say = |pool: &mut Pool, id, room| {
        let session = SessionId(id);
        pool.handle(Timestamp::ZERO, PoolEvent::Room { session, room });
    };
    // More have it than it runs: it is lent to nobody until there are fewer.
    say(&mut pool, 0, 2);
    assert_eq!(pool.room(), Some(2));
    want(&mut pool, (6..9).map(|n| lane(n, 0)));
    assert_eq!(lent(&mut pool), []);
    for n in 0..4 {
        give_back(&mut pool, 0, lane(n, 0), 2);
        assert_eq!(lent(&mut pool), []);
    }
    give_back(&mut pool, 0, lane(4, 0), 2);
    assert_eq!(lent(&mut pool), [(0, lane(6, 0))]);
    say(&mut pool, 0, 4);
    assert_eq!(lent(&mut pool).len(), 2);
    // One that is closed, or that takes no more, has nothing to say.
    pool.owe(1);
    give_back(&mut pool, 0, lane(5, 0), 4);
    say(&mut pool, 0, 100);
    say(&mut pool, 7, 100);
    want(&mut pool, [lane(9, 0)]);
    assert_eq!((lent(&mut pool), pool.room()), (Vec::new(), Some(4)));
}

#[test]
fn a_session_that_takes_no_more_goes_with_its_last_lane() {
    let mut pool = Pool::new(4, IDLE_MAX, None);
    want(&mut pool, (0..3).map(|n| lane(n, 0)));
    allow_all(&mut pool);
    open(&mut pool, 0, 100);
    lent(&mut pool);
    give_back(&mut pool, 0, lane(0, 0), 0);
    assert_eq!((pool.poll_action(), pool.len()), (None, 1));
    want(&mut pool, [lane(0, 0)]);
    assert_eq!((pool.poll_action(), pool.wants()), (None, 1));
    // The others still had it, and what they say of it changes nothing.
    give_back(&mut pool, 0, lane(1, 0), 100);
    assert_eq!(pool.poll_action(), None);
    give_back(&mut pool, 0, lane(2, 0), 100);
    assert_eq!(pool.poll_action(), Some(PoolAction::Close(SessionId(0))));
    // The same where it is to go for want of room in the process.
    assert_eq!(allow_all(&mut pool), 1);
    open(&mut pool, 1, 100);
    want(&mut pool, [lane(5, 0)]);
    lent(&mut pool);
    pool.owe(1);
    give_back(&mut pool, 1, lane(5, 0), 100);
    want(&mut pool, [lane(6, 0)]);
    assert_eq!(
        (pool.poll_action(), pool.owed(), pool.wants()),
        (None, 0, 1)
    );
}

proptest! {
    #[test]
    fn nothing_is_lent_twice_and_nobody_is_forgotten(
        choices in proptest::collection::vec(any::<u8>(), 1..200),
        room in 1..4_usize,
        known: bool,
    ) {
        let mut pool = Pool::new(LIMIT, IDLE_MAX, known.then_some(room));
        let mut world = World { room, ..World::default() };
        for (i, choice) in choices.iter().enumerate() {
            world.step(&mut pool, *choice, Timestamp::from_micros(i as u64 * 500_000));
        }
        // Everything that is out comes back: then everybody who still wants is served.
        pool.owe(0);
        for _ in 0..500 {
            if let Some(event) = world.opened().or_else(|| world.returned(0)) {
                pool.handle(Timestamp::ZERO, event);
            }
            world.allow(&mut pool, LIMIT);
        }
        prop_assert!(world.wanting.is_empty(), "left waiting: {:?}", world.wanting);
        pool.handle(Timestamp::NEVER, PoolEvent::Tick);
        world.obey(&mut pool);
        prop_assert!(pool.is_empty());
    }
}
