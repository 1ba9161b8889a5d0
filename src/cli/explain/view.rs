//! An answered question, for people and for programs.

use std::io;

use serde_json::{Value, json};

use super::{Told, change};
use crate::authz::catalog::extras::ExtraMask;
use crate::authz::catalog::limits::Limited;
use crate::authz::catalog::{Operation, Touches};
use crate::authz::decide::{Denial, TouchedWords, Verdict};
use crate::authz::judge::{RuleKind, RuleRef, Standing};
use crate::authz::reason::Reason;
use crate::authz::scope::ScopeId;
use crate::cli::Output;
use crate::cli::catalog::asked;
use crate::cli::words::{Paint, time_text, with_name};
use crate::problem::escaped;

impl<'t> Told<'t> {
    fn operation(&self) -> Option<&'t Operation> {
        let id = self.answered.explanation.operation?;
        self.gate.catalog.operations.get(usize::from(id.0))
    }

    fn scope(&self, scope: ScopeId) -> &'t str {
        self.gate.catalog.scope_name(scope)
    }

    /// An id with its reading name.
    fn named(&self, id: &str) -> String {
        let policy = self.loaded.policy().map(|policy| &**policy);
        with_name(policy, &self.gate.catalog.product, &self.question.tenant, id)
    }

    /// The rule that decided: the one that refused, or the grant behind a permit.
    fn decided_by(&self) -> Option<&'t RuleRef> {
        let explanation = &self.answered.explanation;
        match explanation.denial() {
            Some(denial) => denial.rule.as_ref(),
            None => held_line(&explanation.needs).and_then(|line| {
                line.iter().find_map(|(_, standing)| match standing {
                    Standing::Held(rule) => rule.as_ref(),
                    Standing::Missing | Standing::Revoked(_) => None,
                })
            }),
        }
    }
}

type Line = [(ScopeId, Standing)];

/// The line that was held whole.
fn held_line(needs: &[crate::authz::decide::ExplainedVocabulary]) -> Option<&Line> {
    let lines = needs.iter().filter(|one| one.usable).flat_map(|one| one.lines.iter());
    lines.map(Vec::as_slice).find(|line| line.iter().all(|(_, standing)| matches!(standing, Standing::Held(_))))
}

pub fn human(told: &Told<'_>, output: &mut Output<'_>) -> io::Result<()> {
    let paint = output.paint;
    let explanation = &told.answered.explanation;
    let verdict = match (&explanation.verdict, explanation.denial()) {
        (Verdict::Permitted { .. }, None) => paint.green("permit"),
        (Verdict::Permitted { .. }, Some(would)) => {
            format!("{}  under observe only; enforced: {}", paint.yellow("permit"), would.reason)
        }
        (Verdict::Denied(denial), _) => format!("{}  {}", paint.red("deny"), paint.bold(denial.reason.as_str())),
    };
    let out = &mut output.out;
    writeln!(out, "{verdict}")?;
    let mut row = |name: &str, text: &str| writeln!(out, "  {} {text}", paint.dim(&format!("{name:<10}")));
    row("caller", &caller(told))?;
    row("request", &escaped(&format!("{} {}", told.question.method, told.question.target)))?;
    if let Some(operation) = told.operation() {
        row("operation", &format!("{} ({} {})", operation.id, operation.method, operation.template))?;
    }
    if let Some(touches) = touches(told) {
        row("touches", &escaped(&touches))?;
    }
    for text in asked(told) {
        row("asks for", &escaped(&text))?;
    }
    for text in limited(told) {
        row("argument", &escaped(&text))?;
    }
    if let Some(why) = explanation.denial().and_then(|denial| denial.why) {
        row("because", why)?;
    }
    if let Some(hint) = &told.answered.hint {
        row("hint", &escaped(hint))?;
    }
    needs(told, paint, out)?;
    decided(told, paint, out)?;
    if let Verdict::Permitted { shadow: Some(shadow), .. } = &explanation.verdict {
        writeln!(out, "\n{} rules in shadow mode would refuse it: {}", paint.yellow("note"), shadow.reason)?;
    }
    changes(told, paint, out)
}

fn caller(told: &Told<'_>) -> String {
    let question = told.question;
    let mut text = format!("{} in {}", question.app, question.tenant);
    if let Some(who) = &told.answered.explanation.who {
        if let Some(name) = who.tenant_name() {
            text.push_str(&format!(" ({name})"));
        }
        text.push_str(&format!(", as {}", who.actor.as_str()));
        if let Some(user) = who.user() {
            text.push_str(&format!(" {}", told.named(user)));
        }
        let kind = who.kind().and_then(|kind| told.gate.catalog.kinds.get(usize::from(kind.0)));
        if let Some(kind) = kind {
            text.push_str(&format!(", by a credential of the kind {}", kind.name));
        }
    }
    escaped(&format!("{text}, at {}", time_text(question.at_ms)))
}

