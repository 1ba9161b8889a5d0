//! The jobs that are remembered of one gate, for all of its workers. Bounded in all, for each app and in time; one app's jobs
//! push out its own, and another's only where that one has most of all.
//!
//! Starting a job is rare, so each writes a copy; asking about one reads, and neither waits for the other.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use crate::authz::jobs::{AskedJob, NamedJob, Owner, Starting};
use crate::authz::touch::{ContainerName, ContainerRef, Reach};

/// Jobs of one app in one tenant.
pub const JOBS_OF_APP_MAX: usize = 1_000;
/// Bytes of these, about.
pub const BYTES_OF_APP_MAX: usize = 1 << 20;
/// Bytes of all.
pub const BYTES_MAX: usize = 8 << 20;
/// As long as Jira tells of a task. None of the products says that it keeps one longer.
pub const KEPT_FOR: Duration = Duration::from_secs(14 * 24 * 3_600);
/// What one takes besides its texts.
const JOB_BYTES: usize = 256;

/// The jobs of one gate.
#[derive(Debug, Default)]
pub struct Memory(ArcSwap<Kept>);

#[derive(Debug, Clone, Default)]
struct Kept {
    of: HashMap<Owner, Arc<Jobs>>,
    bytes: usize,
    /// How many were remembered.
    count: u64,
}

/// Those of one owner, by name.
#[derive(Debug, Clone, Default)]
struct Jobs {
    all: Vec<Arc<Job>>,
    bytes: usize,
}

#[derive(Debug)]
struct Job {
    named: NamedJob,
    reach: Arc<Reach<'static>>,
    since: Instant,
    /// The older, the less.
    number: u64,
    bytes: usize,
}

impl Memory {
    /// Remembers what a job belongs to. Whatever was known by its name in the tenant is known no more: the product says now
    /// what it is.
    pub fn remember(&self, starting: &Starting, id: &str, now: Instant) {
        let named = NamedJob { kind: starting.kind, id: id.into() };
        let bytes = JOB_BYTES + id.len() + size_of(&starting.reach);
        self.0.rcu(|kept| {
            let mut kept = Kept::clone(kept);
            kept.forget(&starting.owner.tenant, &named);
            kept.count += 1;
            let (named, reach, number) = (named.clone(), Arc::clone(&starting.reach), kept.count);
            kept.add(&starting.owner, Job { named, reach, since: now, number, bytes });
            kept
        });
    }

    /// Takes it back.
    pub fn forget(&self, starting: &Starting, id: &str) {
        let named = NamedJob { kind: starting.kind, id: id.into() };
        self.0.rcu(|kept| {
            let mut kept = Kept::clone(kept);
            kept.forget(&starting.owner.tenant, &named);
            kept
        });
    }

    /// What a job belongs to, for whoever started it.
    pub fn recall(&self, asked: &AskedJob, now: Instant) -> Option<Arc<Reach<'static>>> {
        let kept = self.0.load();
        let job = kept.of.get(&asked.owner)?.get(&asked.job)?;
        job.is_kept(now).then(|| Arc::clone(&job.reach))
    }
}

impl Kept {
    fn add(&mut self, owner: &Owner, job: Job) {
        let now = job.since;
        self.retain(owner, |job| job.is_kept(now));
        self.bytes += job.bytes;
        let jobs = Arc::make_mut(self.of.entry(owner.clone()).or_default());
        jobs.bytes += job.bytes;
        let (Ok(at) | Err(at)) = jobs.find(&job.named);
        jobs.all.insert(at, Arc::new(job));
        while self.of.get(owner).is_some_and(|jobs| jobs.all.len() > JOBS_OF_APP_MAX || jobs.bytes > BYTES_OF_APP_MAX) {
            self.forget_oldest(owner);
        }
        if self.bytes > BYTES_MAX {
            let owners: Vec<Owner> = self.of.keys().cloned().collect();
            owners.iter().for_each(|owner| self.retain(owner, |job| job.is_kept(now)));
        }
        while self.bytes > BYTES_MAX {
            // An app that holds less than another loses nothing to it.
            let most = self.of.iter().max_by_key(|(_, jobs)| jobs.bytes).map(|(owner, _)| owner.clone());
            let Some(most) = most else { return };
            self.forget_oldest(&most);
        }
    }

