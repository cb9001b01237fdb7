//! Peers whose urgency changes, commands that are cancelled at any moment, downloads that have to give way, and words
//! that are heard late: no permit is lost, and none is had twice.

use std::sync::atomic::AtomicBool;

use tur_sched::Priority;

use super::*;
use crate::permits::{News, Waiting};

const PEERS: u64 = 2;

/// A transfer: a download, or what carries out a command.
struct Member {
    words: mpsc::UnboundedReceiver<Word<Socket>>,
    lanes: BTreeMap<u16, Lane>,
    is_command: bool,
}

struct World {
    /// Requests that a session runs at once.
    room: usize,
    sessions: Sessions<Socket>,
    sockets: Arc<AtomicUsize>,
    granted: mpsc::UnboundedReceiver<News>,
    /// Commands that have not begun, and whose they are.
    commands: BTreeMap<u64, u64>,
    members: BTreeMap<u64, Member>,
    active: [Arc<AtomicBool>; PEERS as usize],
    next: u64,
    now: Timestamp,
}

fn priority(n: u8) -> Priority {
    if n.is_multiple_of(2) {
        Priority::High
    } else {
        Priority::Low
    }
}

fn look(active: &Arc<AtomicBool>) -> crate::permits::Look {
    let active = Arc::clone(active);
    Box::new(move || priority(u8::from(!active.load(Ordering::SeqCst))))
}