fn touches(told: &Told<'_>) -> Option<String> {
    let why = |why: Option<&str>| why.map_or_else(String::new, |why| format!(" ({why})"));
    let stated = told.operation().map(|operation| &operation.touches);
    Some(match told.answered.explanation.touches.as_ref()? {
        TouchedWords::Nothing => match stated {
            Some(Touches::Nothing { why: text }) => format!("nothing that lies in a container{}", why(Some(text))),
            _ => "nothing that lies in a container".to_owned(),
        },
        TouchedWords::Tenant => match stated {
            _ if told.operation().is_some_and(|operation| operation.fetches.is_some()) => {
                let kinds = told.gate.catalog.containers.iter().map(|kind| format!("--container {}=…", kind.name));
                let kinds = kinds.collect::<Vec<_>>().join(", ");
                format!(
                    "what the request touched that started the job, if the gate remembers that this app did (say \
                     {kinds}); else the whole tenant, as here"
                )
            }
            Some(Touches::Tenant { why: text }) => format!("the whole tenant{}", why(Some(text))),
            Some(Touches::Containers(_)) => "the whole tenant: this request does not say which container".to_owned(),
            _ => "the whole tenant".to_owned(),
        },
        TouchedWords::Containers(containers) => {
            let texts = containers.iter().map(|(kind, text)| match text {
                Some(text) => format!("{kind} {}", told.named(text)),
                None => format!("a {kind} that only a look-up could tell (say --container {kind}=…)"),
            });
            texts.collect::<Vec<_>>().join(", ")
        }
    })
}

/// What this request's arguments ask for on top of a line, place by place.
fn asked(told: &Told<'_>) -> Vec<String> {
    let (Some(operation), catalog) = (told.operation(), &told.gate.catalog) else { return Vec::new() };
    let one = |(index, mask): &(usize, ExtraMask)| {
        let (at, name) = asked::place(&operation.extra_sources.get(*index)?.at);
        Some(format!("more by {at} {name}: {}", asked::mask_text(catalog, operation, *mask)))
    };
    told.answered.explanation.asked.iter().filter_map(one).collect()
}

/// What a grant may limit, as this request has it.
fn limited(told: &Told<'_>) -> Vec<String> {
    let one = |limited: &Limited| {
        let name = told.gate.catalog.limit_name(limited.limit);
        let value = limited.value.as_deref().unwrap_or("absent, or not to be read in one way only");
        format!("{name}: {value}")
    };
    told.answered.explanation.limited.iter().map(one).collect()
}

fn needs(told: &Told<'_>, paint: Paint, out: &mut dyn io::Write) -> io::Result<()> {
    let explanation = &told.answered.explanation;
    if explanation.needs.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n  needs one line{}:", if explanation.guards.is_empty() { "" } else { ", and the guards" })?;
    for vocabulary in &explanation.needs {
        let name = vocabulary.name.as_deref().unwrap_or("gate");
        let other = if vocabulary.usable { "" } else { "  (not for this kind of credential)" };
        writeln!(out, "    {}{}", name, paint.dim(other))?;
        for (index, line) in vocabulary.lines.iter().enumerate() {
            let lead = if index == 0 { "     " } else { "  or " };
            if vocabulary.usable {
                let words: Vec<String> =
                    line.iter().map(|(scope, standing)| stands(told, *scope, standing, paint)).collect();
                writeln!(out, "  {lead}{}", words.join(&format!("\n   {} ", paint.dim("and"))))?;
            } else {
                writeln!(out, "  {lead}{}", others(told, line, paint))?;
            }
        }
    }
    if !explanation.guards.is_empty() {
        writeln!(out, "    guards")?;
        for (scope, standing) in &explanation.guards {
            writeln!(out, "       {}", stands(told, *scope, standing, paint))?;
        }
    }
    Ok(())
}

