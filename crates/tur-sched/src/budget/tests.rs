//! The budget against origins that want, use and return sessions at random, and chosen shortages for the rules.

use std::collections::BTreeMap;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

type Origin = u8;

fn at(secs: u64) -> Timestamp {
    Timestamp::from_micros(secs * 1_000_000)
}

/// One origin: the sessions that it has, in each of their states.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    waiting: usize,
    opening: usize,
    lent: usize,
    idle: usize,
    owed: usize,
}

impl Place {
    fn held(self) -> usize {
        self.opening + self.lent + self.idle
    }

    fn standing(self) -> Standing {
        Standing {
            held: self.held(),
            idle: self.idle,
            wants: self.waiting,
            awaited: false,
            owed: self.owed,
        }
    }

    fn lend_idle(&mut self) {
        let served = self.idle.min(self.waiting);
        self.idle -= served;
        self.waiting -= served;
        self.lent += served;
    }
}

/// All origins, and the budget that they obey.
struct World {
    budget: Budget<Origin>,
    places: BTreeMap<Origin, Place>,
    news: Vec<BudgetAction<Origin>>,
    opened: BTreeMap<Origin, usize>,
}

impl World {
    fn new(ceiling: usize) -> Self {
        Self {
            budget: Budget::new(ceiling),
            places: BTreeMap::new(),
            news: Vec::new(),
            opened: BTreeMap::new(),
        }
    }

    /// Something happens at an origin; everything that follows from it is done.
    fn change(&mut self, origin: Origin, how: impl FnOnce(&mut Place)) {
        let place = self.places.entry(origin).or_default();
        how(place);
        place.lend_idle();
        self.budget.tell(&origin, place.standing());
        self.obey();
    }

    fn want(&mut self, origin: Origin, n: usize) {
        self.change(origin, |place| place.waiting += n);
    }

    fn connect_all(&mut self) {
        for origin in self.places.keys().copied().collect::<Vec<_>>() {
            self.change(origin, |place| {
                place.lent += core::mem::take(&mut place.opening);
            });
        }
    }

    /// A lane gives a session back that could be used again.
    fn give_back(&mut self, origin: Origin) {
        self.change(origin, |place| {
            if place.lent == 0 {
                return;
            }
            place.lent -= 1;
            if place.owed > 0 {
                place.owed -= 1;
            } else {
                place.idle += 1;
            }
        });
    }

    fn obey(&mut self) {
        for _ in 0..1_000 {
            let Some(action) = self.budget.poll_action() else {
                return self.check();
            };
            let (BudgetAction::Open(origin)
            | BudgetAction::Close(origin)
            | BudgetAction::Owe(origin, _)) = action
            else {
                self.news.push(action);
                continue;
            };
            let held: usize = self.places.values().map(|place| place.held()).sum();
            let place = self
                .places
                .get_mut(&origin)
                .expect("an origin that was told of");
            match action {
                BudgetAction::Open(_) => {
                    assert!(held < self.budget.allowed(), "over what is allowed");
                    assert!(place.waiting > 0, "opened for nobody");
                    place.waiting -= 1;
                    place.opening += 1;
                    *self.opened.entry(origin).or_default() += 1;
                }
                BudgetAction::Close(_) => {
                    assert!(place.idle > 0, "closed what is in use");
                    place.idle -= 1;
                }
                BudgetAction::Owe(_, n) => place.owed = n,
                _ => unreachable!("news were taken above"),
            }
            self.budget.tell(&origin, place.standing());
        }
        panic!("it never comes to rest: {:?}", self.budget);
    }

    /// What holds whenever there is nothing to do.
    fn check(&self) {
        let held: usize = self.places.values().map(|place| place.held()).sum();
        let owed: usize = self.places.values().map(|place| place.owed).sum();
        let waiting: usize = self.places.values().map(|place| place.waiting).sum();
        let idle: usize = self.places.values().map(|place| place.idle).sum();
        let allowed = self.budget.allowed();
        assert_eq!(held, self.budget.held());
        assert!(allowed >= 1);
        assert!(held <= allowed || idle == 0, "idle ones go first");
        assert!(
            held <= allowed || owed == held - allowed + starving(self),
            "{self:?}"
        );
        assert!(waiting == 0 || held >= allowed, "a slot is left unused");
    }

