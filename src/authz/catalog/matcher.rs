//! Finds the operation of a method and a canonical path: no allocation, nothing that can fail.
//!
//! A tree of whole segments prefers a literal segment to a parameter and goes back where that leads nowhere. Subtrees,
//! which are few, go through matchit. Parameters are renamed by position, so that two templates which differ in parameter
//! names alone are one node with the methods of both.

use std::collections::HashMap;

use http::Method;

use super::OperationId;

/// The most parameters that one template may have. Jira has 3 at most, Bitbucket 6.
pub const PARAMETERS_MAX: usize = 8;

/// What a method and a path name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'p> {
    Operation(Matched<'p>),
    /// No operation has this path.
    UnknownPath,
    /// The path is known, but not with this method.
    UnknownMethod,
    /// A product that folds case would take the path for another operation's.
    Lookalike,
}

/// An operation, and the tenant that its path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched<'p> {
    pub operation: OperationId,
    /// `{tenant}` of `/ex/jira/{tenant}`.
    pub tenant: Option<&'p str>,
}

/// The path's parameters by position, as sent: where in the path each begins, and how long it is. A list of slices would
/// be four times as much to move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters<'p> {
    path: &'p str,
    ranges: [(u16, u16); PARAMETERS_MAX],
    length: usize,
}

impl<'p> Parameters<'p> {
    /// Each segment of a path, as a template of parameters alone would have it.
    pub fn of_segments(path: &'p str) -> Self {
        let mut parameters = Self::default();
        parameters.begin(path);
        let mut start = 0;
        for segment in parameters.path.split('/') {
            if start > 0 {
                parameters.push(start, segment.len());
            }
            start += segment.len() + 1;
        }
        parameters
    }

    /// Those of a path, of which none is known yet. A path so long that no server takes it is no path.
    fn begin(&mut self, path: &'p str) {
        self.path = if u16::try_from(path.len()).is_ok() { path } else { "" };
        self.length = 0;
    }

    /// The n-th parameter of the template, counted from 0.
    #[inline]
    pub fn get(&self, index: u8) -> Option<&'p str> {
        let (start, length) = *self.ranges.get(..self.length)?.get(usize::from(index))?;
        self.path.get(usize::from(start)..usize::from(start) + usize::from(length))
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &'p str> {
        (0..=u8::MAX).map_while(|index| self.get(index))
    }

    #[inline]
    fn push(&mut self, start: usize, length: usize) {
        if let (Some(place), Ok(start), Ok(length)) =
            (self.ranges.get_mut(self.length), u16::try_from(start), u16::try_from(length))
        {
            *place = (start, length);
            self.length += 1;
        }
    }
}

/// Finds the operation of a method and a canonical path.
#[derive(Debug, Default)]
pub struct Matcher {
    bases: Vec<Box<str>>,
    tenant_bases: Vec<TenantBase>,
    /// Below each base.
    relative: Paths,
    /// Written whole.
    whole: Paths,
}

/// `/ex/jira/` and what follows the tenant.
#[derive(Debug)]
struct TenantBase {
    before: Box<str>,
    after: Box<str>,
}

#[derive(Debug, Default)]
struct Paths {
    exact: Tree,
    /// Asked when nothing more exact has the path and method.
    subtree: Option<matchit::Router<OperationId>>,
}

/// Paths by segment, from the root, which is node 0.
#[derive(Debug, Default)]
struct Tree(Vec<Branch>);

/// A node of the tree.
#[derive(Debug, Default)]
struct Branch {
    /// The next node after each literal segment.
    literals: Literals,
    /// The next node where this segment is a parameter.
    parameter: Option<u32>,
    /// What ends here.
    node: Option<Node>,
}

/// Literal segments, sorted by their [`bucket`]. Hashing a segment would take longer than comparing the few in one of
/// these; they are a catalog's, so no caller can fill one.
#[derive(Debug, Default)]
struct Literals {
    /// Where the segments of each bucket begin, and the last ones end. `None`: there are none.
    starts: Option<Box<[u16; BUCKETS + 1]>>,
    segments: Vec<(Box<str>, u32)>,
}

const BUCKETS: usize = 64;

