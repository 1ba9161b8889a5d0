//! The answers that one worker keeps: bounded, dated, and void once something changed them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::ABSENT_AGE_MAX;
use crate::authz::catalog::CredentialKindId;
use crate::authz::catalog::lookups::{CHAIN_MAX, LookupId, LookupSet};
use crate::authz::decide::{Asker, Changed};
use crate::authz::looked_up::{Thing, Told};
use crate::authz::reason::Reason;

/// Things whose containers a worker knows, of one gate. Some 200 bytes each, and 50 for each container beyond the first.
pub const FOUND_MAX: usize = 10_000;
/// What lies in more is asked about each time.
const HOMES_KEPT_MAX: usize = 16;
/// Things of which a worker knows that somebody may not see them.
pub const ABSENT_MAX: usize = 10_000;
/// The most of these that one app can make it keep.
pub const ABSENT_OF_APP_MAX: usize = 1_000;

/// How many counters of changes a gate has. Things that are counted by the same one make each other's answers void.
const COUNTERS: usize = 8_192;
/// The most counters that one answer hangs on: two for each thing on the way.
const HANGS_ON_MAX: usize = 2 * CHAIN_MAX;

/// How often answers may have changed, by what changed. Shared by the workers of a gate.
#[derive(Debug)]
pub struct Changes {
    /// Secret: nobody can choose names that fall together with another's.
    keys: RandomState,
    counters: Box<[AtomicU64]>,
}

/// One of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(u16);

/// What is counted of a look-up in a tenant.
#[derive(Hash)]
enum Counted<'t> {
    /// Whatever changed.
    All,
    /// Changes of which it cannot be told what they change.
    Any,
    /// Changes of one thing.
    One(&'t str),
}

impl Default for Changes {
    fn default() -> Self {
        let counters = (0..COUNTERS).map(|_| AtomicU64::new(0)).collect();
        Self { keys: RandomState::new(), counters }
    }
}

impl Changes {
    fn counter(&self, tenant: &str, lookup: LookupId, counted: &Counted<'_>) -> Counter {
        let number = self.keys.hash_one((tenant, lookup, counted)) % (COUNTERS as u64);
        Counter(u16::try_from(number).unwrap_or_default())
    }

    /// Products tell ids apart by case nowhere, and some take either.
    fn one(&self, tenant: &str, lookup: LookupId, identity: &str) -> Counter {
        self.counter(tenant, lookup, &Counted::One(&identity.to_ascii_lowercase()))
    }

    /// What a change counts up, in order: who finds that nothing at all changed must not have missed the one.
    pub fn of(&self, tenant: &str, changed: &[Changed]) -> Box<[Counter]> {
        let mut counters = Vec::with_capacity(2 * changed.len());
        for Changed { lookup, thing } in changed {
            counters.push(self.counter(tenant, *lookup, &Counted::All));
            counters.push(match thing {
                Some(identity) => self.one(tenant, *lookup, identity),
                None => self.counter(tenant, *lookup, &Counted::Any),
            });
        }
        counters.into()
    }

