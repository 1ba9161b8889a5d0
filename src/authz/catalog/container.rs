//! Finds the containers that a request names, and the variants of the operation that it may be.
//!
//! It reads only places that the catalog lists. What cannot be told is `tenant`, `Unknown` or every variant;
//! what can be read in two ways is refused. Nothing here asks whether a container exists.

mod located;
mod reading;

use std::borrow::Cow;

use super::extras::{ExtraMask, extras};
use super::limits::limited;
use super::lookups::LookupId;
use super::matcher::Parameters;
use super::{Absent, KindId, Operation, Place, PlaceAt, Reading, Touches, VariantMask, VariantSource};
use crate::authz::gate::GateRules;
use crate::authz::path::decode_segment;
use crate::authz::request::{BadRequest, BodyFacts, Facts, Found, RequestView, argument, form};
use crate::authz::touch::{ContainerList, ContainerName, ContainerRef, Reach, Touched};
use located::Located;
use reading::{UNREADABLE, container, conversation, issue, key};
pub use reading::{before_revisions, comparison_form};

/// Whether the request must be judged with its body at hand: for its containers and variants, or because
/// evidence of the caller may stand in it. `None`: no operation matches, and evidence is still evaluated.
pub fn needs_body(gate: &GateRules, operation: Option<&Operation>, request: &RequestView<'_>) -> bool {
    let tokens = &gate.catalog.tokens;
    operation.is_some_and(|operation| operation.body)
        || !tokens.body.is_empty()
        || !tokens.form.is_empty() && form::is_declared(request.headers)
}

/// What the request touches. `parameters` are the path's, still percent-encoded.
///
/// # Errors
/// A deciding place is missing, unreadable or can be read in two ways.
#[inline]
pub fn locate<'r>(
    gate: &GateRules,
    operation: &Operation,
    parameters: &Parameters<'r>,
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Result<Touched<'r>, BadRequest> {
    if request.ends_in_a_pair() && !reads_revisions(operation) {
        return Err(PAIR);
    }
    if !gate.catalog.evaluators.is_empty() && !request.query.is_empty() && evaluates(gate, request)? {
        return locate_evaluated(gate, operation, parameters, request, facts);
    }
    match &operation.touches {
        Touches::Containers(places) if operation.variants == VariantMask::ALL && operation.limits.is_empty() => {
            match &**places {
                // Nearly every operation names one container, in its path: then there is nothing to put together.
                [place @ Place { at: PlaceAt::Path(index), present_is_tenant: false, list: false, kind, .. }] => {
                    let text = path_parameter(parameters, *index)?;
                    let (name, _) = match asked_about(gate, place, &text) {
                        None => name(gate, operation, *kind, place.reading, text)?,
                        Some(lookup) => (around(gate, place, lookup, text)?, VariantMask::NONE),
                    };
                    let reach = Reach::Containers(ContainerList::one(ContainerRef { kind: *kind, name }));
                    let extras = match operation.extra_sources.is_empty() {
                        true => ExtraMask::NONE,
                        false => extras(operation, request, facts)?,
                    };
                    Ok(Touched { reach, variants: VariantMask::ALL, extras, limits: Box::default() })
                }
                _ => locate_all(gate, operation, parameters, request, facts),
            }
        }
        _ => locate_all(gate, operation, parameters, request, facts),
    }
}

/// What is not known to read a pair of commits is not sent the control character between them.
pub const PAIR: BadRequest = BadRequest("the path holds an encoded control character");

#[cold]
fn reads_revisions(operation: &Operation) -> bool {
    match &operation.touches {
        Touches::Containers(places) => places.iter().any(|place| place.reading == Reading::Revisions),
        Touches::Nothing { .. } | Touches::Tenant { .. } => false,
    }
}

