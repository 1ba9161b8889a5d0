//! Places in the items of a JSON list (or the members of an object): `/issueUpdates/*/fields/project/key`.
//!
//! Each item is judged by itself. What one item names says nothing of the next, so an item that names no container
//! makes the whole request `tenant`, and two names of one container are compared within their item.

use super::{Place, PlaceAt};
use crate::authz::request::BadRequest;
use crate::authz::request::json::Value;

/// A list of a JSON body, in each of whose items places stand.
#[derive(Debug, PartialEq, Eq)]
pub struct Items {
    /// A pointer to it, from the body or from the item around it.
    pub list: Box<str>,
    /// Of an object, the members whose names begin so: all where it is empty.
    pub prefix: Box<str>,
    pub places: Vec<InItem>,
    /// Lists in each item.
    pub within: Vec<Items>,
}

/// A place as an item holds it.
#[derive(Debug, PartialEq, Eq)]
pub struct InItem {
    /// Which of the operation's places it is.
    pub place: usize,
    /// A pointer from the item on.
    pub at: Box<str>,
    pub keys: bool,
}

impl Items {
    /// The lists that these places stand in.
    pub fn of(places: &[Place]) -> Box<[Self]> {
        let mut lists = Vec::new();
        for (place, written) in places.iter().enumerate() {
            let PlaceAt::InItems { pointer, keys } = &written.at else { continue };
            if let Some((above, prefix)) = prefixed(pointer) {
                let item = InItem { place, at: "".into(), keys: *keys };
                insert(&mut lists, &above.split("/*").collect::<Vec<_>>(), prefix, item);
            } else if let Some((above, at)) = pointer.rsplit_once("/*") {
                let item = InItem { place, at: at.into(), keys: *keys };
                insert(&mut lists, &above.split("/*").collect::<Vec<_>>(), "", item);
            }
        }
        lists.into_boxed_slice()
    }

    /// Every place in its items, and in the lists in them.
    pub fn all(&self) -> Vec<&InItem> {
        self.places.iter().chain(self.within.iter().flat_map(Self::all)).collect()
    }

    /// Whether any place in its items, or in the lists in them, is one of these.
    pub fn any(&self, is_one: &impl Fn(usize) -> bool) -> bool {
        self.places.iter().any(|one| is_one(one.place)) || self.within.iter().any(|inner| inner.any(is_one))
    }

    /// Whether what stands where the list is due has a member that its items have: some readers take one item for a
    /// list of it, and would look into that member where we look into the members of it.
    pub fn may_be_one_item(&self, list: &Value<'_>) -> Result<bool, BadRequest> {
        let Value::Object(object) = list else { return Ok(false) };
        let pointers = self.places.iter().map(|one| &*one.at).chain(self.within.iter().map(|inner| &*inner.list));
        for first in pointers.filter_map(|pointer| pointer.split('/').nth(1)) {
            if object.member(&first.replace("~1", "/").replace("~0", "~"))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The object of `/fields/custom_*`, and what the names of its members begin with.
pub fn prefixed(pointer: &str) -> Option<(&str, &str)> {
    let (above, last) = pointer.rsplit_once('/')?;
    let prefix = last.strip_suffix('*').filter(|prefix| !prefix.is_empty())?;
    Some((above, prefix))
}

/// As deep as the pointer has stars: the catalog's doing. `prefix` is that of the innermost list.
fn insert(lists: &mut Vec<Items>, above: &[&str], prefix: &str, item: InItem) {
    let [list, further @ ..] = above else { return };
    let own = if further.is_empty() { prefix } else { "" };
    let is_it = |one: &Items| *one.list == **list && *one.prefix == *own;
    if !lists.iter().any(is_it) {
        lists.push(Items { list: (*list).into(), prefix: own.into(), places: Vec::new(), within: Vec::new() });
    }
    let Some(known) = lists.iter_mut().find(|one| is_it(one)) else { return };
    if further.is_empty() { known.places.push(item) } else { insert(&mut known.within, further, prefix, item) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::catalog::{Absent, KindId, Reading};

    #[test]
    fn lists_are_found_once_and_within_each_other() {
        let place = |pointer: &str| Place {
            kind: KindId(0),
            at: PlaceAt::InItems { pointer: pointer.into(), keys: false },
            reading: Reading::Container,
            lookup: None,
            absent: Absent::Skip,
            present_is_tenant: false,
            list: false,
            group: None,
        };
        let lists = Items::of(&["/a/*/b/c", "/a/*/d/*", "/*/*/e", "/a/*/f"].map(place));
        let item = |place, at: &str| InItem { place, at: at.into(), keys: false };
        let inner = |list: &str, one| Items { list: list.into(), prefix: "".into(), places: vec![one], within: vec![] };
        let a = Items {
            list: "/a".into(),
            prefix: "".into(),
            places: vec![item(0, "/b/c"), item(3, "/f")],
            within: vec![inner("/d", item(1, ""))],
        };
        let root = Items { list: "".into(), prefix: "".into(), places: vec![], within: vec![inner("", item(2, "/e"))] };
        assert_eq!(*lists, [a, root]);
        assert_eq!(lists[0].all().len(), 3);
    }
}