/// A number below 64 that is the same for texts that are equal but for the case of letters.
#[inline]
fn bucket(segment: &str) -> usize {
    // This folds other characters too, which only makes for a fuller bucket.
    let end = |byte: Option<&u8>| byte.map_or(0, |byte| byte | 0x20);
    let [first, last] = [segment.as_bytes().first(), segment.as_bytes().last()].map(end);
    let length = (segment.len() & 0xff) as u8;
    usize::from(length.wrapping_mul(7).wrapping_add(first.wrapping_mul(5)).wrapping_add(last)) % BUCKETS
}

/// Where the first slash is. Eight bytes at once: most segments end among them.
#[inline(always)]
fn slash_in(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let Some(first) = bytes.first_chunk::<8>() else { return bytes.iter().position(|byte| *byte == b'/') };
    // Zero where a slash is. Subtracting borrows from the byte above such a one alone, so the lowest bit that stays tells
    // the first.
    let others = u64::from_le_bytes(*first) ^ (ONES * b'/' as u64);
    let slashes = others.wrapping_sub(ONES) & !others & (ONES << 7);
    match slashes {
        0 => bytes.iter().skip(8).position(|byte| *byte == b'/').map(|at| at + 8),
        _ => Some((slashes.trailing_zeros() / 8) as usize),
    }
}

impl Literals {
    #[inline(always)]
    fn get(&self, segment: &str) -> Option<u32> {
        let starts = self.starts.as_deref()?;
        let bucket = bucket(segment);
        let (start, end) = (*starts.get(bucket)?, *starts.get(bucket + 1)?);
        let here = self.segments.get(usize::from(start)..usize::from(end))?;
        here.iter().find(|(literal, _)| **literal == *segment).map(|(_, next)| *next)
    }

    /// The node after the segment: `new`, if there was none.
    fn get_or_insert(&mut self, segment: &str, new: u32) -> u32 {
        if let Some(next) = self.get(segment) {
            return next;
        }
        let starts = self.starts.get_or_insert_with(|| Box::new([0; BUCKETS + 1]));
        let bucket = bucket(segment);
        let at = starts.get(bucket + 1).map_or(0, |start| usize::from(*start));
        self.segments.insert(at.min(self.segments.len()), (segment.into(), new));
        // A catalog has at most 65,536 operations; what does not fit here is found nowhere.
        starts.iter_mut().skip(bucket + 1).for_each(|start| *start = start.saturating_add(1));
        new
    }
}

/// The operations of one path, by method. Few: compared one by one.
#[derive(Debug, Default, Clone)]
struct Node {
    methods: Vec<(Method, OperationId)>,
    /// Parameters, by position, with a literal that stands in their place in another path. `/attachment/META` is the
    /// attachment of that name to us and `/attachment/meta` to a product that folds case: it is neither.
    lookalikes: Lookalikes,
}

#[derive(Debug, Default, Clone)]
struct Lookalikes {
    /// The buckets of the literals, as bits: few parameters are in any of them.
    buckets: u64,
    literals: Box<[(u8, Box<str>)]>,
}

impl Lookalikes {
    fn of(literals: Box<[(u8, Box<str>)]>) -> Self {
        let buckets = literals.iter().fold(0, |buckets, (_, literal)| buckets | 1 << bucket(literal));
        Self { buckets, literals }
    }

    /// Whether a parameter is one of these literals but for its case.
    #[inline]
    fn hold_any(&self, parameters: &Parameters<'_>) -> bool {
        let among = |value: &str| self.buckets >> bucket(value) & 1 != 0;
        let is = |(number, literal): &(u8, Box<str>)| {
            parameters.get(*number).is_some_and(|value| value.eq_ignore_ascii_case(literal))
        };
        self.buckets != 0 && parameters.iter().any(among) && self.literals.iter().any(is)
    }
}

/// How one operation is asked for, read from the catalog's `request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `None` is `ANY`.
    pub method: Option<Method>,
    pub template: Box<str>,
    /// Names of the parameters, in order.
    pub parameters: Vec<Box<str>>,
    /// It ends in `{+rest}`.
    pub subtree: bool,
}

