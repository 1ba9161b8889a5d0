//! What is allowed and still most likely not meant: rules that no request can meet, and gates that take unsound facts.
//!
//! What one document shows by itself is warned of where it is compiled; here stands what needs the whole policy.

use std::sync::Arc;

use super::reach::has_line;
use crate::authz::catalog::{ActorRule, Needs, Operation, ScopeClass, Touches};
use crate::authz::gate::GateRules;
use crate::authz::policy::Policy;
use crate::authz::policy::app::App;
use crate::authz::policy::compile::Product;
use crate::authz::policy::condition::Actors;
use crate::authz::policy::credentials::{ClientMethod, KnownCredential, Proof};
use crate::authz::policy::part::{Grant, Part};
use crate::authz::scope::ScopeId;
use crate::cli::check::config_file;
use crate::cli::load::Loaded;
use crate::problem::Problem;

/// All warnings of this kind. Without a whole policy only the gates can be told.
pub fn lint(loaded: &Loaded, now_ms: i64) -> Vec<Problem> {
    let mut problems = gates(loaded, now_ms);
    let Some(policy) = loaded.policy() else { return problems };
    for (index, app) in (0u32..).zip(&policy.apps) {
        let Some(product) = loaded.catalogs.get(app.product) else { continue };
        let about = About { loaded, product, app, credentials: credentials(policy, app, index) };
        about.installations(&mut problems, now_ms);
        for linked in &app.parts {
            for grant in linked.part.grants.iter().filter(|grant| !grant.shadow) {
                about.grant(&linked.part, grant, &mut problems);
            }
        }
    }
    problems
}

fn credentials<'p>(policy: &'p Policy, app: &App, index: u32) -> Vec<&'p Arc<KnownCredential>> {
    let known = policy.product(app.product).into_iter().flat_map(|product| product.credentials.all());
    known.filter(|credential| credential.app == index).collect()
}

struct About<'l> {
    loaded: &'l Loaded,
    product: &'l Product,
    app: &'l Arc<App>,
    credentials: Vec<&'l Arc<KnownCredential>>,
}

