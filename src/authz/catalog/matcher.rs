//! Finds the operation of a method and a canonical path: no allocation, nothing that can fail.
//!
//! A tree of segments prefers a literal one to a parameter and goes back where that leads nowhere. Templates with a
//! greedy parameter, which are few, are tried in turn. Parameters are renamed by position, so that two templates which
//! differ in parameter names alone are one node with the methods of both.

mod greedy;
mod request;
mod segment;

use std::collections::{BTreeMap, BTreeSet};

use http::Method;

use super::OperationId;
use greedy::Greedy;
pub use request::{Request, RequestError};
use segment::{Mixed, Segment};

/// The most parameters that one template may have. Jira has 3 at most, Bitbucket 6.
pub const PARAMETERS_MAX: usize = 8;
/// The parameter that names the tenant of the request, as in a tenant base.
pub const TENANT: &str = "tenant";

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
    /// `{tenant}` of `/ex/jira/{tenant}`, or of the operation's own template.
    pub tenant: Option<&'p str>,
}

/// The path's parameters by position, as sent: where in the path each begins, and how long it is. A list of slices would
/// be four times as much to move.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters<'p> {
    path: &'p str,
    ranges: [(u16, u16); PARAMETERS_MAX],
    length: usize,
    /// What a `{+name}` stands for.
    rest: Option<(u16, u16)>,
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
        self.rest = None;
    }

    /// The n-th parameter of the template, counted from 0.
    #[inline]
    pub fn get(&self, index: u8) -> Option<&'p str> {
        let (start, length) = *self.ranges.get(..self.length)?.get(usize::from(index))?;
        self.path.get(usize::from(start)..usize::from(start) + usize::from(length))
    }

    /// What the `{+name}` of the template stands for.
    pub fn rest(&self) -> Option<&'p str> {
        let (start, end) = self.rest?;
        self.path.get(usize::from(start)..usize::from(end))
    }

    /// In order, without those that cannot be told.
    pub fn iter(&self) -> impl Iterator<Item = &'p str> {
        (0..u8::try_from(self.length).unwrap_or_default()).filter_map(|index| self.get(index))
    }

    /// A parameter that cannot be told: nothing is at the end of the longest path.
    fn push_unreadable(&mut self) {
        self.push(usize::from(u16::MAX), 1);
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
    /// The more exact first.
    greedy: Box<[Greedy]>,
}

/// Paths by segment, from the root, which is node 0.
#[derive(Debug, Default)]
struct Tree(Vec<Branch>);

/// A node of the tree.
#[derive(Debug, Default)]
struct Branch {
    /// The next node after each literal segment.
    literals: Literals,
    /// The next node where this segment holds literals and parameters, the longest literals first. Few have any.
    mixed: Vec<(Mixed, u32)>,
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

/// An operation, and which parameter of its path names the tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Target {
    operation: OperationId,
    tenant: Option<u8>,
}

/// The operations of one path, by method. Few: compared one by one.
#[derive(Debug, Default, Clone)]
struct Methods(Vec<(Method, Target)>);

/// What ends at a node of the tree.
#[derive(Debug, Default, Clone)]
struct Node {
    methods: Methods,
    /// Parameters, by position, with a literal that stands in their place in another path. `/attachment/META` is the
    /// attachment of that name to us and `/attachment/meta` to a product that folds case: it is neither.
    lookalikes: Lookalikes,
    /// What is rare: most have none.
    beside: Option<Box<Beside>>,
}