/// Why a `request` or a set of them is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("a request is a method, a space and a path template: `GET /issue/{{issueIdOrKey}}`")]
    Shape,
    #[error("`{0}` is not a method in capital letters")]
    Method(String),
    #[error("segment `{0}` is neither literal nor one whole `{{parameter}}`")]
    Segment(String),
    #[error("a template has at most {PARAMETERS_MAX} parameters")]
    Parameters,
    #[error("only a subtree, which ends in `{{+rest}}`, answers `ANY` method")]
    Any,
    #[error("the same method and path as `{0}`")]
    Taken(String),
}

impl Request {
    /// Reads `GET /issue/{issueIdOrKey}`.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        let (method, template) = text.split_once(' ').ok_or(RequestError::Shape)?;
        let mut segments = template.strip_prefix('/').ok_or(RequestError::Shape)?.split('/').peekable();
        let (mut parameters, mut subtree) = (Vec::new(), false);
        while let Some(segment) = segments.next() {
            match braced(segment)? {
                Some(rest) if rest.starts_with('+') && segments.peek().is_none() => subtree = true,
                Some(name) if name.starts_with('+') => return Err(RequestError::Segment(segment.to_owned())),
                Some(name) => parameters.push(Box::from(name)),
                None => {}
            }
        }
        if parameters.len() > PARAMETERS_MAX {
            return Err(RequestError::Parameters);
        }
        let method = method_of(method)?;
        if method.is_none() && !subtree {
            return Err(RequestError::Any);
        }
        Ok(Self { method, template: Box::from(template), parameters, subtree })
    }

    /// The template with parameters renamed by position, as matchit writes them.
    fn route(&self) -> String {
        let mut number = 0;
        let segments = self.template.split('/').map(|segment| match braced(segment) {
            Ok(Some(name)) if name.starts_with('+') => "{*rest}".to_owned(),
            Ok(Some(_)) => {
                number += 1;
                format!("{{{}}}", number - 1)
            }
            Ok(None) | Err(_) => segment.to_owned(),
        });
        segments.collect::<Vec<_>>().join("/")
    }
}

/// The name in `{name}`; `None` for a literal segment.
fn braced(segment: &str) -> Result<Option<&str>, RequestError> {
    let wrong = || RequestError::Segment(segment.to_owned());
    let inside = segment.strip_prefix('{').and_then(|inside| inside.strip_suffix('}'));
    let text = inside.unwrap_or(segment);
    if text.is_empty() || text.contains(['{', '}', '*', '?', '#', ' ']) {
        return Err(wrong());
    }
    Ok(inside)
}

fn method_of(word: &str) -> Result<Option<Method>, RequestError> {
    if word == "ANY" {
        return Ok(None);
    }
    let capital = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let method = Method::from_bytes(word.as_bytes()).ok().filter(|_| capital);
    method.map(Some).ok_or_else(|| RequestError::Method(word.to_owned()))
}

/// Collects operations, then becomes a [`Matcher`].
#[derive(Debug, Default)]
pub struct Builder {
    bases: Vec<Box<str>>,
    tenant_bases: Vec<TenantBase>,
    accepts: Vec<Method>,
    relative: Routes,
    whole: Routes,
}

/// Routes in order of their text: matchit's tree does not depend on the order of the catalog.
#[derive(Debug, Default)]
struct Routes {
    exact: std::collections::BTreeMap<String, Node>,
    subtrees: HashMap<String, OperationId>,
}

impl Builder {
    /// `bases` are paths; a tenant base holds `{tenant}` once. Both were checked by `compile`.
    pub fn new(bases: &[String], tenant_bases: &[String], accepts: Vec<Method>) -> Self {
        let tenant_bases = tenant_bases.iter().filter_map(|base| base.split_once("{tenant}"));
        Self {
            bases: bases.iter().map(|base| Box::from(base.as_str())).collect(),
            tenant_bases: tenant_bases
                .map(|(before, after)| TenantBase { before: before.into(), after: after.into() })
                .collect(),
            accepts,
            ..Self::default()
        }
    }

