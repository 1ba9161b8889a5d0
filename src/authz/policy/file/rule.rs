//! Grants and revocations.

use super::check::{id, ids, items, optional_ids, required, said, signed, tenants, text_of, valid};
use super::mirror::{ActorMirror, GrantMirror, InMirror, RevocationMirror, UsersMirror};
use crate::authz::policy::document::{ActorWord, ContainerWord, GrantRule, In, RevocationRule, Scopes, Tenants, Users};
use crate::problem::{At, Spanned};
use crate::yaml::field::{AllOr, Entries, Field, Id, List};
use crate::yaml::typed::Reader;

/// Where the rules stand, as far as it bears on their `tenants`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In an app's document with so many installations.
    App { installations: usize },
    /// In a guardrail, which says its tenants itself.
    Guardrail,
}

const GRANT_SAYS: &str = "write which scopes, such as `scopes: [chat:write]`, or which operations";
const ACTORS_SAYS: &str = "write `actors: [app]`, `actors: [user]` or `actors: [app, user]`";
const IN_SAYS: &str = "write `in: all`, or containers by kind such as `in: {project: [PROJ]}`";

pub fn grant(reader: &Reader<'_>, mirror: GrantMirror, at: At, place: Place) -> Option<GrantRule> {
    if mirror.scopes.is_absent() && mirror.operations.is_absent() {
        reader.error_with_help(at, "the grant lacks `scopes` or `operations`", GRANT_SAYS);
    }
    let scopes = scopes(reader, mirror.scopes);
    let operations = optional_ids(reader, mirror.operations);
    let actors = required(reader, mirror.actors, at, "the grant lacks `actors`", ACTORS_SAYS);
    let actors = actors.and_then(|list| actor_words(reader, list));
    let within = required(reader, mirror.within, at, "the grant lacks `in`", IN_SAYS);
    let within = within.and_then(|written| containers(reader, written));
    grant_has_tenants(reader, &mirror.tenants, at, place);
    let tenants = tenants(reader, mirror.tenants);
    if let Some(within) = &within {
        container_tenants(reader, within, tenants.as_ref(), at, place);
    }
    Some(GrantRule {
        at,
        purpose: said(reader, mirror.purpose).map(|text| text.value),
        required: mirror.required.into_value().unwrap_or(false),
        scopes,
        operations,
        users: users(reader, mirror.users),
        pipelines: optional_ids(reader, mirror.pipelines),
        valid: valid(reader, mirror.valid),
        arguments: arguments(reader, mirror.arguments),
        shadow: !mirror.mode.is_absent(),
        signed: signed(mirror.by, mirror.at),
        tenants,
        actors: actors?,
        within: within?,
    })
}

pub fn revocation(reader: &Reader<'_>, mirror: RevocationMirror, at: At, place: Place) -> Option<RevocationRule> {
    let within = required(reader, mirror.within, at, "the revocation lacks `in`", IN_SAYS);
    let within = within.and_then(|written| containers(reader, written));
    let reason = required(
        reader,
        mirror.reason,
        at,
        "the revocation lacks `reason`",
        "write why, such as `reason: SEC-1142`: whoever is refused will ask",
    );
    let tenants = tenants(reader, mirror.tenants);
    if let Some(within) = &within {
        container_tenants(reader, within, tenants.as_ref(), at, place);
    }
    Some(RevocationRule {
        at,
        scopes: scopes(reader, mirror.scopes),
        operations: optional_ids(reader, mirror.operations),
        actors: mirror.actors.into_spanned().and_then(|list| actor_words(reader, list)),
        users: users(reader, mirror.users),
        pipelines: optional_ids(reader, mirror.pipelines),
        valid: valid(reader, mirror.valid),
        unless_install_window: !mirror.unless.is_absent(),
        shadow: !mirror.mode.is_absent(),
        reason: reason.and_then(|text| said(reader, Field::Written(text)))?,
        signed: signed(mirror.by, mirror.at),
        tenants,
        within: within?,
    })
}