    pub fn count(&self, counters: &[Counter]) {
        for counter in counters {
            if let Some(count) = self.counters.get(usize::from(counter.0)) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn read(&self, counter: Counter) -> u64 {
        self.counters.get(usize::from(counter.0)).map_or(0, |count| count.load(Ordering::SeqCst))
    }
}

/// What some look-ups may have told since.
#[derive(Debug)]
pub struct Since(Box<[(Counter, u64)]>);

impl Since {
    pub fn now(changes: &Changes, tenant: &str, of: LookupSet) -> Self {
        let counters = of.iter().map(|lookup| changes.counter(tenant, lookup, &Counted::All));
        Self(counters.map(|counter| (counter, changes.read(counter))).collect())
    }

    pub fn is_unchanged(&self, changes: &Changes) -> bool {
        self.0.iter().all(|(counter, before)| changes.read(*counter) == *before)
    }
}

/// A question that was begun, and what was counted then.
#[derive(Debug)]
pub struct Begun {
    at: Instant,
    all: (Counter, u64),
    any: (Counter, u64),
    one: Option<(Counter, u64)>,
}

impl Begun {
    /// `identity`: of the thing, where its name is that.
    pub fn now(changes: &Changes, tenant: &str, lookup: LookupId, identity: Option<&str>) -> Self {
        let read = |counter| (counter, changes.read(counter));
        Self {
            at: Instant::now(),
            all: read(changes.counter(tenant, lookup, &Counted::All)),
            any: read(changes.counter(tenant, lookup, &Counted::Any)),
            one: identity.map(|identity| read(changes.one(tenant, lookup, identity))),
        }
    }

    /// It was answered: nothing is told yet, but what that will hang on. `told_of`: the thing's identity, where the answer
    /// alone told it. What else nobody told hangs on whatever changes.
    pub fn answered(self, changes: &Changes, tenant: &str, lookup: LookupId, told_of: Option<&str>) -> Dated {
        let dated = Dated { asked_at: self.at, ..Dated::of_nothing(Told::Nowhere) };
        match (self.one, told_of.map(|identity| changes.one(tenant, lookup, identity))) {
            (Some(one), _) => dated.on(self.any).on(one),
            (None, Some(one)) => {
                let one = (one, changes.read(one));
                // Read after the one: where nothing changed meanwhile, that one had not either.
                let is_void = changes.read(self.all.0) != self.all.1;
                Dated { is_void, ..dated.on(self.any).on(one) }
            }
            (None, None) => dated.on(self.all),
        }
    }
}

/// An answer, when it was asked for, and what must not have changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    pub told: Told,
    asked_at: Instant,
    hangs_on: [Option<Counter>; HANGS_ON_MAX],
    /// What they counted, together: each only grows.
    stamp: u64,
    /// Something changed before it was answered.
    is_void: bool,
    /// Another one may be told of more.
    is_to_asker: bool,
}

impl Dated {
    fn of_nothing(told: Told) -> Self {
        let hangs_on = [None; HANGS_ON_MAX];
        Self { told, asked_at: Instant::now(), hangs_on, stamp: 0, is_void: false, is_to_asker: false }
    }

    fn on(mut self, (counter, count): (Counter, u64)) -> Self {
        match self.hangs_on.iter_mut().find(|room| room.is_none()) {
            Some(room) => *room = Some(counter),
            None => self.is_void = true,
        }
        Self { stamp: self.stamp.wrapping_add(count), ..self }
    }

    /// A list of what somebody may see may be longer for somebody else.
    pub fn of_a_list(self) -> Self {
        Self { is_to_asker: true, ..self }
    }

    pub fn failed(reason: Reason, retry_after_s: Option<u32>) -> Self {
        Self::of_nothing(Told::Failed { reason, retry_after_s })
    }

    /// The thing lies where another one lies: it hangs on whatever changes either.
    pub fn goes_on(self, next: Self) -> Self {
        let mut both = Self {
            told: next.told,
            asked_at: self.asked_at.min(next.asked_at),
            is_void: self.is_void || next.is_void,
            is_to_asker: self.is_to_asker || next.is_to_asker,
            ..self
        };
        for counter in next.hangs_on.into_iter().flatten() {
            both = both.on((counter, 0));
        }
        Self { stamp: both.stamp.wrapping_add(next.stamp), ..both }
    }

    /// Whether nothing that it hangs on changed since it began.
    pub fn is_unchanged(&self, changes: &Changes) -> bool {
        let counters = self.hangs_on.iter().flatten();
        !self.is_void && counters.fold(0_u64, |sum, one| sum.wrapping_add(changes.read(*one))) == self.stamp
    }

    fn counts(&self, age: Duration, now: Instant, changes: &Changes) -> bool {
        now.saturating_duration_since(self.asked_at) < age && self.is_unchanged(changes)
    }
}

/// A found thing, and whom it is known for.
type Found = (Whom, Thing);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whom {
    /// What one credential of a kind was told of the one container of a thing holds for all of that kind.
    Kind(Arc<str>, CredentialKindId),
    Asker(Asker),
}

impl Whom {
    fn of_kind(asker: &Asker) -> Self {
        Self::Kind(Arc::clone(&asker.tenant), asker.kind)
    }
}

#[derive(Debug, Default)]
pub struct Cache {
    found: HashMap<Found, Dated>,
    absent: HashMap<(Asker, Thing), Dated>,
    absent_of_app: HashMap<Arc<str>, usize>,
}

impl Cache {
    /// What counts still. `ages`: how old it may be where the thing was found, and where it was not.
    pub fn get(&self, asker: &Asker, thing: &Thing, ages: (Duration, Duration), changes: &Changes) -> Option<Dated> {
        let now = Instant::now();
        for whom in [Whom::of_kind(asker), Whom::Asker(asker.clone())] {
            let found = self.found.get(&(whom, thing.clone()));
            if let Some(found) = found.filter(|found| found.counts(ages.0, now, changes)) {
                return Some(found.clone());
            }
        }
        if self.absent.is_empty() {
            return None;
        }
        let absent = self.absent.get(&(asker.clone(), thing.clone()));
        absent.filter(|absent| absent.counts(ages.1, now, changes)).cloned()
    }

