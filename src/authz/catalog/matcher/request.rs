//! How one operation is asked for, read from the catalog's `request`.

use http::Method;

use super::PARAMETERS_MAX;

/// A method and a path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `None` is `ANY`.
    pub method: Option<Method>,
    pub template: Box<str>,
    /// Names of the parameters, in order. What a `{+name}` stands for has no number.
    pub parameters: Vec<Box<str>>,
    /// A `{+name}` is in it: it stands for one segment or more.
    pub greedy: bool,
}

/// Why a `request` or a set of them is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("a request is a method, a space and a path template: `GET /issue/{{issueIdOrKey}}`")]
    Shape,
    #[error("`{0}` is not a method in capital letters")]
    Method(String),
    #[error("segment `{0}` is neither literal nor made of `{{parameters}}` with literals between them")]
    Segment(String),
    #[error("`{{+name}}` begins its segment, has it alone but for a literal, and stands once in a template")]
    Greedy,
    #[error("a template has at most {PARAMETERS_MAX} parameters")]
    Parameters,
    #[error("only a template with `{{+rest}}` in it answers `ANY` method")]
    Any,
    #[error("the same method and path as `{0}`")]
    Taken(String),
}

/// A piece of a segment.
enum Piece<'t> {
    Literal,
    Parameter(&'t str),
}

impl Request {
    /// Reads `GET /issue/{issueIdOrKey}`.
    pub fn parse(text: &str) -> Result<Self, RequestError> {
        let (method, template) = text.split_once(' ').ok_or(RequestError::Shape)?;
        let segments = template.strip_prefix('/').ok_or(RequestError::Shape)?.split('/');
        let (mut parameters, mut greedy) = (Vec::new(), false);
        for segment in segments {
            let pieces = pieces(segment).ok_or_else(|| RequestError::Segment(segment.to_owned()))?;
            let names = pieces.iter().filter_map(|piece| match piece {
                Piece::Parameter(name) => Some(*name),
                Piece::Literal => None,
            });
            let names: Vec<&str> = names.collect();
            if names.iter().any(|name| name.starts_with('+')) {
                let first = matches!(pieces.first(), Some(Piece::Parameter(_)));
                if greedy || !first || names.len() > 1 {
                    return Err(RequestError::Greedy);
                }
                greedy = true;
            } else {
                parameters.extend(names.into_iter().map(Box::from));
            }
        }
        if parameters.len() > PARAMETERS_MAX {
            return Err(RequestError::Parameters);
        }
        let method = method_of(method)?;
        if method.is_none() && !greedy {
            return Err(RequestError::Any);
        }
        Ok(Self { method, template: Box::from(template), parameters, greedy })
    }

    /// The template with parameters renamed by position, so that two which differ in names alone are one.
    pub fn route(&self) -> String {
        let (mut route, mut number) = (String::new(), 0);
        let mut rest = &*self.template;
        while let Some((literal, after)) = rest.split_once('{') {
            let (name, behind) = after.split_once('}').unwrap_or((after, ""));
            route.push_str(literal);
            if name.starts_with('+') {
                route.push_str("{+}");
            } else {
                route.push_str(&format!("{{{number}}}"));
                number += 1;
            }
            rest = behind;
        }
        route + rest
    }
}

/// The literals and parameters of a segment, in order; `None` where it is not made of these.
fn pieces(segment: &str) -> Option<Vec<Piece<'_>>> {
    let plain = |text: &str| !text.is_empty() && !text.contains(['{', '}', '*', '?', '#', ' ']);
    let (mut pieces, mut rest) = (Vec::new(), segment);
    while !rest.is_empty() {
        if let Some(inside) = rest.strip_prefix('{') {
            let (name, behind) = inside.split_once('}')?;
            // Nothing could tell where one of two that stand side by side ends.
            let beside = matches!(pieces.last(), Some(Piece::Parameter(_)));
            if beside || !plain(name.strip_prefix('+').unwrap_or(name)) {
                return None;
            }
            pieces.push(Piece::Parameter(name));
            rest = behind;
        } else {
            let (literal, behind) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
            if !plain(literal) {
                return None;
            }
            pieces.push(Piece::Literal);
            rest = behind;
        }
    }
    (!pieces.is_empty()).then_some(pieces)
}

fn method_of(word: &str) -> Result<Option<Method>, RequestError> {
    if word == "ANY" {
        return Ok(None);
    }
    let capital = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let method = Method::from_bytes(word.as_bytes()).ok().filter(|_| capital);
    method.map(Some).ok_or_else(|| RequestError::Method(word.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_read_by_its_segments() {
        let route = |text: &str| Request::parse(text).map(|request| request.route());
        assert_eq!(route("GET /a/{b}/{c}-d-{e}.zip").unwrap(), "/a/{0}/{1}-d-{2}.zip");
        assert_eq!(route("POST /v1/{+name}:cancel").unwrap(), "/v1/{+}:cancel");
        assert_eq!(route("ANY /x/{y}/{+rest}/z").unwrap(), "/x/{0}/{+}/z");
        let names = Request::parse("GET /{a}/{+b}/{c}.{d}").unwrap().parameters;
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "c", "d"]);
    }

    #[test]
    fn what_cannot_be_told_apart_is_no_template() {
        for segment in ["{a}{b}", "{", "{}", "{+}", "a}", "{a}}", "{{a}}", "", "a b", "{a b}", "*", "a#b"] {
            let said = Request::parse(&format!("GET /x/{segment}")).unwrap_err();
            assert!(matches!(said, RequestError::Segment(_)), "{segment}: {said}");
        }
        for template in ["/{+a}/{+b}", "/x{+a}", "/{+a}-{b}", "/{b}-{+a}"] {
            assert_eq!(Request::parse(&format!("GET {template}")), Err(RequestError::Greedy), "{template}");
        }
        assert_eq!(Request::parse("ANY /items"), Err(RequestError::Any));
        assert_eq!(Request::parse(&format!("GET {}", "/{a}".repeat(9))), Err(RequestError::Parameters));
    }
}