/// A line that this credential cannot use: it bears on the outcome only where something in it is revoked.
fn others(told: &Told<'_>, line: &Line, paint: Paint) -> String {
    let words = line.iter().map(|(scope, standing)| match standing {
        Standing::Revoked(rule) => {
            let by = rule.as_ref().map_or_else(String::new, |rule| format!(" by {}", place(rule)));
            format!("{} ({}{by})", told.scope(*scope), paint.red("revoked"))
        }
        Standing::Held(_) | Standing::Missing => told.scope(*scope).to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn stands(told: &Told<'_>, scope: ScopeId, standing: &Standing, paint: Paint) -> String {
    let name = told.scope(scope);
    let place = |rule: &Option<RuleRef>| rule.as_ref().map_or_else(String::new, |rule| format!("  {}", place(rule)));
    match standing {
        Standing::Held(rule) => format!("{} {name}{}", paint.green("held   "), paint.dim(&place(rule))),
        Standing::Missing => format!("{} {name}", paint.yellow("missing")),
        Standing::Revoked(rule) => format!("{} {name}{}", paint.red("revoked"), paint.dim(&place(rule))),
    }
}

fn place(rule: &RuleRef) -> String {
    escaped(&format!("{}:{}", rule.file.display(), rule.line))
}

fn kind(rule: &RuleRef) -> String {
    match &rule.kind {
        RuleKind::Grant => "a grant".to_owned(),
        RuleKind::Revocation => "a revocation".to_owned(),
        RuleKind::Guardrail(name) => format!("the guardrail {name}"),
        RuleKind::Installation => "the installation".to_owned(),
        RuleKind::Suspension => "a suspension".to_owned(),
    }
}

fn decided(told: &Told<'_>, paint: Paint, out: &mut dyn io::Write) -> io::Result<()> {
    let Some(rule) = told.decided_by() else {
        let denial = told.answered.explanation.denial();
        if denial.is_some_and(|denial| denial.reason == Reason::MissingScope) {
            writeln!(out, "\n  no grant gives it")?;
        }
        return Ok(());
    };
    writeln!(out, "\n  decided by {}, {}", paint.bold(&place(rule)), escaped(&kind(rule)))?;
    if let Some(line) = told.loaded.line(&rule.file, rule.line) {
        writeln!(out, "    {} {} {}", paint.dim(&rule.line.to_string()), paint.dim("|"), escaped(line))?;
    }
    Ok(())
}

fn changes(told: &Told<'_>, paint: Paint, out: &mut dyn io::Write) -> io::Result<()> {
    let Some(change) = change::would_change(told) else { return Ok(()) };
    writeln!(out, "\n  {}", escaped(&change.says))?;
    if let Some(yaml) = &change.yaml {
        writeln!(out, "    {}", paint.bold(&escaped(yaml)))?;
    }
    Ok(())
}

pub fn json(told: &Told<'_>) -> Value {
    let explanation = &told.answered.explanation;
    let denial = explanation.denial();
    let words = |names: &[std::sync::Arc<str>]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let place =
        |rule: &RuleRef| json!({"file": rule.file.display().to_string(), "line": rule.line, "kind": kind(rule)});
    let change = change::would_change(told);
    json!({
        "decision": if explanation.is_permitted() { "permit" } else { "deny" },
        "reason": denial.map(|denial| denial.reason.as_str()),
        "observed": explanation.is_permitted() && denial.is_some(),
        "why": denial.and_then(|denial| denial.why),
        "hint": told.answered.hint,
        "app": told.question.app,
        "tenant": told.question.tenant,
        "actor": explanation.who.as_ref().map(|who| who.actor.as_str()),
        "user": told.question.user,
        "at": time_text(told.question.at_ms),
        "gate": &*told.gate.name,
        "request": format!("{} {}", told.question.method, told.question.target),
        "operation": told.operation().map(|operation| &*operation.id),
        "touches": explanation.touches.as_ref().map(touches_json),
        "needs": explanation.needs.iter().map(|one| json!({
            "vocabulary": one.name, "usable": one.usable,
            "lines": one.lines.iter().map(|line| scopes_json(told, line)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "guards": scopes_json(told, &explanation.guards),
        "asks_for": asked_json(told),
        "arguments": limited_json(told),
        "needed": denial.map_or_else(Vec::new, |denial| words(&denial.needed)),
        "held": words(&explanation.held),
        "container": denial.and_then(container_json),
        "decided_by": told.decided_by().map(place),
        "would_change": change.map(|change| json!({
            "does": change.does, "file": change.file.map(|file| file.display().to_string()),
            "line": change.line, "yaml": change.yaml, "says": change.says,
        })),
    })
}

fn asked_json(told: &Told<'_>) -> Value {
    let (Some(operation), catalog) = (told.operation(), &told.gate.catalog) else { return json!([]) };
    let one = |(index, mask): &(usize, ExtraMask)| {
        let (at, name) = asked::place(&operation.extra_sources.get(*index)?.at);
        Some(json!({"at": at, "name": name, "needs": asked::mask_text(catalog, operation, *mask)}))
    };
    told.answered.explanation.asked.iter().filter_map(one).collect()
}

fn limited_json(told: &Told<'_>) -> Value {
    let one = |limited: &Limited| json!({"limit": told.gate.catalog.limit_name(limited.limit), "value": limited.value});
    told.answered.explanation.limited.iter().map(one).collect()
}

fn container_json(denial: &Denial) -> Option<Value> {
    denial.container.as_ref().map(|(kind, text)| json!({"kind": &**kind, "id": text}))
}

fn touches_json(touches: &TouchedWords) -> Value {
    match touches {
        TouchedWords::Nothing => json!("nothing"),
        TouchedWords::Tenant => json!("tenant"),
        TouchedWords::Containers(list) => {
            list.iter().map(|(kind, text)| json!({"kind": &**kind, "id": text})).collect::<Vec<_>>().into()
        }
    }
}

fn scopes_json(told: &Told<'_>, scopes: &Line) -> Value {
    let one = |(scope, standing): &(ScopeId, Standing)| {
        let (word, rule) = match standing {
            Standing::Held(rule) => ("held", rule.as_ref()),
            Standing::Missing => ("missing", None),
            Standing::Revoked(rule) => ("revoked", rule.as_ref()),
        };
        json!({"scope": told.scope(*scope), "is": word, "by": rule.map(place)})
    };
    scopes.iter().map(one).collect::<Vec<_>>().into()
}