/// Whether the request evaluates something, whatever it names.
#[inline(never)]
fn evaluates(gate: &GateRules, request: &RequestView<'_>) -> Result<bool, BadRequest> {
    for evaluator in &gate.catalog.evaluators {
        if evaluator.is_asked(request)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What is shown may lie anywhere. What holds nothing of a container's holds nothing that could be evaluated.
#[cold]
#[inline(never)]
fn locate_evaluated<'r>(
    gate: &GateRules,
    operation: &Operation,
    parameters: &Parameters<'r>,
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Result<Touched<'r>, BadRequest> {
    let touched = locate_all(gate, operation, parameters, request, facts)?;
    let reach = match touched.reach {
        Reach::Nothing => Reach::Nothing,
        Reach::Tenant | Reach::Containers(_) => Reach::Tenant,
    };
    Ok(Touched { reach, ..touched })
}

#[inline(never)]
fn locate_all<'r>(
    gate: &GateRules,
    operation: &Operation,
    parameters: &Parameters<'r>,
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Result<Touched<'r>, BadRequest> {
    let places: &[Place] = match &operation.touches {
        Touches::Containers(places) => places,
        Touches::Nothing { .. } | Touches::Tenant { .. } => &[],
    };
    let mut located = Located::of(gate, operation, places);
    for place in places {
        if matches!(place.at, PlaceAt::InItems { .. }) {
            continue;
        }
        // `update.issuelinks` holds objects: that it stands there is all that is asked of it.
        if place.present_is_tenant
            && let PlaceAt::Body(pointer) = &place.at
            && facts.body.has(pointer)?
        {
            located.present(place);
            continue;
        }
        let found = match (&place.at, place.reading) {
            (PlaceAt::Query(name), Reading::Jql | Reading::Cql) => request.arguments().find_text(name)?,
            _ => find(&place.at, parameters, request, facts)?,
        };
        if place.absent != Absent::Deny {
            check_read_by_all(operation, &place.at, &found, facts)?;
        }
        located.read(place, found)?;
    }
    for items in &operation.items {
        match facts.body.json()? {
            Some(body) => located.read_items(items, body)?,
            None => located.no_items(items)?,
        };
    }
    located.end_groups();
    let told = located.told();
    let reach = match (&operation.touches, located.containers) {
        (Touches::Nothing { .. }, _) => Reach::Nothing,
        (Touches::Containers(_), Some(containers)) if !located.whole_tenant => Reach::Containers(containers),
        (Touches::Containers(_) | Touches::Tenant { .. }, _) => Reach::Tenant,
    };
    let variants = variants(operation, told, parameters, request, facts)?;
    let extras = extras(operation, request, facts)?;
    let limits = limited(&gate.catalog, operation, facts)?;
    Ok(Touched { reach, variants, extras, limits })
}

/// The container that a text names, and the variants of the operation that it may be; none where it tells none.
#[inline(always)]
fn name<'r>(
    gate: &GateRules,
    operation: &Operation,
    kind: KindId,
    reading: Reading,
    text: Cow<'r, str>,
) -> Result<(ContainerName<'r>, VariantMask), BadRequest> {
    let kind = gate.catalog.containers.get(usize::from(kind.0)).ok_or(UNREADABLE)?;
    match reading {
        Reading::Container => Ok((container(gate, kind, text)?, VariantMask::NONE)),
        Reading::Key => Ok((key(gate, kind, text)?, VariantMask::NONE)),
        Reading::IssueKey | Reading::IssueMention => Ok((issue(gate, kind, text)?, VariantMask::NONE)),
        Reading::Conversation => {
            let (name, may_be) = conversation(gate, kind, text)?;
            Ok((name, possible(operation, may_be)))
        }
        Reading::FullName => Ok((container(gate, kind, last_of_two(text)?)?, VariantMask::NONE)),
        // What may name several is taken apart before.
        Reading::MoveTarget | Reading::Revisions | Reading::Jql | Reading::Cql => {
            Ok((ContainerName::Unknown, VariantMask::NONE))
        }
    }
}

/// The look-up that places what stands at a place. Where the gate takes for granted that PROJ-1 lies in PROJ, only an
/// issue's number needs one.
#[inline(always)]
fn asked_about(gate: &GateRules, place: &Place, text: &str) -> Option<LookupId> {
    let lookup = place.lookup?;
    let is_number = text.bytes().next().is_some_and(|first| first.is_ascii_digit());
    (!is_issue(place.reading) || !gate.issue_keys_prefix || is_number).then_some(lookup)
}

#[inline(always)]
fn is_issue(reading: Reading) -> bool {
    matches!(reading, Reading::IssueKey | Reading::IssueMention)
}

