//! Finds the containers that a request names, and the variants of the operation that it may be.
//!
//! It reads only places that the catalog lists. What cannot be told is `tenant`, `Unknown` or every variant;
//! what can be read in two ways is refused. Nothing here asks whether a container exists.

use std::borrow::Cow;

use super::{
    Absent, Catalog, ContainerKind, Fold, Operation, Place, PlaceAt, Reading, Touches, VariantMask, VariantSource,
};
use crate::authz::gate::GateRules;
use crate::authz::request::{BadRequest, Facts, Found, RequestView, argument};
use crate::authz::touch::{CONTAINERS_MAX, ContainerList, ContainerName, ContainerRef, Reach, Touched};

/// Names of the variants that a conversation id can tell: the words of Slack's catalog.
const IM: &[&str] = &["im"];
const PUBLIC: &[&str] = &["public"];
const PRIVATE: &[&str] = &["private", "mpim"];
const CHANNEL: &[&str] = &["public", "private", "mpim"];

/// Whether the request must be judged with its body at hand: for its containers and variants, or because
/// evidence of the caller may stand in it. `None`: no operation matches, and evidence is still evaluated.
pub fn needs_body(gate: &GateRules, operation: Option<&Operation>) -> bool {
    operation.is_some_and(|operation| operation.body) || !gate.catalog.tokens.body.is_empty()
}

/// What the request touches. `params` are the path's, by position, still percent-encoded.
///
/// # Errors
/// A deciding place is missing, unreadable or can be read in two ways.
pub fn locate<'r>(
    gate: &GateRules,
    operation: &Operation,
    params: &[&'r str],
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Result<Touched<'r>, BadRequest> {
    let mut located =
        Located { containers: None, named: 0, whole_tenant: false, groups_seen: 0, told: VariantMask::NONE };
    let places: &[Place] = match &operation.touches {
        Touches::Containers(places) => places,
        Touches::Nothing { .. } | Touches::Tenant { .. } => &[],
    };
    for place in places {
        let found = find(&place.at, params, request, facts)?;
        located.read(gate, operation, place, found)?;
    }
    let reach = match (&operation.touches, located.containers) {
        (Touches::Nothing { .. }, _) => Reach::Nothing,
        (Touches::Containers(_), Some(containers)) if !located.whole_tenant => Reach::Containers(containers),
        (Touches::Containers(_) | Touches::Tenant { .. }, _) => Reach::Tenant,
    };
    let variants = variants(operation, located.told, params, request, facts)?;
    Ok(Touched { reach, variants })
}

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

/// What the places read so far tell.
struct Located<'r> {
    containers: Option<ContainerList<'r>>,
    named: usize,
    whole_tenant: bool,
    /// Bit per group.
    groups_seen: u32,
    /// Variants that some container may have; none while no container tells.
    told: VariantMask,
}

impl<'r> Located<'r> {
    fn read(
        &mut self,
        gate: &GateRules,
        operation: &Operation,
        place: &Place,
        found: Found<'r>,
    ) -> Result<(), BadRequest> {
        match found {
            Found::Absent => match place.absent {
                Absent::Deny => return Err(BadRequest("the container that the operation acts in is missing")),
                Absent::Tenant => self.whole_tenant = true,
                Absent::Skip => {}
            },
            Found::One(value) => {
                self.present(place);
                self.values(gate, operation, place, value)?;
            }
            Found::Many(_) if !place.list => {
                return Err(BadRequest("a container is named several times where one is meant"));
            }
            Found::Many(values) => {
                self.present(place);
                for value in values {
                    self.values(gate, operation, place, value)?;
                }
            }
        }
        Ok(())
    }

    fn present(&mut self, place: &Place) {
        self.whole_tenant |= place.present_is_tenant;
        if let Some(group) = place.group {
            let bit = 1_u32.checked_shl(u32::from(group)).unwrap_or(u32::MAX);
            // Two names of one container may name two: only a look-up could tell.
            self.whole_tenant |= self.groups_seen & bit != 0;
            self.groups_seen |= bit;
        }
    }

    fn values(
        &mut self,
        gate: &GateRules,
        operation: &Operation,
        place: &Place,
        value: Cow<'r, str>,
    ) -> Result<(), BadRequest> {
        // A place whose presence alone makes the operation `tenant` holds something else than a container.
        if place.present_is_tenant {
            return Ok(());
        }
        if !place.list || !value.contains(',') {
            return self.name(gate, operation, place, value);
        }
        match value {
            Cow::Borrowed(text) => {
                text.split(',').try_for_each(|item| self.name(gate, operation, place, Cow::Borrowed(item)))
            }
            Cow::Owned(text) => {
                text.split(',').try_for_each(|item| self.name(gate, operation, place, Cow::Owned(item.to_owned())))
            }
        }
    }

    fn name(
        &mut self,
        gate: &GateRules,
        operation: &Operation,
        place: &Place,
        text: Cow<'r, str>,
    ) -> Result<(), BadRequest> {
        self.named += 1;
        if self.named > CONTAINERS_MAX {
            return Err(BadRequest("the request names too many containers"));
        }
        let kind = gate.catalog.containers.get(usize::from(place.kind.0)).ok_or(UNREADABLE)?;
        let (name, may_be) = match place.reading {
            Reading::Container => (container(gate, kind, text)?, VariantMask::NONE),
            Reading::IssueKey => (issue(gate, kind, text)?, VariantMask::NONE),
            Reading::Conversation => {
                let (name, may_be) = conversation(gate, kind, text)?;
                (name, possible(operation, may_be))
            }
        };
        self.told = VariantMask(self.told.0 | may_be.0);
        let container = ContainerRef { kind: place.kind, name };
        self.containers = Some(match self.containers.take() {
            None => ContainerList::one(container),
            Some(containers) => containers.push(container),
        });
        Ok(())
    }
}

