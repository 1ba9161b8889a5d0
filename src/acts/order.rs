//! What an admin asks for, in the words of the commands; the same words are the JSON of the admin API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Kind;

/// One thing to do. Flat, so that a key which is not known is an error: a misspelt `until` must not give for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [
    {"act": "revoke", "app": "jira/tracker", "tenants": ["acme"], "scopes": ["write:jira-work"], "in": ["project:SEC"], "reason": "SEC-1142"},
    {"act": "revoke", "all_apps": true, "product": "jira", "all_tenants": true, "scopes": ["ADMIN"], "for": "4h", "reason": "vendor compromised"},
    {"act": "suspend", "app": "jira/tracker", "reason": "incident 7"},
    {"act": "grant", "app": "jira/tracker", "scopes": ["write:jira-work"], "in": ["project:PROJ"], "for": "2h", "reason": "import"},
]))]
pub struct Order {
    pub act: Kind,
    /// `product/app`; absent only with `all_apps`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Every app of the product, also those that come later.
    #[serde(default, skip_serializing_if = "is_false")]
    pub all_apps: bool,
    /// With `all_apps`; needed where apps of several products are installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Tenants by id; empty where there is one, or with `all_tenants`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tenants: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub all_tenants: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub all_scopes: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
    /// Containers as `kind:id`. Empty is everywhere for what takes; what gives must say `everywhere`.
    #[serde(default, rename = "in", skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    pub everywhere: bool,
    /// Absent is both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
    /// When it ends by itself (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// How long it holds, in place of `until`: `4h`, `30m`, `2d`.
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub span: Option<String>,
    /// It takes nothing yet: what it would refuse is recorded.
    #[serde(default, skip_serializing_if = "is_false")]
    pub shadow: bool,
    /// Also what the policy marks as `required: true`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub even_required: bool,
    /// Why. It stands in the journal, and beside the rule for as long as that holds.
    #[schemars(length(min = 1, max = 500), regex(pattern = r"\S"))]
    pub reason: String,
    /// Who asks. The admin API fills it in from who the caller is, and journals that in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 200))]
    pub by: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Whom a caller acts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Actor {
    App,
    User,
}

impl Actor {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::User => "user",
        }
    }
}

impl Order {
    /// An order that says nothing yet but what it is and why.
    pub fn new(act: Kind, reason: impl Into<String>) -> Self {
        Self {
            act,
            app: None,
            all_apps: false,
            product: None,
            tenants: Vec::new(),
            all_tenants: false,
            scopes: Vec::new(),
            all_scopes: false,
            operations: Vec::new(),
            within: Vec::new(),
            everywhere: false,
            actor: None,
            until: None,
            span: None,
            shadow: false,
            even_required: false,
            reason: reason.into(),
            by: None,
        }
    }

    /// The first key that this sort of act has no use for: ignored, it would be a wish that nobody fulfils.
    pub(super) fn out_of_place(&self) -> Option<&'static str> {
        let what = !self.scopes.is_empty() || self.all_scopes || !self.operations.is_empty() || !self.within.is_empty();
        let whole = what || self.everywhere || self.actor.is_some();
        let gives = self.act == Kind::Grant;
        let takes = self.act == Kind::Revoke;
        let checks = [
            (self.all_apps && !takes, "all_apps"),
            (self.product.is_some() && !self.all_apps, "product"),
            (self.shadow && !takes, "shadow"),
            (self.even_required && !takes, "even_required"),
            (self.everywhere && !gives, "everywhere"),
            (whole && !takes && !gives, "scopes, operations, in and actor"),
            (self.act == Kind::Suspend && (self.until.is_some() || self.span.is_some()), "until"),
        ];
        checks.into_iter().find_map(|(out, name)| out.then_some(name))
    }
}
