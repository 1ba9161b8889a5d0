//! The containers of a request as the log shows them. Off the permit path: it is asked for once a request has been
//! permitted, and only where lines are written.

use std::sync::Arc;

use super::job::with_job;
use super::{product_of, read};
use crate::authz::catalog::KindId;
use crate::authz::gate::GateRules;
use crate::authz::looked_up::Told;
use crate::authz::request::{Facts, RequestView};
use crate::authz::snapshot::Snapshot;
use crate::authz::touch::{ContainerName, ContainerRef, Reach};

/// Some of the containers that a request touches.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ShownContainers {
    pub named: Vec<NamedInRequest>,
    /// How many there are besides: beyond the bound, or such as only a look-up could name.
    pub more: usize,
}

/// A container as the request names it.
#[derive(Debug, PartialEq, Eq)]
pub struct NamedInRequest {
    pub kind: KindId,
    pub id: String,
    /// What people call it, where a `names` document says.
    pub name: Option<Arc<str>>,
}

/// The most bytes of an id that are kept: a held body may name containers of a megabyte, and lines wait in a queue.
const ID_BYTES_MAX: usize = 256;

fn kept(id: &str) -> String {
    let end = (0..=id.len().min(ID_BYTES_MAX)).rev().find(|end| id.is_char_boundary(*end)).unwrap_or_default();
    id.get(..end).unwrap_or_default().to_owned()
}

/// How a container is named: by the request, else by what a look-up told of it.
fn text<'t>(container: &'t ContainerRef<'_>, facts: &'t Facts<'_>, tenant: &str) -> Option<&'t str> {
    let ContainerName::Around { lookup, thing } = &container.name else { return container.name.text() };
    let Told::In { homes, .. } = facts.looked_up.get(tenant, *lookup, thing)? else { return None };
    let home = homes.first()?;
    home.key.as_deref().or(home.id.as_deref())
}

/// The containers that a request touches, as many as `most`, with those of the job that it asks about. Reading names are the
/// newest state's, whichever judged.
pub fn shown_containers(
    snapshot: &Snapshot,
    gate: &GateRules,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
    tenant: &str,
    most: usize,
) -> ShownContainers {
    let Some((operation, touched)) = read(gate, request, facts) else { return ShownContainers::default() };
    let operation = gate.catalog.operations.get(usize::from(operation.0));
    let started = facts.looked_up.started();
    let reach = match (operation, started) {
        (Some(operation), Some(started)) => &with_job(&operation.touches, touched.reach, started),
        _ => &touched.reach,
    };
    let Reach::Containers(containers) = reach else { return ShownContainers::default() };
    let product = product_of(snapshot, gate).map(|product| &*product.catalog.product);
    let policy = snapshot.states.as_ref().map(|states| &states.newest);
    let name_of = |id: &str| policy?.name_of(product?, tenant, id).cloned();
    let all = containers.as_slice();
    let named = all.iter().filter_map(|container| Some((container.kind, text(container, facts, tenant)?))).take(most);
    let named: Vec<NamedInRequest> =
        named.map(|(kind, id)| NamedInRequest { kind, id: kept(id), name: name_of(id) }).collect();
    ShownContainers { more: all.len() - named.len(), named }
}