    /// Adds an operation, or says which one has its method and path already.
    pub fn add(&mut self, request: &Request, id: OperationId) -> Result<(), OperationId> {
        let route = request.route();
        let below = self.bases.iter().find_map(|base| strip_base(&route, base)).map(str::to_owned);
        let routes = match below {
            Some(_) => &mut self.relative,
            None if self.is_whole(&route) => &mut self.whole,
            None => &mut self.relative,
        };
        let route = below.unwrap_or(route);
        if request.subtree {
            return routes.subtrees.insert(route, id).map_or(Ok(()), Err);
        }
        let node = routes.exact.entry(route).or_default();
        let written = request.method.iter();
        for method in if self.accepts.is_empty() { written.collect() } else { self.accepts.iter().collect::<Vec<_>>() }
        {
            if let Some((_, other)) = node.methods.iter().find(|(taken, _)| taken == method) {
                return Err(*other);
            }
            node.methods.push((method.clone(), id));
        }
        Ok(())
    }

    /// A template that starts like a base is written whole; any other is below each base.
    fn is_whole(&self, route: &str) -> bool {
        let first = |path: &str| path.split('/').nth(1).map(str::to_owned);
        self.bases.is_empty() || self.bases.iter().any(|base| first(base) == first(route))
    }

    pub fn build(self) -> Result<Matcher, matchit::InsertError> {
        Ok(Matcher {
            bases: self.bases,
            tenant_bases: self.tenant_bases,
            relative: self.relative.build()?,
            whole: self.whole.build()?,
        })
    }
}

impl Routes {
    fn build(self) -> Result<Paths, matchit::InsertError> {
        let mut paths = Paths::default();
        let routes: Vec<String> = self.exact.keys().cloned().collect();
        for (route, mut node) in self.exact {
            if route.contains('{') {
                node.lookalikes = Lookalikes::of(lookalikes(&route, &routes));
            }
            paths.exact.insert(&route, node);
        }
        for (route, operation) in self.subtrees {
            paths.subtree.get_or_insert_with(matchit::Router::new).insert(route, operation)?;
        }
        Ok(paths)
    }
}

/// The literals that other routes have where this one has a parameter, all else being able to be the same.
fn lookalikes(route: &str, routes: &[String]) -> Box<[(u8, Box<str>)]> {
    let is_parameter = |segment: &str| segment.starts_with('{');
    let own: Vec<&str> = route.split('/').collect();
    let positions: Vec<usize> =
        own.iter().enumerate().filter(|(_, segment)| is_parameter(segment)).map(|(position, _)| position).collect();
    let mut found = Vec::new();
    for other in routes {
        let other: Vec<&str> = other.split('/').collect();
        let may_meet = other.len() == own.len()
            && own.iter().zip(&other).all(|(a, b)| is_parameter(a) || is_parameter(b) || a.eq_ignore_ascii_case(b));
        if !may_meet {
            continue;
        }
        for (number, position) in (0u8..).zip(&positions) {
            found.extend(
                other
                    .get(*position)
                    .filter(|literal| !is_parameter(literal))
                    .map(|literal| (number, Box::from(*literal))),
            );
        }
    }
    found.sort_unstable();
    found.dedup();
    found.into()
}

impl Matcher {
    /// The same, without a word of the path's parameters.
    pub fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'p> {
        self.find_with(method, path, &mut Parameters::default())
    }

    /// `path` is canonical: absolute, without dot segments or empty segments. The parameters are filled in where they lie:
    /// what is found is small, and they would have to be moved with it.
    #[inline(always)]
    pub fn find_with<'p>(&self, method: &Method, path: &'p str, parameters: &mut Parameters<'p>) -> Found<'p> {
        let named = self.tenant_bases.iter().find_map(|base| base.strip(path));
        let (tenant, path) = named.map_or((None, path), |(tenant, rest)| (Some(tenant), rest));
        let below = self.bases.iter().find_map(|base| strip_base(path, base));
        let (paths, path) = below.map_or((&self.whole, path), |rest| (&self.relative, rest));
        paths.find(method, path, tenant, parameters)
    }
}

impl TenantBase {
    fn strip<'p>(&self, path: &'p str) -> Option<(&'p str, &'p str)> {
        let rest = path.strip_prefix(&*self.before)?;
        let (tenant, _) = rest.split_once('/').filter(|(tenant, _)| !tenant.is_empty())?;
        let after = rest.get(tenant.len()..)?.strip_prefix(&*self.after)?;
        after.starts_with('/').then_some((tenant, after))
    }
}

