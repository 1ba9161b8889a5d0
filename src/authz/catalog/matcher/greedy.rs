//! Routes with a `{+name}` in them, which stands for one segment or more. A catalog has few: they are tried in turn.

use http::Method;

use super::segment::Segment;
use super::{Methods, Parameters, Target};

/// What a greedy parameter's place is in the order of what is exact: after all else.
const RANK: u8 = 3;

/// One such route, with its operations.
#[derive(Debug)]
pub(super) struct Greedy {
    before: Box<[Segment]>,
    /// The literal after the greedy parameter, in the same segment: `:cancel`.
    suffix: Box<str>,
    after: Box<[Segment]>,
    order: Order,
    pub methods: Methods,
    /// `ANY`: it takes what nothing else does.
    pub any: Option<Target>,
    /// Routes without a greedy parameter that are more exact and would be this one but for the case of letters.
    rivals: Box<[Box<[Segment]>]>,
}

/// The more exact comes first: by the first segment in which two differ, then by what follows the greedy one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    before: Box<[u8]>,
    /// The more must follow, the more exact.
    after: std::cmp::Reverse<(usize, usize)>,
    last: Box<[u8]>,
}

impl Greedy {
    /// `None`: no greedy parameter is in the route.
    pub fn of(route: &str) -> Option<Self> {
        let (before, behind) = route.split_once("{+}")?;
        let (suffix, after) = behind.split_once('/').map_or((behind, None), |(suffix, after)| (suffix, Some(after)));
        let before = segments(before.strip_suffix('/')?);
        let after: Box<[Segment]> = after.into_iter().flat_map(|after| after.split('/')).map(Segment::of).collect();
        let order = Order {
            before: before.iter().map(Segment::rank).chain([RANK]).collect(),
            after: std::cmp::Reverse((after.len(), suffix.len())),
            last: after.iter().map(Segment::rank).collect(),
        };
        let (methods, any, rivals) = (Methods::default(), None, Box::default());
        Some(Self { before, suffix: suffix.into(), after, order, methods, any, rivals })
    }

    /// The more exact first.
    pub fn sort(all: &mut [Self]) {
        all.sort_by(|one, other| one.order.cmp(&other.order));
    }

    /// Notes the other routes that it may be taken for.
    pub fn meet<'r>(&mut self, routes: impl Iterator<Item = &'r str>) {
        let exact = routes.map(segments).filter(|route| !self.is_better_than(route) && self.may_meet(route));
        self.rivals = exact.collect();
    }

    /// Whether it is more exact than a route without a greedy parameter: the first segment in which they differ
    /// decides.
    pub fn is_better_than(&self, route: &[Segment]) -> bool {
        self.order.before.iter().copied().lt(route.iter().map(Segment::rank))
    }

    /// Whether a path may be both's, to a product that folds case.
    pub fn may_meet(&self, route: &[Segment]) -> bool {
        let meet = |own: &[Segment], theirs: &[Segment]| own.iter().zip(theirs).all(|(a, b)| a.may_meet(b));
        let Some((before, rest)) = route.split_at_checked(self.before.len()) else { return false };
        let middle = rest.len().checked_sub(self.after.len()).and_then(|at| rest.split_at_checked(at));
        let Some((middle, after)) = middle else { return false };
        let ends = middle.last().is_some_and(|last| match last {
            Segment::Literal(text) => ends_folded(text, &self.suffix),
            Segment::Mixed(_) | Segment::Parameter => true,
        });
        ends && meet(&self.before, before) && meet(&self.after, after)
    }

    /// Whether the path is this one; its parameters are then those of the path.
    pub fn read(&self, parameters: &mut Parameters<'_>) -> bool {
        let path = parameters.path;
        parameters.begin(path);
        self.read_all(path, parameters).is_some()
    }

    fn read_all(&self, path: &str, parameters: &mut Parameters<'_>) -> Option<()> {
        let (start, end) = self.middle(path, |segment, text, start| segment.read(text, start, parameters))?;
        let middle = path.get(start..end)?;
        let last = middle.rsplit('/').next()?;
        (last.len() > self.suffix.len() && last.ends_with(&*self.suffix)).then_some(())?;
        parameters.rest = Some((u16::try_from(start).ok()?, u16::try_from(end - self.suffix.len()).ok()?));
        let mut start = end + 1;
        for segment in &self.after {
            let text = path.get(start..)?.split('/').next()?;
            segment.read(text, start, parameters).then_some(())?;
            start += text.len() + 1;
        }
        Some(())
    }

    /// Whether the path is this one, the case of letters aside.
    pub fn is_like(&self, path: &str) -> bool {
        let after_is_like = |end: usize| {
            let after = path.get(end + 1..).into_iter().flat_map(|after| after.split('/'));
            self.after.iter().zip(after).all(|(segment, text)| segment.is_like(text))
        };
        self.middle(path, |segment, text, _| segment.is_like(text)).is_some_and(|(start, end)| {
            let last = path.get(start..end).and_then(|middle| middle.rsplit('/').next()).unwrap_or_default();
            last.len() > self.suffix.len() && ends_folded(last, &self.suffix) && after_is_like(end)
        })
    }

    /// Where what the greedy parameter stands for begins and ends. `reads` is asked about each segment before it.
    fn middle(&self, path: &str, mut reads: impl FnMut(&Segment, &str, usize) -> bool) -> Option<(usize, usize)> {
        let mut start = 1;
        for segment in &self.before {
            let (text, _) = path.get(start..)?.split_once('/')?;
            reads(segment, text, start).then_some(())?;
            start += text.len() + 1;
        }
        let mut end = path.len();
        for _ in &self.after {
            end = start + path.get(start..end)?.rfind('/')?;
        }
        (start < end).then_some((start, end))
    }

    /// Whether it is a more exact route but for the case of a letter.
    pub fn has_rival(&self, path: &str) -> bool {
        self.rivals.iter().any(|rival| is_like(rival, path))
    }

    pub fn operation(&self, method: &Method) -> Option<Target> {
        self.methods.operation(method)
    }
}

/// The segments of a route without a greedy parameter.
pub(super) fn segments(route: &str) -> Box<[Segment]> {
    route.split('/').skip(1).map(Segment::of).collect()
}

/// Whether a path is a route's, the case of letters aside.
pub(super) fn is_like(route: &[Segment], path: &str) -> bool {
    let mut texts = path.split('/').skip(1);
    route.iter().all(|segment| texts.next().is_some_and(|text| segment.is_like(text))) && texts.next().is_none()
}

fn ends_folded(text: &str, suffix: &str) -> bool {
    let end = text.len().checked_sub(suffix.len()).and_then(|at| text.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(suffix))
}