impl About<'_> {
    /// A rule that can never match must not look healthy.
    fn installations(&self, problems: &mut Vec<Problem>, now_ms: i64) {
        let name = &self.app.name;
        for (number, installation) in (0u16..).zip(&self.app.installations) {
            let tenant = &installation.tenant;
            let mut warn = |message: String, help: &str| {
                let problem = self.loaded.warning(&installation.file, installation.line, message);
                problems.push(problem.help(help));
            };
            let mut own = self.credentials.iter().filter(|one| one.installation == number).peekable();
            if own.peek().is_none() {
                let help = "`scopegate credential new` makes a gate key, and the line to paste";
                warn(format!("`{name}` has no credential in {tenant}: nobody can call as it there"), help);
            }
            if let Some((message, help)) = self.unasked(number, tenant) {
                warn(message, help);
            }
            let gates = self.gates();
            for credential in own.filter(|one| !gates.is_empty() && !gates.iter().any(|gate| takes(gate, one))) {
                let method = method_of(credential);
                let help = "add the method to `identify` of the gate, or give the app a credential of another";
                warn(
                    format!(
                        "no gate for {} takes a {method}: this credential of `{name}` is refused",
                        self.product.catalog.product
                    ),
                    help,
                );
            }
            if !self.gives_in(tenant) && !installation.observed(now_ms) {
                let help = "write a grant, or take the installation out";
                warn(format!("nothing is granted to `{name}` in {tenant}: every request is refused"), help);
            }
        }
    }

    fn gates(&self) -> Vec<&Arc<GateRules>> {
        let of_product = |gate: &&Arc<GateRules>| gate.catalog.product == self.product.catalog.product;
        self.loaded.gates.iter().filter(of_product).collect()
    }

    fn gives_in(&self, tenant: &str) -> bool {
        self.app.parts.iter().flat_map(|linked| linked.part.grants.iter().map(move |grant| (&linked.part, grant))).any(
            |(part, grant)| {
                let condition = part.condition(grant.condition);
                let tenants = condition.and_then(|condition| condition.tenants.as_ref());
                !grant.shadow && tenants.is_none_or(|tenants| tenants.iter().any(|one| **one == *tenant))
            },
        )
    }

    fn grant(&self, part: &Part, grant: &Grant, problems: &mut Vec<Problem>) {
        let Some(file) = &part.file else { return };
        let mut warn = |message: String, help: &str| {
            problems.push(self.loaded.warning(file, grant.line, message).help(help));
        };
        let can = self.can_be();
        if let Some(condition) = part.condition(grant.condition)
            && !self.credentials.is_empty()
        {
            let dead: Vec<&str> = condition
                .actors
                .words()
                .filter(|word| match *word {
                    "user" => !can.user,
                    _ => !can.app,
                })
                .collect();
            if !dead.is_empty() {
                let message = format!(
                    "no credential of `{}` acts as {}: this grant is never met so",
                    self.app.name,
                    dead.join(" or ")
                );
                let help = "write `user:` on a credential of a kind that can act as a user, or take the actor out";
                warn(message, help);
            }
        }
        if let Some(condition) = part.condition(grant.condition)
            && condition.pipelines.is_some()
            && !self.credentials.is_empty()
            && self.credentials.iter().all(|one| one.pipeline.is_none())
        {
            let message = format!("no credential of `{}` shows a pipeline: this grant is never met", self.app.name);
            warn(message, "write `pipeline:` on the pipeline's credential, or take `pipelines` out");
        }
        if self.no_kind_can_use(part, grant) {
            let message = format!(
                "no credential of `{}` is of a kind that can use these scopes: this grant gives none of them",
                self.app.name
            );
            let help = "grant the scopes that the kind's own words are for, or write a credential of the other kind";
            warn(message, help);
        }
        let limited = part.area(grant.area).is_some_and(|area| !area.is_all());
        if limited && self.all_whole(part, grant) {
            let message = "every operation that this grant could give reaches the whole tenant: limited to containers it gives nothing";
            warn(message.to_owned(), "write `in: all`, or grant scopes whose operations name their container");
        }
    }

    /// Whether some operation needs the grant's scopes, and each of these reaches the whole tenant.
    fn all_whole(&self, part: &Part, grant: &Grant) -> bool {
        let Some(scopes) = part.scope_set(grant.scopes) else { return false };
        let operations = (0u16..).zip(&self.product.catalog.operations);
        let mut given = operations
            .filter(|(number, operation)| {
                let id = crate::authz::catalog::OperationId(*number);
                part.speaks_of(grant.operations, id) && has_line(operation, |scope| scopes.contains(scope))
            })
            .peekable();
        given.peek().is_some() && given.all(|(_, operation)| operation.is_of_the_tenant())
    }

    /// Whether the grant's scopes stand in lines of operations, and only in vocabularies that no credential can use.
    fn no_kind_can_use(&self, part: &Part, grant: &Grant) -> bool {
        let catalog = &self.product.catalog;
        let Some(scopes) = part.scope_set(grant.scopes) else { return false };
        let vendors = |scope: &ScopeId| {
            catalog.scopes.get(scope.index()).is_some_and(|scope| matches!(scope.class, ScopeClass::Vendor))
        };
        // A guard counts in every vocabulary, and is granted beside a scope that another line gives.
        if self.credentials.is_empty() || !scopes.iter().all(|scope| vendors(&scope)) {
            return false;
        }
        let kinds = self.credentials.iter().filter_map(|one| catalog.kinds.get(usize::from(one.kind.0)));
        let usable: Vec<_> = kinds.map(|kind| kind.vocabularies).collect();
        let operations = catalog.operations.iter().filter_map(|operation| match &operation.needs {
            Needs::Lines(vocabularies) => Some(vocabularies),
            Needs::Unknown | Needs::None { .. } => None,
        });
        let mut speaking = operations
            .flatten()
            .filter(|one| one.lines.iter().any(|line| line.scopes.iter().any(|scope| scopes.contains(*scope))))
            .peekable();
        speaking.peek().is_some()
            && speaking.all(|one| !usable.iter().any(|vocabularies| vocabularies.contains(one.vocabulary)))
    }

    /// Whom the app's credentials can act as.
    fn can_be(&self) -> Actors {
        let mut can = Actors { app: false, user: false };
        for credential in &self.credentials {
            let kind = self.product.catalog.kinds.get(usize::from(credential.kind.0));
            match kind.map(|kind| kind.actor) {
                Some(ActorRule::App) => can.app = true,
                Some(ActorRule::User) => can.user = true,
                // What a token says, only a token says.
                Some(ActorRule::Evidence) if matches!(credential.proof, Proof::Client { .. }) => can = Actors::ALL,
                Some(ActorRule::Evidence) if credential.user.is_some() => can.user = true,
                Some(ActorRule::Evidence) => can.app = true,
                None => {}
            }
        }
        can
    }
}

/// Operations shown by name.
const SHOWN: usize = 5;

