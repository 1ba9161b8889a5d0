//! What the product was asked for one request, and what it said. An argument of the judgement: nothing here asks.

use std::sync::Arc;

use super::catalog::VariantMask;
use super::catalog::lookups::{Home, LookupId};
use super::reason::Reason;

/// The answers that one request is judged by, for its caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookedUp {
    /// Whose containers they name. Nobody else is judged by them.
    tenant: Option<Arc<str>>,
    answers: Vec<(Thing, Told)>,
    /// How often something was asked.
    pub rounds: u32,
}

/// Something that lies in a container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Thing {
    pub lookup: LookupId,
    pub name: Arc<str>,
}

/// What was said of a thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It lies in these, at least one; and the variants that it may be, none where that was not said.
    In { homes: Arc<[Home]>, variants: VariantMask },
    /// Who asked may not see it, or there is none.
    Nowhere,
    /// Nothing: refused for now.
    Failed { reason: Reason, retry_after_s: Option<u32> },
}

static NOTHING: LookedUp = LookedUp { tenant: None, answers: Vec::new(), rounds: 0 };

impl LookedUp {
    pub fn nothing() -> &'static Self {
        &NOTHING
    }

    pub fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Adds an answer. Those of another tenant are forgotten.
    pub fn add(&mut self, tenant: &Arc<str>, thing: Thing, told: Told) {
        if self.tenant.as_ref() != Some(tenant) {
            self.tenant = Some(Arc::clone(tenant));
            self.answers.clear();
        }
        match self.answers.iter_mut().find(|(known, _)| *known == thing) {
            Some((_, known)) => *known = told,
            None => self.answers.push((thing, told)),
        }
    }

    pub fn get(&self, tenant: &str, lookup: LookupId, name: &str) -> Option<&Told> {
        if self.tenant.as_deref() != Some(tenant) {
            return None;
        }
        let answer = self.answers.iter().find(|(thing, _)| thing.lookup == lookup && *thing.name == *name);
        answer.map(|(_, told)| told)
    }
}