impl World {
    fn new(process: usize, per_origin: usize) -> Self {
        let caps = Caps {
            process,
            per_origin: PerOrigin::Given(per_origin),
        };
        let sessions = Sessions::new(caps);
        let (grants, granted) = mpsc::unbounded_channel();
        let active: [Arc<AtomicBool>; PEERS as usize] = Default::default();
        sessions.permits(Timestamp::ZERO, |permits| {
            permits.tell_news(grants);
            for (n, active) in active.iter().enumerate() {
                permits.register(Timestamp::ZERO, n as u64, look(active), None);
            }
        });
        Self {
            room: 1,
            sessions,
            sockets: Arc::default(),
            granted,
            commands: BTreeMap::new(),
            members: BTreeMap::new(),
            active,
            next: PEERS,
            now: Timestamp::ZERO,
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

    fn permits<R>(&self, how: impl FnOnce(&mut Permits, Timestamp) -> R) -> R {
        let now = self.now;
        self.sessions.permits(now, |permits| how(permits, now))
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn join(&mut self, id: u64, is_command: bool) {
        let member = Member {
            words: self.sessions.join(id),
            lanes: BTreeMap::new(),
            is_command,
        };
        self.members.insert(id, member);
    }

    fn command(&mut self, n: u8) {
        let (id, peer) = (self.number(), u64::from(n) % PEERS);
        let active = Arc::clone(&self.active[usize::from(n / 2) % PEERS as usize]);
        let waiting = Waiting {
            transfer: id,
            peer,
            origin: origin(n / 4),
            priority: priority(n / 16),
            demand: (n > 128).then(|| -> crate::command::Demand {
                Box::new(move || active.load(Ordering::SeqCst))
            }),
        };
        self.commands.insert(id, peer);
        self.permits(|permits, now| permits.enqueue(now, waiting));
    }

    fn cancel(&mut self, id: u64) {
        if self.commands.remove(&id).is_some() {
            self.permits(|permits, now| permits.forget(now, id));
        }
    }

    fn begin(&mut self) {
        if let Ok(News::Granted(id)) = self.granted.try_recv()
            && self.commands.remove(&id).is_some()
        {
            self.join(id, true);
        }
    }

    /// A peer goes, with what it waits for, and another one comes in its place.
    fn replace_peer(&mut self, peer: u64) {
        let whose = |(id, whose): (&u64, &u64)| (*whose == peer).then_some(*id);
        for id in self.commands.iter().filter_map(whose).collect::<Vec<_>>() {
            self.cancel(id);
        }
        let look = look(&self.active[peer as usize]);
        self.permits(|permits, now| {
            permits.unregister(now, peer);
            permits.register(now, peer, look, Some(2));
        });
    }

    fn some_member(&self, n: u8) -> Option<u64> {
        let ids = self.members.keys().copied();
        ids.cycle()
            .nth(usize::from(n))
            .filter(|_| !self.members.is_empty())
    }

    fn lane(&mut self, id: u64, lane: u16) -> Option<&mut Lane> {
        let member = self.members.get_mut(&id)?;
        let lane = if member.is_command { 0 } else { lane };
        Some(member.lanes.entry(lane).or_default())
    }

    fn want(&mut self, id: u64, lane: u16, at: Origin) {
        let is_command = self.members.get(&id).is_some_and(|m| m.is_command);
        let lane = if is_command { 0 } else { lane };
        if let Some(state @ Lane::Free) = self.lane(id, lane) {
            *state = Lane::Wanting(at.clone());
            let asker = asker(id, lane);
            self.sessions.tell(self.now, &at, PoolEvent::Want(asker));
        }
    }

    /// An attempt to connect ends, somehow.
    fn connect(&mut self, id: u64, lane: u16, how: u8) {
        let now = self.now;
        let Some(state) = self.lane(id, lane) else {
            return;
        };
        let Lane::Opening(at, session) = state else {
            return;
        };
        let (at, session) = (at.clone(), *session);
        // What it hears of next is for the wish, which stands.
        *state = Lane::Wanting(at.clone());
        match how % 4 {
            0 | 1 => {
                let socket = Socket::new(&self.sockets);
                self.sessions.opened(now, &at, (session, self.room), socket);
            }
            3 if self.sessions.exhausted(now, &at, session) => {}
            _ => {
                *self.lane(id, lane).expect("it is there") = Lane::Free;
                self.sessions.tell(now, &at, PoolEvent::Failed(session));
            }
        }
    }

    fn release(&mut self, id: u64, lane: u16, open: bool) {
        let now = self.now;
        let is_command = self.members.get(&id).is_some_and(|m| m.is_command);
        let lane = if is_command { 0 } else { lane };
        match self.lane(id, lane).map(std::mem::take) {
            None | Some(Lane::Free) => {}
            Some(Lane::Wanting(at) | Lane::Opening(at, _)) => {
                let event = PoolEvent::Withdraw(asker(id, lane));
                self.sessions.tell(now, &at, event);
            }
            Some(Lane::Using(at, session, ours)) => {
                drop(ours);
                let room = if open { self.room } else { 0 };
                let event = returned(session, asker(id, lane), room);
                self.sessions.tell(now, &at, event);
            }
        }
    }

    fn leave(&mut self, id: u64) {
        let lanes = self.members.get(&id).map(|m| m.lanes.keys().copied());
        for lane in lanes.into_iter().flatten().collect::<Vec<_>>() {
            self.release(id, lane, lane.is_multiple_of(2));
        }
        // What is under way to it goes back.
        self.hear(id, usize::MAX, 0);
        self.members.remove(&id);
        self.sessions.leave(id);
        self.permits(|permits, now| permits.forget(now, id));
    }

    /// A transfer hears so many words, as its driver would.
    fn hear(&mut self, id: u64, most: usize, how: u8) {
        for _ in 0..most {
            let member = self.members.get_mut(&id);
            let Some(word) = member.and_then(|m| m.words.try_recv().ok()) else {
                return;
            };
            self.word(id, word, how);
        }
    }

    fn word(&mut self, id: u64, word: Word<Socket>, how: u8) {
        let now = self.now;
        match word {
            Word::Note(_) | Word::Room { .. } => {}
            Word::Open {
                lane,
                id: session,
                origin,
            } => match self.lane(id, lane.0) {
                Some(state) if state.wants(&origin) => *state = Lane::Opening(origin, session),
                _ => self.sessions.tell(now, &origin, PoolEvent::Failed(session)),
            },
            Word::Lend {
                lane,
                id: given,
                origin,
                session,
            } => match self.lane(id, lane.0) {
                Some(state) if state.wants(&origin) => *state = Lane::Using(origin, given, session),
                _ => {
                    drop(session);
                    let event = returned(given, asker(id, lane.0), self.room);
                    self.sessions.tell(now, &origin, event);
                }
            },
            Word::GiveWay { lane, id: taken } => match self.lane(id, lane.0) {
                Some(state @ Lane::Opening(..)) => {
                    let Lane::Opening(origin, opening) = std::mem::take(state) else {
                        return;
                    };
                    assert_eq!(opening, taken, "what connects is what has to go");
                    *state = Lane::Wanting(origin);
                }
                Some(Lane::Using(origin, used, _)) if *used == taken => {
                    let origin = origin.clone();
                    if how.is_multiple_of(4) {
                        let who = (taken, asker(id, lane.0));
                        self.sessions.keep(now, &origin, who);
                    } else {
                        self.release(id, lane.0, how.is_multiple_of(2));
                        self.want(id, lane.0, origin);
                    }
                }
                _ => {}
            },
        }
    }

    /// Everybody hears everything; then the counts are true.
    fn look(&mut self, how: u8) {
        let under_way = |member: &Member| !member.words.is_empty();
        while let Some((id, _)) = self.members.iter().find(|(_, m)| under_way(m)) {
            let id = *id;
            self.hear(id, usize::MAX, how);
        }
        let shared = self.sessions.lock();
        let (mut permits, mut sessions) = (0, self.sockets.load(Ordering::SeqCst));
        for id in self.commands.keys() {
            permits += usize::from(shared.permits.has(asker(*id, 0)));
        }
        for (id, member) in &self.members {
            if member.is_command && !member.lanes.contains_key(&0) {
                permits += usize::from(shared.permits.has(asker(*id, 0)));
            }
            for (lane, state) in &member.lanes {
                let has = shared.permits.has(asker(*id, *lane));
                permits += usize::from(has);
                match state {
                    Lane::Free | Lane::Wanting(_) => {}
                    Lane::Opening(..) => {
                        sessions += 1;
                        assert!(has, "nobody connects without a permit");
                    }
                    Lane::Using(..) => assert!(has, "nobody uses a session without a permit"),
                }
            }
        }
        assert_eq!(
            shared.permits.out(),
            permits,
            "a permit for each, and none else"
        );
        assert_eq!(shared.budget.held(), sessions);
    }

    fn step(&mut self, what: u8, who: u8, n: u8) {
        let lane = u16::from(n) % 4;
        let member = self.some_member(who).unwrap_or_default();
        match what % 20 {
            0 => {
                let id = self.number();
                self.permits(|permits, _| permits.declare(id, priority(n)));
                self.join(id, false);
            }
            1 | 2 => self.command(n),
            3 => {
                let active = &self.active[usize::from(n) % PEERS as usize];
                active.fetch_xor(true, Ordering::SeqCst);
                self.permits(|permits, now| permits.tick(now));
            }
            4 => {
                let id = self.commands.keys().copied().nth(usize::from(n % 8));
                self.cancel(id.unwrap_or_default());
            }
            5 | 6 => self.begin(),
            7..=9 => self.want(member, lane, origin(n / 8)),
            10 | 11 => self.connect(member, lane, n / 4),
            12 => self.release(member, if n > 200 { 0 } else { lane }, n.is_multiple_of(2)),
            13 => self.leave_if_there(member),
            14 => self.replace_peer(u64::from(n) % PEERS),
            15 => {
                let signs = [Sign::Descriptors(u64::from(n % 16))];
                self.sessions
                    .pressure(self.now, &signs[..usize::from(n % 2)]);
            }
            16 => drop(self.sessions.expire(self.now)),
            _ => self.hear(member, usize::from(n % 3), n),
        }
    }

    fn leave_if_there(&mut self, id: u64) {
        if self.members.contains_key(&id) {
            self.leave(id);
        }
    }
}

fn asker(transfer: u64, lane: u16) -> Asker {
    let lane = LaneId(lane);
    Asker { transfer, lane }
}

impl Lane {
    fn wants(&self, origin: &Origin) -> bool {
        matches!(self, Lane::Wanting(at) | Lane::Opening(at, _) if at == origin)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    /// `World::look` judges whenever everything has been heard.
    #[test]
    fn no_permit_is_lost_and_none_is_had_twice(
        process in 1usize..6,
        per_origin in 1usize..4,
        room in 1usize..4,
        choices in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..250),
    ) {
        let mut world = World::new(process, per_origin).with_room(room);
        for (what, who, n) in choices {
            world.now = world.now + Duration::from_millis(u64::from(n) * 20);
            world.step(what, who, n);
            if n % 3 > 0 {
                world.look(n);
            }
        }
        for id in world.commands.keys().copied().collect::<Vec<_>>() {
            world.cancel(id);
        }
        for id in world.members.keys().copied().collect::<Vec<_>>() {
            world.leave(id);
            world.look(1);
        }
        for peer in 0..PEERS {
            world.permits(|permits, now| permits.unregister(now, peer));
        }
        world.sessions.expire(Timestamp::NEVER);
        world.look(1);
        prop_assert_eq!(world.sessions.held().0, 0);
        prop_assert_eq!(world.sockets.load(Ordering::SeqCst), 0);
        let shared = world.sessions.lock();
        prop_assert!(shared.permits.is_empty() && shared.origins.is_empty());
    }
}

/// Two lanes of download 1 at one origin, which is all there may be.
fn full() -> World {
    let mut world = World::new(2, 2);
    for peer in 0..PEERS {
        world.permits(|permits, now| permits.unregister(now, peer));
    }
    world.join(1, false);
    for lane in 0..2 {
        world.want(1, lane, origin(0));
        world.hear(1, usize::MAX, 1);
        world.connect(1, lane, 0);
        world.hear(1, usize::MAX, 1);
    }
    assert_eq!(world.sockets.load(Ordering::SeqCst), 2);
    world
}

fn room(world: &mut World) -> Vec<(Origin, u16)> {
    let words = &mut world.members.get_mut(&1).expect("it is there").words;
    let words = std::iter::from_fn(|| words.try_recv().ok());
    words
        .filter_map(|word| match word {
            Word::Room { origin, lanes } => Some((origin, lanes)),
            _ => None,
        })
        .collect()
}

#[test]
fn who_waits_for_an_origin_that_has_nothing_makes_others_narrower() {
    let mut world = full();
    world.join(2, false);
    world.want(2, 0, origin(1));
    assert_eq!(room(&mut world), [(origin(0), 1)], "for a download");
    world.release(2, 0, true);
    assert_eq!(room(&mut world), [(origin(0), 2)], "it waits no more");
    let low = look(&Arc::default());
    world.permits(|permits, now| permits.register(now, 7, low, None));
    let waiting = Waiting {
        transfer: 8,
        peer: 7,
        origin: origin(2),
        priority: Priority::Low,
        demand: None,
    };
    world.permits(|permits, now| permits.enqueue(now, waiting));
    assert_eq!(room(&mut world), [(origin(0), 1)], "for a command");
    world.permits(|permits, now| permits.forget(now, 8));
    assert_eq!(room(&mut world), [(origin(0), 2)], "it was cancelled");
}

#[test]
fn a_command_stays_what_it_was_when_its_lane_asks_again() {
    let mut world = World::new(1, 1);
    let wanted = Arc::new(AtomicBool::new(false));
    let has = |world: &World, id| world.permits(|permits, _| permits.has(asker(id, 0)));
    let ask = |world: &mut World, (transfer, peer), demand: Option<&Arc<AtomicBool>>| {
        let waiting = Waiting {
            transfer,
            peer,
            origin: origin(0),
            priority: Priority::Low,
            demand: demand.map(|wanted| -> crate::command::Demand {
                let wanted = Arc::clone(wanted);
                Box::new(move || wanted.load(Ordering::SeqCst))
            }),
        };
        world.permits(|permits, now| permits.enqueue(now, waiting));
        world.join(transfer, true);
        world.want(transfer, 0, origin(0));
    };
    ask(&mut world, (11, 0), None);
    // It keeps its permit while it waits to try again.
    world.release(11, 0, true);
    ask(&mut world, (12, 0), Some(&wanted));
    assert!(has(&world, 11) && !has(&world, 12));
    // But not where somebody urgent needs it.
    world.active[1].store(true, Ordering::SeqCst);
    ask(&mut world, (13, 1), None);
    assert!(has(&world, 13) && !has(&world, 11));
    world.want(11, 0, origin(0));
    assert!(!has(&world, 11));
    // Somebody waits for 12 now, and 11 is only fetched ahead, though it has waited longer.
    wanted.store(true, Ordering::SeqCst);
    world.permits(|permits, now| permits.tick(now));
    world.leave(13);
    assert!(has(&world, 12) && !has(&world, 11));
}
