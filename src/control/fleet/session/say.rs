//! What a gate says of itself to the fleet: that it is there, and how far it has come.

use std::collections::BTreeMap;
use std::time::Instant;

use super::{Session, Told};
use crate::control::fleet::entry::{Op, gate_key, shown};
use crate::control::fleet::gates::{REFUSED_SAID_MAX, Status};
use crate::control::fleet::progress::Moment;
use crate::control::reload::force::Standing;

impl Session<'_> {
    pub(super) fn every_ms(&self) -> u64 {
        self.task.view.borrow().gates.every_ms()
    }

    /// Writes this gate's status where there is something to say: that is the barrier too.
    pub(super) fn say(&mut self) {
        if self.saying || !self.dirty {
            return;
        }
        (self.saying, self.dirty, self.said) = (true, false, Some(Instant::now()));
        let (status, key) = (self.status(), gate_key(&self.task.instance));
        let (link, tell, began, whole) = (self.link.clone(), self.tell.clone(), Moment::now(), self.whole);
        tokio::spawn(async move {
            let value = serde_json::to_vec(&status).unwrap_or_default().into();
            let seq = link.put(&key, Op::Put, value, None).await;
            let _ = tell.send(Told::Said { began, whole, seq });
        });
    }

    fn status(&self) -> Status {
        let force = self.around.force.watch();
        let force = force.borrow();
        // An id has no dot; a key that is no id is no act that anybody waits for.
        let kept_out = self.task.known.refused().filter(|(key, _)| !key.contains('.'));
        let kept_out = kept_out.map(|(key, why)| (key.to_owned(), shown(why)));
        let loader = force.acts.iter().filter_map(|(id, how)| match how {
            Standing::InForce => None,
            Standing::Refused(why) => Some((id.to_string(), shown(why))),
        });
        let mut refused: BTreeMap<String, String> = loader.chain(kept_out).collect();
        let refused_more = refused.len().saturating_sub(REFUSED_SAID_MAX);
        while refused.len() > REFUSED_SAID_MAX {
            // The oldest go: somebody waits for the newest.
            refused.pop_first();
        }
        let in_force = self.task.progress.in_force();
        Status {
            version: 1,
            name: self.task.settings.name.clone(),
            boot: self.task.boot,
            ready: self.task.readiness.report().ready,
            generation: force.generation,
            digest: force.digest.clone(),
            in_force,
            newest_act: force.acts.iter().rfind(|(_, how)| **how == Standing::InForce).map(|(id, _)| id.to_string()),
            acts: force.acts.len(),
            refused,
            refused_more,
            recent: self.task.recent.said(),
            lacks: self.lacks.ids(),
            judged: self.judged,
            cut: self.task.cut,
            max_override_age_ms: u64::try_from(self.task.settings.bucket.max_override_age.as_millis())
                .unwrap_or(u64::MAX),
            every_ms: self.every_ms(),
            time_ms: crate::clock::unix_ms(),
        }
    }
}
