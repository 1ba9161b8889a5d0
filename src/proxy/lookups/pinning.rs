//! Asks what the names in the policy stand for: when a policy that writes them comes into force, and again each minute, one
//! name a second. One worker of a gate does it; what it is told goes to the writer of snapshots, which pins it.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Asking, Lookups};
use crate::authz::catalog::CredentialKindId;
use crate::authz::catalog::lookups::{Home, LookupId};
use crate::authz::decide::{AskedBy, Asker, Lacks};
use crate::authz::gate::TenantRule;
use crate::authz::looked_up::{Thing, Told};
use crate::authz::pins::{self, NameTold, PinnedName};
use crate::authz::policy::Policy;
use crate::authz::policy::credentials::{Proof, Replacement};
use crate::proxy::Hub;

/// How soon a name is asked about again. So long a revocation may miss a container that took its name.
const AGAIN: Duration = Duration::from_secs(60);
/// Between two rounds.
const REST: Duration = Duration::from_secs(1);
/// The most names that are asked about in one round, besides one that was told before.
const ROUND_MAX: usize = 64;
/// Credentials that a name is asked about with, one after the other, until one is told. An app whose own the product no
/// longer takes must not keep the names of all from being pinned.
const CREDENTIALS_MAX: usize = 3;

/// When a name is asked about again, and whether it was told.
#[derive(Debug, Clone, Copy)]
struct Answered {
    again: Instant,
    is_told: bool,
}

/// Never returns. Where nothing can be asked it rests. `sink` takes what names stood for; `false`: not now.
pub async fn attend(hub: Rc<Hub>, sink: impl Fn(Vec<NameTold>) -> bool) {
    let mut published = hub.live.published();
    let mut asked: HashMap<PinnedName, Answered> = HashMap::new();
    let (mut owed, mut turn) = (Vec::new(), 0_usize);
    let (mut of, mut names) = (None, BTreeSet::new());
    loop {
        {
            let snapshot = hub.live.load();
            // There may be many: they are put together anew only where they may be others.
            if of != Some(snapshot.generation) {
                (of, names) = (Some(snapshot.generation), pins::written(&snapshot, &hub.rules));
                asked.retain(|name, _| names.contains(name));
            }
        }
        let due = due(&names, &asked, Instant::now());
        let is_idle = due.is_empty() && owed.is_empty();
        for name in due {
            let mut told = None;
            let tries = if has_own(&hub) { 1 } else { CREDENTIALS_MAX };
            for _ in 0..tries {
                told = one(&hub, &name, turn).await;
                if told.is_some() {
                    break;
                }
                turn = turn.wrapping_add(1);
            }
            asked.insert(name.clone(), Answered { again: Instant::now() + AGAIN, is_told: told.is_some() });
            owed.extend(told);
        }
        if !owed.is_empty() && sink(owed.clone()) {
            owed.clear();
        }
        // Something new, or something that has waited long enough.
        match is_idle {
            true => drop(tokio::time::timeout(AGAIN, published.changed()).await),
            false => tokio::time::sleep(REST).await,
        }
    }
}

/// What is asked about now. What was told before gives way to what was not: a rule by that means nothing yet.
fn due(names: &BTreeSet<PinnedName>, asked: &HashMap<PinnedName, Answered>, now: Instant) -> Vec<PinnedName> {
    let is_due = |name: &&PinnedName| asked.get(*name).is_none_or(|answered| answered.again <= now);
    let is_told = |name: &&PinnedName| asked.get(*name).is_some_and(|answered| answered.is_told);
    let untold = names.iter().filter(is_due).filter(|name| !is_told(name)).take(ROUND_MAX);
    let mut due: Vec<PinnedName> = untold.cloned().collect();
    let told = names.iter().filter(is_due).filter(is_told);
    // The one that has waited longest.
    let longest = told.min_by_key(|name| asked.get(*name).map(|answered| answered.again));
    due.extend(longest.cloned());
    due
}

/// The one container of that name. Where nothing has it any more, what the one that it was pinned to is called now.
async fn one(hub: &Hub, name: &PinnedName, turn: usize) -> Option<NameTold> {
    let kind = hub.rules.catalog.containers.iter().find(|kind| kind.name == name.kind)?;
    let told = |id, called| Some(NameTold { name: name.clone(), id, called });
    if let Some(home) = home_of(hub, name, (kind.lookup?, &name.name), turn).await {
        return told(home.id?, home.key);
    }
    let pinned = pinned_to(hub, name)?;
    let home = home_of(hub, name, (kind.lookup_id.or(kind.lookup)?, &pinned), turn).await?;
    let is_it = home.id.as_deref() == Some(&*pinned) && home.key.is_some();
    if is_it { told(pinned, home.key) } else { None }
}