    /// Keeps an answer. A question that failed is asked again by whoever comes next.
    pub fn keep(&mut self, asker: &Asker, thing: &Thing, dated: &Dated) {
        match dated.told {
            Told::In { ref homes, .. } if homes.len() > HOMES_KEPT_MAX => {}
            Told::In { .. } => {
                if self.found.len() >= FOUND_MAX {
                    halve(&mut self.found);
                }
                let whom = if dated.is_to_asker { Whom::Asker(asker.clone()) } else { Whom::of_kind(asker) };
                self.found.insert((whom, thing.clone()), dated.clone());
            }
            Told::Nowhere => self.keep_absent(asker, thing, dated),
            Told::Failed { .. } => {}
        }
    }

    fn keep_absent(&mut self, asker: &Asker, thing: &Thing, dated: &Dated) {
        if self.absent.len() >= ABSENT_MAX || self.of_app(asker) >= ABSENT_OF_APP_MAX {
            // One app's guesses push out its own, and never what is known of another's.
            self.absent.retain(|(other, _), _| other.app != asker.app);
            self.absent_of_app.remove(&asker.app);
        }
        if self.absent.len() >= ABSENT_MAX {
            self.forget_old();
        }
        if self.absent.len() >= ABSENT_MAX {
            return;
        }
        if self.absent.insert((asker.clone(), thing.clone()), dated.clone()).is_none() {
            *self.absent_of_app.entry(Arc::clone(&asker.app)).or_default() += 1;
        }
    }

    /// Of apps that ask no more nothing is pushed out by their own.
    fn forget_old(&mut self) {
        let now = Instant::now();
        self.absent.retain(|_, dated| now.saturating_duration_since(dated.asked_at) < ABSENT_AGE_MAX);
        self.absent_of_app.clear();
        for (asker, _) in self.absent.keys() {
            *self.absent_of_app.entry(Arc::clone(&asker.app)).or_default() += 1;
        }
    }

    fn of_app(&self, asker: &Asker) -> usize {
        self.absent_of_app.get(&asker.app).copied().unwrap_or_default()
    }
}

/// Keeps the younger half.
fn halve(found: &mut HashMap<Found, Dated>) {
    let mut dates: Vec<Instant> = found.values().map(|dated| dated.asked_at).collect();
    let middle = dates.len() / 2;
    let (_, middle, _) = dates.select_nth_unstable(middle);
    let middle = *middle;
    found.retain(|_, dated| dated.asked_at > middle);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::catalog::VariantMask;
    use crate::authz::catalog::lookups::Home;

    const LONG: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(600));

    fn asker(app: &str, kind: u8) -> Asker {
        Asker { tenant: "acme".into(), app: app.into(), kind: CredentialKindId(kind), user: None }
    }

    fn thing(lookup: u8, name: &str) -> Thing {
        Thing { lookup: LookupId(lookup), name: name.into() }
    }

    /// An answer of a look-up whose things have no identity.
    fn begun(lookup: u8, changes: &Changes) -> Dated {
        answer(lookup, None, None, changes)
    }

    /// That there is none, of a thing by its identity, or by another name.
    fn answer(lookup: u8, identity: Option<&str>, told_of: Option<&str>, changes: &Changes) -> Dated {
        let lookup = LookupId(lookup);
        Begun::now(changes, "acme", lookup, identity).answered(changes, "acme", lookup, told_of)
    }

    fn in_one(dated: Dated) -> Dated {
        let homes = Arc::new([Home { id: Some("1".into()), key: None, is_word: false }]);
        Dated { told: Told::In { homes, variants: VariantMask::NONE }, ..dated }
    }

    fn found(lookup: u8, changes: &Changes) -> Dated {
        in_one(begun(lookup, changes))
    }

    fn change(changes: &Changes, tenant: &str, lookup: u8, thing: Option<&str>) {
        let changed = Changed { lookup: LookupId(lookup), thing: thing.map(Into::into) };
        changes.count(&changes.of(tenant, &[changed]));
    }