/// What else a node's path may be.
#[derive(Debug, Default, Clone)]
struct Beside {
    /// More exact routes with a segment of literals and parameters, which it would be but for the case of letters.
    rivals: Vec<Box<[Segment]>>,
    /// Greedy routes, by number, that are more exact: their first literal stands where this one has a parameter.
    greedy: Vec<usize>,
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

/// Collects operations, then becomes a [`Matcher`].
#[derive(Debug, Default)]
pub struct Builder {
    bases: Vec<Box<str>>,
    tenant_bases: Vec<TenantBase>,
    accepts: Vec<Method>,
    relative: Routes,
    whole: Routes,
}

/// In the order of their text: what is built does not depend on the order of the catalog.
#[derive(Debug, Default)]
struct Routes {
    exact: BTreeMap<String, Node>,
    greedy: BTreeMap<String, Greedy>,
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
        let tenant = request.parameters.iter().position(|name| **name == *TENANT);
        let target = Target { operation: id, tenant: tenant.and_then(|index| u8::try_from(index).ok()) };
        let written: Vec<Method> = request.method.iter().cloned().collect();
        let accepted = if self.accepts.is_empty() || written.is_empty() { &written } else { &self.accepts };
        let methods = match Greedy::of(&route) {
            None => &mut routes.exact.entry(route).or_default().methods,
            Some(new) => {
                let greedy = routes.greedy.entry(route).or_insert(new);
                if written.is_empty() {
                    return greedy.any.replace(target).map_or(Ok(()), |other| Err(other.operation));
                }
                &mut greedy.methods
            }
        };
        accepted.iter().try_for_each(|method| methods.add(method, target))
    }

    /// A template that starts like a base is written whole; any other is below each base.
    fn is_whole(&self, route: &str) -> bool {
        let first = |path: &str| path.split('/').nth(1).map(str::to_owned);
        self.bases.is_empty() || self.bases.iter().any(|base| first(base) == first(route))
    }

    pub fn build(self) -> Matcher {
        Matcher {
            bases: self.bases,
            tenant_bases: self.tenant_bases,
            relative: self.relative.build(),
            whole: self.whole.build(),
        }
    }
}

impl Routes {
    fn build(self) -> Paths {
        let routes: Vec<String> = self.exact.keys().cloned().collect();
        let mut greedy: Vec<Greedy> = self.greedy.into_values().collect();
        Greedy::sort(&mut greedy);
        greedy.iter_mut().for_each(|one| one.meet(routes.iter().map(String::as_str)));
        let mut exact = Tree::default();
        for (route, mut node) in self.exact {
            if route.contains('{') {
                node.lookalikes = Lookalikes::of(lookalikes(&route, &routes));
                node.beside = Beside::of(&route, &routes, &greedy).map(Box::new);
            }
            exact.insert(&route, node);
        }
        Paths { exact, greedy: greedy.into() }
    }
}

impl Beside {
    fn of(route: &str, routes: &[String], greedy: &[Greedy]) -> Option<Self> {
        let own = greedy::segments(route);
        let is_mixed = |route: &&String| route.split('/').any(|text| matches!(Segment::of(text), Segment::Mixed(_)));
        let may_meet =
            |other: &[Segment]| other.len() == own.len() && own.iter().zip(other).all(|(a, b)| a.may_meet(b));
        let first = |other: &[Segment]| other.iter().map(Segment::rank).lt(own.iter().map(Segment::rank));
        let rivals: Vec<Box<[Segment]>> = routes
            .iter()
            .filter(|other| is_mixed(other) || own.iter().any(|segment| matches!(segment, Segment::Mixed(_))))
            .map(|other| greedy::segments(other))
            .filter(|other| first(other) && may_meet(other))
            .collect();
        let greedy: Vec<usize> = (0..)
            .zip(greedy)
            .filter(|(_, greedy)| greedy.is_better_than(&own) && greedy.may_meet(&own))
            .map(|(number, _)| number)
            .collect();
        (!rivals.is_empty() || !greedy.is_empty()).then_some(Self { rivals, greedy })
    }
}

