//! How the text at one place names a container: by id, by key, by an issue's key, as a Slack conversation.

use std::borrow::Cow;

use crate::authz::catalog::pattern::Pattern;
use crate::authz::catalog::{Catalog, ContainerKind, Fold, VariantMask};
use crate::authz::gate::GateRules;
use crate::authz::query_language::{Language, Named};
use crate::authz::request::BadRequest;
use crate::authz::touch::{ContainerName, is_number};

/// Names of the variants that a conversation id can tell: the words of Slack's catalog.
const IM: &[&str] = &["im"];
const PUBLIC: &[&str] = &["public"];
const PRIVATE: &[&str] = &["private", "mpim"];
const CHANNEL: &[&str] = &["public", "private", "mpim"];

/// The form in which ids and names of a kind are compared: folded, without Slack's leading `#`. What the
/// policy writes is compared in this form too.
pub fn comparison_form<'t>(kind: &ContainerKind, text: &'t str) -> Cow<'t, str> {
    let text = text.strip_prefix('#').unwrap_or(text);
    match kind.fold {
        Fold::Upper if text.bytes().any(|byte| byte.is_ascii_lowercase()) => Cow::Owned(text.to_ascii_uppercase()),
        Fold::Lower if text.bytes().any(|byte| byte.is_ascii_uppercase()) => Cow::Owned(text.to_ascii_lowercase()),
        Fold::None | Fold::Upper | Fold::Lower => Cow::Borrowed(text),
    }
}

/// The same for text that a request may own.
fn folded<'r>(kind: &ContainerKind, text: Cow<'r, str>) -> Cow<'r, str> {
    match text {
        Cow::Borrowed(text) => comparison_form(kind, text),
        Cow::Owned(text) => Cow::Owned(comparison_form(kind, &text).into_owned()),
    }
}

pub(super) const UNREADABLE: BadRequest =
    BadRequest("the container is not written as the product writes its ids or names");

fn matches(pattern: Option<&Pattern>, text: &str) -> bool {
    pattern.is_some_and(|pattern| pattern.is_match(text))
}

/// An id or name of the container itself.
pub(super) fn container<'r>(
    gate: &GateRules,
    kind: &ContainerKind,
    text: Cow<'r, str>,
) -> Result<ContainerName<'r>, BadRequest> {
    if matches(kind.id.as_ref(), &text) {
        // `010001` is the number 10001 to a product that parses it, and another text to the policy.
        if text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadRequest("a container id begins with a zero"));
        }
        return Ok(ContainerName::Id(folded(kind, text)));
    }
    key(gate, kind, text)
}

/// A name of the container, and never its id, though it looks like one.
pub(super) fn key<'r>(
    gate: &GateRules,
    kind: &ContainerKind,
    text: Cow<'r, str>,
) -> Result<ContainerName<'r>, BadRequest> {
    if !matches(kind.key.as_ref(), &text) {
        return Err(UNREADABLE);
    }
    let name = folded(kind, text);
    Ok(if gate.names_as_written { ContainerName::Name(name) } else { ContainerName::Hint(name) })
}

/// `PROJ-123` lies in PROJ unless it was moved; `10001` lies anywhere. Where the gate does not take it for granted that
/// it was not moved, the key may prove a refusal and names no project whose id could be asked for.
pub(super) fn issue<'r>(
    gate: &GateRules,
    kind: &ContainerKind,
    text: Cow<'r, str>,
) -> Result<ContainerName<'r>, BadRequest> {
    let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
    if digits > 0 && digits == text.len() {
        return Ok(ContainerName::Unknown);
    }
    // What stands before the number, with the dash.
    let before = text.len() - digits;
    let project = text.get(..before).and_then(|before| before.strip_suffix('-')).ok_or(NO_ISSUE)?;
    if digits == 0 || !matches(kind.key.as_ref(), project) {
        return Err(NO_ISSUE);
    }
    let dash = project.len();
    let project = match &text {
        Cow::Borrowed(text) => comparison_form(kind, text.get(..dash).unwrap_or(text)),
        Cow::Owned(_) => Cow::Owned(comparison_form(kind, project).into_owned()),
    };
    Ok(if gate.issue_keys_prefix { ContainerName::Name(project) } else { ContainerName::Prefix(project) })
}

