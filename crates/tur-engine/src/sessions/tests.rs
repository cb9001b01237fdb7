//! Transfers that want, open, use and give back sessions at random, and leave at any moment.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use proptest::prelude::*;
use tur_core::Scheme;

use super::*;
use crate::bus::Bus;
use crate::clock::Clock;

mod urgent;

const TRANSFERS: u64 = 3;
const LANES: u16 = 6;

/// A connection: counted while anybody holds it.
struct Socket(Arc<AtomicUsize>);

impl Socket {
    fn new(count: &Arc<AtomicUsize>) -> Arc<Self> {
        count.fetch_add(1, Ordering::SeqCst);
        Arc::new(Self(Arc::clone(count)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn origin(n: u8) -> Origin {
    Origin {
        scheme: Scheme::Http,
        host: "origin".into(),
        port: u16::from(n % 3),
    }
}

/// What a lane does.
#[derive(Default)]
enum Lane {
    #[default]
    Free,
    Wanting(Origin),
    Opening(Origin, SessionId),
    Using(Origin, SessionId, Arc<Socket>),
}

struct Transfer {
    id: u64,
    words: mpsc::UnboundedReceiver<Word<Socket>>,
    lanes: BTreeMap<u16, Lane>,
}

struct World {
    /// Requests that a session runs at once.
    room: usize,
    sessions: Sessions<Socket>,
    sockets: Arc<AtomicUsize>,
    transfers: BTreeMap<u64, Transfer>,
    next: u64,
    now: Timestamp,
    opened: usize,
}

impl World {
    fn new(process: usize, per_origin: usize) -> Self {
        Self {
            room: 1,
            sessions: Sessions::new(Caps {
                process,
                per_origin: PerOrigin::Given(per_origin),
            }),
            sockets: Arc::default(),
            transfers: BTreeMap::new(),
            next: 0,
            now: Timestamp::ZERO,
            opened: 0,
        }
    }

    /// Sessions that run so many requests at once, which is to be seen by the first.
    fn with_room(self, room: usize) -> Self {
        let sessions = self.sessions.with_rooms(Box::new(|_| None));
        Self {
            room,
            sessions,
            ..self
        }
    }

    /// The transfer in this place; a new one if the last one has left.
    fn transfer(&mut self, place: u64) -> &mut Transfer {
        let next = &mut self.next;
        let sessions = &self.sessions;
        self.transfers.entry(place).or_insert_with(|| {
            *next += 1;
            Transfer {
                id: *next,
                words: sessions.join(*next),
                lanes: BTreeMap::new(),
            }
        })
    }

    /// Hears all words, and looks whether the counts are true.
    fn hear(&mut self) {
        let (mut opened, mut give) = (0, Vec::new());
        for (place, transfer) in &mut self.transfers {
            while let Ok(word) = transfer.words.try_recv() {
                match word {
                    Word::Note(_) | Word::Room { .. } => {}
                    // Another one has waited for too long.
                    Word::GiveWay { lane, id } => {
                        let state = transfer.lanes.entry(lane.0).or_default();
                        match std::mem::take(state) {
                            // What connects waits anew.
                            Lane::Opening(origin, _) => *state = Lane::Wanting(origin),
                            used => {
                                let uses = matches!(&used, Lane::Using(_, used, _) if *used == id);
                                give.extend(uses.then_some((*place, lane.0)));
                                *state = used;
                            }
                        }
                    }
                    Word::Open { lane, id, origin } => {
                        opened += 1;
                        let lane = transfer.lanes.entry(lane.0).or_default();
                        assert!(matches!(lane, Lane::Wanting(wanted) if *wanted == origin));
                        *lane = Lane::Opening(origin, id);
                    }
                    Word::Lend {
                        lane,
                        id,
                        origin,
                        session,
                    } => {
                        let lane = transfer.lanes.entry(lane.0).or_default();
                        assert!(matches!(lane, Lane::Wanting(_) | Lane::Opening(..)));
                        *lane = Lane::Using(origin, id, session);
                    }
                }
            }
        }
        self.opened += opened;
        let opening = |lane: &&Lane| matches!(lane, Lane::Opening(..));
        let lanes = self.transfers.values().flat_map(|t| t.lanes.values());
        let opening = lanes.filter(opening).count();
        let (held, allowed) = self.sessions.held();
        let sockets = self.sockets.load(Ordering::SeqCst);
        assert_eq!(
            held,
            opening + sockets,
            "a slot for each socket, and none else"
        );
        assert!(opened == 0 || held <= allowed, "{held} of {allowed}");
        for (place, lane) in give {
            self.release(place, lane, lane % 2 == 0);
            self.hear();
        }
    }

    fn asker(&mut self, place: u64, lane: u16) -> Asker {
        Asker {
            transfer: self.transfer(place).id,
            lane: LaneId(lane),
        }
    }

    fn take(&mut self, place: u64, lane: u16) -> Lane {
        let lanes = &mut self.transfer(place).lanes;
        std::mem::take(lanes.entry(lane).or_default())
    }

    fn using(&mut self, place: u64) -> Option<u16> {
        let mut lanes = self.transfer(place).lanes.iter();
        lanes.find_map(|(lane, state)| matches!(state, Lane::Using(..)).then_some(*lane))
    }

    fn put(&mut self, place: u64, lane: u16, state: Lane) {
        self.transfer(place).lanes.insert(lane, state);
    }

    fn want(&mut self, place: u64, lane: u16, n: u8) {
        let asker = self.asker(place, lane);
        match self.take(place, lane) {
            Lane::Free => {
                self.put(place, lane, Lane::Wanting(origin(n)));
                self.sessions
                    .tell(self.now, &origin(n), PoolEvent::Want(asker));
            }
            other => self.put(place, lane, other),
        }
    }

    /// An attempt to connect ends, somehow.
    fn connect(&mut self, place: u64, lane: u16, how: u8) {
        match self.take(place, lane) {
            Lane::Opening(origin, id) => match how % 4 {
                0 | 1 => {
                    self.put(place, lane, Lane::Opening(origin.clone(), id));
                    let socket = Socket::new(&self.sockets);
                    self.sessions
                        .opened(self.now, &origin, (id, self.room), socket);
                }
                2 => self.sessions.tell(self.now, &origin, PoolEvent::Failed(id)),
                _ => {
                    let (held, _) = self.sessions.held();
                    // It may be opened again at once.
                    self.put(place, lane, Lane::Wanting(origin.clone()));
                    let waits = self.sessions.exhausted(self.now, &origin, id);
                    assert_eq!(waits, held > 1);
                    if !waits {
                        self.put(place, lane, Lane::Free);
                    }
                }
            },
            other => self.put(place, lane, other),
        }
    }

    /// A lane lets go of whatever it has or waits for.
    fn release(&mut self, place: u64, lane: u16, open: bool) {
        let asker = self.asker(place, lane);
        match self.take(place, lane) {
            Lane::Free => {}
            Lane::Wanting(origin) | Lane::Opening(origin, _) => {
                self.sessions
                    .tell(self.now, &origin, PoolEvent::Withdraw(asker));
            }
            Lane::Using(origin, session, ours) => {
                drop(ours);
                let back = returned(session, asker, if open { self.room } else { 0 });
                self.sessions.tell(self.now, &origin, back);
            }
        }
    }

    /// Returns what it has; what it only waits for, it may forget to take back.
    fn leave(&mut self, place: u64, forgetful: bool) {
        for lane in (0..LANES).filter(|_| !forgetful) {
            self.release(place, lane, lane % 2 == 0);
            self.hear();
        }
        // What comes back may be lent to another of its lanes at once.
        while let Some(lane) = self.using(place) {
            self.release(place, lane, lane % 2 == 0);
            self.hear();
        }
        let id = self.transfer(place).id;
        self.transfers.remove(&place);
        self.sessions.leave(id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// `World::hear` judges after each step.
    #[test]
    fn no_way_out_of_a_transfer_leaks_a_slot(
        process in 1usize..10,
        per_origin in 1usize..6,
        room in 1usize..4,
        choices in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..250),
    ) {
        let mut world = World::new(process, per_origin).with_room(room);
        for (what, who, n) in choices {
            let (place, lane) = (u64::from(who) % TRANSFERS, u16::from(who / 8) % LANES);
            world.now = world.now + Duration::from_millis(u64::from(n) * 100);
            match what % 16 {
                0..=5 => world.want(place, lane, n),
                6..=9 => world.connect(place, lane, n),
                10 | 11 => world.release(place, lane, n % 2 == 0),
                12 => world.leave(place, n % 2 == 0),
                13 => {
                    let signs = [Sign::Descriptors(u64::from(n % 16)), Sign::Available(u64::from(n) << 20)];
                    world.sessions.pressure(world.now, &signs[..usize::from(n % 3)]);
                }
                14 => drop(world.sessions.expire(world.now)),
                _ => world.sessions.pressure(world.now, &[]),
            }
            world.hear();
        }
        for place in 0..TRANSFERS {
            world.leave(place, false);
            world.hear();
        }
        world.now = world.now + Duration::from_secs(86_400);
        world.sessions.expire(world.now);
        world.hear();
        prop_assert_eq!(world.sessions.held().0, 0);
        prop_assert_eq!(world.sockets.load(Ordering::SeqCst), 0);
        prop_assert!(world.sessions.lock().origins.is_empty());
        // All of it can be used again.
        for _ in 0..3 {
            world.now = world.now + Duration::from_secs(1_000);
            world.sessions.pressure(world.now, &[]);
        }
        let before = world.opened;
        for n in 0..3 {
            for lane in 0..LANES {
                world.want(u64::from(n), lane, n);
            }
        }
        world.hear();
        prop_assert_eq!(world.opened - before, process.min(3 * per_origin));
    }
}

/// Sessions with one that transfer 1 has opened and given back.
fn with_one_unused(sockets: &Arc<AtomicUsize>) -> Sessions<Socket> {
    let (sessions, now, at) = (Sessions::new(Caps::default()), Timestamp::ZERO, origin(0));
    let mut words = sessions.join(1);
    let lane = Asker {
        transfer: 1,
        lane: LaneId(0),
    };
    sessions.tell(now, &at, PoolEvent::Want(lane));
    let Ok(Word::Open { id, .. }) = words.try_recv() else {
        panic!("it may connect");
    };
    sessions.opened(now, &at, (id, 1), Socket::new(sockets));
    drop(words.try_recv().expect("it is lent"));
    sessions.tell(now, &at, returned(id, lane, 1));
    sessions
}

/// A lane gives its session back.
fn returned(session: SessionId, asker: Asker, room: usize) -> PoolEvent {
    PoolEvent::Returned {
        session,
        asker,
        room,
    }
}

#[test]
fn what_a_paused_transfer_may_want_again_is_kept_for_longer_but_not_for_ever() {
    let pause = |sessions: &Sessions<Socket>| sessions.pause(1, Some(&origin(0)));
    let unpause = |sessions: &Sessions<Socket>| {
        sessions.pause(1, Some(&origin(0)));
        sessions.pause(1, None);
    };
    let elsewhere = |sessions: &Sessions<Socket>| sessions.pause(1, Some(&origin(1)));
    let leave = |sessions: &Sessions<Socket>| {
        sessions.pause(1, Some(&origin(0)));
        sessions.leave(1);
    };
    type Way = fn(&Sessions<Socket>);
    let ways: [(Way, Duration); 4] = [
        (pause, IDLE_MAX_PAUSED),
        (unpause, IDLE_MAX),
        (elsewhere, IDLE_MAX),
        (leave, IDLE_MAX),
    ];
    for (way, kept) in ways {
        let sockets = Arc::default();
        let sessions = with_one_unused(&sockets);
        way(&sessions);
        let end = Timestamp::ZERO + kept;
        assert_eq!(sessions.expire(Timestamp::ZERO), Some(end));
        assert_eq!(sockets.load(Ordering::SeqCst), 1);
        assert_eq!(sessions.expire(end), None);
        assert_eq!(sockets.load(Ordering::SeqCst), 0);
    }
}

#[test]
fn a_limit_that_was_given_is_not_raised() {
    for (per_origin, limit) in [(PerOrigin::AtLeast(2), 5), (PerOrigin::Given(2), 2)] {
        let caps = Caps {
            process: 128,
            per_origin,
        };
        let mut world = World {
            sessions: Sessions::new(caps),
            ..World::new(1, 1)
        };
        world.want(0, 0, 0);
        world.sessions.raise_limit(5);
        for lane in 1..LANES {
            world.want(0, lane, 0);
        }
        world.hear();
        assert_eq!(world.opened, limit);
    }
}

#[test]
fn a_shortage_and_its_end_are_told_to_the_transfers_that_run() {
    let mut world = World::new(128, 32);
    for lane in 0..LANES {
        world.want(0, lane, 0);
    }
    for lane in 0..LANES {
        world.hear();
        world.connect(0, lane, 0);
    }
    world.hear();
    let free = [Sign::Descriptors(1_000)];
    world.sessions.pressure(world.now, &[Sign::Descriptors(4)]);
    for _ in 0..2 {
        world.now = world.now + Duration::from_secs(10);
        world.sessions.pressure(world.now, &free);
    }
    let words = &mut world.transfer(0).words;
    let (mut told, mut room) = (Vec::new(), Vec::new());
    while let Ok(word) = words.try_recv() {
        match word {
            Word::Note(text) => told.push(text),
            Word::Room { lanes, .. } => room.push(lanes),
            _ => {}
        }
    }
    assert_eq!(room.first(), Some(&2), "its lanes become fewer at once");
    assert_eq!(room.last(), Some(&32), "and then as many as before");
    assert_eq!(
        told,
        [
            "at most 2 connections for now: few more files can be opened",
            "up to 128 connections again"
        ]
    );
}

/// Looks at the sessions when it is woken, as a listener may: a lock that is held would be found here.
struct Looks(Sessions<Socket>);

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        assert_eq!(self.0.lanes_max(), 2);
    }
}

#[test]
fn changes_of_the_budget_are_told_when_the_lock_is_let_go() {
    let bus = Bus::new(Clock::start());
    let mut world = World::new(128, 32);
    world.sessions = world.sessions.clone().told_in(bus.scope().clone());
    for lane in 0..LANES {
        world.want(0, lane, 0);
    }
    for lane in 0..LANES {
        world.hear();
        world.connect(0, lane, 0);
    }
    let (sessions, free) = (world.sessions, [Sign::Descriptors(1_000)]);
    let listener = bus.scope().subscribe(8);
    let waker = Waker::from(Arc::new(Looks(sessions.clone())));
    assert!(
        listener
            .poll_take(&Context::from_waker(&waker))
            .is_pending()
    );
    sessions.pressure(Timestamp::ZERO, &[Sign::Descriptors(4)]);
    for s in [10, 20] {
        sessions.pressure(Timestamp::ZERO + Duration::from_secs(s), &free);
    }
    let mut told = Vec::new();
    while let Poll::Ready(Some(event)) = listener.poll_take(&Context::from_waker(Waker::noop())) {
        let What::BudgetChanged {
            allowed,
            configured: 128,
            why,
        } = event.what
        else {
            panic!("{event:?}");
        };
        assert_eq!(event.id, 0);
        told.push((allowed, why));
    }
    let why = "few more files can be opened".to_owned();
    assert_eq!(told, [(2, Some(why)), (128, None)]);
}

#[test]
fn who_comes_while_connections_are_short_is_told_too() {
    let world = World::new(128, 32);
    assert_eq!(world.sessions.shortage(8), None);
    world.sessions.pressure(world.now, &[Sign::Descriptors(4)]);
    let said = world.sessions.shortage(8);
    assert!(said.is_some_and(|text| text.contains("for now: ")));
    assert_eq!(world.sessions.shortage(1), None, "who has enough");
    for s in 1..4 {
        let later = world.now + Duration::from_secs(10 * s);
        world.sessions.pressure(later, &[Sign::Descriptors(1_000)]);
    }
    assert_eq!(world.sessions.shortage(8), None, "it is over");
}

/// What counts by origin is connections: where one of them runs many requests, more may run than there are connections.
#[test]
fn transfers_share_a_session_that_has_room_for_many() {
    let mut world = World::new(64, 4).with_room(100);
    for place in 0..50 {
        world.want(place, 0, 0);
    }
    world.hear();
    assert_eq!(world.opened, 1, "one tells what there is room for");
    world.connect(0, 0, 0);
    world.hear();
    let using = (0..50)
        .filter(|place| world.using(*place).is_some())
        .count();
    assert_eq!((using, world.opened), (50, 1));
    // With the last of them goes what holds for this origin.
    for place in 0..50 {
        world.leave(place, false);
    }
    world.sessions.expire(Timestamp::NEVER);
    assert!(world.sessions.lock().origins.is_empty());
    let mut world = World { room: 1, ..world };
    for place in 0..50 {
        world.want(place, 0, 0);
        world.hear();
    }
    assert_eq!(world.opened, 2, "again one tells");
    world.connect(0, 0, 0);
    world.hear();
    assert_eq!(world.opened, 5, "as many as there may be");
}