/// The rules of a list, each at its first key.
pub fn rules<M, R>(
    reader: &Reader<'_>,
    list: List<M>,
    place: Place,
    rule: fn(&Reader<'_>, M, At, Place) -> Option<R>,
) -> Vec<R> {
    list.into_iter()
        .filter_map(Field::into_spanned)
        .filter_map(|mirror| rule(reader, mirror.value, mirror.at, place))
        .collect()
}

fn scopes(reader: &Reader<'_>, field: Field<AllOr<Id>>) -> Option<Scopes> {
    let Spanned { value, at } = field.into_spanned()?;
    match value {
        AllOr::All => Some(Scopes::All(at)),
        AllOr::Listed(list) => ids(reader, Spanned { value: list, at }).map(Scopes::Names),
    }
}

fn actor_words(reader: &Reader<'_>, list: Spanned<List<ActorMirror>>) -> Option<Vec<Spanned<ActorWord>>> {
    let word = |mirror: Spanned<ActorMirror>| {
        let value = match mirror.value {
            ActorMirror::App => ActorWord::App,
            ActorMirror::User => ActorWord::User,
        };
        Spanned { value, at: mirror.at }
    };
    Some(items(reader, list)?.into_iter().map(word).collect())
}

fn containers(reader: &Reader<'_>, written: Spanned<InMirror>) -> Option<In> {
    let Entries(kinds) = match written.value {
        InMirror::All => return Some(In::All(written.at)),
        InMirror::Kinds(kinds) => kinds,
    };
    if kinds.is_empty() {
        reader.error_with_help(written.at, "an empty map never means all", IN_SAYS);
        return None;
    }
    let mut by_kind = Vec::with_capacity(kinds.len());
    for (kind, list) in kinds {
        let Some(names) = list.into_spanned().and_then(|list| ids(reader, list)) else { continue };
        let words = names.into_iter().map(|name| Spanned { value: container(reader, &name), at: name.at });
        by_kind.push((kind, words.collect()));
    }
    Some(In::Kinds(by_kind))
}

fn container(reader: &Reader<'_>, name: &Spanned<String>) -> ContainerWord {
    match name.value.strip_prefix("set:") {
        Some(set) => {
            if set.trim().is_empty() {
                reader.error_with_help(name.at, "`set:` names no set", "write `set:NAME` without a blank");
            }
            ContainerWord::Set(set.to_owned())
        }
        None => ContainerWord::Named(name.value.clone()),
    }
}

/// A grant must never reach a tenant that its author did not think of.
fn grant_has_tenants(reader: &Reader<'_>, tenants: &Field<AllOr<Id>>, at: At, place: Place) {
    let Place::App { installations } = place else { return };
    if !tenants.is_absent() || installations == 1 {
        return;
    }
    match installations {
        0 => reader.error_with_help(
            at,
            "the grant lacks `tenants`, and this document has no installation",
            "write `tenants: [...]` with the tenants of the app that it is for",
        ),
        _ => reader.error_with_help(
            at,
            "the grant lacks `tenants`, and this document has several installations",
            "write `tenants: all` or `tenants: [...]` with those it is for",
        ),
    }
}

/// PROJ in one site is not PROJ in another. Sets are free of it: each speaks for its own tenant.
fn container_tenants(reader: &Reader<'_>, within: &In, tenants: Option<&Tenants>, at: At, place: Place) {
    let Place::App { installations: 2.. } = place else { return };
    let In::Kinds(kinds) = within else { return };
    let by_name = kinds.iter().flat_map(|(_, words)| words).any(|word| matches!(word.value, ContainerWord::Named(_)));
    let at = match tenants {
        Some(Tenants::Named(_)) => return,
        Some(Tenants::All(at)) => *at,
        None => at,
    };
    if by_name {
        reader.error_with_help(
            at,
            "with more than one tenant a list of containers needs `tenants` by name",
            "write `tenants: [...]` with the tenants in which these containers are meant",
        );
    }
}

fn users(reader: &Reader<'_>, field: Field<UsersMirror>) -> Option<Users> {
    let Spanned { value: UsersMirror { ids, groups }, at } = field.into_spanned()?;
    if ids.is_absent() && groups.is_absent() {
        reader.error_with_help(at, "`users` names nobody", "write `ids: [...]` or `groups: [...]`, or delete `users`");
    }
    let listed = |list| optional_ids(reader, list).unwrap_or_default();
    Some(Users { at, ids: listed(ids), groups: listed(groups) })
}

type Arguments = Vec<(Spanned<String>, Vec<Spanned<String>>)>;

fn arguments(reader: &Reader<'_>, field: Field<Entries<List<Id>>>) -> Arguments {
    let Some(Spanned { value: Entries(entries), at }) = field.into_spanned() else { return Vec::new() };
    if entries.is_empty() {
        reader.error_with_help(at, "`where` limits nothing", "write an argument with its values, or delete `where`");
    }
    let listed = |(name, list): (Spanned<String>, Field<List<Id>>)| {
        let values = items(reader, list.into_spanned()?)?;
        Some((name, values.into_iter().map(text_of).collect()))
    };
    entries.into_iter().filter_map(listed).collect()
}

/// An id that must be there.
pub fn required_id(reader: &Reader<'_>, field: Field<Id>, at: At, lacks: &str, help: &str) -> Option<Spanned<String>> {
    required(reader, field, at, lacks, help).and_then(|written| id(Field::Written(written)))
}
