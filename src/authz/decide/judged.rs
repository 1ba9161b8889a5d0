//! One call judged by one policy, for the twin of the decision: it has no requests, and what it calls is told it. From there
//! on all is as `decide` has it: suspended, enforced, observed.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Caller, Case, Sought};
use crate::authz::catalog::{OperationId, VocabularySet};
use crate::authz::gate::{GateRules, Identify, TenantRule};
use crate::authz::identity::claims::Claims;
use crate::authz::identity::{CredentialRewrite, Identified};
use crate::authz::looked_up::LookedUp;
use crate::authz::pins::Pins;
use crate::authz::policy::Policy;
use crate::authz::policy::compile::Product;
use crate::authz::policy::condition::Actor;
use crate::authz::policy::credentials::KnownCredential;
use crate::authz::reason::Reason;
use crate::authz::request::{BodyFacts, Facts, RequestView};
use crate::authz::scope::ScopeId;
use crate::authz::touch::Touched;

/// A call by somebody who is known.
pub struct Judging<'j> {
    pub credential: &'j Arc<KnownCredential>,
    /// What its evidence says, where that is not for the policy to say.
    pub claims: Option<&'j Arc<Claims>>,
    pub actor: Actor,
    pub vocabularies: VocabularySet,
    pub operation: OperationId,
    pub answer_guard: Option<ScopeId>,
    pub now_ms: i64,
    pub behind_ms: i64,
}

/// Whether it passes; and where it does so only because it is observed, what it would have been refused for.
pub fn judged(
    product: &Product,
    policy: &Policy,
    judging: &Judging<'_>,
    touched: Touched<'_>,
) -> Result<Option<Reason>, Reason> {
    let app = &policy.apps[judging.credential.app as usize];
    let installation = &app.installations[usize::from(judging.credential.installation)];
    let gate = GateRules {
        name: "toy".into(),
        catalog: Arc::clone(&product.catalog),
        identify: Identify { token: true, ..Identify::default() },
        tenant: TenantRule::Fixed(Arc::clone(&installation.tenant)),
        issue_keys_prefix: false,
        names_as_written: false,
        channel_types_prefix: false,
        observe_until_ms: None,
    };
    let request = http::Request::get("/").header("host", "toy").body(()).unwrap();
    let (parts, ()) = request.into_parts();
    let request = RequestView::of(&parts).unwrap();
    let facts = Facts {
        now_ms: judging.now_ms,
        behind_ms: judging.behind_ms,
        body: BodyFacts::Empty,
        looked_up: LookedUp::nothing(),
    };
    let touched = Ok(touched);
    let case = Case {
        generation: 0,
        named: &HashSet::new(),
        pins: Pins::none(),
        gate: &gate,
        product,
        request: &request,
        facts: &facts,
        lone: Default::default(),
        operation: Some(judging.operation),
        base_tenant: None,
        touched: &touched,
        fetch: None,
        sought: Sought { answer_guard: judging.answer_guard, is_brief: false },
    };
    let credential = judging.credential;
    let identified =
        Identified { credential, rewrite: CredentialRewrite::PassThrough, url_signed: false, claims: judging.claims };
    let (claims, actor, vocabularies) = (judging.claims, judging.actor, judging.vocabularies);
    let caller = Caller { app, installation, credential, claims, actor, vocabularies };
    let touched = touched.as_ref().unwrap();
    let passed = case.judge(policy, &identified, &caller, touched).map_err(|denial| denial.reason)?;
    Ok(passed.would.map(|denial| denial.reason))
}