    /// A job of this name, whosever it was.
    fn forget(&mut self, tenant: &str, named: &NamedJob) {
        let of_tenant = self.of.iter().filter(|(owner, _)| *owner.tenant == *tenant);
        let owner = of_tenant.into_iter().find(|(_, jobs)| jobs.get(named).is_some()).map(|(owner, _)| owner.clone());
        if let Some(owner) = owner {
            self.retain(&owner, |job| job.named != *named);
        }
    }

    fn forget_oldest(&mut self, owner: &Owner) {
        let jobs = self.of.get(owner).map_or(&[][..], |jobs| &jobs.all);
        let oldest = jobs.iter().map(|job| job.number).min();
        self.retain(owner, |job| Some(job.number) != oldest);
    }

    fn retain(&mut self, owner: &Owner, stays: impl Fn(&Job) -> bool) {
        let Some(jobs) = self.of.get_mut(owner) else { return };
        if jobs.all.iter().all(|job| stays(job)) {
            return;
        }
        let all: Vec<Arc<Job>> = jobs.all.iter().filter(|job| stays(job)).cloned().collect();
        let bytes = all.iter().map(|job| job.bytes).sum();
        self.bytes -= jobs.bytes - bytes;
        match all.is_empty() {
            true => drop(self.of.remove(owner)),
            false => *jobs = Arc::new(Jobs { all, bytes }),
        }
    }
}

impl Jobs {
    fn find(&self, named: &NamedJob) -> Result<usize, usize> {
        self.all.binary_search_by(|job| (job.named.kind.0, &*job.named.id).cmp(&(named.kind.0, &*named.id)))
    }

    fn get(&self, named: &NamedJob) -> Option<&Arc<Job>> {
        self.find(named).ok().and_then(|at| self.all.get(at))
    }
}

impl Job {
    fn is_kept(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < KEPT_FOR
    }
}

