//! What is told of a request when it is over, also that it was cut.

use std::task::Context;

use super::{Open, Side};
use crate::authz::Reason;
use crate::proxy::record::Record;

/// An answered request until its last byte: in the list, and with its record. Dropped, both are told.
#[derive(Debug)]
pub struct Ending {
    record: Record,
    open: Open,
}

impl Ending {
    pub fn new(record: Record, open: Open) -> Self {
        Self { record, open }
    }

    pub fn open(&self) -> &Open {
        &self.open
    }

    /// A piece of the answer, for whoever looks for the id of what was made.
    pub fn heard(&mut self, bytes: &[u8]) {
        self.record.heard(bytes);
    }

    /// What the operator is told of an upstream that ended it wrongly.
    pub fn failed(&mut self, why: &impl std::fmt::Display) {
        self.record.upstream_failed(why);
    }

    pub fn is_cut(&self) -> bool {
        self.open.is_cut()
    }

    /// Why it was cut.
    pub fn reason(&self) -> Option<Reason> {
        self.open.reason()
    }

    /// Wakes the task that answers when it is cut.
    pub fn wake(&self, context: &Context<'_>) {
        self.open.wake(Side::Answer, context);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(gate) = self.open.gate() else { return };
        match self.open.denial() {
            Some(denial) => gate.labels.cut(&mut self.record, &denial),
            None => {
                if let Some(would) = self.open.would() {
                    gate.labels.would(&mut self.record, &would);
                }
            }
        }
    }
}