    #[test]
    fn what_was_found_is_known_to_the_same_kind_and_what_was_not_to_the_same_caller() {
        let (mut cache, changes) = (Cache::default(), Changes::default());
        cache.keep(&asker("a", 0), &thing(0, "7"), &found(0, &changes));
        cache.keep(&asker("a", 0), &thing(0, "8"), &begun(0, &changes));
        cache.keep(&asker("a", 0), &thing(0, "9"), &Dated::failed(Reason::RateLimited, None));
        let knows = |asker: &Asker, name: &str| cache.get(asker, &thing(0, name), LONG, &changes).is_some();
        assert!(knows(&asker("a", 0), "7") && knows(&asker("b", 0), "7") && !knows(&asker("a", 1), "7"));
        assert!(!knows(&Asker { tenant: "other".into(), ..asker("a", 0) }, "7"), "ids of two tenants may be equal");
        assert!(knows(&asker("a", 0), "8") && !knows(&asker("b", 0), "8"));
        assert!(!knows(&Asker { user: Some("u".into()), ..asker("a", 0) }, "8"));
        assert!(!knows(&asker("a", 0), "9"), "a failure is no fact");
        assert!(cache.get(&asker("a", 0), &thing(1, "7"), LONG, &changes).is_none(), "an issue 7 is no page 7");
    }

    #[test]
    fn what_may_be_a_part_of_it_is_known_to_who_was_told() {
        let (mut cache, changes) = (Cache::default(), Changes::default());
        cache.keep(&asker("a", 0), &thing(0, "7"), &found(0, &changes).of_a_list());
        let knows = |asker: &Asker| cache.get(asker, &thing(0, "7"), LONG, &changes).is_some();
        assert!(knows(&asker("a", 0)) && !knows(&asker("b", 0)));
        let through = begun(1, &changes).goes_on(found(0, &changes).of_a_list());
        assert!(through.is_to_asker);
    }

    #[test]
    fn what_lies_in_many_is_not_kept() {
        let (mut cache, changes) = (Cache::default(), Changes::default());
        for count in [HOMES_KEPT_MAX, HOMES_KEPT_MAX + 1] {
            let homes = (0..count)
                .map(|number| Home { id: Some(number.to_string().into()), key: None, is_word: false })
                .collect();
            let told = Told::In { homes, variants: VariantMask::NONE };
            cache.keep(&asker("a", 0), &thing(0, "7"), &Dated { told, ..begun(0, &changes) });
            let is_kept = cache.get(&asker("a", 0), &thing(0, "7"), LONG, &changes).is_some();
            assert_eq!(is_kept, count == HOMES_KEPT_MAX);
            cache = Cache::default();
        }
    }

    #[test]
    fn what_apps_left_behind_that_ask_no_more_makes_room() {
        let (mut cache, changes) = (Cache::default(), Changes::default());
        let old = Instant::now().checked_sub(ABSENT_AGE_MAX).unwrap();
        for app in 0..ABSENT_MAX / ABSENT_OF_APP_MAX {
            for number in 0..ABSENT_OF_APP_MAX {
                let dated = Dated { asked_at: old, ..begun(0, &changes) };
                cache.keep(&asker(&app.to_string(), 0), &thing(0, &number.to_string()), &dated);
            }
        }
        assert_eq!(cache.absent.len(), ABSENT_MAX);
        cache.keep(&asker("late", 0), &thing(0, "x"), &begun(0, &changes));
        assert!(cache.get(&asker("late", 0), &thing(0, "x"), LONG, &changes).is_some());
        assert_eq!((cache.absent.len(), cache.absent_of_app.len()), (1, 1));
    }

    #[test]
    fn nothing_outlives_its_age_or_a_change() {
        let (mut cache, changes) = (Cache::default(), Changes::default());
        let asker = asker("a", 0);
        cache.keep(&asker, &thing(0, "7"), &found(0, &changes));
        let counts = |cache: &Cache, age| cache.get(&asker, &thing(0, "7"), (age, age), &changes).is_some();
        assert!(counts(&cache, LONG.0) && !counts(&cache, Duration::ZERO));
        change(&changes, "acme", 1, None);
        assert!(counts(&cache, LONG.0), "another look-up's");
        change(&changes, "acme", 0, None);
        assert!(!counts(&cache, LONG.0));
        // Asked for before a change ends, and answered after: it may be of either side.
        let before = found(0, &changes);
        change(&changes, "acme", 0, None);
        cache.keep(&asker, &thing(0, "7"), &before);
        assert!(!counts(&cache, LONG.0));
    }

    #[test]
    fn a_change_makes_void_what_is_known_of_the_thing_that_it_names_and_of_no_other() {
        let changes = Changes::default();
        let seven = answer(0, Some("7"), None, &changes);
        change(&changes, "acme", 0, Some("8"));
        change(&changes, "other", 0, Some("7"));
        change(&changes, "other", 0, None);
        change(&changes, "acme", 1, Some("7"));
        assert!(seven.is_unchanged(&changes), "another thing's, another tenant's, another look-up's");
        change(&changes, "acme", 0, Some("7"));
        assert!(!seven.is_unchanged(&changes));
        let seven = answer(0, Some("7"), None, &changes);
        change(&changes, "acme", 0, None);
        assert!(!seven.is_unchanged(&changes), "nobody knows which one it was");
    }