/// What follows a base, with its slash. `/rest/api/30` is not below `/rest/api/3`.
#[inline]
fn strip_base<'p>(path: &'p str, base: &str) -> Option<&'p str> {
    path.strip_prefix(base).filter(|rest| rest.starts_with('/'))
}

impl Paths {
    fn find<'p>(
        &self,
        method: &Method,
        path: &'p str,
        tenant: Option<&'p str>,
        parameters: &mut Parameters<'p>,
    ) -> Found<'p> {
        parameters.begin(path);
        let exact = self.exact.find(parameters);
        if exact.is_some_and(|node| node.lookalikes.hold_any(parameters)) {
            return Found::Lookalike;
        }
        // A path that is literal in the catalog never falls back to a template, whatever the method: the product would
        // answer 405, and `DELETE /attachment/meta` is not the attachment called `meta`.
        match exact.map(|node| node.operation(method)) {
            Some(Some(operation)) => Found::Operation(Matched { operation, tenant }),
            Some(None) => self.in_subtree(tenant, parameters).unwrap_or(Found::UnknownMethod),
            None => self.in_subtree(tenant, parameters).unwrap_or(Found::UnknownPath),
        }
    }

    fn in_subtree<'p>(&self, tenant: Option<&'p str>, parameters: &mut Parameters<'p>) -> Option<Found<'p>> {
        let path = parameters.path;
        let matched = self.subtree.as_ref()?.at(path).ok()?;
        parameters.begin(path);
        for (_, value) in matched.params.iter().filter(|(name, _)| *name != "rest") {
            // Each is a piece of the path.
            let start = (value.as_ptr() as usize).checked_sub(path.as_ptr() as usize)?;
            parameters.push(start, value.len());
        }
        Some(Found::Operation(Matched { operation: *matched.value, tenant }))
    }
}

impl Tree {
    /// Adds a route whose parameters are `{0}`, `{1}`, …
    fn insert(&mut self, route: &str, node: Node) {
        self.0.resize_with(self.0.len().max(1), Branch::default);
        let end = route.split('/').skip(1).fold(0, |at, segment| self.step(at, segment));
        if let Some(branch) = self.0.get_mut(end as usize) {
            branch.node = Some(node);
        }
    }

    /// The node after a segment of a route, made if it is not there.
    fn step(&mut self, at: u32, segment: &str) -> u32 {
        // A catalog has at most 65,536 operations, of a few segments each.
        let new = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        let next = match self.0.get_mut(at as usize) {
            Some(branch) if segment.starts_with('{') => *branch.parameter.get_or_insert(new),
            Some(branch) => branch.literals.get_or_insert(segment, new),
            None => new,
        };
        if next == new {
            self.0.push(Branch::default());
        }
        next
    }

    /// What ends where the path does.
    #[inline(always)]
    fn find(&self, parameters: &mut Parameters<'_>) -> Option<&Node> {
        parameters.path.starts_with('/').then(|| self.below(0, 1, parameters)).flatten()
    }

    /// What ends below a node at the end of the path that begins at `start`. It goes no deeper than the tree does.
    #[inline(always)]
    fn below(&self, mut at: u32, mut start: usize, parameters: &mut Parameters<'_>) -> Option<&Node> {
        loop {
            let rest = parameters.path.get(start..)?;
            let slash = slash_in(rest.as_bytes());
            let segment = slash.map_or(Some(rest), |slash| rest.get(..slash))?;
            let next = slash.map(|slash| start + slash + 1);
            let branch = self.0.get(at as usize)?;
            let literal = branch.literals.get(segment);
            let parameter = branch.parameter.filter(|_| !segment.is_empty());
            at = match (literal, parameter) {
                (Some(literal), None) => literal,
                (Some(literal), Some(_)) => {
                    // The literal may lead nowhere, and its parameters are then none.
                    let before = parameters.length;
                    match self.after(literal, next, parameters) {
                        Some(found) => return Some(found),
                        None => parameters.length = before,
                    }
                    parameters.push(start, segment.len());
                    parameter?
                }
                (None, Some(parameter)) => {
                    parameters.push(start, segment.len());
                    parameter
                }
                (None, None) => return None,
            };
            match next {
                Some(next) => start = next,
                None => return self.ends_at(at),
            }
        }
    }

