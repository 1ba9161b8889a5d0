//! Finds the operation of a method and a canonical path: no allocation, nothing that can fail.
//!
//! A tree of whole segments prefers a literal segment to a parameter and goes back where that leads nowhere: one look-up
//! in one map for each segment. Subtrees, which are few, go through matchit. Parameters are renamed by position, so that
//! two templates which differ in parameter names alone are one node with the methods of both.

use std::collections::HashMap;

use hashbrown::HashMap as FastMap;
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

/// An operation, and what its path said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matched<'p> {
    pub operation: OperationId,
    /// The tenant that the path names: `{tenant}` of `/ex/jira/{tenant}`.
    pub tenant: Option<&'p str>,
    pub parameters: Parameters<'p>,
}

/// The path's parameters by position, as sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters<'p> {
    values: [&'p str; PARAMETERS_MAX],
    length: usize,
}

impl<'p> Parameters<'p> {
    /// The n-th parameter of the template, counted from 0.
    #[inline]
    pub fn get(&self, index: u8) -> Option<&'p str> {
        self.as_slice().get(usize::from(index)).copied()
    }

    #[inline]
    pub fn as_slice(&self) -> &[&'p str] {
        self.values.get(..self.length).unwrap_or(&[])
    }

    fn push(&mut self, value: &'p str) {
        if let Some(place) = self.values.get_mut(self.length) {
            *place = value;
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
struct Tree {
    /// From a node by a literal segment to the next node.
    literal: FastMap<(u32, Box<str>), u32>,
    branches: Vec<Branch>,
}

/// A node of the tree.
#[derive(Debug, Default)]
struct Branch {
    /// The next node where this segment is a parameter.
    parameter: Option<u32>,
    /// What ends here.
    node: Option<Node>,
}

/// A key of [`Tree::literal`] that borrows the segment. It must hash as the owned one does.
#[derive(Hash)]
struct Step<'s>(u32, &'s str);

impl hashbrown::Equivalent<(u32, Box<str>)> for Step<'_> {
    fn equivalent(&self, (node, segment): &(u32, Box<str>)) -> bool {
        self.0 == *node && self.1 == &**segment
    }
}

/// The operations of one path, by method. Few: compared one by one.
#[derive(Debug, Default, Clone)]
struct Node {
    methods: Vec<(Method, OperationId)>,
    /// Parameters, by position, with a literal that stands in their place in another path. `/attachment/META` is the
    /// attachment of that name to us and `/attachment/meta` to a product that folds case: it is neither.
    lookalikes: Box<[(u8, Box<str>)]>,
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
                node.lookalikes = lookalikes(&route, &routes);
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
    /// `path` is canonical: absolute, without dot segments or empty segments.
    pub fn find<'p>(&self, method: &Method, path: &'p str) -> Found<'p> {
        let Some((tenant, rest)) = self.tenant_bases.iter().find_map(|base| base.strip(path)) else {
            return self.below(method, path, None);
        };
        self.below(method, rest, Some(tenant))
    }

    fn below<'p>(&self, method: &Method, path: &'p str, tenant: Option<&'p str>) -> Found<'p> {
        match self.bases.iter().find_map(|base| strip_base(path, base)) {
            Some(rest) => self.relative.find(method, rest, tenant),
            None => self.whole.find(method, path, tenant),
        }
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
    fn find<'p>(&self, method: &Method, path: &'p str, tenant: Option<&'p str>) -> Found<'p> {
        let mut parameters = Parameters::default();
        let exact = self.exact(path, &mut parameters);
        if exact.is_some_and(|node| node.looks_alike(&parameters)) {
            return Found::Lookalike;
        }
        match exact.map(|node| node.operation(method)) {
            Some(Some(operation)) => Found::Operation(Matched { operation, tenant, parameters }),
            Some(None) => self.in_subtree(path, tenant).unwrap_or(Found::UnknownMethod),
            None => self.in_subtree(path, tenant).unwrap_or(Found::UnknownPath),
        }
    }

    /// A path that is literal in the catalog never falls back to a template, whatever the method: the
    /// product would answer 405, and `DELETE /attachment/meta` is not the attachment called `meta`.
    #[inline]
    fn exact<'p>(&self, path: &'p str, parameters: &mut Parameters<'p>) -> Option<&Node> {
        self.exact.find(path, parameters)
    }

    fn in_subtree<'p>(&self, path: &'p str, tenant: Option<&'p str>) -> Option<Found<'p>> {
        let matched = self.subtree.as_ref()?.at(path).ok()?;
        let mut parameters = Parameters::default();
        let named = matched.params.iter().filter(|(name, _)| *name != "rest");
        named.for_each(|(_, value)| parameters.push(value));
        Some(Found::Operation(Matched { operation: *matched.value, tenant, parameters }))
    }
}

