//! What the places of one request tell, put together place by place.

use std::borrow::Cow;

use super::reading::{UNREADABLE, before_revisions, in_query, issue, move_target};
use super::{around, asked_about, name, possible};
use crate::authz::catalog::items::{InItem, Items};
use crate::authz::catalog::{Absent, Operation, Place, PlaceAt, Reading, VariantMask};
use crate::authz::gate::GateRules;
use crate::authz::query_language::{self, Bounds, Language};
use crate::authz::request::json::Value;
use crate::authz::request::{BadRequest, Found, keys_of, values_of};
use crate::authz::touch::{CONTAINERS_MAX, ContainerList, ContainerName, ContainerRef, is_number};

/// What the places read so far tell.
pub(super) struct Located<'g, 'r> {
    gate: &'g GateRules,
    operation: &'g Operation,
    places: &'g [Place],
    pub containers: Option<ContainerList<'r>>,
    named: usize,
    /// Items of lists in which places stand.
    items: usize,
    pub whole_tenant: bool,
    /// Bit per group.
    groups_seen: u32,
    /// Groups one of which must be there, else the tenant.
    groups_missed: u32,
    /// Variants that some container may have; none while no container tells.
    told: VariantMask,
}

impl<'g, 'r> Located<'g, 'r> {
    pub fn of(gate: &'g GateRules, operation: &'g Operation, places: &'g [Place]) -> Self {
        Self {
            gate,
            operation,
            places,
            containers: None,
            named: 0,
            items: 0,
            whole_tenant: false,
            groups_seen: 0,
            groups_missed: 0,
            told: VariantMask::NONE,
        }
    }

    /// The variants that the containers may have; none where no container tells.
    pub fn told(&self) -> VariantMask {
        match self.whole_tenant && self.told != VariantMask::NONE {
            // Containers that are not named here are reached too, and may be of another type.
            true => VariantMask(self.told.0 | possible(self.operation, VariantMask::ALL).0),
            false => self.told,
        }
    }

    pub fn read(&mut self, place: &Place, found: Found<'r>) -> Result<(), BadRequest> {
        match found {
            Found::Absent => self.absent(place)?,
            Found::One(value) => {
                self.present(place);
                self.values(place, value)?;
            }
            Found::Many(_) if !place.list && !has_several(&place.at) => {
                return Err(BadRequest("a container is named several times where one is meant"));
            }
            Found::Many(values) => {
                self.present(place);
                for value in values {
                    self.values(place, value)?;
                }
            }
        }
        Ok(())
    }

    /// Reads a list item by item. Whether it is there.
    pub fn read_items(&mut self, items: &Items, around: &'r Value<'_>) -> Result<bool, BadRequest> {
        if !items.prefix.is_empty() {
            return self.read_mentions(items, around);
        }
        let list = match around.at(&items.list)? {
            None | Some(Value::Null) => return self.no_items(items),
            Some(list) if items.may_be_one_item(list)? => {
                return Err(BadRequest("one item stands where a list of them is due"));
            }
            Some(list) => list.items().ok_or(BadRequest("a deciding member of the body is neither list nor object"))?,
        };
        // Where only the presence of something is asked about, an item without it says nothing.
        let names = items.any(&|place| self.places.get(place).is_some_and(|place| !place.present_is_tenant));
        let mut is_empty = true;
        for item in list {
            is_empty = false;
            self.items += 1;
            if self.items > CONTAINERS_MAX {
                return Err(TOO_MANY);
            }
            // Two names of one container are two of the same item.
            let groups_around = (std::mem::take(&mut self.groups_seen), std::mem::take(&mut self.groups_missed));
            // What another item names is not where this one reaches.
            self.whole_tenant |= !self.read_item(items, item)? && names;
            self.end_groups();
            (self.groups_seen, self.groups_missed) = groups_around;
        }
        match is_empty {
            true if names => self.empty(items),
            true => Ok(false),
            false => Ok(names),
        }
    }

    /// Reads what members may mention whose names begin so. Whether anything is mentioned.
    fn read_mentions(&mut self, items: &Items, around: &'r Value<'_>) -> Result<bool, BadRequest> {
        let object = match around.at(&items.list)? {
            None | Some(Value::Null) => return Ok(false),
            Some(Value::Object(object)) => object,
            Some(_) => return Err(BadRequest("a deciding member of the body is not an object")),
        };
        let before = self.named;
        for (_, value) in object.iter().filter(|(name, _)| name.starts_with(&*items.prefix)) {
            for place in items.places.iter().filter_map(|one| self.places.get(one.place)) {
                self.mentions(place, value, MENTION_DEPTH)?;
            }
        }
        Ok(self.named > before)
    }

