//! Asks what the names in the policy stand for: when a policy that writes them comes into force, and once an hour. One
//! worker of a gate does it; what it is told goes to the writer of snapshots, which pins it.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Asking, Lookups};
use crate::authz::catalog::CredentialKindId;
use crate::authz::decide::{AskedBy, Asker, Lacks};
use crate::authz::gate::TenantRule;
use crate::authz::looked_up::{Thing, Told};
use crate::authz::pins::{self, PinnedName};
use crate::authz::policy::Policy;
use crate::authz::policy::credentials::Proof;
use crate::proxy::Hub;

/// How often a name is asked about that is pinned.
const AGAIN: Duration = Duration::from_secs(3_600);
/// How soon one is that the product did not tell.
const AGAIN_UNTOLD: Duration = Duration::from_secs(60);
/// Between two rounds.
const REST: Duration = Duration::from_secs(1);
/// The most names that are asked about in one round.
const ROUND_MAX: usize = 64;

/// Never returns. Where nothing can be asked it rests. `sink` takes what names stood for; `false`: not now.
pub async fn attend(hub: Rc<Hub>, sink: impl Fn(Vec<(PinnedName, Box<str>)>) -> bool) {
    let mut published = hub.live.published();
    let mut asked: HashMap<PinnedName, Instant> = HashMap::new();
    let mut owed = Vec::new();
    loop {
        let names = pins::written(&hub.live.load(), &hub.rules);
        asked.retain(|name, _| names.contains(name));
        let now = Instant::now();
        let due = names.into_iter().filter(|name| asked.get(name).is_none_or(|again| *again <= now));
        let due: Vec<PinnedName> = due.take(ROUND_MAX).collect();
        let is_idle = due.is_empty() && owed.is_empty();
        for name in due {
            let told = one(&hub, &name).await;
            asked.insert(name.clone(), Instant::now() + if told.is_some() { AGAIN } else { AGAIN_UNTOLD });
            owed.extend(told.map(|id| (name, id)));
        }
        if !owed.is_empty() && sink(owed.clone()) {
            owed.clear();
        }
        // Something new, or something that has waited long enough.
        match is_idle {
            true => drop(tokio::time::timeout(AGAIN_UNTOLD, published.changed()).await),
            false => tokio::time::sleep(REST).await,
        }
    }
}

/// The id of the one container of that name.
async fn one(hub: &Hub, name: &PinnedName) -> Option<Box<str>> {
    let lookups: &Lookups = &hub.lookups;
    let shared = lookups.shared.as_deref()?;
    let catalog = &hub.rules.catalog;
    let kind = catalog.containers.iter().find(|kind| kind.name == name.kind)?;
    let thing = Thing { lookup: kind.lookup?, name: name.name.clone() };
    let tenant = hub.rules.tenant.tenants().into_iter().find(|tenant| **tenant == *name.tenant)?;
    let upstream = hub.upstreams.of(&tenant)?;
    // Let go of before anything is waited for.
    let (by, generation) = {
        let snapshot = hub.live.load();
        (asked_by(hub, &snapshot.states.as_ref()?.newest, &tenant)?, snapshot.generation)
    };
    let prefix = match &hub.rules.tenant {
        TenantRule::Path(_) => catalog.tenant_bases.first().map(|base| base.replace("{tenant}", &tenant)),
        TenantRule::Fixed(_) | TenantRule::Host(_) | TenantRule::Token(_) => None,
    };
    let asker = Asker { tenant, app: "".into(), kind: CredentialKindId(u8::MAX), user: None };
    let (things, prefix) = (vec![thing.clone()], prefix.unwrap_or_default().into());
    let lacks = Lacks { things, asker, by, prefix, urgent: true };
    let nobody = http::Request::new(()).into_parts().0;
    let asking = Asking { upstream, head: &nobody, lacks: &lacks, generation };
    let told = lookups.told(shared, asking, &thing).await.ok()?;
    let Told::In { homes, .. } = told.told else { return None };
    match &*homes {
        [home] => home.id.clone(),
        _ => None,
    }
}

/// The tenant's own credential, or a real one behind a gate key of any app in the tenant.
fn asked_by(hub: &Hub, policy: &Policy, tenant: &str) -> Option<AskedBy> {
    if hub.lookups.shared.as_ref().is_some_and(|shared| shared.settings.credential.is_some()) {
        return Some(AskedBy::Tenant);
    }
    let snapshot = hub.live.load();
    let product = policy.product(snapshot.catalogs.by_name(&hub.rules.catalog.product)?.id)?;
    let known = product.credentials.by_digest.values().filter(|known| *known.holder.tenant == *tenant);
    let sendable = known.filter_map(|known| match &known.proof {
        Proof::GateKey { scheme, upstream: Some(secret) } => Some((&known.holder.app, known.kind, *scheme, secret)),
        Proof::GateKey { upstream: None, .. } | Proof::Token | Proof::ConnectJwt { .. } => None,
    });
    let chosen = sendable.min_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
    chosen.map(|(_, _, scheme, secret)| AskedBy::Secret { scheme, secret: secret.clone() })
}