impl Tree {
    /// Adds a route whose parameters are `{0}`, `{1}`, …
    fn insert(&mut self, route: &str, node: Node) {
        self.branches.resize_with(self.branches.len().max(1), Branch::default);
        let end = route.split('/').skip(1).fold(0, |at, segment| self.step(at, segment));
        if let Some(branch) = self.branches.get_mut(end as usize) {
            branch.node = Some(node);
        }
    }

    /// The node after a segment of a route, made if it is not there.
    fn step(&mut self, at: u32, segment: &str) -> u32 {
        // A catalog has at most 65,536 operations, of a few segments each.
        let new = u32::try_from(self.branches.len()).unwrap_or(u32::MAX);
        let next = match self.branches.get_mut(at as usize) {
            Some(branch) if segment.starts_with('{') => *branch.parameter.get_or_insert(new),
            Some(_) | None => *self.literal.entry((at, segment.into())).or_insert(new),
        };
        if next == new {
            self.branches.push(Branch::default());
        }
        next
    }

    #[inline]
    fn find<'p>(&self, path: &'p str, parameters: &mut Parameters<'p>) -> Option<&Node> {
        self.below(0, path.strip_prefix('/')?, parameters)
    }

    /// What ends below a node at the end of these segments. It goes no deeper than the tree does.
    fn below<'p>(&self, at: u32, segments: &'p str, parameters: &mut Parameters<'p>) -> Option<&Node> {
        let (segment, rest) = match segments.bytes().position(|byte| byte == b'/') {
            Some(slash) => (segments.get(..slash)?, Some(segments.get(slash + 1..)?)),
            None => (segments, None),
        };
        let ends = |next: u32, parameters: &mut Parameters<'p>| match rest {
            Some(rest) => self.below(next, rest, parameters),
            None => self.branches.get(next as usize)?.node.as_ref(),
        };
        if let Some(next) = self.literal.get(&Step(at, segment))
            && let Some(found) = ends(*next, parameters)
        {
            return Some(found);
        }
        let next = self.branches.get(at as usize)?.parameter.filter(|_| !segment.is_empty())?;
        let before = parameters.length;
        parameters.push(segment);
        let found = ends(next, parameters);
        if found.is_none() {
            parameters.length = before;
        }
        found
    }
}

impl Node {
    /// Whether a parameter is a literal of another path but for its case.
    #[inline]
    fn looks_alike(&self, parameters: &Parameters<'_>) -> bool {
        let same = |(number, literal): &(u8, Box<str>)| {
            parameters.get(*number).is_some_and(|value| value.eq_ignore_ascii_case(literal))
        };
        self.lookalikes.iter().any(same)
    }

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
                let found = tree.find(&path, &mut parameters).and_then(|node| node.operation(&Method::GET));
                let expected = router.at(&path).ok();
                prop_assert_eq!(found, expected.as_ref().map(|matched| OperationId(*matched.value)), "{}", path);
                let named: Vec<&str> = expected.iter().flat_map(|matched| matched.params.iter()).map(|(_, value)| value).collect();
                prop_assert_eq!(parameters.as_slice(), &named[..], "{}", path);
            }
        }
    }

    #[test]
    fn nothing_is_not_a_segment() {
        let mut tree = Tree::default();
        tree.insert("/a/{0}", node(1));
        for path in ["/", "/a", "/a/", "a/b", "", "/a/b/"] {
            assert!(tree.find(path, &mut Parameters::default()).is_none(), "{path}");
        }
    }
}
