//! Turns a catalog in words into the checked model: numbers the names, closes the implications, compiles
//! the patterns. Every problem of a catalog is found in one pass; a catalog with a problem is none.

mod evaluators;
mod extras;
mod jobs;
mod limits;
mod links;
mod lookups;
mod names;
mod naming;
mod operation;
mod scopes;

use http::Method;

use super::compact::{self, Compact, Spot};
use super::matcher::{Builder, Matcher};
use super::merge::Sources;
use super::pattern::Pattern;
use super::{Catalog, ContainerKind, CredentialKind, Operation, PlaceAt, TenantArgument, TokenPlaces, VocabularySet};
use crate::problem::Problem;
use names::Names;

/// Compiles a catalog, or says everything that is wrong with it.
pub fn compile(compact: &Compact, digest: String, sources: &Sources) -> Result<Catalog, Vec<Problem>> {
    let mut names = Names::of(compact, sources);
    let scopes = scopes::compile(compact, &mut names);
    let containers = containers(compact, &mut names);
    let kinds = kinds(compact, &mut names);
    let links = links::compile(compact, &mut names);
    let lookups = lookups::compile(compact, &mut names);
    let limits = limits::compile(compact, &mut names);
    let jobs = jobs::compile(compact, &mut names);
    let evaluators = evaluators::compile(compact, &mut names);
    let (operations, matcher) = operations(compact, &links, &limits, &mut names);
    lookups::ask_what_is_there(compact, &lookups, &matcher, &mut names);
    let name_lists = naming::compile(compact, &matcher, &mut names);
    jobs::reach_something(compact, &operations, &mut names);
    scopes::sides_rule_no_operation(&scopes, &operations, compact, &mut names);
    if !names.problems.is_empty() {
        return Err(names.problems);
    }
    let (Some(gate_call), Some(gate_mint)) = (names.guard(scopes::CALL), names.guard(scopes::MINT)) else {
        return Err(vec![names.sources.problem(Spot::default(), "too many scopes")]);
    };
    Ok(Catalog {
        product: compact.product.as_str().into(),
        release: compact.release.clone(),
        dialect: compact.dialect,
        digest,
        tokens: TokenPlaces {
            query: boxed(&compact.tokens.query),
            body: boxed(&compact.tokens.body),
            form: boxed(&compact.tokens.form),
        },
        tenant_arguments: compact.tenant_arguments.iter().map(tenant_argument).collect(),
        containers,
        vocabularies: boxed(&compact.vocabularies),
        vendor_scopes: scopes::vendor(&scopes),
        scopes,
        kinds,
        variants: boxed(&compact.variants),
        operations,
        links: links.model,
        lookups,
        limits: limits.model,
        jobs,
        evaluators,
        names: name_lists,
        gate_call,
        gate_mint,
        tenant_bases: boxed(&compact.tenant_bases),
        matcher,
    })
}

fn boxed(words: &[String]) -> Box<[Box<str>]> {
    words.iter().map(|word| Box::from(word.as_str())).collect()
}

/// One that begins with a slash is a place in a JSON body.
fn tenant_argument(written: &compact::TenantArgument) -> TenantArgument {
    let name = written.argument.as_str();
    let at = match name.as_bytes() {
        [b'/', ..] => PlaceAt::Body(name.into()),
        [b'{', ..] => PlaceAt::Rest,
        _ => PlaceAt::Argument(name.into()),
    };
    TenantArgument { at, list: written.list }
}

fn containers(compact: &Compact, names: &mut Names<'_>) -> Box<[ContainerKind]> {
    let mut compiled = Vec::new();
    for container in &compact.containers {
        let spot = container.name.spot;
        if container.id.is_none() && container.key.is_none() {
            names.problem(spot, format!("container `{}` has neither an `id` nor a `key`", container.name.text));
        }
        let within = container.within.as_ref().and_then(|within| names.container(within));
        compiled.push(ContainerKind {
            name: container.name.text.as_str().into(),
            id: container.id.as_deref().and_then(|pattern| whole(pattern, spot, names)),
            key: container.key.as_deref().and_then(|pattern| whole(pattern, spot, names)),
            fold: container.fold,
            within,
            lookup_id: container
                .lookup_id
                .as_ref()
                .and_then(|name| lookups::of_kind(name, &container.name, compact, names)),
            lookup: container.lookup.as_ref().and_then(|name| lookups::of_kind(name, &container.name, compact, names)),
        });
    }
    compiled.into()
}

pub(super) fn whole(pattern: &str, spot: Spot, names: &mut Names<'_>) -> Option<Pattern> {
    match Pattern::new(pattern) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            names.problem(spot, format!("pattern `{pattern}`: {error}"));
            None
        }
    }
}

fn kinds(compact: &Compact, names: &mut Names<'_>) -> Box<[CredentialKind]> {
    let mut compiled = Vec::new();
    for kind in &compact.kinds {
        if kind.vocabularies.is_empty() {
            names.problem(kind.name.spot, format!("kind `{}` can use no vocabulary", kind.name.text));
        }
        let bits =
            kind.vocabularies.iter().filter_map(|word| names.vocabulary(word)).fold(0, |bits, id| bits | 1 << id.0);
        compiled.push(CredentialKind {
            name: kind.name.text.as_str().into(),
            vocabularies: VocabularySet(bits),
            actor: kind.actor,
        });
    }
    compiled.into()
}

fn operations(
    compact: &Compact,
    links: &links::Compiled,
    limits: &limits::Compiled,
    names: &mut Names<'_>,
) -> (Box<[Operation]>, Matcher) {
    bases(compact, names);
    let accepts = compact.accepts.iter().filter_map(|method| names.method(method)).collect::<Vec<Method>>();
    let mut builder = Builder::new(&compact.bases, &compact.tenant_bases, accepts);
    let operations = operation::compile(compact, links, limits, names, &mut builder);
    (operations, builder.build())
}

fn bases(compact: &Compact, names: &mut Names<'_>) {
    let plain = |base: &str| base.starts_with('/') && !base.ends_with('/') && !base.contains("//");
    for base in &compact.bases {
        if !plain(base) || base.contains(['{', '}']) {
            names.problem(Spot::default(), format!("base `{base}` is a path without parameters and last slash"));
        }
    }
    for base in &compact.tenant_bases {
        let once = base.matches('{').count() == 1 && base.contains("/{tenant}");
        if !plain(base) || !once {
            names.problem(Spot::default(), format!("tenant base `{base}` is a path with `{{tenant}}` in it once"));
        }
    }
}
