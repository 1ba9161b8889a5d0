//! The one line of YAML that would change an answer. It proposes; whoever edits the policy decides.

mod yaml;

use std::path::Path;
use std::sync::Arc;

use super::Told;
use crate::authz::catalog::{CredentialKind, VocabularyId};
use crate::authz::decide::{Denial, TouchedWords, Who};
use crate::authz::judge::{RuleKind, RuleRef};
use crate::authz::policy::app::{App, Installation};
use crate::authz::policy::area::Area;
use crate::authz::policy::condition::{Actor, Condition};
use crate::authz::policy::part::{Grant, Part};
use crate::authz::reason::Reason;
use crate::cli::words::{area_items, time_text};
use crate::yaml::time::span_text;
use yaml::{except, yaml_word};

const DAY_MS: i64 = 86_400_000;
/// What a proposal to prolong something proposes.
const PROLONG_MS: i64 = 7 * DAY_MS;

/// What to do to which line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WouldChange {
    /// `add`, `change` or `delete`.
    pub does: &'static str,
    pub file: Option<Arc<Path>>,
    pub line: Option<u32>,
    /// The line to add, or the key as it should be.
    pub yaml: Option<String>,
    /// The same for a person, without the YAML.
    pub says: String,
}

/// The change that would turn a denial round; `None` where no line of a policy could.
pub fn would_change(told: &Told<'_>) -> Option<WouldChange> {
    let denial = told.answered.explanation.denial()?;
    let policy = told.loaded.policy()?;
    let (_, app) = policy.app(&told.question.app)?;
    let installation = app.installations.iter().find(|one| *one.tenant == *told.question.tenant)?;
    let about = About { told, denial, app, installation };
    match denial.reason {
        Reason::MissingScope => Some(about.other_kind().unwrap_or_else(|| about.grant_to_add())),
        Reason::InstallWindowClosed => about.window_to_open(),
        Reason::ScopeRevoked | Reason::ContainerRevoked | Reason::OperationNotAllowed => about.rule_to_lift(),
        Reason::AppSuspended => about.rule_to_lift(),
        Reason::Expired | Reason::NotYetValid => about.time_to_change(),
        Reason::ActorNotAllowed => about.at_rule(|_, _| Some(format!("actors: [{}]", about.actors()))),
        Reason::UserNotAllowed => about.user_to_add(),
        Reason::PipelineNotAllowed => about.pipelines_to_change(),
        Reason::ArgumentNotAllowed => about.argument_to_add(),
        Reason::ContainerNotGranted => about.container_to_add(),
        Reason::ContainerUnresolved | Reason::ContainerUnreadable => Some(about.look_up()),
        _ => None,
    }
}

struct About<'t> {
    told: &'t Told<'t>,
    denial: &'t Denial,
    app: &'t App,
    installation: &'t Installation,
}

impl<'t> About<'t> {
    /// Where the request acts, as `in:` would write it.
    fn within(&self) -> String {
        let Some(TouchedWords::Containers(containers)) = &self.told.answered.explanation.touches else {
            return "all".to_owned();
        };
        let mut kinds: Vec<(&str, Vec<&str>)> = Vec::new();
        for (kind, text) in containers {
            let Some(text) = text else { return "all".to_owned() };
            match kinds.iter_mut().find(|(known, _)| *known == &**kind) {
                Some((_, texts)) => texts.push(text),
                None => kinds.push((kind, vec![text])),
            }
        }
        let kinds = kinds.into_iter().map(|(kind, texts)| {
            format!("{kind}: [{}]", texts.into_iter().map(yaml_word).collect::<Vec<_>>().join(", "))
        });
        format!("{{{}}}", kinds.collect::<Vec<_>>().join(", "))
    }