/// The literals that other routes have where this one has a parameter, all else being able to be the same.
fn lookalikes(route: &str, routes: &[String]) -> Box<[(u8, Box<str>)]> {
    let is_parameter = |segment: &str| segment.starts_with('{') && segment.ends_with('}');
    let own: Vec<&str> = route.split('/').collect();
    // A segment of literals and parameters has several numbers, and is compared as a rival.
    let mut positions = Vec::new();
    let mut number = 0_u8;
    for (position, segment) in own.iter().enumerate() {
        if Segment::of(segment) == Segment::Parameter {
            positions.push((number, position));
        }
        number = number.saturating_add(u8::try_from(segment.matches('{').count()).unwrap_or(u8::MAX));
    }
    let mut found = Vec::new();
    for other in routes {
        let other: Vec<&str> = other.split('/').collect();
        let may_meet = other.len() == own.len()
            && own.iter().zip(&other).all(|(a, b)| is_parameter(a) || is_parameter(b) || a.eq_ignore_ascii_case(b));
        if !may_meet {
            continue;
        }
        for (number, position) in &positions {
            found.extend(
                other
                    .get(*position)
                    .filter(|literal| !literal.contains('{'))
                    .map(|literal| (*number, Box::from(*literal))),
            );
        }
    }
    found.sort_unstable();
    found.dedup();
    found.into()
}

