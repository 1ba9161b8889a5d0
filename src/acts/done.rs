//! What became of an order: the answer of the admin API, and what commands say.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::draft::{Draft, Stops, TenantShown};
use super::promote::kind_of;
use super::{Act, ActId, Kind};
use crate::authz::policy::cells;
use crate::authz::snapshot::Snapshot;

/// Cells beyond this are counted.
const CELLS_MAX: usize = 200;

/// An order that was carried out, or would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    pub act: Kind,
    pub id: String,
    /// The document, as it was written.
    pub text: String,
    pub apps: Vec<Arc<str>>,
    pub tenants: Vec<TenantShown>,
    pub stops: Stops,
    /// The cells that change, in sentences.
    pub cells: Vec<String>,
    pub more_cells: usize,
    /// Nothing was written.
    pub dry_run: bool,
    pub in_force: Reached,
    /// Of an act that is promoted: whom it would have refused since it went in, in words.
    #[serde(default)]
    pub would_have_refused: Vec<String>,
    /// Operations that go and that were used in the last 30 days, in words.
    #[serde(default)]
    pub used: Vec<String>,
    /// What was made before and works on, with the call that removes each (law 8).
    #[serde(default)]
    pub outlasting: Vec<String>,
    /// What an operator must know besides.
    pub notes: Vec<String>,
}

/// Which gates it reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reached {
    /// Gates in which it is in force.
    pub gates: usize,
    /// Gates that are known.
    pub of: usize,
    /// From the command's start until it was in force in the last of them.
    pub after_ms: u64,
    /// The snapshot in which it first was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What was under way and is no longer permitted: cut, in all gates together.
    #[serde(default)]
    pub streams_cut: u64,
    /// Gates in which it is not, each with why.
    pub missing: Vec<String>,
}

impl Done {
    /// Before anything is written.
    pub fn of(draft: &Draft) -> Self {
        Self {
            apps: draft.apps.clone(),
            tenants: draft.tenants.clone(),
            stops: draft.stops.clone(),
            ..Self::of_act(&draft.act)
        }
    }

    /// For an act that was written before.
    pub fn of_act(act: &Act) -> Self {
        Self {
            act: kind_of(act).unwrap_or(Kind::Revoke),
            id: act.id.to_string(),
            text: act.text.to_string(),
            apps: Vec::new(),
            tenants: Vec::new(),
            stops: Stops::default(),
            cells: Vec::new(),
            more_cells: 0,
            dry_run: false,
            in_force: Reached::default(),
            would_have_refused: Vec::new(),
            used: Vec::new(),
            outlasting: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Fills in the cells in which two snapshots differ.
    pub fn changes(&mut self, before: &Snapshot, after: &Snapshot) {
        let changes = cells::between(before.states.as_ref(), after.states.as_ref(), &after.catalogs, CELLS_MAX);
        self.more_cells = changes.more + changes.lines.len().saturating_sub(CELLS_MAX);
        self.cells = changes.lines.into_iter().take(CELLS_MAX).collect();
    }

    /// Whether it holds wherever it should, and does something.
    pub fn is_done(&self) -> bool {
        self.dry_run || self.in_force.missing.is_empty() && self.in_force.gates == self.in_force.of
    }
}

/// An act that stands, for lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listed {
    pub id: String,
    pub text: String,
    pub in_force: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl Listed {
    pub fn of(id: &ActId, text: &str, problem: Option<String>, in_force: bool) -> Self {
        Self { id: id.to_string(), text: text.to_owned(), in_force, problem }
    }
}