impl About<'_> {
    /// What no credential of an installation can ask about, where a rule of the app is limited to containers: such a
    /// request is refused, for nobody can tell where it reaches.
    fn unasked(&self, installation: u16, tenant: &str) -> Option<(String, &'static str)> {
        let limited = self.app.parts.iter().any(|linked| linked.part.areas.iter().any(|area| !area.is_all()));
        let config = self.loaded.config.as_ref().filter(|_| limited)?;
        let own = || self.credentials.iter().filter(|one| one.installation == installation);
        let serves = |gate: &&Arc<GateRules>| gate.tenant.may_tell(tenant) && own().any(|one| takes(gate, one));
        let lookups = |gate: &Arc<GateRules>| {
            let written = config.gates.iter().find(|written| *written.name == *gate.name)?;
            written.lookups.as_ref()
        };
        // A Connect JWT is of one request alone.
        let carries = own().any(|one| !matches!(one.proof, Proof::ConnectJwt { .. }));
        let asks = |gate: &Arc<GateRules>| lookups(gate).is_some_and(|asks| carries || asks.credential.is_some());
        let gates: Vec<&Arc<GateRules>> = self.gates().into_iter().filter(serves).collect();
        let first = gates.first().filter(|_| !gates.iter().any(|gate| asks(gate)))?;
        let hang = |operation: &&Operation| match &operation.touches {
            Touches::Containers(places) => places.iter().any(|place| place.lookup.is_some()),
            Touches::Nothing { .. } | Touches::Tenant { .. } => false,
        };
        let hanging: Vec<&str> =
            self.product.catalog.operations.iter().filter(hang).map(|operation| &*operation.id).collect();
        if hanging.is_empty() {
            return None;
        }
        let shown = hanging.get(..SHOWN).map_or_else(|| hanging.join(", "), |some| format!("{}, …", some.join(", ")));
        let message = format!(
            "no credential of `{}` in {tenant} can ask what {} operations reach ({shown}): where a thing in them is \
             named and no container, a rule that is limited to containers refuses them",
            self.app.name,
            hanging.len(),
        );
        let help = match lookups(first) {
            None => "take `lookups: off` out of the gate",
            Some(_) => "add `lookups: {credential: {file: …}}` to the gate: a Connect JWT cannot carry another request",
        };
        Some((message, help))
    }
}

fn takes(gate: &GateRules, credential: &KnownCredential) -> bool {
    match &credential.proof {
        Proof::GateKey { .. } => gate.identify.gate_key,
        Proof::Token => gate.identify.token,
        Proof::ConnectJwt { .. } => gate.identify.connect_jwt,
        Proof::Client { by: ClientMethod::TrustedHeader, .. } => gate.identify.trusted_header.is_some(),
        Proof::Client { by: ClientMethod::Jwt, upstream } => {
            !gate.identify.jwt.is_empty() && (upstream.is_some() || !gate.identify.replaces)
        }
    }
}

fn method_of(credential: &KnownCredential) -> &'static str {
    match &credential.proof {
        Proof::GateKey { .. } => "gate_key",
        Proof::Token => "token",
        Proof::ConnectJwt { .. } => "connect_jwt",
        Proof::Client { by, .. } => by.as_str(),
    }
}

/// Settings that take for a fact what only a look-up could tell, and gates that can be walked around.
fn gates(loaded: &Loaded, now_ms: i64) -> Vec<Problem> {
    use crate::config::model::Bypass;
    let (Some(config), Some(file)) = (&loaded.config, config_file(loaded)) else { return Vec::new() };
    let mut problems = Vec::new();
    for gate in &config.gates {
        let mut warn = |message: String, help: &str| {
            problems.push(Problem::warning(&file, gate.at, message).help(help));
        };
        let name = &gate.name;
        let unsound = [
            (gate.issue_keys_prefix, "issue_keys: prefix", "a moved issue keeps answering to its old key"),
            (
                gate.names_as_written,
                "names: as_written",
                "a renamed container keeps answering to its old name, or another takes it",
            ),
            (gate.channel_types_prefix, "channel_types: prefix", "Slack renames ids when a channel is shared"),
        ];
        for (_, setting, why) in unsound.into_iter().filter(|(is_set, _, _)| *is_set) {
            warn(
                format!("the gate `{name}` says `{setting}`, which is unsound: {why}"),
                "take it out where rules are not limited to containers",
            );
        }
        if gate.bypass == Bypass::Open {
            warn(
                format!("the gate `{name}` says `bypass: open`: an app can walk around it"),
                "what it refuses is advice, not enforcement",
            );
        }
        if gate.observe_until_ms.is_some_and(|until| until <= now_ms) {
            warn(format!("`observe` of the gate `{name}` has ended: it enforces"), "delete its `mode`");
        }
        if gate.via.is_some() && gate.tenants.iter().any(|tenant| tenant.upstream.tls.is_none()) {
            warn(
                format!("the gate `{name}` reaches an http:// upstream via a proxy, which can read every credential"),
                "write https:// where the upstream speaks it",
            );
        }
        let passed_on = gate.identify.token || gate.identify.connect_jwt;
        if passed_on && gate.bypass == Bypass::Network {
            warn(
                format!("the gate `{name}` passes the app's own credential on"),
                "it works upstream too wherever the network lets the app through",
            );
        }
    }
    if let Some(bucket) = config.bucket.as_ref().filter(|bucket| bucket.is_in_the_clear()) {
        let message = "the bucket is reached in the clear: whoever is on the way to it can take acts back";
        problems
            .push(Problem::warning(&file, bucket.at, message).help("add `tls: {ca: ...}`, or write tls:// servers"));
    }
    if let Ok(text) = std::fs::read_to_string(&file) {
        crate::problem::fill_snippets(&mut problems, &text);
    }
    problems
}
