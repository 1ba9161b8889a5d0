//! What the product was asked for one request, and what it said; and what is remembered of the job that it asks about. An
//! argument of the judgement: nothing here asks or remembers.

use std::sync::Arc;

use super::catalog::VariantMask;
use super::catalog::lookups::{Home, LookupId};
use super::jobs::{AskedJob, Recalled};
use super::reason::Reason;
use super::touch::Reach;

/// The answers that one request is judged by, for its caller.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LookedUp {
    /// Whose containers they name. Nobody else is judged by them.
    tenant: Option<Arc<str>>,
    answers: Vec<(Thing, Told)>,
    /// How often something was asked.
    pub rounds: u32,
    /// What the job belongs to that the request asks about, if that is remembered.
    job: Option<(AskedJob, Option<Arc<Reach<'static>>>)>,
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

static NOTHING: LookedUp = LookedUp { tenant: None, answers: Vec::new(), rounds: 0, job: None };

impl LookedUp {
    pub fn nothing() -> &'static Self {
        &NOTHING
    }

    pub fn is_empty(&self) -> bool {
        self.answers.is_empty() && self.job.is_none()
    }

    /// Adds what is remembered of a job. A request asks about one.
    pub fn recall(&mut self, asked: AskedJob, reach: Option<Arc<Reach<'static>>>) {
        self.job = Some((asked, reach));
    }

    /// What is remembered of a job for whoever asks about it.
    pub fn job(&self, asked: &AskedJob) -> Recalled<'_> {
        match &self.job {
            Some((known, reach)) if known == asked => reach.as_deref().map_or(Recalled::Nothing, Recalled::Started),
            Some(_) | None => Recalled::NotAsked,
        }
    }

    /// What the job touched that the request asks about, for the log.
    pub fn started(&self) -> Option<&Reach<'static>> {
        self.job.as_ref()?.1.as_deref()
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
