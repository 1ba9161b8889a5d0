//! Which documents in shadow mode would each, by itself, have refused a request that passes, which is what is known of an act
//! before it is promoted; and whether grants in shadow mode would have let pass one that is refused. Off the fast path.

use std::path::Path;
use std::sync::Arc;

use super::{Mode, Question, Rules, passes};
use crate::authz::policy::part::Part;

/// So many of one request are told of.
const DOCUMENTS_MAX: usize = 16;

/// One document's rules, compared as the very same and not by what they say.
#[derive(Debug, Clone, Copy)]
pub struct Document<'m>(&'m Part);

impl Document<'_> {
    #[inline]
    pub(super) fn is(self, part: &Part) -> bool {
        std::ptr::eq(self.0, part)
    }
}

impl PartialEq for Document<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.is(other.0)
    }
}

impl Eq for Document<'_> {}

/// The files of those documents, each once. `observed`: the request passes only because it is observed.
pub fn shadowing(question: &Question<'_>, observed: bool) -> Box<[Arc<Path>]> {
    let mut files: Vec<Arc<Path>> = Vec::new();
    for rules in question.rules().filter(|rules| rules.linked.part.has_shadow) {
        let Some(file) = &rules.linked.part.file else { continue };
        if files.len() < DOCUMENTS_MAX && !files.contains(file) && would_refuse(question, &rules, observed) {
            files.push(Arc::clone(file));
        }
    }
    files.into()
}

/// Whether a request that is refused would pass, were the grants in shadow mode enforced.
pub fn would_permit(question: &Question<'_>) -> bool {
    question.rules().any(|rules| rules.linked.part.has_shadow) && passes(question, Mode::WithShadowGrants)
}

fn would_refuse(question: &Question<'_>, rules: &Rules<'_>, observed: bool) -> bool {
    let document = Document(&rules.linked.part);
    match (question.is_stated(), observed) {
        // Observed, it passes only while no revocation reaches the caller, whatever it takes.
        (false, _) => {
            let shadow = rules.linked.part.revocations.iter().filter(|revocation| revocation.shadow);
            shadow.into_iter().any(|revocation| rules.terms_met(revocation, question))
        }
        (true, true) => !passes(question, Mode::WithEverythingGrantedAndShadowOf(document)),
        (true, false) => !passes(question, Mode::WithShadowOf(document)),
    }
}