    /// The same, tried. The one place that comes back, hence no part of its caller.
    #[inline(never)]
    fn after(&self, at: u32, next: Option<usize>, parameters: &mut Parameters<'_>) -> Option<&Node> {
        match next {
            Some(next) => self.below(at, next, parameters),
            None => self.ends_at(at),
        }
    }

    #[inline]
    fn ends_at(&self, at: u32) -> Option<&Node> {
        self.0.get(at as usize)?.node.as_ref()
    }
}

impl Node {
    /// HEAD asks for the head of what GET would answer (RFC 9110 §9.3.2), so it is judged as GET where the
    /// catalog has no HEAD of its own. Any other method is exact: OPTIONS is unknown unless it is written.
    #[inline]
    fn operation(&self, method: &Method) -> Option<OperationId> {
        let of =
            |wanted: &Method| self.methods.iter().find(|(method, _)| method == wanted).map(|(_, operation)| *operation);
        of(method).or_else(|| (method == Method::HEAD).then(|| of(&Method::GET)).flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: u16) -> Node {
        Node { methods: vec![(Method::GET, OperationId(number))], ..Node::default() }
    }

    /// A route of these segments; an empty one is a parameter.
    fn route(segments: &[&str]) -> String {
        let mut number = 0;
        let named = segments.iter().map(|segment| match *segment {
            "" => {
                number += 1;
                format!("/{{{}}}", number - 1)
            }
            literal => format!("/{literal}"),
        });
        named.collect()
    }

    proptest! {
        /// The tree finds what matchit finds: the same route, with the same parameters.
        #[test]
        fn the_tree_finds_what_matchit_finds(
            routes in prop::collection::btree_set(prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", ""]), 1..5), 1..12),
            paths in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "ab", "abc", "0"]), 1..5), 24),
        ) {
            let (mut tree, mut router) = (Tree::default(), matchit::Router::new());
            for (number, segments) in (0..).zip(&routes) {
                tree.insert(&route(segments), node(number));
                router.insert(route(segments), number).expect("no two routes are one");
            }
            for path in paths {
                let path = format!("/{}", path.join("/"));
                let mut parameters = Parameters::default();
                parameters.begin(&path);
                let found = tree.find(&mut parameters).and_then(|node| node.operation(&Method::GET));
                let expected = router.at(&path).ok();
                prop_assert_eq!(found, expected.as_ref().map(|matched| OperationId(*matched.value)), "{}", path);
                let named: Vec<&str> = expected.iter().flat_map(|matched| matched.params.iter()).map(|(_, value)| value).collect();
                if found.is_some() {
                    prop_assert_eq!(parameters.iter().collect::<Vec<_>>(), named, "{}", path);
                }
            }
        }
    }

    #[test]
    fn the_first_slash_is_found_wherever_it_is() {
        for length in 0..20 {
            let mut bytes = vec![b'.'; length];
            assert_eq!(slash_in(&bytes), None, "{bytes:?}");
            for first in (0..length).rev() {
                bytes[first] = b'/';
                assert_eq!(slash_in(&bytes), Some(first), "{bytes:?}");
                // The neighbours of a slash in the alphabet, above it and below.
                for other in [b'.', b'0', 0xaf, 0xff, 0] {
                    let mut bytes = bytes.clone();
                    bytes[..first].fill(other);
                    assert_eq!(slash_in(&bytes), Some(first), "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_not_a_segment() {
        let mut tree = Tree::default();
        tree.insert("/a/{0}", node(1));
        let long = format!("/a/{}", "b".repeat(70_000));
        let find = |path| {
            let mut parameters = Parameters::default();
            parameters.begin(path);
            tree.find(&mut parameters).is_some()
        };
        for path in ["/", "/a", "/a/", "a/b", "", "/a/b/", &long] {
            assert!(!find(path), "{path}");
        }
        assert!(find("/a/b"));
    }
}