/// Bytes that a reach takes, about.
fn size_of(reach: &Reach<'static>) -> usize {
    let Reach::Containers(containers) = reach else { return 0 };
    let text = |container: &ContainerRef<'_>| match &container.name {
        ContainerName::Found(found) => {
            let texts = [&found.home.id, &found.home.key, &found.called];
            std::mem::size_of_val(&**found) + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
        }
        name => name.text().map_or(0, str::len),
    };
    containers.as_slice().iter().map(|one| std::mem::size_of_val(one) + text(one)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::catalog::KindId;
    use crate::authz::catalog::jobs::JobId;
    use crate::authz::touch::ContainerList;

    fn owner(app: &str, tenant: &str) -> Owner {
        Owner { tenant: tenant.into(), app: app.into() }
    }

    fn in_project(project: &str) -> Reach<'static> {
        let name = ContainerName::Name(project.to_owned().into());
        Reach::Containers(ContainerList::one(ContainerRef { kind: KindId(0), name }))
    }

    fn starting(app: &str, kind: u8, reach: Reach<'static>) -> Starting {
        Starting { owner: owner(app, "acme"), kind: JobId(kind), reach: Arc::new(reach) }
    }

    fn asked(app: &str, kind: u8, id: &str) -> AskedJob {
        AskedJob { owner: owner(app, "acme"), job: NamedJob { kind: JobId(kind), id: id.into() } }
    }

    #[test]
    fn a_job_is_known_to_who_started_it_by_its_sort_and_in_its_tenant() {
        let (memory, now) = (Memory::default(), Instant::now());
        memory.remember(&starting("a", 0, in_project("A")), "7", now);
        assert_eq!(memory.recall(&asked("a", 0, "7"), now).as_deref(), Some(&in_project("A")));
        for other in [
            asked("b", 0, "7"),
            asked("a", 1, "7"),
            asked("a", 0, "07"),
            asked("a", 0, "77"),
            AskedJob { owner: owner("a", "other"), ..asked("a", 0, "7") },
        ] {
            assert_eq!(memory.recall(&other, now), None, "{other:?}");
        }
        memory.forget(&starting("a", 0, Reach::Tenant), "7");
        assert_eq!(memory.recall(&asked("a", 0, "7"), now), None);
        assert_eq!((memory.0.load().of.len(), memory.0.load().bytes), (0, 0));
    }

    #[test]
    fn an_id_that_the_product_gives_again_is_what_it_is_now() {
        let (memory, now) = (Memory::default(), Instant::now());
        memory.remember(&starting("a", 0, in_project("A")), "7", now);
        memory.remember(&starting("b", 0, in_project("B")), "7", now);
        assert_eq!(memory.recall(&asked("a", 0, "7"), now), None, "it is another's now");
        memory.remember(&starting("b", 0, Reach::Tenant), "7", now);
        assert_eq!(memory.recall(&asked("b", 0, "7"), now).as_deref(), Some(&Reach::Tenant));
        assert_eq!(memory.0.load().of.len(), 1);
    }

    #[test]
    fn nothing_is_remembered_longer_than_the_product_tells_of_it() {
        let (memory, then) = (Memory::default(), Instant::now());
        memory.remember(&starting("a", 0, in_project("A")), "7", then);
        let last = then + KEPT_FOR - Duration::from_millis(1);
        assert!(memory.recall(&asked("a", 0, "7"), last).is_some());
        assert!(memory.recall(&asked("a", 0, "7"), then + KEPT_FOR).is_none());
        memory.remember(&starting("a", 0, in_project("A")), "8", then + KEPT_FOR);
        assert_eq!(memory.0.load().of[&owner("a", "acme")].all.len(), 1, "what is too old makes room");
    }

    #[test]
    fn an_app_pushes_out_its_own_oldest_and_nothing_of_another_s() {
        let (memory, now) = (Memory::default(), Instant::now());
        memory.remember(&starting("b", 0, in_project("B")), "0", now);
        for id in 0..3 * JOBS_OF_APP_MAX {
            memory.remember(&starting("a", 0, in_project("A")), &format!("a{id}"), now);
        }
        assert_eq!(memory.0.load().of[&owner("a", "acme")].all.len(), JOBS_OF_APP_MAX);
        let known = |app: &str, id: &str| memory.recall(&asked(app, 0, id), now).is_some();
        assert!(known("b", "0") && known("a", "a2999") && known("a", "a2000") && !known("a", "a1999"));
    }

    #[test]
    fn large_ones_count_for_what_they_take() {
        let (memory, now) = (Memory::default(), Instant::now());
        let large = || {
            let one = |number: usize| {
                let name = ContainerName::Name(format!("{number:0>200}").into());
                ContainerRef { kind: KindId(0), name }
            };
            let mut all = ContainerList::one(one(0));
            (1..64).for_each(|number| all.push(one(number)));
            Reach::Containers(all)
        };
        memory.remember(&starting("small", 0, in_project("S")), "s", now);
        let apps: Vec<String> = (0..20).map(|app| app.to_string()).collect();
        for id in 0..100 {
            for app in &apps {
                memory.remember(&starting(app, 0, large()), &format!("{app}-{id}"), now);
            }
        }
        let kept = memory.0.load();
        let held: usize = kept.of.values().map(|jobs| jobs.bytes).sum();
        assert!(held == kept.bytes && held <= BYTES_MAX && held > BYTES_MAX / 2, "{held} {}", kept.bytes);
        assert!(kept.of.values().all(|jobs| jobs.bytes <= BYTES_OF_APP_MAX && !jobs.all.is_empty()));
        let known = |app: &str, id: &str| memory.recall(&asked(app, 0, id), now).is_some();
        assert!(known("small", "s"), "who has little loses nothing to who has more");
        assert!(apps.iter().all(|app| known(app, &format!("{app}-99")) && !known(app, &format!("{app}-0"))));
    }

    #[test]
    fn workers_that_write_at_one_time_lose_nothing() {
        let (memory, now) = (Memory::default(), Instant::now());
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let memory = &memory;
                scope.spawn(move || {
                    for id in 0..100 {
                        memory.remember(&starting("a", 0, in_project("A")), &format!("{worker}-{id}"), now);
                        assert!(memory.recall(&asked("a", 0, &format!("{worker}-{id}")), now).is_some());
                    }
                });
            }
        });
        assert_eq!(memory.0.load().of[&owner("a", "acme")].all.len(), 400);
    }
}
