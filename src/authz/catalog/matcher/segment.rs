//! One segment of a route: a literal, a parameter, or literals and parameters by turns (`{0}-issues-{1}.zip`).

use super::{PARAMETERS_MAX, Parameters};

/// The more exact comes first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Literal(Box<str>),
    Mixed(Mixed),
    Parameter,
}

/// A literal, and after it each parameter with the literal that ends it. Between two parameters there is one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mixed {
    before: Box<str>,
    after: Box<[Box<str>]>,
}

impl Segment {
    /// Of a route's text, in which parameters are numbered.
    pub fn of(text: &str) -> Self {
        match (text.find('{'), text.find('}')) {
            (None, _) => Self::Literal(text.into()),
            (Some(0), Some(end)) if end + 1 == text.len() => Self::Parameter,
            (Some(_), _) => Self::Mixed(Mixed::of(text)),
        }
    }

    /// The lower, the more exact.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Mixed(_) => 1,
            Self::Parameter => 2,
        }
    }

    /// Whether one text may be both, to a product that folds case.
    pub fn may_meet(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Literal(one), other) => other.is_like(one),
            (one, Self::Literal(other)) => one.is_like(other),
            (Self::Mixed(_) | Self::Parameter, Self::Mixed(_) | Self::Parameter) => true,
        }
    }

    /// Whether the text is this one, the case of letters aside.
    pub fn is_like(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => literal.eq_ignore_ascii_case(text),
            Self::Mixed(mixed) => mixed.matches(text, Case::Folded),
            Self::Parameter => !text.is_empty(),
        }
    }

    /// Whether a text that begins at `start` of the path is this one. Its parameters are added.
    pub fn read(&self, text: &str, start: usize, parameters: &mut Parameters<'_>) -> bool {
        match self {
            Self::Literal(literal) => **literal == *text,
            Self::Mixed(mixed) => mixed.read(text, start, parameters),
            Self::Parameter if text.is_empty() => false,
            Self::Parameter => {
                parameters.push(start, text.len());
                true
            }
        }
    }
}

/// Whether `A` is `a`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Exact,
    Folded,
}

impl Case {
    fn same(self, one: &[u8], other: &[u8]) -> bool {
        match self {
            Self::Exact => one == other,
            Self::Folded => one.eq_ignore_ascii_case(other),
        }
    }
}

impl Mixed {
    fn of(text: &str) -> Self {
        let (before, mut rest) = text.split_once('{').unwrap_or((text, ""));
        let mut after = Vec::new();
        while let Some((_, behind)) = rest.split_once('}') {
            let (literal, next) = behind.split_once('{').unwrap_or((behind, ""));
            after.push(Box::from(literal));
            rest = next;
        }
        Self { before: before.into(), after: after.into() }
    }

    /// How much of it is literal: of two that match one text the longer is the more exact.
    pub fn literal_length(&self) -> usize {
        self.before.len() + self.after.iter().map(|literal| literal.len()).sum::<usize>()
    }

    fn matches(&self, text: &str, case: Case) -> bool {
        let text = text.as_bytes();
        let Some((start, rest)) = text.split_at_checked(self.before.len()) else { return false };
        case.same(start, self.before.as_bytes()) && self.tail_matches(rest, 0, case)
    }

    /// Whether a text is this parameter and all that comes after it. Each parameter taken as short as it can be leaves
    /// the most for the next, so nothing is tried twice.
    fn tail_matches(&self, text: &[u8], index: usize, case: Case) -> bool {
        let Some(literal) = self.after.get(index).map(|literal| literal.as_bytes()) else { return text.is_empty() };
        if index + 1 == self.after.len() {
            let rest = text.len().checked_sub(literal.len()).and_then(|at| text.split_at_checked(at));
            return rest.is_some_and(|(parameter, end)| !parameter.is_empty() && case.same(end, literal));
        }
        end_of(text, 1, literal, case)
            .and_then(|end| text.get(end + literal.len()..))
            .is_some_and(|rest| self.tail_matches(rest, index + 1, case))
    }

