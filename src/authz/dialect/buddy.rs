//! Buddy's errors: a list of messages, and a status.

use http::header::WWW_AUTHENTICATE;

use super::outward::Outward;
use super::{Rendered, http_status, problem};

#[derive(serde::Serialize)]
struct Body<'r> {
    errors: [Remark; 1],
    scopegate: &'r Outward<'r>,
}

#[derive(serde::Serialize)]
struct Remark {
    message: String,
}

pub(super) fn render(outward: &Outward<'_>) -> Rendered {
    let body = Body { errors: [Remark { message: outward.message() }], scopegate: outward };
    let rendered = Rendered::new(http_status(outward.reason), "application/json", &body);
    match problem::invalid_token(outward) {
        Some(challenge) => rendered.header(WWW_AUTHENTICATE, challenge),
        None => rendered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::dialect::Refusal;
    use crate::authz::reason::Reason;

    #[test]
    fn the_message_says_what_was_needed() {
        let refusal = Refusal { needed: vec!["EXECUTION_RUN".into()], ..Refusal::new(Reason::MissingScope, "id") };
        let rendered = render(&Outward::of(&refusal));
        let body: serde_json::Value = serde_json::from_slice(&rendered.body).unwrap();
        assert_eq!(rendered.status.as_u16(), 403);
        assert!(body["errors"][0]["message"].as_str().unwrap().contains("Needed: EXECUTION_RUN."));
    }
}
