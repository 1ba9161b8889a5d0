//! GitHub's errors: its own short `message`, which clients compare, and the sentence below `errors`.
//!
//! <https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api>. Octokit prints `errors` behind the
//! message; PyGithub and Octokit tell "hidden or absent" and "bad credential" by the message to the letter.
//! `documentation_url` names a page of the product's: there is none of ours to give.

use http::StatusCode;
use http::header::{HeaderName, WWW_AUTHENTICATE};

use super::outward::Outward;
use super::text::header_list;
use super::{Rendered, http_status, problem};
use crate::authz::reason::Class;

/// What the request needs: a comma within one set of permissions.
const ACCEPTED_PERMISSIONS: HeaderName = HeaderName::from_static("x-accepted-github-permissions");

#[derive(serde::Serialize)]
struct Body<'r> {
    message: &'static str,
    errors: [Remark; 1],
    /// GitHub writes it as text.
    status: &'r str,
    scopegate: &'r Outward<'r>,
}

/// GitHub's shape for what none of its own codes says.
#[derive(serde::Serialize)]
struct Remark {
    code: &'static str,
    message: String,
}

pub(super) fn render(outward: &Outward<'_>) -> Rendered {
    let status = http_status(outward.reason);
    let body = Body {
        message: message(outward.reason.class(), status),
        errors: [Remark { code: "custom", message: outward.message() }],
        status: status.as_str(),
        scopegate: outward,
    };
    let rendered = Rendered::new(status, "application/json; charset=utf-8", &body);
    let rendered = match problem::invalid_token(outward) {
        Some(challenge) => rendered.header(WWW_AUTHENTICATE, challenge),
        None => rendered,
    };
    match outward.reason.class() {
        Class::Scope => rendered.header(ACCEPTED_PERMISSIONS, header_list(&outward.needed, ", ")),
        Class::Who | Class::Container | Class::Terms | Class::Operation | Class::Request | Class::ForNow => rendered,
    }
}

/// GitHub's own words. Never a word of rate limits, suspension or abuse: clients wait or sign out on those.
fn message(class: Class, status: StatusCode) -> &'static str {
    match class {
        Class::Who => "Bad credentials",
        Class::Scope => "Resource not accessible by integration",
        Class::Container | Class::Operation => "Not Found",
        Class::Terms | Class::Request | Class::ForNow => status.canonical_reason().unwrap_or("Error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::dialect::Refusal;
    use crate::authz::reason::Reason;

    #[test]
    fn permissions_of_one_set_are_parted_by_commas() {
        let needed = vec!["issues=write".into(), "metadata=read".into()];
        let rendered = render(&Outward::of(&Refusal { needed, ..Refusal::new(Reason::ScopeRevoked, "id") }));
        let accepted = rendered.headers.iter().find(|(name, _)| *name == ACCEPTED_PERMISSIONS);
        assert_eq!(accepted.unwrap().1, "issues=write, metadata=read");
        let body: serde_json::Value = serde_json::from_slice(&rendered.body).unwrap();
        assert_eq!((rendered.status.as_u16(), &body["status"]), (403, &"403".into()));
        assert_eq!(body["message"], "Resource not accessible by integration");
        assert!(body["errors"][0]["message"].as_str().unwrap().contains("Needed: issues=write, metadata=read."));
        assert_eq!(body.get("documentation_url"), None);
    }

    #[test]
    fn what_is_hidden_is_not_found_to_the_letter() {
        for reason in Reason::ALL.into_iter().filter(|reason| reason.class() == Class::Container) {
            let rendered = render(&Outward::of(&Refusal::new(reason, "id")));
            let body: serde_json::Value = serde_json::from_slice(&rendered.body).unwrap();
            assert_eq!((rendered.status.as_u16(), &body["message"]), (404, &"Not Found".into()), "{reason}");
        }
    }
}