    #[test]
    fn a_thing_that_was_asked_about_by_another_name_is_void_by_its_identity() {
        let changes = Changes::default();
        let lookup = LookupId(0);
        // PROJ-1 is the issue 7, as the answer says.
        let by_key = answer(0, None, Some("7"), &changes);
        change(&changes, "acme", 0, Some("8"));
        assert!(by_key.is_unchanged(&changes));
        change(&changes, "acme", 0, Some("7"));
        assert!(!by_key.is_unchanged(&changes));
        // While it was asked something changed, and nobody knew yet that it was this one.
        for thing in [Some("7"), None] {
            let begun = Begun::now(&changes, "acme", lookup, None);
            change(&changes, "acme", 0, thing);
            assert!(!begun.answered(&changes, "acme", lookup, Some("7")).is_unchanged(&changes));
        }
        // Of what was not found nobody knows which one it would be.
        let absent = answer(0, None, None, &changes);
        change(&changes, "acme", 0, Some("9"));
        assert!(!absent.is_unchanged(&changes));
        let braced = answer(0, Some("{AB}"), None, &changes);
        change(&changes, "acme", 0, Some("{ab}"));
        assert!(!braced.is_unchanged(&changes), "one id in two spellings");
    }

    #[test]
    fn who_waits_for_a_question_asks_anew_after_any_change_of_what_it_may_go_through() {
        let changes = Changes::default();
        let of = LookupSet::default().with(LookupId(0)).with(LookupId(1));
        for thing in [Some("7"), None] {
            let since = Since::now(&changes, "acme", of);
            change(&changes, "acme", 2, thing);
            change(&changes, "other", 1, thing);
            assert!(since.is_unchanged(&changes));
            change(&changes, "acme", 1, thing);
            assert!(!since.is_unchanged(&changes));
        }
    }

    #[test]
    fn an_answer_is_as_old_as_its_question_and_in_a_chain_as_the_first() {
        let changes = Changes::default();
        let now = Instant::now();
        let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
        let asked = |seconds| {
            let begun = Begun { at: ago(seconds), ..Begun::now(&changes, "acme", LookupId(0), Some("7")) };
            in_one(begun.answered(&changes, "acme", LookupId(0), None))
        };
        let counts = |dated: &Dated, age| dated.counts(Duration::from_secs(age), now, &changes);
        assert!(counts(&asked(6), 30) && !counts(&asked(6), 5) && !counts(&asked(31), 30));
        for through in [asked(1).goes_on(asked(6)), asked(6).goes_on(asked(1))] {
            assert!(counts(&through, 7) && !counts(&through, 5));
        }
    }

    #[test]
    fn what_lies_in_a_thing_changes_with_it() {
        let (mut cache, changes) = (Cache::default(), Changes::default());
        let asker = asker("a", 0);
        let note = begun(0, &changes).goes_on(found(1, &changes));
        assert!(matches!(note.told, Told::In { .. }));
        cache.keep(&asker, &thing(0, "7"), &note);
        let counts = |cache: &Cache| cache.get(&asker, &thing(0, "7"), LONG, &changes).is_some();
        assert!(counts(&cache));
        change(&changes, "acme", 1, None);
        assert!(!counts(&cache), "the page that the note lies in was moved");
    }

    #[test]
    fn it_is_bounded_and_one_app_pushes_out_its_own() {
        let (mut cache, changes) = (Cache::default(), Changes::default());
        for number in 0..FOUND_MAX + 10 {
            cache.keep(&asker("a", 0), &thing(0, &number.to_string()), &found(0, &changes));
        }
        assert!(cache.found.len() <= FOUND_MAX, "{}", cache.found.len());
        let last = (FOUND_MAX + 9).to_string();
        assert!(cache.get(&asker("a", 0), &thing(0, &last), LONG, &changes).is_some(), "the youngest stay");
        cache.keep(&asker("b", 0), &thing(0, "x"), &begun(0, &changes));
        for number in 0..3 * ABSENT_OF_APP_MAX {
            cache.keep(&asker("a", 0), &thing(0, &number.to_string()), &begun(0, &changes));
        }
        assert!(cache.absent.len() <= ABSENT_OF_APP_MAX + 1, "{}", cache.absent.len());
        assert!(cache.get(&asker("b", 0), &thing(0, "x"), LONG, &changes).is_some());
    }
}