/// The `workspace/repository` before revisions, as Bitbucket writes those of another repository: `acme/web:4f1c..main`. No
/// name of a revision holds a colon, so one that does and is not written so can be read in two ways.
pub fn before_revisions(text: &str) -> Result<Option<&str>, BadRequest> {
    let Some((name, revisions)) = text.split_once(':') else { return Ok(None) };
    let mut parts = name.split('/');
    let is_full_name = matches!(
        (parts.next(), parts.next(), parts.next()),
        (Some(workspace), Some(repository), None) if !workspace.is_empty() && !repository.is_empty()
    );
    match is_full_name && !revisions.is_empty() && !revisions.contains(':') {
        true => Ok(Some(name)),
        false => Err(BadRequest("revisions of another repository are written `workspace/repository:revisions`")),
    }
}

/// Where Jira's bulk move puts issues: `<project>,<issue type>` or `<project>,<issue type>,<parent issue>`.
pub(super) fn move_target(text: &str) -> Result<(&str, Option<&str>), BadRequest> {
    let mut parts = text.split(',');
    let (project, issue_type, parent) = (parts.next(), parts.next(), parts.next());
    let is_id = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match (project, issue_type, parts.next()) {
        (Some(project), Some(issue_type), None) if is_id(issue_type) => Ok((project, parent)),
        _ => Err(BadRequest("the destination is not a project, an issue type's id and perhaps a parent issue")),
    }
}

/// What a query names. `None`: it may be another's name.
///
/// Jira takes a word for a project's key, else for a project's name, and digits for an id, else for a name.
pub(super) fn in_query<'r>(
    gate: &GateRules,
    kind: &ContainerKind,
    language: Language,
    named: Named<'_>,
) -> Option<ContainerName<'r>> {
    let (text, quoted) = match named {
        Named::Issue(key) => return issue(gate, kind, Cow::Owned(key.to_owned())).ok(),
        Named::Container { text, quoted } => (text, quoted),
    };
    let known = match (language, is_number(text)) {
        (Language::Jql, true) => !quoted && !text.starts_with('0') && matches(kind.id.as_ref(), text),
        // A space's key may be of digits, and CQL knows no ids.
        (Language::Cql, true) => false,
        (Language::Jql | Language::Cql, false) => matches(kind.key.as_ref(), text),
    };
    let text = folded(kind, Cow::Owned(text.to_owned()));
    known.then_some(if gate.names_as_written { ContainerName::Word(text) } else { ContainerName::Hint(text) })
}

const NO_ISSUE: BadRequest = BadRequest("the issue is neither a key like PROJ-1 nor a number");

/// A Slack conversation, and the types that it may have.
pub(super) fn conversation<'r>(
    gate: &GateRules,
    kind: &ContainerKind,
    text: Cow<'r, str>,
) -> Result<(ContainerName<'r>, VariantMask), BadRequest> {
    let catalog = &gate.catalog;
    if matches(kind.id.as_ref(), &text) {
        let types = match (text.bytes().next(), gate.channel_types_prefix) {
            (Some(b'D'), _) => IM,
            (Some(b'C'), true) => PUBLIC,
            (Some(b'G'), true) => PRIVATE,
            (Some(b'C' | b'G'), false) => CHANNEL,
            _ => return Ok((container(gate, kind, text)?, VariantMask::ALL)),
        };
        return Ok((container(gate, kind, text)?, mask_of(catalog, types)));
    }
    // A user's id opens a direct message whose own id nothing here tells.
    let is_user = |text: &str| {
        text.len() > 2
            && text.starts_with(['U', 'W'])
            && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    if is_user(&text) {
        return Ok((ContainerName::Unknown, mask_of(catalog, IM)));
    }
    Ok((container(gate, kind, text)?, VariantMask::ALL))
}

/// The bits of these variants; all where the catalog does not have one of the words.
fn mask_of(catalog: &Catalog, words: &[&str]) -> VariantMask {
    let mut mask = 0;
    for word in words {
        match catalog.variants.iter().position(|variant| **variant == **word) {
            Some(bit) if bit < 8 => mask |= 1 << bit,
            _ => return VariantMask::ALL,
        }
    }
    VariantMask(mask)
}