    /// An issue's key, in a list or where a field or a change of one may name an issue.
    fn mentions(&mut self, place: &Place, value: &'r Value<'_>, depth_left: u8) -> Result<(), BadRequest> {
        let Some(depth_left) = depth_left.checked_sub(1) else { return Ok(()) };
        match value {
            Value::Text(text) => {
                let kind = self.gate.catalog.containers.get(usize::from(place.kind.0)).ok_or(UNREADABLE)?;
                // A number may be of anything.
                if !is_number(text) && issue(self.gate, kind, Cow::Borrowed(text)).is_ok() {
                    self.name(place, place.reading, Cow::Borrowed(text))?;
                }
            }
            Value::List(items) => items.iter().try_for_each(|item| self.mentions(place, item, depth_left))?,
            Value::Object(object) => {
                for name in MENTIONED_BY {
                    if let Some(member) = object.member(name)? {
                        self.mentions(place, member, depth_left)?;
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Whole(_) | Value::OtherNumber => {}
        }
        Ok(())
    }

    /// Whether any place in an item, or in the lists in it, is there.
    fn read_item(&mut self, items: &Items, item: &'r Value<'_>) -> Result<bool, BadRequest> {
        let mut told = false;
        for one in &items.places {
            told |= self.read_in_item(one, item)?;
        }
        for inner in &items.within {
            told |= self.read_items(inner, item)?;
        }
        Ok(told)
    }

    fn read_in_item(&mut self, in_item: &InItem, item: &'r Value<'_>) -> Result<bool, BadRequest> {
        let Some(place) = self.places.get(in_item.place) else { return Ok(false) };
        let Some(value) = item.at(&in_item.at)?.filter(|value| !matches!(value, Value::Null)) else {
            self.absent(place)?;
            return Ok(false);
        };
        match (place.present_is_tenant, in_item.keys) {
            (true, _) => self.present(place),
            (false, true) => self.read(place, keys_of(value)?)?,
            (false, false) => self.read(place, values_of(value)?)?,
        }
        Ok(true)
    }

    /// A list that is not there: each of the places in it is absent.
    pub fn no_items(&mut self, items: &Items) -> Result<bool, BadRequest> {
        for one in items.all() {
            if let Some(place) = self.places.get(one.place) {
                self.absent(place)?;
            }
        }
        Ok(false)
    }

    /// An empty list is left out by some readers and means "none" to others: where both are the tenant it is no matter.
    fn empty(&mut self, items: &Items) -> Result<bool, BadRequest> {
        let places = items.all().into_iter().filter_map(|one| self.places.get(one.place));
        if !places.map(|place| place.absent).all(|absent| absent == Absent::Tenant) {
            return Err(BadRequest("a deciding list in the body is empty"));
        }
        self.whole_tenant = true;
        Ok(true)
    }

    fn absent(&mut self, place: &Place) -> Result<(), BadRequest> {
        match place.absent {
            Absent::Deny => return Err(BadRequest("the container that the operation acts in is missing")),
            Absent::Tenant => match place.group {
                // Another name of the same container may be there.
                Some(group) => self.groups_missed |= bit(group),
                None => self.whole_tenant = true,
            },
            Absent::Skip => {}
        }
        Ok(())
    }

    /// All places of the groups were read: one of which no name is there lies anywhere.
    pub fn end_groups(&mut self) {
        self.whole_tenant |= self.groups_missed & !self.groups_seen != 0;
    }

    pub fn present(&mut self, place: &Place) {
        self.whole_tenant |= place.present_is_tenant;
        if let Some(group) = place.group {
            let bit = bit(group);
            // Two names of one container may name two: only a look-up could tell.
            self.whole_tenant |= self.groups_seen & bit != 0;
            self.groups_seen |= bit;
        }
    }

    fn values(&mut self, place: &Place, value: Cow<'r, str>) -> Result<(), BadRequest> {
        // A place whose presence alone makes the operation `tenant` holds something else than a container.
        if place.present_is_tenant {
            return Ok(());
        }
        match place.reading {
            Reading::MoveTarget => return self.move_target(place, &value),
            Reading::Revisions => return self.revisions(place, &value),
            Reading::Jql => return self.query(place, Language::Jql, &value),
            Reading::Cql => return self.query(place, Language::Cql, &value),
            Reading::Container
            | Reading::Key
            | Reading::IssueKey
            | Reading::IssueMention
            | Reading::Conversation
            | Reading::FullName => {}
        }
        if !place.list || !value.contains(',') {
            return self.name(place, place.reading, value);
        }
        match value {
            Cow::Borrowed(text) => {
                text.split(',').try_for_each(|item| self.name(place, place.reading, Cow::Borrowed(item)))
            }
            Cow::Owned(text) => {
                text.split(',').try_for_each(|item| self.name(place, place.reading, Cow::Owned(item.to_owned())))
            }
        }
    }

    /// Where issues are moved to: a project, and perhaps below another issue.
    fn move_target(&mut self, place: &Place, text: &str) -> Result<(), BadRequest> {
        let (project, parent) = move_target(text)?;
        self.name(place, Reading::Container, Cow::Owned(project.to_owned()))?;
        match parent {
            Some(parent) => self.name(place, Reading::IssueKey, Cow::Owned(parent.to_owned())),
            None => Ok(()),
        }
    }

    /// Revisions: of the repository that another place names, or of one that stands before them.
    fn revisions(&mut self, place: &Place, text: &str) -> Result<(), BadRequest> {
        match before_revisions(text)? {
            Some(repository) => self.name(place, Reading::FullName, Cow::Owned(repository.to_owned())),
            None => Ok(()),
        }
    }

    /// What a query cannot reach outside of; the tenant where it may reach anything.
    fn query(&mut self, place: &Place, language: Language, query: &str) -> Result<(), BadRequest> {
        let kind = self.gate.catalog.containers.get(usize::from(place.kind.0)).ok_or(UNREADABLE)?;
        let Bounds::Within(named) = query_language::bounds(language, query) else {
            self.whole_tenant = true;
            return Ok(());
        };
        // A query is not refused for its length: one that names more than are looked at reaches the tenant.
        if named.len() > CONTAINERS_MAX.saturating_sub(self.named) {
            self.whole_tenant = true;
            return Ok(());
        }
        for one in named {
            match in_query(self.gate, kind, language, one) {
                Some(name) => self.add(place, name, VariantMask::NONE)?,
                None => self.whole_tenant = true,
            }
        }
        Ok(())
    }

    fn name(&mut self, place: &Place, reading: Reading, text: Cow<'r, str>) -> Result<(), BadRequest> {
        let asked = if reading == place.reading { asked_about(self.gate, place, &text) } else { None };
        let (name, may_be) = match asked {
            None => name(self.gate, self.operation, place.kind, reading, text)?,
            Some(lookup) => (around(self.gate, place, lookup, text)?, VariantMask::NONE),
        };
        self.add(place, name, may_be)
    }

    fn add(&mut self, place: &Place, name: ContainerName<'r>, may_be: VariantMask) -> Result<(), BadRequest> {
        self.named += 1;
        if self.named > CONTAINERS_MAX {
            return Err(TOO_MANY);
        }
        self.told = VariantMask(self.told.0 | may_be.0);
        let container = ContainerRef { kind: place.kind, name };
        match &mut self.containers {
            None => self.containers = Some(ContainerList::one(container)),
            Some(containers) => containers.push(container),
        }
        Ok(())
    }
}

/// Where an issue stands in the value of a field, and such a value in a change of one.
const MENTIONED_BY: [&str; 5] = ["key", "set", "add", "edit", "remove"];
/// `[{"set": [{"key": "PROJ-1"}]}]`
const MENTION_DEPTH: u8 = 6;

const TOO_MANY: BadRequest = BadRequest("the request names too many containers");

fn bit(group: u8) -> u32 {
    1_u32.checked_shl(u32::from(group)).unwrap_or(u32::MAX)
}

/// Whether what stands at such a place is several by nature.
fn has_several(at: &PlaceAt) -> bool {
    match at {
        PlaceAt::Keys(_) => true,
        PlaceAt::InItems { keys, .. } => *keys,
        PlaceAt::Path(_)
        | PlaceAt::Rest
        | PlaceAt::Query(_)
        | PlaceAt::Header(_)
        | PlaceAt::Body(_)
        | PlaceAt::Multipart(_)
        | PlaceAt::Argument(_) => false,
    }
}
