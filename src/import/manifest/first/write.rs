//! The YAML of a first policy, as a person would have begun it: a line for each scope, and in comments what is left to say.

use std::fmt::Write as _;

use super::super::{Manifest, ManifestKind};
use super::{First, Guarded, LeftOut, Line, Settings};
use crate::acts::text::{list, scalar, tame, time_text};
use crate::problem::escaped;

/// The longest title or contact that is written, in characters.
const TITLE_CHARS_MAX: usize = 100;
/// Operations that a line names, and a guard's line: more of them are one number.
const OPERATIONS_SHOWN: usize = 2;
const GUARDED_SHOWN: usize = 12;
/// Whom to ask, until somebody says.
const CONTACT: &str = "platform@example.com";
/// Where the app is installed, until somebody says. It has no credential there, so nobody can be it.
const TENANT: &str = "TENANT";

pub(super) fn yaml(first: &First, manifest: &Manifest, settings: Settings<'_>) -> String {
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = head(&mut out, first, manifest, settings);
    let _ = installations(&mut out, first, manifest, settings);
    let _ = grants(&mut out, first, manifest, settings);
    out
}

fn head(out: &mut String, first: &First, manifest: &Manifest, settings: Settings<'_>) -> std::fmt::Result {
    let title = tame(manifest.title.as_deref().unwrap_or_default(), TITLE_CHARS_MAX);
    let title = if title.is_empty() { first.app.clone() } else { title };
    let contact = tame(settings.contact.unwrap_or(CONTACT), TITLE_CHARS_MAX);
    let edit = if settings.contact.is_none() { "   # edit: whoever is refused is told to ask here" } else { "" };
    writeln!(
        out,
        "# A first draft, made of a {} ({}): what the app asks for, as it asks.",
        manifest.kind.called(),
        comment(settings.from)
    )?;
    writeln!(
        out,
        "# Read it line by line: say under `for` what the app does with it, limit `in` to containers, take out what it"
    )?;
    writeln!(
        out,
        "# should not have. `required: true` marks what it cannot work without; a manifest does not say that."
    )?;
    for note in &first.notes {
        writeln!(out, "# - {}", comment(note))?;
    }
    writeln!(out, "version: 1\napp: {}\nname: {}\ncontact: {}{edit}", first.app, scalar(&title), scalar(&contact))
}

fn installations(out: &mut String, first: &First, manifest: &Manifest, settings: Settings<'_>) -> std::fmt::Result {
    let tenant = settings.tenant.unwrap_or(TENANT);
    let edit = if settings.tenant.is_none() { "   # edit: the id of the site or workspace" } else { "" };
    writeln!(out, "installations:\n  - tenant: {}{edit}", scalar(tenant))?;
    match settings.installed_at_ms {
        Some(at) => writeln!(out, "    installed_at: {}", time_text(at))?,
        None => writeln!(
            out,
            "    # installed_at: 2026-11-20T09:00:00Z   # opens the install window for 24 h from then on"
        )?,
    }
    writeln!(out, "    credentials: []")?;
    let key = format!("scopegate credential new --app {} --tenant {} --kind {}", first.app, shell(tenant), first.kind);
    match manifest.kind {
        ManifestKind::Connect if first.kind == "connect" => {
            let file = first.app.replace('/', "-");
            writeln!(out, "    # What it signs its calls with came with its installation:")?;
            writeln!(
                out,
                "    #  - {{method: connect_jwt, kind: connect, client_key: CLIENT-KEY, secret: {{file: /run/secrets/{file}}}}}"
            )
        }
        ManifestKind::Slack => {
            writeln!(out, "    # `{key}` prints a key and its line;")?;
            writeln!(out, "    # for a user token: --kind user, and `user: U…` in the line")
        }
        ManifestKind::Connect | ManifestKind::Forge => writeln!(out, "    # `{key}` prints a key and its line"),
    }
}

fn grants(out: &mut String, first: &First, manifest: &Manifest, settings: Settings<'_>) -> std::fmt::Result {
    writeln!(out, "grants:{}", if first.lines.is_empty() { " []" } else { "" })?;
    // Whom a line is for: nobody stands for what is held for a day alone.
    let groups = [
        ("only while it is installed, and a day after that", None),
        ("as itself and as a user", Some((true, true))),
        ("as itself", Some((true, false))),
        ("as a user", Some((false, true))),
    ];
    for (title, whose) in groups {
        let of = |line: &&Line| (!line.while_installing).then_some((line.app, line.user)) == whose;
        let mut lines = first.lines.iter().filter(of).peekable();
        if lines.peek().is_some() {
            writeln!(out, "  # {title}")?;
        }
        lines.try_for_each(|line| writeln!(out, "  - {}", grant(line)))?;
    }
    admin(out, first)?;
    left_out(out, &first.left_out)?;
    guards(out, first, manifest, settings)
}