fn pinned_to(hub: &Hub, name: &PinnedName) -> Option<Box<str>> {
    let snapshot = hub.live.load();
    Some(snapshot.pins.get(&name.product, &name.tenant, &name.kind, &name.name)?.id.clone())
}

/// The one container that a look-up tells of something.
async fn home_of(hub: &Hub, name: &PinnedName, (lookup, of): (LookupId, &str), turn: usize) -> Option<Home> {
    let lookups: &Lookups = &hub.lookups;
    let shared = lookups.shared.as_deref()?;
    let catalog = &hub.rules.catalog;
    let thing = Thing { lookup, name: of.into() };
    let tenant = hub.rules.tenant.tenants().into_iter().find(|tenant| **tenant == *name.tenant)?;
    let upstream = hub.upstreams.of(&tenant)?;
    // Let go of before anything is waited for.
    let (by, generation) = {
        let snapshot = hub.live.load();
        (asked_by(hub, &snapshot.states.as_ref()?.newest, &tenant, turn)?, snapshot.generation)
    };
    let prefix = match &hub.rules.tenant {
        TenantRule::Path(_) => catalog.tenant_bases.first().map(|base| base.replace("{tenant}", &tenant)),
        TenantRule::Fixed(_) | TenantRule::Host(_) | TenantRule::Token(_) => None,
    };
    // One may be told what another is not.
    let of_turn = Some(turn.to_string().into());
    let asker = Asker { tenant, app: "".into(), kind: CredentialKindId(u8::MAX), user: of_turn };
    let (things, prefix) = (vec![thing.clone()], prefix.unwrap_or_default().into());
    let lacks = Lacks { things, asker, by, prefix, urgent: true };
    let nobody = http::Request::new(()).into_parts().0;
    let asking = Asking { upstream, head: &nobody, lacks: &lacks, generation };
    let told = lookups.told(shared, asking, &thing).await.ok()?;
    let Told::In { homes, .. } = told.told else { return None };
    match &*homes {
        [home] => Some(home.clone()),
        _ => None,
    }
}

/// Whether the tenant gave the gate a credential for it.
fn has_own(hub: &Hub) -> bool {
    hub.lookups.shared.as_ref().is_some_and(|shared| shared.settings.credential.is_some())
}

/// The tenant's own credential, or a real one behind a gate key of any app in the tenant: by turns.
fn asked_by(hub: &Hub, policy: &Policy, tenant: &str, turn: usize) -> Option<AskedBy> {
    if has_own(hub) {
        return Some(AskedBy::Tenant);
    }
    let snapshot = hub.live.load();
    let product = policy.product(snapshot.catalogs.by_name(&hub.rules.catalog.product)?.id)?;
    let known = product.credentials.all().filter(|known| *known.holder.tenant == *tenant);
    let sendable = known.filter_map(|known| match &known.proof {
        Proof::GateKey { scheme, upstream: Some(secret) } => Some((&known.holder.app, known.kind, *scheme, secret)),
        Proof::Client { upstream: Some(Replacement { scheme, secret: Some(secret) }), .. } => {
            Some((&known.holder.app, known.kind, *scheme, secret))
        }
        Proof::GateKey { upstream: None, .. } | Proof::Token | Proof::ConnectJwt { .. } | Proof::Client { .. } => None,
    });
    let mut sendable: Vec<_> = sendable.collect();
    sendable.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
    let (_, _, scheme, secret) = sendable.get(turn.checked_rem(sendable.len())?)?;
    Some(AskedBy::Secret { scheme: *scheme, secret: (*secret).clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> PinnedName {
        PinnedName { product: "wiki".into(), tenant: "acme".into(), kind: "space".into(), name: name.into() }
    }

    #[test]
    fn new_names_are_asked_about_at_once_and_told_ones_one_by_one() {
        let now = Instant::now();
        let at = |seconds: u64, is_told: bool| Answered { again: now + Duration::from_secs(seconds), is_told };
        let names: BTreeSet<PinnedName> = (0..100).map(|number| name(&format!("N{number:02}"))).collect();
        let mut asked: HashMap<PinnedName, Answered> = HashMap::new();
        assert_eq!(due(&names, &asked, now).len(), ROUND_MAX);
        asked.extend(names.iter().map(|name| (name.clone(), at(60, true))));
        asked.insert(name("N07"), at(50, true));
        asked.insert(name("N08"), at(60, false));
        assert!(due(&names, &asked, now).is_empty());
        let later = now + AGAIN;
        assert_eq!(due(&names, &asked, later), [name("N08"), name("N07")], "the one that has waited longest");
        asked.insert(name("N07"), at(120, true));
        assert_eq!(due(&names, &asked, later)[1], name("N00"), "and then the next");
    }
}
