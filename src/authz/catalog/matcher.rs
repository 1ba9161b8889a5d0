//! Finds the operation of a method and a canonical path: no allocation, nothing that can fail.
//!
//! Literal paths are looked up whole; templates go through matchit, which backtracks and prefers a
//! literal segment to a parameter. Parameters are renamed by position, so that two templates which
//! differ in parameter names alone are one node with the methods of both.

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
    literal: FastMap<Box<str>, Node>,
    template: Option<matchit::Router<Node>>,
    /// Asked when nothing more exact has the path and method.
    subtree: Option<matchit::Router<OperationId>>,
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
                paths.template.get_or_insert_with(matchit::Router::new).insert(route, node)?;
            } else {
                paths.literal.insert(route.into(), node);
            }
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
        if let Some(node) = self.literal.get(path) {
            return Some(node);
        }
        let matched = self.template.as_ref()?.at(path).ok()?;
        matched.params.iter().for_each(|(_, value)| parameters.push(value));
        Some(matched.value)
    }

    fn in_subtree<'p>(&self, path: &'p str, tenant: Option<&'p str>) -> Option<Found<'p>> {
        let matched = self.subtree.as_ref()?.at(path).ok()?;
        let mut parameters = Parameters::default();
        let named = matched.params.iter().filter(|(name, _)| *name != "rest");
        named.for_each(|(_, value)| parameters.push(value));
        Some(Found::Operation(Matched { operation: *matched.value, tenant, parameters }))
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