/// A thing in a container, that a look-up can place.
#[inline(never)]
fn around<'r>(
    gate: &GateRules,
    place: &Place,
    lookup: LookupId,
    thing: Cow<'r, str>,
) -> Result<ContainerName<'r>, BadRequest> {
    if is_issue(place.reading) {
        // What is no issue at all is refused here.
        let kind = gate.catalog.containers.get(usize::from(place.kind.0)).ok_or(UNREADABLE)?;
        issue(gate, kind, thing.clone())?;
    }
    let asked = gate.catalog.lookups.get(usize::from(lookup.0)).ok_or(UNREADABLE)?;
    if !asked.may_be_called(&thing) {
        return Err(BadRequest("what lies in a container is not written as the product writes its ids"));
    }
    Ok(ContainerName::Around { lookup, thing })
}

/// The repository of `workspace/repository`. Whose workspace that is, the catalog's `tenant_arguments` ask.
fn last_of_two(text: Cow<'_, str>) -> Result<Cow<'_, str>, BadRequest> {
    let parts = |text: &str| match text.split_once('/') {
        Some((first, last)) if !first.is_empty() && !last.contains('/') => Some(first.len() + 1),
        Some(_) | None => None,
    };
    let start = parts(&text).ok_or(UNREADABLE)?;
    Ok(match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(start..).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(start..).unwrap_or_default().to_owned()),
    })
}

#[inline(always)]
fn path_parameter<'r>(parameters: &Parameters<'r>, index: u8) -> Result<Cow<'r, str>, BadRequest> {
    decode_segment(parameters.get(index).ok_or(BadRequest("the path lacks a parameter"))?)
}

/// What the `{+name}` of the template stands for.
pub fn path_rest<'r>(parameters: &Parameters<'r>) -> Result<Cow<'r, str>, BadRequest> {
    decode_segment(parameters.rest().ok_or(BadRequest("the path lacks a parameter"))?)
}

/// Strikes values that no line speaks of from what is not known. What is known stays, and is then refused.
fn possible(operation: &Operation, may_be: VariantMask) -> VariantMask {
    let spoken_of = VariantMask(may_be.0 & operation.variants.0);
    if may_be.0.count_ones() == 1 || spoken_of == VariantMask::NONE { may_be } else { spoken_of }
}

/// The variants that the request may be: what its arguments say, where its containers allow it.
fn variants(
    operation: &Operation,
    told: VariantMask,
    parameters: &Parameters<'_>,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
) -> Result<VariantMask, BadRequest> {
    if operation.variants == VariantMask::ALL {
        return Ok(VariantMask::ALL);
    }
    let mut said = Said { may_be: VariantMask::ALL, named: VariantMask::NONE };
    for source in &operation.variant_sources {
        let found = find(&source.at, parameters, request, facts)?;
        check_read_by_all(operation, &source.at, &found, facts)?;
        said.hear(source, &found)?;
    }
    let allowed = if told == VariantMask::NONE { VariantMask::ALL } else { told };
    let variants = if said.may_be == VariantMask::ALL {
        let by_container = if told == VariantMask::NONE { possible(operation, VariantMask::ALL) } else { told };
        by_container.0 | said.named.0 & allowed.0
    } else {
        said.may_be.0 & allowed.0
    };
    if variants == 0 {
        return Err(BadRequest("the type that an argument names is not one that the container can have"));
    }
    Ok(VariantMask(variants))
}

/// What the arguments say of the variant.
struct Said {
    may_be: VariantMask,
    /// Each variant that an argument names is reached, so none of them is struck for want of a line.
    named: VariantMask,
}

impl Said {
    fn hear(&mut self, source: &VariantSource, found: &Found<'_>) -> Result<(), BadRequest> {
        let values = match found {
            Found::Absent => {
                self.may_be = VariantMask(self.may_be.0 & source.absent.0);
                return Ok(());
            }
            Found::Many(_) if !source.list => {
                return Err(BadRequest("an argument that tells the type is repeated"));
            }
            Found::One(_) | Found::Many(_) => found.as_slice(),
        };
        let mut may_be = 0;
        let mut hear_word = |word: &str| match source.values.iter().find(|(value, _)| **value == *word) {
            Some((_, mask)) => {
                may_be |= mask.0;
                self.named.0 |= mask.0;
            }
            // A word that the catalog does not list may mean any.
            None => may_be = VariantMask::ALL.0,
        };
        for value in values {
            if source.list { value.split(',').for_each(&mut hear_word) } else { hear_word(value) }
        }
        self.may_be = VariantMask(self.may_be.0 & may_be);
        Ok(())
    }
}