    /// Nobody wants anything more and everything comes back.
    fn wind_down(&mut self) {
        for origin in self.places.keys().copied().collect::<Vec<_>>() {
            self.change(origin, |place| *place = Place::default());
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?}", self.places, self.budget)
    }
}

/// Origins that have nothing and want something, as far as others can give.
fn starving(world: &World) -> usize {
    let held: usize = world.places.values().map(|place| place.held()).sum();
    let starving = world
        .places
        .values()
        .filter(|place| place.held() == 0 && place.waiting > 0);
    starving.count().min(world.budget.allowed().min(held))
}

#[test]
fn origins_take_turns_and_none_has_more_than_there_is() {
    let mut world = World::new(6);
    for origin in [3, 1, 2] {
        world.want(origin, 10);
    }
    world.connect_all();
    assert_eq!(world.places[&3].held(), 6, "the first found it empty");
    assert_eq!((world.places[&1].held(), world.places[&2].held()), (0, 0));
    assert_eq!(world.places[&3].owed, 2, "one for each that has none");
    for _ in 0..10 {
        world.give_back(3);
        world.connect_all();
    }
    for origin in [1, 2] {
        assert!(world.places[&origin].held() >= 1, "{world:?}");
    }
}

#[test]
fn idle_sessions_make_room_for_who_waits() {
    let mut world = World::new(4);
    world.want(1, 4);
    world.connect_all();
    for _ in 0..4 {
        world.give_back(1);
    }
    assert_eq!(world.places[&1].idle, 4);
    world.want(2, 3);
    assert_eq!(world.places[&1].idle, 1, "only as many as are wanted");
    assert_eq!(world.places[&2].opening, 3);
    assert!(
        world.news.is_empty(),
        "a ceiling that is reached is no shortage"
    );
}

#[test]
fn a_shortage_sheds_idle_ones_first_and_then_asks_for_the_rest() {
    let mut world = World::new(128);
    world.want(1, 20);
    world.want(2, 8);
    world.connect_all();
    for _ in 0..5 {
        world.give_back(2);
    }
    world.budget.pressure(at(1), &[Sign::Available(100 << 20)]);
    world.obey();
    assert_eq!(world.budget.allowed(), 16);
    assert_eq!(world.places[&2].idle, 0);
    assert_eq!((world.places[&1].owed, world.places[&2].owed), (7, 0));
    let shrunk = BudgetAction::Shrunk {
        allowed: 16,
        why: Shortage::Memory,
    };
    assert_eq!(world.news, [shrunk]);
    for _ in 0..20 {
        world.give_back(1);
    }
    assert_eq!(world.budget.held(), 16);
    // There is room again: nothing is owed any more, and nothing was lost.
    let free = [Sign::Available(4 << 30), Sign::Descriptors(1_000)];
    world.budget.pressure(at(2), &free);
    world.budget.pressure(at(11), &free);
    assert_eq!(world.budget.allowed(), 16, "not calm for long enough");
    world.budget.pressure(at(12), &free);
    world.obey();
    assert_eq!(world.budget.allowed(), 128);
    assert_eq!(world.news[1..], [BudgetAction::Grown { allowed: 128 }]);
    world.want(1, 200);
    assert_eq!(world.budget.held(), 128, "all of it can be used again");
}

#[test]
fn what_is_enough_for_now_is_not_enough_to_grow() {
    let mut budget: Budget<Origin> = Budget::new(128);
    budget.pressure(at(0), &[Sign::Limit(255 << 20)]);
    assert_eq!(budget.allowed(), 16);
    for secs in 1..100 {
        // Up and down around a bound of the table.
        let bytes = (250 + secs % 20) << 20;
        budget.pressure(at(secs), &[Sign::Limit(bytes)]);
        assert_eq!(budget.allowed(), 16, "{secs}");
    }
    budget.pressure(at(100), &[Sign::Limit(400 << 20)]);
    budget.pressure(at(110), &[Sign::Limit(400 << 20)]);
    assert_eq!(budget.allowed(), 64);
}

