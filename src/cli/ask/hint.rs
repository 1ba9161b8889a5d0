//! "Did you mean", where an app, a tenant or an operation is not known.

use super::{Question, Words};
use crate::authz::catalog::matcher::Found;
use crate::authz::decide::Explanation;
use crate::authz::gate::GateRules;
use crate::authz::policy::Policy;
use crate::authz::policy::app::Installation;
use crate::authz::reason::Reason;
use crate::authz::request::RequestView;
use crate::cli::load::Loaded;
use crate::problem::did_you_mean;

/// "Did you mean", where the app, the tenant or the operation is not known.
pub(super) fn hint(
    loaded: &Loaded,
    gate: &GateRules,
    question: &Question,
    view: &RequestView<'_>,
    explanation: &Explanation,
) -> Option<String> {
    let policy = loaded.policy()?;
    match explanation.denial()?.reason {
        Reason::UnknownApp => {
            let near = did_you_mean(&question.app, policy.apps.iter().map(|app| &*app.name));
            Some(near.map_or_else(
                || format!("no policy describes the app `{}`", question.app),
                |near| format!("no policy describes the app `{}`; did you mean `{near}`?", question.app),
            ))
        }
        Reason::UnknownTenant => Some(tenant_hint(policy, gate, question)),
        // The operation is known, and what it is asked for is not.
        Reason::UnknownOperation if explanation.asked.iter().any(|(_, asked)| asked.is_unknown()) => None,
        Reason::UnknownOperation => near_operation(gate, view),
        _ => body_hint(gate, question, explanation),
    }
}

/// Without its body, such a request names no container and is judged as reaching the whole tenant.
fn body_hint(gate: &GateRules, question: &Question, explanation: &Explanation) -> Option<String> {
    let id = explanation.operation.filter(|_| question.body.is_none())?;
    let operation = gate.catalog.operations.get(usize::from(id.0))?;
    let add = match question.words {
        Words::Options => "--body FILE",
        Words::Members => "`\"body\": \"…\"`",
    };
    operation.body.then(|| format!("this operation is judged by its body, and none was given: add {add}"))
}

fn tenant_hint(policy: &Policy, gate: &GateRules, question: &Question) -> String {
    let installations: &[Installation] = policy.app(&question.app).map_or(&[], |(_, app)| &app.installations);
    let tenants = || installations.iter().map(|one| &*one.tenant);
    if tenants().any(|tenant| tenant == question.tenant) {
        return format!("the gate `{}` does not read the tenant {} out of this request", gate.name, question.tenant);
    }
    let help = did_you_mean(&question.tenant, tenants()).map_or_else(
        || format!("it is installed in: {}", tenants().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean `{near}`?"),
    );
    format!("`{}` has no installation in {}; {help}", question.app, question.tenant)
}

/// The operation whose template is nearest to the path.
fn near_operation(gate: &GateRules, view: &RequestView<'_>) -> Option<String> {
    if let Found::UnknownMethod = gate.catalog.matcher.find(view.method, &view.path) {
        return Some(format!("the catalog of {} has this path, but not with {}", gate.catalog.product, view.method));
    }
    let path: Vec<&str> = view.path.trim_start_matches('/').split('/').collect();
    let operations =
        gate.catalog.operations.iter().filter(|one| one.method == *view.method || view.method == http::Method::POST);
    let near = operations.filter_map(|operation| Some((distance(&operation.template, &path)?, operation)));
    let (_, operation) = near.min_by_key(|(distance, _)| *distance)?;
    Some(format!("did you mean {} {} ({})?", operation.method, operation.template, operation.id))
}

/// How many segments differ a little; `None` where one differs much. A base may stand before the template.
fn distance(template: &str, path: &[&str]) -> Option<usize> {
    let template: Vec<&str> = template.trim_start_matches('/').split('/').collect();
    let skipped = path.len().checked_sub(template.len())?;
    let mut segments = template.iter().zip(path.get(skipped..)?);
    segments.try_fold(0, |sum, (template, segment)| match () {
        () if template.starts_with('{') || template == segment => Some(sum),
        () => did_you_mean(segment, [*template]).map(|_| sum + 1),
    })
}