    fn actor(&self) -> &'static str {
        let who = self.denial.who.as_ref().or(self.told.answered.explanation.who.as_ref());
        who.map_or("app", |who| if who.actor == Actor::User { "user" } else { "app" })
    }

    /// The part that an added grant belongs into: where the app's grants are, else where it is installed.
    fn home(&self) -> (Arc<Path>, u32, bool) {
        let parts = || self.app.parts.iter().map(|linked| &linked.part);
        let with_grants = parts().find_map(|part| Some((part.file.clone()?, part.grants.last()?.line)));
        match with_grants {
            Some((file, line)) => (file, line, true),
            None => (Arc::clone(&self.installation.file), self.installation.line, false),
        }
    }

    /// The operation is closed to every vocabulary of the credential: no grant would help.
    fn other_kind(&self) -> Option<WouldChange> {
        let explanation = &self.told.answered.explanation;
        if explanation.needs.is_empty() || explanation.needs.iter().any(|one| one.usable) {
            return None;
        }
        let catalog = &self.told.gate.catalog;
        let open = |kind: &&CredentialKind| {
            let names =
                (0u8..).zip(&catalog.vocabularies).filter(|(id, _)| kind.vocabularies.contains(VocabularyId(*id)));
            names.into_iter().any(|(_, name)| explanation.needs.iter().any(|one| one.name.as_ref() == Some(name)))
        };
        let kinds: Vec<&str> = catalog.kinds.iter().filter(open).map(|kind| &*kind.name).collect();
        let says = format!(
            "no grant would permit it: the vendor closes it to this kind of credential; it takes one of the kind {}",
            kinds.join(" or ")
        );
        Some(WouldChange { does: "change", file: None, line: None, yaml: None, says })
    }

    fn grant_to_add(&self) -> WouldChange {
        let (file, line, has_grants) = self.home();
        let scopes = self.denial.needed.iter().map(|scope| yaml_word(scope)).collect::<Vec<_>>().join(", ");
        let tenants = match self.app.installations.len() {
            0 | 1 => String::new(),
            _ => format!(", tenants: [{}]", yaml_word(&self.installation.tenant)),
        };
        let grant = format!("- {{scopes: [{scopes}], actors: [{}], in: {}{tenants}}}", self.actor(), self.within());
        let place = file.display();
        let says = match has_grants {
            true => format!("to permit it, add under `grants:` in {place}, after line {line}:"),
            false => {
                format!("to permit it, add to the document of {} in {place}, with `grants:` above it:", self.app.name)
            }
        };
        WouldChange { does: "add", file: Some(file), line: Some(line), yaml: Some(grant), says }
    }

    /// A revocation goes by deleting it; a guardrail, which others rely on, by an exception.
    fn rule_to_lift(&self) -> Option<WouldChange> {
        let rule = self.denial.rule.as_ref()?;
        let place = format!("{}:{}", rule.file.display(), rule.line);
        let (does, yaml, says) = match &rule.kind {
            RuleKind::Guardrail(name) => {
                let apps = self.excepted(rule);
                let says = match &apps {
                    Some((line, _)) => format!(
                        "to except this app from the guardrail {name}, write at {}:{line}:",
                        rule.file.display()
                    ),
                    None => format!("to except this app from the guardrail {name}, take it out of `apps`"),
                };
                ("change", apps.map(|(_, yaml)| yaml), says)
            }
            RuleKind::Suspension => {
                ("delete", self.text_of(rule), format!("to permit it, delete the suspension at {place}:"))
            }
            RuleKind::Revocation | RuleKind::Grant | RuleKind::Installation => {
                // An empty list of revocations is an error: whoever empties it by mistake must hear of it.
                let with = if self.is_only_revocation(rule) { ", and `revocations:` above it" } else { "" };
                ("delete", self.text_of(rule), format!("to permit it, delete the revocation at {place}{with}:"))
            }
        };
        let line = match &rule.kind {
            RuleKind::Guardrail(_) => self.excepted(rule).map_or(rule.line, |(line, _)| line),
            _ => rule.line,
        };
        Some(WouldChange { does, file: Some(Arc::clone(&rule.file)), line: Some(line), yaml, says })
    }

    fn is_only_revocation(&self, rule: &RuleRef) -> bool {
        let mut parts = self.app.parts.iter().map(|linked| &linked.part);
        parts.any(|part| {
            part.file.as_ref() == Some(&rule.file)
                && part.revocations.len() == 1
                && part.revocations.iter().any(|one| one.line == rule.line)
        })
    }

    fn text_of(&self, rule: &RuleRef) -> Option<String> {
        self.told.loaded.line(&rule.file, rule.line).map(|line| line.trim().to_owned())
    }

    /// The `apps:` line above a guardrail's rule, with this app excepted.
    fn excepted(&self, rule: &RuleRef) -> Option<(u32, String)> {
        let text = self.told.loaded.text(&rule.file)?;
        let above: Vec<(u32, &str)> = (1u32..).zip(text.lines()).take_while(|(line, _)| *line < rule.line).collect();
        let mut found = above.iter().rev().take_while(|(_, line)| !line.starts_with("---"));
        let (line, apps) = found.find(|(_, line)| line.starts_with("apps:"))?;
        Some((*line, except(apps, &self.app.name)?))
    }

    /// Nobody should have to lift the revocation for good: an override opens the window, with an end.
    fn window_to_open(&self) -> Option<WouldChange> {
        let now_ms = self.told.question.at_ms;
        let yaml = format!(
            "{{version: 1, app: {}, install_windows: [{{tenant: {}, from: {}, until: {}, reason: …}}]}}",
            self.app.name,
            yaml_word(&self.installation.tenant),
            time_text(now_ms),
            time_text(now_ms.saturating_add(DAY_MS))
        );
        let overrides = self.told.loaded.config.as_ref().and_then(|config| config.overrides.as_deref());
        let says = match overrides {
            Some(folder) => {
                format!("to open the install window for a day, write as a file of its own in {}:", folder.display())
            }
            None => {
                "to open the install window for a day, write as a file of its own in the folder `overrides`:".to_owned()
            }
        };
        Some(WouldChange { does: "add", file: overrides.map(Arc::from), line: None, yaml: Some(yaml), says })
    }

    /// The grant that came nearest, and its terms.
    fn nearest(&self) -> Option<(&'t Arc<Part>, &'t Grant, &'t Condition)> {
        let rule = self.denial.rule.as_ref().filter(|rule| rule.kind == RuleKind::Grant)?;
        let part = self.app.parts.iter().map(|linked| &linked.part).find(|part| {
            part.file.as_ref() == Some(&rule.file) && part.grants.iter().any(|grant| grant.line == rule.line)
        })?;
        let grant = part.grants.iter().find(|grant| grant.line == rule.line)?;
        Some((part, grant, part.condition(grant.condition)?))
    }

    fn at_rule(&self, yaml: impl FnOnce(&Part, &Grant) -> Option<String>) -> Option<WouldChange> {
        let (part, grant, _) = self.nearest()?;
        let file = part.file.clone()?;
        let says = format!("to permit it, write in the grant at {}:{}:", file.display(), grant.line);
        Some(WouldChange {
            does: "change",
            line: Some(grant.line),
            yaml: Some(yaml(part, grant)?),
            says,
            file: Some(file),
        })
    }

    fn actors(&self) -> String {
        let own = self.nearest().map(|(_, _, terms)| terms.actors.words().collect::<Vec<_>>()).unwrap_or_default();
        let all = ["app", "user"].into_iter().filter(|word| own.contains(word) || *word == self.actor());
        all.collect::<Vec<_>>().join(", ")
    }

    fn time_to_change(&self) -> Option<WouldChange> {
        let now_ms = self.told.question.at_ms;
        let (_, _, terms) = self.nearest()?;
        let started = self.installation.counted_from(now_ms);
        let over = terms.after_install_ms.zip(started).filter(|(after, start)| now_ms >= start.saturating_add(*after));
        let valid = match (self.denial.reason, over) {
            (Reason::NotYetValid, _) => format!("from: {}", time_text(now_ms)),
            (_, Some((_, start))) => {
                let days = now_ms.saturating_sub(start).saturating_add(PROLONG_MS) / DAY_MS;
                format!("after_install: {}", span_text(days.saturating_add(1).saturating_mul(DAY_MS)))
            }
            (_, None) => format!("until: {}", time_text(now_ms.saturating_add(PROLONG_MS))),
        };
        self.at_rule(|_, _| Some(format!("valid: {{{valid}}}")))
    }

    fn user_to_add(&self) -> Option<WouldChange> {
        let who = self.told.answered.explanation.who.as_ref();
        let Some(user) = who.and_then(Who::user).map(|user| &**user) else {
            let (part, grant, _) = self.nearest()?;
            let says =
                "the grant is for named users, and the caller names none: a credential with `user:` would".to_owned();
            return Some(WouldChange {
                does: "change",
                file: part.file.clone(),
                line: Some(grant.line),
                yaml: None,
                says,
            });
        };
        self.at_rule(|part, grant| {
            let users = part.condition(grant.condition)?.users.as_ref()?;
            let ids = users.ids.iter().map(|id| &**id).chain([user]).map(yaml_word).collect::<Vec<_>>().join(", ");
            let groups = users.groups.iter().filter_map(|index| part.group_references.get(usize::from(*index)));
            let groups = groups.map(|(name, _)| yaml_word(name)).collect::<Vec<_>>().join(", ");
            let groups = if groups.is_empty() { String::new() } else { format!(", groups: [{groups}]") };
            Some(format!("users: {{ids: [{ids}]{groups}}}"))
        })
    }

    fn pipelines_to_change(&self) -> Option<WouldChange> {
        let (part, grant, _) = self.nearest()?;
        let says = "the grant is for named pipelines; add the caller's to `pipelines`".to_owned();
        Some(WouldChange { does: "change", file: part.file.clone(), line: Some(grant.line), yaml: None, says })
    }

    /// The nearest grant with what this request tells added to `where:`.
    fn argument_to_add(&self) -> Option<WouldChange> {
        let (part, grant, terms) = self.nearest()?;
        let catalog = &self.told.gate.catalog;
        let told = &self.told.answered.explanation.limited;
        let mut written = Vec::new();
        for (limit, allowed) in terms.limits.iter() {
            let name = catalog.limit_name(limit);
            let value = told.iter().find(|one| one.limit == limit).and_then(|one| one.value.as_deref());
            let Some(value) = value else {
                let says = format!(
                    "the grant is limited by `{name}`, which this request does not tell in one way only; without `where` it \
                     would hold"
                );
                let (file, line) = (part.file.clone(), Some(grant.line));
                return Some(WouldChange { does: "delete", file, line, yaml: None, says });
            };
            let mut values: Vec<String> = allowed.iter().map(ToString::to_string).collect();
            if !allowed.iter().any(|one| one.allows(value)) {
                values.push(value.to_owned());
            }
            let values = values.iter().map(|value| yaml_word(value)).collect::<Vec<_>>().join(", ");
            written.push(format!("{}: [{values}]", yaml_word(name)));
        }
        self.at_rule(|_, _| Some(format!("where: {{{}}}", written.join(", "))))
    }

    /// The nearest grant with this request's containers added to `in:`.
    fn container_to_add(&self) -> Option<WouldChange> {
        let catalog = &self.told.gate.catalog;
        let touched = match &self.told.answered.explanation.touches {
            Some(TouchedWords::Containers(containers)) => containers.as_slice(),
            Some(TouchedWords::Nothing | TouchedWords::Tenant) | None => &[],
        };
        self.at_rule(|part, grant| {
            let Area::Kinds(kinds) = part.area(grant.area)? else { return None };
            if touched.is_empty() || touched.iter().any(|(_, text)| text.is_none()) {
                return Some("in: all".to_owned());
            }
            let mut written: Vec<(String, Vec<String>)> = Vec::new();
            for area in kinds {
                let name = catalog.containers.get(usize::from(area.kind.0))?.name.to_string();
                written.push((name, area_items(part, area)));
            }
            for (kind, text) in touched {
                let text = text.clone()?;
                match written.iter_mut().find(|(known, _)| **known == **kind) {
                    Some((_, items)) if items.contains(&text) => {}
                    Some((_, items)) => items.push(text),
                    None => written.push((kind.to_string(), vec![text])),
                }
            }
            let kinds = written.iter().map(|(kind, items)| {
                format!("{kind}: [{}]", items.iter().map(|item| yaml_word(item)).collect::<Vec<_>>().join(", "))
            });
            Some(format!("in: {{{}}}", kinds.collect::<Vec<_>>().join(", ")))
        })
    }

    /// The grant may hold: which container it is nobody has said.
    fn look_up(&self) -> WouldChange {
        let keys = self.told.gate.issue_keys_prefix && self.told.gate.names_as_written;
        let (yaml, says) = match (&*self.told.gate.catalog.product, keys) {
            ("jira", false) => (
                Some("issue_keys: prefix, names: as_written".to_owned()),
                "the gate asks the product for the container (--container answers for it here); one that may not ask can \
                 take keys at their word, which is unsound where issues are moved:",
            ),
            _ => (None, "the gate asks the product for the container; --container answers for it here"),
        };
        WouldChange { does: "change", file: None, line: None, yaml, says: says.to_owned() }
    }
}