#[test]
fn the_least_of_all_signs_counts_and_one_session_is_always_allowed() {
    let rows = [
        (&[][..], 128),
        (&[Sign::Available(1 << 40)], 128),
        (&[Sign::Available(0)], 1),
        (&[Sign::Available(16 << 20)], 4),
        (&[Sign::Available(512 << 20)], 128),
        (&[Sign::Available(1 << 40), Sign::Limit(20 << 20)], 4),
        (&[Sign::Descriptors(0)], 1),
        (&[Sign::Descriptors(8)], 1),
        (&[Sign::Descriptors(18)], 10),
        (&[Sign::Descriptors(u64::MAX)], 128),
    ];
    for (signs, allowed) in rows {
        let mut budget: Budget<Origin> = Budget::new(128);
        budget.pressure(at(0), signs);
        assert_eq!(budget.allowed(), allowed, "{signs:?}");
    }
    assert!(
        MEMORY
            .iter()
            .all(|row| row.sessions >= 1 && !row.why.is_empty())
    );
    assert!(
        MEMORY
            .windows(2)
            .all(|pair| { pair[0].below < pair[1].below && pair[0].sessions < pair[1].sessions })
    );
    // What the rows say of themselves: 4 MiB for each session, of the least that the row stands for.
    for pair in MEMORY.windows(2) {
        assert_eq!(pair[1].sessions as u64 * 4 * MIB, pair[0].below);
    }
}

#[test]
fn exhaustion_holds_at_once_and_longer_each_time() {
    let mut world = World::new(128);
    world.want(1, 10);
    world.connect_all();
    world.budget.exhausted(at(0));
    world.obey();
    assert_eq!(world.budget.allowed(), 10);
    world.want(1, 5);
    assert_eq!(world.places[&1].waiting, 5);
    assert_eq!(world.news.len(), 1, "it is felt now");
    let mut grown = Vec::new();
    for secs in 0..400 {
        let before = world.budget.allowed();
        world.budget.pressure(at(secs), &[]);
        if world.budget.allowed() > before {
            grown.push(secs);
            world.budget.exhausted(at(secs));
        }
    }
    assert_eq!(
        grown,
        [40, 110, 240],
        "30 s, 60 s, 120 s, and ten of calm each"
    );
}

#[test]
fn a_new_ceiling_holds_at_once() {
    let mut world = World::new(10);
    world.want(1, 50);
    world.connect_all();
    assert_eq!(world.budget.held(), 10);
    world.budget.set_ceiling(20);
    world.obey();
    assert_eq!(world.budget.held(), 20);
    world.budget.set_ceiling(0);
    world.obey();
    assert_eq!((world.budget.allowed(), world.places[&1].owed), (1, 19));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    /// `World::obey` and `World::check` judge every step.
    #[test]
    fn nothing_is_issued_beyond_what_is_allowed_and_all_of_it_comes_back(
        ceiling in 0usize..12,
        choices in proptest::collection::vec(any::<(u8, u8, u8)>(), 0..200),
    ) {
        let mut world = World::new(ceiling);
        let mut now = at(0);
        for (what, origin, n) in choices {
            let origin = origin % 4;
            now = now + Duration::from_secs(u64::from(n % 16));
            match what % 12 {
                0..=2 => world.want(origin, usize::from(n % 8)),
                3 => world.connect_all(),
                // Denied, or withdrawn while it is being opened.
                4 => world.change(origin, |place| place.opening = place.opening.saturating_sub(1)),
                // Withdrawn.
                5 => world.change(origin, |place| place.waiting = place.waiting.saturating_sub(1)),
                6 | 7 => world.give_back(origin),
                // The transfer goes away, whatever it wants, opens or holds.
                8 => world.change(origin, |place| {
                    let idle = place.idle + place.lent;
                    *place = Place { idle, owed: place.owed, ..Place::default() };
                }),
                9 => {
                    let signs = [Sign::Available(u64::from(n) << 22), Sign::Descriptors(u64::from(n))];
                    world.budget.pressure(now, &signs[..usize::from(n % 3)]);
                    world.obey();
                }
                10 => {
                    // The one that failed is gone before that is said.
                    world.change(origin, |place| place.opening = place.opening.saturating_sub(1));
                    world.budget.exhausted(now);
                    world.obey();
                }
                _ => {
                    world.budget.set_ceiling(usize::from(n % 16));
                    world.obey();
                }
            }
        }
        world.wind_down();
        prop_assert_eq!(world.budget.held(), 0);
        prop_assert!(world.budget.origins.is_empty());
        world.budget.set_ceiling(9);
        for _ in 0..4 {
            now = now + Duration::from_secs(700);
            world.budget.pressure(now, &[]);
        }
        world.want(1, 20);
        prop_assert_eq!(world.budget.held(), 9, "every slot can be used again");
    }
}