const UNREADABLE: BadRequest = BadRequest("the container is not written as the product writes its ids or names");

fn matches(pattern: Option<&regex::Regex>, text: &str) -> bool {
    pattern.is_some_and(|pattern| pattern.is_match(text))
}

fn container<'r>(gate: &GateRules, kind: &ContainerKind, text: Cow<'r, str>) -> Result<ContainerName<'r>, BadRequest> {
    if matches(kind.id.as_ref(), &text) {
        // `010001` is the number 10001 to a product that parses it, and another text to the policy.
        if text.len() > 1 && text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadRequest("a container id begins with a zero"));
        }
        return Ok(ContainerName::Id(folded(kind, text)));
    }
    if matches(kind.key.as_ref(), &text) {
        let name = folded(kind, text);
        return Ok(if gate.names_as_written { ContainerName::Name(name) } else { ContainerName::Hint(name) });
    }
    Err(UNREADABLE)
}

/// `PROJ-123` lies in PROJ unless it was moved; `10001` lies anywhere.
fn issue<'r>(gate: &GateRules, kind: &ContainerKind, text: Cow<'r, str>) -> Result<ContainerName<'r>, BadRequest> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number(&text) {
        return Ok(ContainerName::Unknown);
    }
    let (project, number) = text.rsplit_once('-').ok_or(NO_ISSUE)?;
    if !is_number(number) || !matches(kind.key.as_ref(), project) {
        return Err(NO_ISSUE);
    }
    let project = match &text {
        Cow::Borrowed(text) => comparison_form(kind, text.rsplit_once('-').map_or(*text, |(project, _)| project)),
        Cow::Owned(_) => Cow::Owned(comparison_form(kind, project).into_owned()),
    };
    Ok(if gate.issue_keys_prefix { ContainerName::Name(project) } else { ContainerName::Hint(project) })
}

const NO_ISSUE: BadRequest = BadRequest("the issue is neither a key like PROJ-1 nor a number");

/// A Slack conversation, and the types that it may have.
fn conversation<'r>(
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

/// Strikes values that no line speaks of from what is not known. What is known stays, and is then refused.
fn possible(operation: &Operation, may_be: VariantMask) -> VariantMask {
    let spoken_of = VariantMask(may_be.0 & operation.variants.0);
    if may_be.0.count_ones() == 1 || spoken_of == VariantMask::NONE { may_be } else { spoken_of }
}

/// The variants that the request may be: what its arguments say, where its containers allow it.
fn variants(
    operation: &Operation,
    told: VariantMask,
    params: &[&str],
    request: &RequestView<'_>,
    facts: &Facts<'_>,
) -> Result<VariantMask, BadRequest> {
    if operation.variants == VariantMask::ALL {
        return Ok(VariantMask::ALL);
    }
    let mut said = VariantMask::ALL;
    for source in &operation.variant_sources {
        said = VariantMask(said.0 & said_by(source, find(&source.at, params, request, facts)?)?.0);
    }
    let by_container = if told == VariantMask::NONE { possible(operation, VariantMask::ALL) } else { told };
    if said == VariantMask::ALL {
        return Ok(by_container);
    }
    // Each variant that an argument names is reached, so none of them is struck for want of a line.
    let variants = if told == VariantMask::NONE { said } else { VariantMask(said.0 & told.0) };
    if variants == VariantMask::NONE {
        return Err(BadRequest("the type that an argument names is not one that the container can have"));
    }
    Ok(variants)
}

fn said_by(source: &VariantSource, found: Found<'_>) -> Result<VariantMask, BadRequest> {
    let values = match &found {
        Found::Absent => return Ok(source.absent),
        Found::Many(_) if !source.list => return Err(BadRequest("an argument that tells the type is repeated")),
        Found::One(_) | Found::Many(_) => found.as_slice(),
    };
    let mut mask = 0;
    for value in values {
        if source.list {
            value.split(',').for_each(|word| mask |= variant_of(source, word).0);
        } else {
            mask |= variant_of(source, value).0;
        }
    }
    Ok(VariantMask(mask))
}

/// A word that the catalog does not list may mean any.
fn variant_of(source: &VariantSource, word: &str) -> VariantMask {
    source.values.iter().find(|(value, _)| **value == *word).map_or(VariantMask::ALL, |(_, mask)| *mask)
}

/// The values at a place.
fn find<'r>(
    at: &PlaceAt,
    params: &[&'r str],
    request: &'r RequestView<'_>,
    facts: &'r Facts<'_>,
) -> Result<Found<'r>, BadRequest> {
    match at {
        PlaceAt::Path(index) => {
            let param = params.get(usize::from(*index)).ok_or(BadRequest("the path lacks a parameter"))?;
            Ok(Found::One(crate::authz::path::decode_segment(param)?))
        }
        PlaceAt::Query(name) => request.arguments().find(name),
        PlaceAt::Header(name) => request.header(name),
        PlaceAt::Body(pointer) => facts.body.at(pointer),
        PlaceAt::Argument(name) => argument(name, request, facts),
    }
}
