//! The answers that one worker keeps: bounded, dated, and void once something changed them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::ABSENT_AGE_MAX;
use crate::authz::catalog::CredentialKindId;
use crate::authz::catalog::lookups::{LOOKUPS_MAX, LookupSet};
use crate::authz::decide::Asker;
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

/// How often the answers of each look-up may have changed. Shared by the workers of a gate.
#[derive(Debug)]
pub struct Changes([AtomicU64; LOOKUPS_MAX]);

impl Default for Changes {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; LOOKUPS_MAX])
    }
}

impl Changes {
    pub fn count(&self, changed: LookupSet) {
        for lookup in changed.iter() {
            if let Some(count) = self.0.get(usize::from(lookup.0)) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Differs from an earlier one as soon as any of these changed: each only grows.
    fn stamp(&self, of: LookupSet) -> u64 {
        let counts = of.iter().filter_map(|lookup| self.0.get(usize::from(lookup.0)));
        counts.fold(0, |sum, count| sum.wrapping_add(count.load(Ordering::SeqCst)))
    }
}

/// An answer, when it was asked for, and what must not have changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dated {
    pub told: Told,
    asked_at: Instant,
    of: LookupSet,
    stamp: u64,
    /// Another one may be told of more.
    is_to_asker: bool,
}

impl Dated {
    /// Before it is asked.
    pub fn begin(of: LookupSet, changes: &Changes) -> Self {
        Self { told: Told::Nowhere, asked_at: Instant::now(), of, stamp: changes.stamp(of), is_to_asker: false }
    }

    /// A list of what somebody may see may be longer for somebody else.
    pub fn of_a_list(self) -> Self {
        Self { is_to_asker: true, ..self }
    }

    pub fn failed(reason: Reason, retry_after_s: Option<u32>) -> Self {
        let told = Told::Failed { reason, retry_after_s };
        Self { told, asked_at: Instant::now(), of: LookupSet::default(), stamp: 0, is_to_asker: false }
    }

    /// The thing lies where another one lies. No look-up is asked twice on the way, so the stamps add up.
    pub fn goes_on(self, next: Self) -> Self {
        Self {
            told: next.told,
            asked_at: self.asked_at.min(next.asked_at),
            of: next.of.iter().fold(self.of, LookupSet::with),
            stamp: self.stamp.wrapping_add(next.stamp),
            is_to_asker: self.is_to_asker || next.is_to_asker,
        }
    }

    /// Whether nothing that it hangs on changed since it began.
    pub fn is_unchanged(&self, changes: &Changes) -> bool {
        changes.stamp(self.of) == self.stamp
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
    use crate::authz::catalog::lookups::{Home, LookupId};

    const LONG: (Duration, Duration) = (Duration::from_secs(600), Duration::from_secs(600));

    fn asker(app: &str, kind: u8) -> Asker {
        Asker { tenant: "acme".into(), app: app.into(), kind: CredentialKindId(kind), user: None }
    }

    fn thing(lookup: u8, name: &str) -> Thing {
        Thing { lookup: LookupId(lookup), name: name.into() }
    }

    fn of(lookup: u8) -> LookupSet {
        LookupSet::default().with(LookupId(lookup))
    }

    fn found(lookup: u8, changes: &Changes) -> Dated {
        let homes = Arc::new([Home { id: Some("1".into()), key: None, is_word: false }]);
        Dated { told: Told::In { homes, variants: VariantMask::NONE }, ..Dated::begin(of(lookup), changes) }
    }

    #[test]
    fn what_was_found_is_known_to_the_same_kind_and_what_was_not_to_the_same_caller() {
        let (mut cache, changes) = (Cache::default(), Changes::default());
        cache.keep(&asker("a", 0), &thing(0, "7"), &found(0, &changes));
        cache.keep(&asker("a", 0), &thing(0, "8"), &Dated::begin(of(0), &changes));
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
        let through = Dated::begin(of(1), &changes).goes_on(found(0, &changes).of_a_list());
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
            cache.keep(&asker("a", 0), &thing(0, "7"), &Dated { told, ..Dated::begin(of(0), &changes) });
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
                let dated = Dated { asked_at: old, ..Dated::begin(of(0), &changes) };
                cache.keep(&asker(&app.to_string(), 0), &thing(0, &number.to_string()), &dated);
            }
        }
        assert_eq!(cache.absent.len(), ABSENT_MAX);
        cache.keep(&asker("late", 0), &thing(0, "x"), &Dated::begin(of(0), &changes));
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
        changes.count(of(1));
        assert!(counts(&cache, LONG.0), "another look-up's");
        changes.count(of(0));
        assert!(!counts(&cache, LONG.0));
        // Asked for before a change ends, and answered after: it may be of either side.
        let before = found(0, &changes);
        changes.count(of(0));
        cache.keep(&asker, &thing(0, "7"), &before);
        assert!(!counts(&cache, LONG.0));
    }

    #[test]
    fn what_lies_in_a_thing_changes_with_it() {
        let (mut cache, changes) = (Cache::default(), Changes::default());
        let asker = asker("a", 0);
        let note = Dated::begin(of(0), &changes).goes_on(found(1, &changes));
        assert!(matches!(note.told, Told::In { .. }));
        cache.keep(&asker, &thing(0, "7"), &note);
        let counts = |cache: &Cache| cache.get(&asker, &thing(0, "7"), LONG, &changes).is_some();
        assert!(counts(&cache));
        changes.count(of(1));
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
        cache.keep(&asker("b", 0), &thing(0, "x"), &Dated::begin(of(0), &changes));
        for number in 0..3 * ABSENT_OF_APP_MAX {
            cache.keep(&asker("a", 0), &thing(0, &number.to_string()), &Dated::begin(of(0), &changes));
        }
        assert!(cache.absent.len() <= ABSENT_OF_APP_MAX + 1, "{}", cache.absent.len());
        assert!(cache.get(&asker("b", 0), &thing(0, "x"), LONG, &changes).is_some());
    }
}