/// Refuses an argument that is read from JSON or multipart here and, as the catalog has it, not by the product. Absent
/// there, the argument would reach further than what it says here; where absence is refused it is no matter.
pub(super) fn check_read_by_all(
    operation: &Operation,
    at: &PlaceAt,
    found: &Found<'_>,
    facts: &Facts<'_>,
) -> Result<(), BadRequest> {
    if !matches!(at, PlaceAt::Argument(_)) || *found == Found::Absent {
        return Ok(());
    }
    match facts.body {
        BodyFacts::Json(_) if !operation.reads_json => {
            Err(BadRequest("this operation does not read its arguments from JSON: send a query or a form"))
        }
        BodyFacts::Multipart(_) if !operation.reads_multipart => {
            Err(BadRequest("this operation does not read its arguments from `multipart/form-data`: send a form"))
        }
        _ => Ok(()),
    }
}

/// The values at a place.
pub(crate) fn find<'r>(
    at: &PlaceAt,
    parameters: &Parameters<'r>,
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Result<Found<'r>, BadRequest> {
    match at {
        PlaceAt::Path(index) => Ok(Found::One(path_parameter(parameters, *index)?)),
        PlaceAt::Rest => Ok(Found::One(path_rest(parameters)?)),
        PlaceAt::Query(name) => request.arguments().find(name),
        PlaceAt::Header(name) => request.header(name),
        PlaceAt::Body(pointer) => facts.body.at(pointer),
        PlaceAt::Keys(pointer) => facts.body.keys(pointer),
        PlaceAt::InItems { .. } => Err(BadRequest("what stands in the items of a list is read item by item")),
        PlaceAt::Multipart(name) => facts.body.field(name),
        PlaceAt::Argument(name) => argument(name, request, facts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::catalog::builtin;
    use crate::authz::catalog::matcher::Found as Match;
    use crate::authz::gate::{Identify, TenantRule};
    use crate::authz::looked_up::LookedUp;

    /// Each operation that `locate` takes the short way for, asked with texts of all sorts in its path.
    #[test]
    fn the_short_way_finds_what_the_long_way_finds() {
        let mut compared = 0;
        for (product, _) in builtin::products() {
            let gate = GateRules {
                name: product.into(),
                catalog: builtin::catalog(product).unwrap(),
                identify: Identify::default(),
                tenant: TenantRule::Fixed("t".into()),
                issue_keys_prefix: true,
                names_as_written: true,
                channel_types_prefix: true,
                observe_until_ms: None,
            };
            let base = if product == "jira" { "/rest/api/3" } else { "" };
            let asked = gate.catalog.operations.iter().filter(|one| matches!(&one.touches, Touches::Containers(_)));
            for operation in asked {
                for text in ["PROJ-1", "proj-1", "PROJ", "10001", "010", "P%2FQ", "-", "1-", "A-B-1"] {
                    let template =
                        operation.template.split('/').map(|one| if one.starts_with('{') { text } else { one });
                    let target = format!("{base}{}", template.collect::<Vec<_>>().join("/"));
                    let request =
                        http::Request::builder().method(&operation.method).uri(&target).header("host", "gate");
                    let (parts, ()) = request.body(()).unwrap().into_parts();
                    let Ok(view) = RequestView::of(&parts) else { continue };
                    let mut parameters = Parameters::default();
                    let found = gate.catalog.matcher.find_with(view.method, &view.path, &mut parameters);
                    let Match::Operation(matched) = found else { continue };
                    let operation = &gate.catalog.operations[usize::from(matched.operation.0)];
                    let facts =
                        Facts { now_ms: 0, behind_ms: 0, body: BodyFacts::Empty, looked_up: LookedUp::nothing() };
                    let short = locate(&gate, operation, &parameters, &view, &facts);
                    let long = locate_all(&gate, operation, &parameters, &view, &facts);
                    assert_eq!(short, long, "{} {target}", operation.id);
                    compared += usize::from(short.is_ok());
                }
            }
        }
        assert!(compared > 400, "{compared}");
    }
}