    /// Adds the parameters of a text that matches. One that can be parted in two ways tells none of them: what asks for
    /// such a parameter is refused, what asks for none is not.
    pub fn read(&self, text: &str, start: usize, parameters: &mut Parameters<'_>) -> bool {
        if !self.matches(text, Case::Exact) {
            return false;
        }
        let mut ends = [0; PARAMETERS_MAX];
        let told = self.ends(text.as_bytes(), &mut ends);
        let mut at = self.before.len();
        for (literal, end) in self.after.iter().zip(ends) {
            match told {
                true => parameters.push(start + at, end - at),
                false => parameters.push_unreadable(),
            }
            at = end + literal.len();
        }
        true
    }

    /// Where each parameter of a matching text ends; whether there is one way alone.
    fn ends(&self, text: &[u8], ends: &mut [usize; PARAMETERS_MAX]) -> bool {
        let mut at = self.before.len();
        for (index, (literal, end)) in self.after.iter().zip(ends).enumerate() {
            let literal = literal.as_bytes();
            if index + 1 == self.after.len() {
                *end = text.len() - literal.len();
                break;
            }
            let Some(first) = end_of(text, at + 1, literal, Case::Exact) else { return false };
            let again = end_of(text, first + 1, literal, Case::Exact).and_then(|next| text.get(next + literal.len()..));
            if again.is_some_and(|rest| self.tail_matches(rest, index + 1, Case::Exact)) {
                return false;
            }
            *end = first;
            at = first + literal.len();
        }
        true
    }
}

/// Where the literal begins, at or after `from`.
fn end_of(text: &[u8], from: usize, literal: &[u8], case: Case) -> Option<usize> {
    text.get(from..)?.windows(literal.len()).position(|here| case.same(here, literal)).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters of a text, `None` for one that cannot be told; or that it does not match.
    fn read(route: &str, text: &str) -> Option<Vec<Option<String>>> {
        let path = format!("/{text}");
        let mut parameters = Parameters::default();
        parameters.begin(&path);
        let matches = Segment::of(route).read(text, 1, &mut parameters);
        let count = u8::try_from(route.matches('{').count()).unwrap();
        matches.then(|| (0..count).map(|index| parameters.get(index).map(str::to_owned)).collect())
    }

    fn told(values: &[&str]) -> Option<Vec<Option<String>>> {
        Some(values.iter().map(|value| Some((*value).to_owned())).collect())
    }

    #[test]
    fn a_segment_may_hold_two_parameters() {
        let zip = "{0}-issues-{1}.zip";
        assert_eq!(read(zip, "repo-issues-7.zip"), told(&["repo", "7"]));
        for text in ["repo-issues-.zip", "-issues-7.zip", "repo-issues-7.ZIP", "repo-issues-7", "repo", "-issues-.zip"]
        {
            assert_eq!(read(zip, text), None, "{text}");
        }
        assert_eq!(read("{0}...{1}", "a...b"), told(&["a", "b"]));
        assert_eq!(read("v{0}", "v1"), told(&["1"]));
        assert_eq!(read("v{0}", "v"), None);
        assert_eq!(read("{0}:cancel", "job:cancel"), told(&["job"]));
        assert_eq!(read("{0}:cancel", ":cancel"), None);
        assert_eq!(read("{0}:cancel", "a:cancel:cancel"), told(&["a:cancel"]), "one parameter has one way");
    }

    #[test]
    fn what_can_be_parted_in_two_ways_tells_neither_parameter() {
        assert_eq!(read("{0}-issues-{1}.zip", "a-issues-b-issues-7.zip"), Some(vec![None, None]));
        assert_eq!(read("{0}...{1}", "a....b"), Some(vec![None, None]));
        assert_eq!(read("{0},{1},{2}", "a,b,c"), told(&["a", "b", "c"]));
        assert_eq!(read("{0},{1},{2}", "a,b,c,d"), Some(vec![None, None, None]));
        assert_eq!(
            read("{0}-{1}", "a--"),
            Some(vec![Some("a".to_owned()), Some("-".to_owned())]),
            "`a-` leaves nothing"
        );
    }

    #[test]
    fn case_aside_segments_meet() {
        let meet = |one: &str, other: &str| Segment::of(one).may_meet(&Segment::of(other));
        assert!(meet("meta", "META") && meet("{0}.zip", "ALL.ZIP") && meet("{0}", "a") && meet("{0}.zip", "{0}"));
        assert!(!meet("meta", "metal") && !meet("{0}.zip", ".zip") && !meet("{0}:cancel", "stop"));
    }
}
