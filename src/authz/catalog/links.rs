//! Which members of a product's JSON hold links that its SDKs follow, which links stay as they are, and the hosts that
//! the product redirects to.
//!
//! A member is named by the names above it, innermost last: `self`, `_links.next`, `links.*.href`. Wherever in a
//! document a path of names ends so, its string is a link. The names of one operation are compiled to bits, so that a
//! document is walked with one word for each level of it.

use std::sync::Arc;

use super::OperationId;

/// Names in the paths that speak of one operation: one bit each.
pub const NAMES_MAX: usize = 64;
/// Bytes of a name. A longer key of a document is none that is written here.
pub const NAME_BYTES_MAX: usize = 128;
/// Each has connections of its own.
pub const REDIRECT_HOSTS_MAX: usize = 32;
/// The names of a catalog are found by a number in so many buckets: a document has a key every twenty bytes.
const BUCKETS: usize = 64;
/// Stands for any one name.
pub const ANY: &str = "*";

/// What a catalog says of links.
#[derive(Debug, Default)]
pub struct Links {
    pub rewritten: Box<[LinkEntry]>,
    pub stays: Box<[LinkEntry]>,
    /// By `RedirectId`.
    pub redirects: Box<[RedirectHost]>,
    /// For an operation that the catalog does not know: what is said of all.
    pub unknown: Option<Arc<LinkRules>>,
}

/// Members, in all answers or in those of some operations. No members: everything in these answers.
#[derive(Debug)]
pub struct LinkEntry {
    pub members: Box<[Box<str>]>,
    pub operations: Box<[OperationId]>,
    pub why: Box<str>,
}

/// A host that the product redirects to, numbered in catalog order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedirectId(pub u8);

/// A host whose redirects the gate follows, by HTTPS alone.
#[derive(Debug)]
pub struct RedirectHost {
    /// As in an `Origin`.
    pub host: Box<str>,
    pub port: u16,
    pub why: Box<str>,
}

/// The paths that speak of one operation. All names of all paths stand in one row of bits, path after path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LinkRules {
    /// The first name of each path.
    firsts: u64,
    /// The last name of each path that is rewritten.
    rewritten: u64,
    /// The last name of each path that stays, with all that lies below it.
    stays: u64,
    /// Where `*` stands.
    any: u64,
    /// Each name with the places where it stands, by bucket.
    names: Box<[(Box<[u8]>, u64)]>,
    /// Where each bucket ends in `names`.
    ends: Box<[usize]>,
    /// The buckets that hold any, as bits: most names of a document are in none.
    filled: u64,
}

/// Where in a document one is: which paths end here, or may end further below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    reached: u64,
    stays: bool,
}

impl Place {
    pub const ROOT: Self = Self { reached: 0, stays: false };
}

impl LinkRules {
    /// `None` where nothing is rewritten, or the paths have more than [`NAMES_MAX`] names.
    pub fn of<'m>(
        rewritten: impl IntoIterator<Item = &'m str>,
        stays: impl IntoIterator<Item = &'m str>,
    ) -> Option<Self> {
        let mut rules = Self::default();
        let mut names: Vec<(Box<[u8]>, u64)> = Vec::new();
        let mut next = 0;
        let rewritten = rewritten.into_iter().map(|path| (path, false));
        for (path, is_stay) in rewritten.chain(stays.into_iter().map(|path| (path, true))) {
            let mut bit = 0;
            for (index, name) in path.split('.').enumerate() {
                bit = 1_u64.checked_shl(next)?;
                next += 1;
                rules.firsts |= if index == 0 { bit } else { 0 };
                match names.iter_mut().find(|(known, _)| **known == *name.as_bytes()) {
                    _ if name == ANY => rules.any |= bit,
                    Some((_, bits)) => *bits |= bit,
                    None => names.push((name.as_bytes().into(), bit)),
                }
            }
            *(if is_stay { &mut rules.stays } else { &mut rules.rewritten }) |= bit;
        }
        names.sort_by_key(|(name, _)| bucket(name));
        rules.filled = names.iter().fold(0, |filled, (name, _)| filled | 1 << bucket(name));
        rules.ends = (0..BUCKETS).map(|end| names.partition_point(|(name, _)| bucket(name) <= end)).collect();
        rules.names = names.into();
        (rules.rewritten != 0).then_some(rules)
    }

    /// Where a member of this name is. `None`: a name that no path can hold.
    #[inline]
    pub fn below(&self, place: Place, name: Option<&[u8]>) -> Place {
        let called = self.any
            | match name {
                Some(name) if self.filled >> bucket(name) & 1 != 0 => self.called(name),
                Some(_) | None => 0,
            };
        // What leaves one path at its end enters the next at its first name, where any place may enter.
        let reached = (place.reached << 1 | self.firsts) & called;
        Place { reached, stays: place.stays || reached & self.stays != 0 }
    }

    /// Where a name stands.
    fn called(&self, name: &[u8]) -> u64 {
        let bucket = bucket(name);
        let begin = bucket.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = self.ends.get(bucket).copied().unwrap_or(0);
        let known = self.names.get(begin..end).unwrap_or_default();
        known.iter().find(|(known, _)| **known == *name).map_or(0, |(_, bits)| *bits)
    }

    /// Whether a string here is a link that is kept at the gate.
    #[inline]
    pub fn is_link(&self, place: Place) -> bool {
        !place.stays && place.reached & self.rewritten != 0
    }
}

/// Names of one length that begin and end alike are few.
#[inline]
fn bucket(name: &[u8]) -> usize {
    let byte = |byte: Option<&u8>| usize::from(*byte.unwrap_or(&0));
    (name.len() * 7 + byte(name.first()) * 3 + byte(name.last())) % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_link(rules: &LinkRules, path: &str) -> bool {
        let place = path.split('/').fold(Place::ROOT, |place, name| rules.below(place, Some(name.as_bytes())));
        rules.is_link(place)
    }

    #[test]
    fn a_path_is_met_where_the_names_above_end_so() {
        let rules = LinkRules::of(["self", "_links.next", "links.*.href", "roles.*"], ["properties"]).expect("rules");
        for link in [
            "self",
            "fields/parent/self",
            "_links/next",
            "page/_links/next",
            "links/clone/href",
            "a/links/b/href",
            "roles/Developers",
            "links/links/href",
            "_links/_links/next",
        ] {
            assert!(is_link(&rules, link), "{link}");
        }
        for other in [
            "selfs",
            "self/href",
            "next",
            "links/next",
            "links/href",
            "links/a/b/href",
            "_links/a/next",
            "roles",
            "properties/self",
            "issue/properties/a/b/self",
            "properties",
            "",
        ] {
            assert!(!is_link(&rules, other), "{other}");
        }
    }

    #[test]
    fn a_name_that_no_path_can_hold_is_met_by_the_star_alone() {
        let rules = LinkRules::of(["roles.*", "self"], []).expect("rules");
        let roles = rules.below(Place::ROOT, Some(b"roles"));
        assert!(rules.is_link(rules.below(roles, None)));
        assert!(!rules.is_link(rules.below(Place::ROOT, None)));
    }

    #[test]
    fn nothing_to_rewrite_and_too_much_to_rewrite_are_no_rules() {
        assert_eq!(LinkRules::of([], ["properties"]), None);
        let path = ["a"; NAMES_MAX].join(".");
        assert!(LinkRules::of([path.as_str()], []).is_some());
        assert_eq!(LinkRules::of([path.as_str(), "b"], []), None);
    }
}
