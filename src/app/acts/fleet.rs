//! The same over a fleet: an order goes to the bucket, and is answered once every gate has it in force, or does not
//! answer.

use std::collections::BTreeMap;
use std::time::Instant;

use super::Desk;
use crate::acts::done::{Done, Reached};
use crate::acts::draft::RefusedCode;
use crate::acts::{Act, ActId, Refused};
use crate::authz::snapshot::Snapshot;
use crate::control::admin::AdminError;
use crate::control::fleet::Fleet;
use crate::control::fleet::bucket::NotPut;
use crate::control::fleet::entry::Instance;
use crate::control::fleet::gates::{Put, Reach};

impl Desk {
    /// A new act, in the bucket. One that this gate itself does not take is taken back.
    pub(super) async fn order_all(
        &self,
        fleet: &Fleet,
        act: &Act,
        done: &mut Done,
        began: Instant,
        before: &Snapshot,
    ) -> Result<(), AdminError> {
        let cuts = fleet.cuts();
        let added = fleet.add(act).await;
        let put = added.map_err(|error| self.unsigned_unput(&act.id, Some(&act.text), &error))?;
        self.finish_all(fleet, (&put, &cuts), done, began, before).await;
        let Some(why) = fleet.refusal(&act.id) else { return Ok(()) };
        // It would stand there for ever and do nothing, here at least.
        fleet.remove(&act.id).await.map_err(|error| not_put(&act.id, &error))?;
        Err(AdminError::Refused(Box::new(Refused::new(RefusedCode::Unsound, why, "it was taken back everywhere"))))
    }

    /// Fills in which gates it reached, and what it changed on this one.
    pub(super) async fn finish_all(
        &self,
        fleet: &Fleet,
        (put, cuts): (&Put, &BTreeMap<Instance, u64>),
        done: &mut Done,
        began: Instant,
        before: &Snapshot,
    ) {
        let reach = fleet.reached(put, cuts).await;
        let generation = self.force.watch().borrow().generation;
        done.in_force = Reached { generation: Some(generation), ..reached(&reach, began) };
        done.notes.extend(lapsed(&reach));
        done.changes(before, &Snapshot::clone(&self.live.load()));
        done.notes.extend(self.unwritten(generation).await);
    }

    /// What gives is laid over what every admin has done, on whichever gate: all of it is in force here first.
    pub(super) async fn caught_up(&self) -> Result<(), AdminError> {
        let Some(fleet) = &self.fleet else { return Ok(()) };
        fleet.catch_up().await.map_err(|error| AdminError::NotWritten(format!("nothing was changed: {error}")))
    }

    /// What was surely not done is nobody's. What may have been done keeps its name.
    pub(super) fn unsigned_unput(&self, id: &ActId, text: Option<&str>, error: &NotPut) -> AdminError {
        match error {
            NotPut::Conflict | NotPut::Refused(_) => self.unsign(id, text),
            NotPut::Unknown(_) => {}
        }
        not_put(id, error)
    }
}

fn not_put(id: &ActId, error: &NotPut) -> AdminError {
    match error {
        NotPut::Conflict => {
            let help = "`scopegate overrides` shows what it says now";
            let message = format!("{id}: {error}");
            AdminError::Refused(Box::new(Refused::new(RefusedCode::Order, message, help)))
        }
        NotPut::Unknown(_) => {
            let help = "`scopegate overrides` shows whether it is there; a revocation in the policy folders holds too";
            AdminError::NotWritten(format!("{id}: {error}; {help}"))
        }
        NotPut::Refused(_) => AdminError::NotWritten(format!(
            "{id}: {error}; nothing was changed; a revocation in the policy folders holds too"
        )),
    }
}

/// What a command says of it.
pub fn reached(reach: &Reach, began: Instant) -> Reached {
    let took = reach.at.map_or_else(|| began.elapsed(), |at| at.saturating_duration_since(began));
    Reached {
        gates: reach.gates,
        of: reach.of,
        after_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        generation: None,
        streams_cut: reach.cut,
        missing: reach.missing.clone(),
    }
}

/// Gates of which nothing is expected any more.
pub fn lapsed(reach: &Reach) -> Option<String> {
    let named = reach.lapsed.join(", ");
    (!reach.lapsed.is_empty()).then(|| format!("not counted, for they cannot be ready any more: {named}"))
}