fn grant(line: &Line) -> String {
    let valid = if line.while_installing { ", valid: {after_install: 24h}" } else { "" };
    let scopes = list([line.scope.as_str()]);
    let actors = actors(line.app, line.user);
    format!("{{for: {}, scopes: {scopes}, actors: {actors}, in: all{valid}}}", scalar(&what_for(line)))
}

/// What a person is to put a reason in place of.
fn what_for(line: &Line) -> String {
    if let Some(rules) = line.rules {
        return format!("say why: rules {}", rules.split([',', ':']).next().unwrap_or(rules));
    }
    match line.operations.len() {
        0 => "say why: no operation of the catalog needs it".to_owned(),
        number => {
            let shown: Vec<&str> = line.operations.iter().take(OPERATIONS_SHOWN).map(String::as_str).collect();
            let more = number - shown.len();
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            format!("say why: {}{more}", shown.join(", "))
        }
    }
}

fn actors(app: bool, user: bool) -> &'static str {
    match (app, user) {
        (true, true) => "[app, user]",
        (false, true) => "[user]",
        (_, false) => "[app]",
    }
}

/// Whoever holds ADMIN holds all else by it, and loses that with it.
fn admin(out: &mut String, first: &First) -> std::fmt::Result {
    let is_limited = first.lines.iter().any(|line| line.while_installing);
    let is_left_out = first.left_out.iter().any(|left| left.scope == "ADMIN");
    if !is_limited && !is_left_out {
        return Ok(());
    }
    writeln!(
        out,
        "  # ADMIN implies every other scope but ACT_AS_USER and ACCESS_EMAIL_ADDRESSES; most apps need it while they are"
    )?;
    writeln!(
        out,
        "  # installed and keep it for ever. What this one needs afterwards is granted in lines of its own."
    )?;
    if !first.lines.iter().any(|line| matches!(line.scope.as_str(), "READ" | "WRITE" | "DELETE")) {
        writeln!(out, "  # - {{for: say why, scopes: [WRITE], actors: [app], in: all}}")?;
    }
    if is_left_out {
        writeln!(
            out,
            "  # - {{for: setting itself up, scopes: [ADMIN], actors: [app], in: all, valid: {{after_install: 24h}}}}   # needs `installed_at`"
        )?;
    }
    Ok(())
}

fn left_out(out: &mut String, left: &[LeftOut]) -> std::fmt::Result {
    if left.is_empty() {
        return Ok(());
    }
    writeln!(out, "  # Asked for and NOT granted:")?;
    for one in left {
        let near = one.did_you_mean.as_deref().map_or_else(String::new, |near| format!("; did you mean {near}?"));
        writeln!(out, "  # - {} ({}): {}{near}", comment(&one.scope), one.whose, comment(&one.why))?;
    }
    Ok(())
}

fn guards(out: &mut String, first: &First, manifest: &Manifest, settings: Settings<'_>) -> std::fmt::Result {
    if first.guarded.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "  # Operations of these scopes that need a guard of scopegate's own besides. Refused until a `#` is taken away:"
    )?;
    first.guarded.iter().try_for_each(|one| writeln!(out, "  # - {}", guard(one, first, manifest, settings)))
}

fn guard(one: &Guarded, first: &First, manifest: &Manifest, settings: Settings<'_>) -> String {
    let shown = list(one.operations.iter().take(GUARDED_SHOWN).map(String::as_str));
    let more = one.operations.len().saturating_sub(GUARDED_SHOWN);
    let more = if more > 0 { format!("   # and {more} more") } else { String::new() };
    // What a Connect app registers is to point at its own server, and is registered while it is installed.
    let is_delivery = manifest.kind == ManifestKind::Connect && one.guard == "gate:deliver";
    let places = match manifest.host.as_deref().filter(|_| is_delivery && first.product.as_ref() != "slack") {
        Some(host) => format!(", where: {{webhook_host: {}}}", list([host])),
        None => String::new(),
    };
    let dated = one.while_installing || is_delivery && settings.installed_at_ms.is_some();
    let valid = if dated { ", valid: {after_install: 24h}" } else { "" };
    format!(
        "{{for: say why, scopes: {}, operations: {shown}, actors: {}, in: all{places}{valid}}}{more}",
        list([one.guard.as_str()]),
        actors(one.app, one.user)
    )
}

/// Somebody else's text within a comment: one line, whatever it holds.
fn comment(text: &str) -> String {
    escaped(text).chars().take(300).collect()
}

/// A tenant within a command.
fn shell(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", comment(word).replace('\'', "")) }
}
