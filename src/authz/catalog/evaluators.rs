//! Arguments by which any operation that names containers evaluates what may lie anywhere: the form in which a page is shown
//! runs its macros, and a macro may show another page. Such a request reaches the whole tenant.

use crate::authz::request::{BadRequest, RequestView};

/// One argument of the query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evaluator {
    pub query: Box<str>,
    pub why: Box<str>,
    /// What follows this name in a path of the value counts, and nothing else.
    pub below: Option<Box<str>>,
    /// Values that evaluate nothing.
    pub plain: Box<[Box<str>]>,
}

impl Evaluator {
    /// Whether a request asks for it, or may.
    ///
    /// # Errors
    /// The argument can be read in two ways.
    pub fn is_asked(&self, request: &RequestView<'_>) -> Result<bool, BadRequest> {
        let found = request.arguments().find(&self.query)?;
        Ok(found.as_slice().iter().any(|value| self.evaluates(value)))
    }

    fn evaluates(&self, value: &str) -> bool {
        let Some(below) = &self.below else { return !self.is_plain(value) };
        value.split(',').any(|path| {
            let mut names = path.split('.').map(str::trim);
            // A star may stand for any name.
            path.contains('*')
                || std::iter::from_fn(|| names.find(|name| name.eq_ignore_ascii_case(below)).and_then(|_| names.next()))
                    .any(|form| !self.is_plain(form))
        })
    }

    fn is_plain(&self, value: &str) -> bool {
        self.plain.iter().any(|plain| **plain == *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluator(below: Option<&str>) -> Evaluator {
        let plain = ["storage", "raw"].map(Box::from).into();
        Evaluator { query: "expand".into(), why: "w".into(), below: below.map(Box::from), plain }
    }

    #[test]
    fn all_but_the_plain_forms_of_what_is_shown_evaluate() {
        let paths = evaluator(Some("body"));
        for plain in [
            "",
            "version",
            "body",
            "body.storage",
            "version,body.raw,space",
            "children.page.body.storage",
            "view",
            "metadata.view",
            "body.storage.content",
        ] {
            assert!(!paths.evaluates(plain), "{plain}");
        }
        for form in [
            "body.view",
            "body.export_view",
            "version,body.storage,body.view",
            "children.page.body.view",
            "body.storage,history.lastUpdated.content.body.styled_view",
            "Body.View",
            " body . view",
            "body.body.view",
            "body.storage.body.view",
            "body.*",
            "*",
            "body.",
            "body.STORAGE",
        ] {
            assert!(paths.evaluates(form), "{form}");
        }
        let values = evaluator(None);
        assert!(!values.evaluates("storage") && values.evaluates("view") && values.evaluates("storage,view"));
        assert!(values.evaluates(""), "what nobody listed");
    }
}