impl Matcher {
    /// What templates are below, and what may stand before that.
    pub fn written_bases(&self) -> BTreeSet<String> {
        let tenant_bases = self.tenant_bases.iter().map(|base| format!("{}{{{TENANT}}}{}", base.before, base.after));
        self.bases.iter().map(|base| base.to_string()).chain(tenant_bases).collect()
    }

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
        let found = |target: Target, parameters: &Parameters<'p>| {
            let own = target.tenant.and_then(|index| parameters.get(index));
            Found::Operation(Matched { operation: target.operation, tenant: tenant.or(own) })
        };
        let Some(node) = self.exact.find(parameters) else {
            return match self.in_greedy(method, parameters) {
                Ok(Some(target)) => found(target, parameters),
                Ok(None) => Found::UnknownPath,
                Err(other) => other,
            };
        };
        if node.lookalikes.hold_any(parameters) {
            return Found::Lookalike;
        }
        if let Some(beside) = &node.beside
            && let Some(other) = self.beside(beside, method, parameters)
        {
            return match other {
                Ok(target) => found(target, parameters),
                Err(other) => other,
            };
        }
        // A path that is literal in the catalog never falls back to a template, whatever the method: the product would
        // answer 405, and `DELETE /attachment/meta` is not the attachment called `meta`.
        match node.methods.operation(method).or_else(|| self.any(parameters)) {
            Some(target) => found(target, parameters),
            None => Found::UnknownMethod,
        }
    }

    /// What else the path of a node is, and more exactly so. `None`: nothing else.
    #[cold]
    fn beside<'p>(
        &self,
        beside: &Beside,
        method: &Method,
        parameters: &mut Parameters<'p>,
    ) -> Option<Result<Target, Found<'p>>> {
        let path = parameters.path;
        if beside.rivals.iter().any(|rival| greedy::is_like(rival, path)) {
            return Some(Err(Found::Lookalike));
        }
        let better = beside.greedy.iter().filter_map(|number| self.greedy.get(*number));
        let like = better.into_iter().find(|greedy| greedy.is_like(path))?;
        let before = parameters.clone();
        if !like.read(parameters) {
            *parameters = before;
            return Some(Err(Found::Lookalike));
        }
        let target = like.operation(method).or_else(|| self.any(parameters));
        Some(target.ok_or(Found::UnknownMethod))
    }

    /// The operation of a path that no route without a greedy parameter has: the most exact one decides, and only `ANY`
    /// takes a method that it lacks.
    fn in_greedy<'p>(&self, method: &Method, parameters: &mut Parameters<'p>) -> Result<Option<Target>, Found<'p>> {
        let named = self.greedy.iter().filter(|greedy| !greedy.methods.0.is_empty());
        let Some(first) = named.into_iter().find(|greedy| greedy.read(parameters)) else {
            return match self.any(parameters) {
                Some(target) => Ok(Some(target)),
                None => Ok(None),
            };
        };
        if first.has_rival(parameters.path) {
            return Err(Found::Lookalike);
        }
        match first.operation(method).or_else(|| self.any(parameters)) {
            Some(target) => Ok(Some(target)),
            None => Err(Found::UnknownMethod),
        }
    }

    /// What takes a path with whatever method.
    fn any(&self, parameters: &mut Parameters<'_>) -> Option<Target> {
        let mut rest = self.greedy.iter().filter_map(|greedy| Some((greedy, greedy.any?)));
        rest.find(|(greedy, _)| greedy.read(parameters)).map(|(_, target)| target)
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
        let next = match (self.0.get_mut(at as usize), Segment::of(segment)) {
            (Some(branch), Segment::Parameter) => *branch.parameter.get_or_insert(new),
            (Some(branch), Segment::Mixed(mixed)) => branch.after_mixed(mixed, new),
            (Some(branch), Segment::Literal(literal)) => branch.literals.get_or_insert(&literal, new),
            (None, _) => new,
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
            if !branch.mixed.is_empty() {
                return self.by_turns(branch, start, segment, next, parameters);
            }
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

    /// The same at a branch with segments of literals and parameters: each way in turn, the most exact first.
    #[cold]
    fn by_turns(
        &self,
        branch: &Branch,
        start: usize,
        segment: &str,
        next: Option<usize>,
        parameters: &mut Parameters<'_>,
    ) -> Option<&Node> {
        let before = parameters.length;
        if let Some(found) = branch.literals.get(segment).and_then(|literal| self.after(literal, next, parameters)) {
            return Some(found);
        }
        for (mixed, at) in &branch.mixed {
            parameters.length = before;
            if mixed.read(segment, start, parameters)
                && let Some(found) = self.after(*at, next, parameters)
            {
                return Some(found);
            }
        }
        parameters.length = before;
        let parameter = branch.parameter.filter(|_| !segment.is_empty())?;
        parameters.push(start, segment.len());
        self.after(parameter, next, parameters)
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

impl Branch {
    /// The node after such a segment: `new`, if there was none.
    fn after_mixed(&mut self, mixed: Mixed, new: u32) -> u32 {
        if let Some((_, next)) = self.mixed.iter().find(|(known, _)| *known == mixed) {
            return *next;
        }
        self.mixed.push((mixed, new));
        self.mixed.sort_by(|(one, _), (other, _)| {
            other.literal_length().cmp(&one.literal_length()).then_with(|| one.cmp(other))
        });
        new
    }
}

impl Methods {
    /// Adds an operation, or says which one has the method already.
    fn add(&mut self, method: &Method, target: Target) -> Result<(), OperationId> {
        if let Some((_, other)) = self.0.iter().find(|(taken, _)| taken == method) {
            return Err(other.operation);
        }
        self.0.push((method.clone(), target));
        Ok(())
    }

    /// HEAD asks for the head of what GET would answer (RFC 9110 §9.3.2), so it is judged as GET where the
    /// catalog has no HEAD of its own. Any other method is exact: OPTIONS is unknown unless it is written.
    #[inline]
    fn operation(&self, method: &Method) -> Option<Target> {
        let of = |wanted: &Method| self.0.iter().find(|(method, _)| method == wanted).map(|(_, target)| *target);
        of(method).or_else(|| (method == Method::HEAD).then(|| of(&Method::GET)).flatten())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(number: u16) -> Node {
        let target = Target { operation: OperationId(number), tenant: None };
        Node { methods: Methods(vec![(Method::GET, target)]), ..Node::default() }
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
                let target = tree.find(&mut parameters).and_then(|node| node.methods.operation(&Method::GET));
                let found = target.map(|target| target.operation);
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