/// However many come, each gets its turn as others give back.
#[test]
fn nobody_starves() {
    for (ceiling, origins) in [(1, 2), (1, 7), (2, 5), (3, 11), (5, 4), (5, 12)] {
        let mut world = World::new(ceiling);
        for origin in 0..origins {
            world.want(origin, 1_000);
        }
        for round in 0..usize::from(origins) * 20 {
            world.connect_all();
            let busy = world.places.iter().filter(|(_, place)| place.lent > 0);
            let busy: Vec<_> = busy.map(|(origin, _)| *origin).collect();
            world.give_back(busy[round % busy.len()]);
        }
        let opened = |origin| world.opened.get(&origin).copied().unwrap_or_default();
        for origin in 0..origins {
            assert!(opened(origin) > 0, "{origin} of {origins}: {world:?}");
        }
    }
}

/// An origin whose lanes may not even ask is made room for like one that asks.
#[test]
fn who_waits_for_a_permit_is_made_room_for() {
    let mut budget = Budget::new(4);
    let full = Standing {
        held: 4,
        ..Standing::default()
    };
    budget.tell(&1, full);
    let awaited = Standing {
        awaited: true,
        ..Standing::default()
    };
    budget.tell(&2, awaited);
    assert_eq!(budget.poll_action(), Some(BudgetAction::Owe(1, 1)));
    assert_eq!(budget.poll_action(), None);
}

#[test]
fn a_slot_is_not_kept_for_who_cannot_use_it_yet() {
    let mut budget = Budget::new(4);
    let stands = |held, wants, awaited, owed| Standing {
        held,
        idle: 0,
        wants,
        awaited,
        owed,
    };
    budget.tell(&1, stands(3, 0, false, 0));
    budget.tell(&2, stands(0, 0, true, 0));
    budget.tell(&3, stands(0, 0, true, 0));
    assert_eq!(budget.poll_action(), Some(BudgetAction::Owe(1, 1)));
    assert_eq!(budget.poll_action(), None);
    // The others wait for a permit; the last one was given to the first origin.
    budget.tell(&1, stands(3, 1, false, 1));
    assert_eq!(budget.poll_action(), Some(BudgetAction::Open(1)));
    // Who can use it goes first.
    budget.tell(&1, stands(3, 1, false, 1));
    budget.tell(&2, stands(0, 1, false, 0));
    assert_eq!(budget.poll_action(), Some(BudgetAction::Open(2)));
}

/// Permits keep what is wanted below what is allowed: who waits for one feels the shortage all the same.
#[test]
fn a_shortage_is_told_to_who_waits_for_a_permit() {
    let mut budget = Budget::new(8);
    let full = Standing {
        held: 2,
        awaited: true,
        ..Standing::default()
    };
    budget.tell(&1, full);
    assert_eq!(budget.poll_action(), None);
    budget.pressure(Timestamp::ZERO, &[Sign::Descriptors(8)]);
    let why = Shortage::Descriptors;
    assert_eq!(
        budget.poll_action(),
        Some(BudgetAction::Shrunk { allowed: 2, why })
    );
    assert_eq!(budget.poll_action(), None);
}
