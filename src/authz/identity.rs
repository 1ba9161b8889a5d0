//! Who is calling: every piece of evidence in the request is evaluated, and all must show one known credential.
//!
//! Evidence that fails, or that no policy knows, refuses even beside evidence that is known: the product might
//! believe the other piece. Nothing here keeps or prints a secret.

pub mod claims;
pub mod connect_jwt;
pub mod gate_key;
pub mod jwt;
pub mod keys;
pub mod seen;
pub mod token;
pub mod trusted_header;

use std::sync::Arc;

use super::Reason;
use super::catalog::DialectName;
use super::gate::{GateRules, TenantRule};
use super::policy::credentials::{ClientName, Credentials, KnownCredential, Proof, Secret, TokenDigest};
use super::policy::document::UpstreamScheme;
use super::request::{BadRequest, BodyFacts, Facts, Found, RequestView, argument, form};
use claims::Claims;
use trusted_header::Vouched;

/// The caller's credential, and what must be done to the request because of it.
#[derive(Debug)]
pub struct Identified<'p> {
    pub credential: &'p Arc<KnownCredential>,
    pub rewrite: CredentialRewrite<'p>,
    /// The credential signs path and query: they go upstream as received, or not at all.
    pub url_signed: bool,
    /// What the evidence says of the caller, where it is not the policy that says it.
    pub claims: Option<&'p Arc<Claims>>,
}

/// What was made of the token in `Authorization` before the request is judged.
#[derive(Debug, Clone, Default)]
pub enum Bearer {
    /// Nothing: it is known by its digest, or not at all.
    #[default]
    Opaque,
    /// An issuer whose tokens the gate takes signed it.
    Proven(Arc<Claims>),
    /// It is said to be of such an issuer, and proves nothing.
    Failed,
    /// For now nobody can tell: the issuer's keys are not there.
    Unresolved,
}

/// What becomes of the credential on its way upstream.
#[derive(Debug)]
pub enum CredentialRewrite<'p> {
    /// It is the app's own, and goes on untouched.
    PassThrough,
    /// It is a gate key: removed from wherever it stood, and the real one put into `Authorization`.
    Replace {
        scheme: UpstreamScheme,
        /// `None`: the file cannot be read, so the request cannot be sent.
        secret: Option<&'p Secret>,
        stood_in: KeyPlaces,
    },
}

/// Where a gate key stood. The request must not go upstream before it is gone from each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeyPlaces {
    pub authorization: bool,
    /// Send [`RequestView::forward_target_without`] the names of the catalog's `tokens.query`.
    pub query: bool,
    /// Send the form [`without`](super::request::query::Pairs::without) the names of `tokens.body`.
    pub form: bool,
}

/// Why nobody is identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotIdentified {
    /// `bad_request`, `unidentified`, `unknown_app` or `identity_unresolved`.
    pub reason: Reason,
    /// For the developer who sent it.
    pub why: &'static str,
    /// SHA-256 of the one piece of evidence, where it is a token that no policy names: what a gate under
    /// `observe` may pass and remembers.
    pub unknown_digest: Option<[u8; 32]>,
}

impl NotIdentified {
    fn because(reason: Reason, why: &'static str) -> Box<Self> {
        Box::new(Self { reason, why, unknown_digest: None })
    }
}

impl From<BadRequest> for Box<NotIdentified> {
    fn from(BadRequest(why): BadRequest) -> Self {
        NotIdentified::because(Reason::BadRequest, why)
    }
}

/// Where a piece of evidence stood.
#[derive(Debug, Clone, Copy)]
enum Place {
    Authorization,
    /// In `Authorization`, as the password of Basic.
    Password,
    Query,
    Form,
    /// Where it cannot be taken out: in JSON, or in a multipart body.
    Fixed,
}

/// The digest of the token in `Authorization`, where no other evidence can stand in the request.
///
/// It is told on its own, and first: each step of a hash waits for the one before, and what does not hang on it is computed
/// by the processor meanwhile. (Taken in two halves, with the match between them, the hash costs twice as much.)
#[derive(Debug, Clone, Copy, Default)]
pub struct LoneToken(Option<TokenDigest>);

impl LoneToken {
    #[inline(always)]
    pub fn of(gate: &GateRules, request: &RequestView<'_>) -> Self {
        match (request.bearer(), request.vouched()) {
            (Bearer::Opaque, Vouched::Nothing) => Self(lone_token(gate, request)),
            _ => Self(None),
        }
    }
}

/// Tells the caller by all the evidence in the request. `base_tenant` is the `{tenant}` of a base path.
///
/// # Errors
/// No evidence, evidence that fails or is unknown, or evidence of two credentials.
#[inline(always)]
pub fn identify<'p>(
    gate: &GateRules,
    credentials: &'p Credentials,
    request: &'p RequestView<'_>,
    base_tenant: Option<&str>,
    facts: &Facts<'_>,
) -> Result<Identified<'p>, Box<NotIdentified>> {
    identify_by(&LoneToken::of(gate, request), gate, credentials, request, base_tenant, facts)
}

/// The same, with what [`LoneToken`] told of this request.
///
/// # Errors
/// As [`identify`].
#[inline(always)]
pub fn identify_by<'p>(
    lone: &LoneToken,
    gate: &GateRules,
    credentials: &'p Credentials,
    request: &'p RequestView<'_>,
    base_tenant: Option<&str>,
    facts: &Facts<'_>,
) -> Result<Identified<'p>, Box<NotIdentified>> {
    match lone.0.and_then(|digest| known_token(gate, credentials, &digest)) {
        Some(identified) => Ok(identified),
        // All else, and whatever is refused, with the reason.
        None => identify_by_all(gate, credentials, request, base_tenant, facts),
    }
}

/// The digest of the token in `Authorization`, where no other evidence can stand in the request.
#[inline(always)]
fn lone_token(gate: &GateRules, request: &RequestView<'_>) -> Option<TokenDigest> {
    let tokens = &gate.catalog.tokens;
    let is_there = |name: &str| !matches!(request.arguments().find(name), Ok(Found::Absent));
    let mut tokens_in_query = tokens.query.iter();
    let in_query =
        !request.query.is_empty() && (may_hold_jwt(request.query) || tokens_in_query.any(|name| is_there(name)));
    let elsewhere = in_query || !tokens.body.is_empty() || may_stand_in_form(gate, request);
    let value = request.authorization().filter(|_| !elsewhere)?;
    if let Some(told) = request.token() {
        return Some(told);
    }
    match token::shown(value) {
        token::Shown::Token(token) => Some(TokenDigest(gate_key::digest(token))),
        token::Shown::Basic(_) | token::Shown::ConnectJwt(_) | token::Shown::Unreadable => None,
    }
}

/// Whether the product may take a credential from the form that this request is declared to hold.
#[inline(always)]
fn may_stand_in_form(gate: &GateRules, request: &RequestView<'_>) -> bool {
    !gate.catalog.tokens.form.is_empty() && form::is_declared(request.headers)
}

/// Whether an argument of the query may be called `jwt`, however it is spelled: a `j` is rare enough to be looked at.
#[inline(always)]
fn may_hold_jwt(query: &str) -> bool {
    let query = query.as_bytes();
    !query.is_empty()
        && (memchr::memchr(b'%', query).is_some()
            || memchr::memchr2_iter(b'j', b'J', query)
                .any(|at| query.get(at..at + 3).is_some_and(|name| name.eq_ignore_ascii_case(b"jwt"))))
}

/// The caller by a token or gate key that stood in `Authorization`, if the gate takes its kind.
#[inline(always)]
fn known_token<'p>(gate: &GateRules, credentials: &'p Credentials, digest: &TokenDigest) -> Option<Identified<'p>> {
    let credential = credentials.by_digest.get(digest)?;
    let rewrite = match &credential.proof {
        Proof::Token if gate.identify.token => CredentialRewrite::PassThrough,
        Proof::GateKey { scheme, upstream } if gate.identify.gate_key => CredentialRewrite::Replace {
            scheme: *scheme,
            secret: upstream.as_ref(),
            stood_in: KeyPlaces { authorization: true, ..KeyPlaces::default() },
        },
        Proof::Token | Proof::GateKey { .. } | Proof::ConnectJwt { .. } | Proof::Client { .. } => return None,
    };
    Some(Identified { credential, rewrite, url_signed: false, claims: None })
}

#[inline(never)]
fn identify_by_all<'p>(
    gate: &GateRules,
    credentials: &'p Credentials,
    request: &'p RequestView<'_>,
    base_tenant: Option<&str>,
    facts: &Facts<'_>,
) -> Result<Identified<'p>, Box<NotIdentified>> {
    let (known, claims, added, outcome) = (None, None, None, Outcome::default());
    let mut evidence =
        Evidence { gate, credentials, request, base_tenant, now_ms: facts.now_ms, known, claims, added, outcome };
    match request.vouched() {
        Vouched::Nothing => {}
        Vouched::For(claims) => evidence.vouched(claims),
        Vouched::Failed => {
            evidence.outcome.pieces += 1;
            evidence.outcome.failed = true;
        }
    }
    if let Some(value) = request.authorization() {
        match token::shown(value) {
            token::Shown::Token(token) => evidence.bearer(token),
            token::Shown::Basic(credential) => evidence.basic(credential),
            token::Shown::ConnectJwt(jwt) => evidence.connect_jwt(jwt),
            token::Shown::Unreadable => evidence.outcome.failed = true,
        }
    }
    for name in &gate.catalog.tokens.query {
        if let Some(value) = request.arguments().find(name)?.one()? {
            evidence.token(value.as_bytes(), Place::Query);
        }
    }
    for name in &gate.catalog.tokens.body {
        if matches!(facts.body, BodyFacts::NotHeld) {
            evidence.outcome.unread = true;
            break;
        }
        if let Some(value) = facts.body.argument(name)?.one()? {
            let is_form = matches!(facts.body, BodyFacts::Form(_));
            evidence.token(value.as_bytes(), if is_form { Place::Form } else { Place::Fixed });
        }
    }
    if may_stand_in_form(gate, request) {
        evidence.in_form(&facts.body)?;
    }
    // Atlassian's products take `jwt` for evidence, whether this gate does or not.
    let atlassian = matches!(gate.catalog.dialect, DialectName::Atlassian | DialectName::Bitbucket);
    let reads_jwt = gate.identify.connect_jwt || atlassian;
    if reads_jwt && let Some(jwt) = request.arguments().find("jwt")?.one()? {
        evidence.connect_jwt(&jwt);
    }
    evidence.conclude()
}

/// The evidence seen so far.
struct Evidence<'g, 'e, 'p> {
    gate: &'g GateRules,
    credentials: &'p Credentials,
    request: &'p RequestView<'e>,
    base_tenant: Option<&'g str>,
    now_ms: i64,
    known: Option<&'p Arc<KnownCredential>>,
    claims: Option<&'p Arc<Claims>>,
    /// By what is said of the caller beside its credential, if it has one.
    added: Option<(&'p Arc<KnownCredential>, &'p Arc<Claims>)>,
    outcome: Outcome,
}

#[derive(Default)]
struct Outcome {
    pieces: u32,
    failed: bool,
    unknown: bool,
    differ: bool,
    /// Evidence may stand in the body, which was not read.
    unread: bool,
    /// Evidence that nobody can verify for now.
    unresolved: bool,
    url_signed: bool,
    stood_in: KeyPlaces,
    unknown_digest: Option<[u8; 32]>,
}

impl<'p> Evidence<'_, '_, 'p> {
    /// The token in `Authorization`, with what was made of it.
    fn bearer(&mut self, token: &[u8]) {
        match self.request.bearer() {
            Bearer::Opaque => self.token(token, Place::Authorization),
            Bearer::Proven(claims) => self.proven(claims),
            Bearer::Failed => {
                self.outcome.pieces += 1;
                self.outcome.failed = true;
            }
            Bearer::Unresolved => {
                self.outcome.pieces += 1;
                self.outcome.unresolved = true;
            }
        }
    }

    /// A token whose issuer vouches for what it says, for as long as it counts.
    fn proven(&mut self, claims: &'p Arc<Claims>) {
        self.outcome.pieces += 1;
        if !claims.is_live(self.now_ms) {
            self.outcome.failed = true;
            return;
        }
        match self.named(claims).map(|credential| (credential, &credential.proof)) {
            Some((credential, Proof::Client { upstream: Some(_), .. })) => {
                self.outcome.stood_in.add(Place::Authorization);
                self.claims = Some(claims);
                self.accept(credential);
            }
            Some((credential, Proof::Client { upstream: None, .. })) if !self.gate.identify.replaces => {
                self.claims = Some(claims);
                self.accept(credential);
            }
            _ => self.outcome.unknown = true,
        }
    }

    /// What a proxy before the gate says. It adds to a credential in the request, and takes the place of none.
    fn vouched(&mut self, claims: &'p Arc<Claims>) {
        self.outcome.pieces += 1;
        match self.named(claims) {
            Some(credential) => self.added = Some((credential, claims)),
            None => self.outcome.unknown = true,
        }
    }

    /// The credential that a policy gives to whom somebody vouches for: in the tenant that is said, or else the gate's own.
    fn named(&self, claims: &Claims) -> Option<&'p Arc<KnownCredential>> {
        let of_gate = || gate_tenant(self.gate, self.request, self.base_tenant).map(|tenant| &**tenant);
        let tenant = claims.tenant.as_deref().or_else(of_gate)?;
        let (by, issuer, client) = (claims.by, &*claims.issuer, &*claims.app);
        self.credentials.by_client.get(&ClientName { by, issuer, client, tenant })
    }

    /// A token or gate key, of which only the digest is compared. Nothing is no token.
    fn token(&mut self, secret: &[u8], place: Place) {
        self.outcome.pieces += 1;
        if secret.is_empty() {
            self.outcome.failed = true;
            return;
        }
        let digest = gate_key::digest(secret);
        let Some(credential) = self.credentials.by_digest.get(&TokenDigest(digest)) else {
            self.outcome.unknown = true;
            // An issuer's token is verified in one place. In another it must not become a token that nobody knows, or who
            // is known by it could choose to be a stranger.
            if !matches!(place, Place::Authorization) && !self.gate.identify.jwt.is_empty() && jwt::may_be_one(secret) {
                self.outcome.failed = true;
            }
            // A gate key is worth nothing upstream, so there is nothing to observe about one.
            self.outcome.unknown_digest = (!gate_key::has_form(secret)).then_some(digest);
            return;
        };
        match (&credential.proof, place) {
            (Proof::GateKey { .. }, Place::Fixed) => self.outcome.failed = true,
            (Proof::GateKey { .. }, place) if self.gate.identify.gate_key => {
                self.outcome.stood_in.add(place);
                self.accept(credential);
            }
            (Proof::Token, _) if self.gate.identify.token => self.accept(credential),
            (Proof::GateKey { .. } | Proof::Token | Proof::ConnectJwt { .. } | Proof::Client { .. }, _) => {
                self.outcome.unknown = true;
            }
        }
    }

    /// What stands in a form, where that alone is read for credentials.
    fn in_form(&mut self, body: &BodyFacts<'_>) -> Result<(), BadRequest> {
        if matches!(body, BodyFacts::NotHeld) {
            self.outcome.unread = true;
            return Ok(());
        }
        for name in &self.gate.catalog.tokens.form {
            if let Some(value) = body.argument(name)?.one()? {
                // Not taken out again: a gate key there is refused.
                self.token(value.as_bytes(), Place::Fixed);
            }
        }
        Ok(())
    }

    /// The user and password of Basic.
    fn basic(&mut self, credential: &[u8]) {
        match token::password(credential, &mut [0; token::BASIC_MAX]) {
            Some(password) => self.token(password, Place::Password),
            None => self.outcome.failed = true,
        }
    }

    fn connect_jwt(&mut self, jwt: &str) {
        self.outcome.pieces += 1;
        match connect_jwt::verify(jwt, self.credentials, self.request, self.request.shown_ms(self.now_ms)) {
            Ok(credential) if self.gate.identify.connect_jwt => {
                self.outcome.url_signed = true;
                self.accept(credential);
            }
            Ok(_) | Err(connect_jwt::Refused::UnknownIssuer) => self.outcome.unknown = true,
            Err(connect_jwt::Refused::Invalid) => self.outcome.failed = true,
        }
    }

    fn accept(&mut self, credential: &'p Arc<KnownCredential>) {
        match self.known {
            Some(known) if !Arc::ptr_eq(known, credential) => self.outcome.differ = true,
            _ => self.known = Some(credential),
        }
    }

    fn conclude(&self) -> Result<Identified<'p>, Box<NotIdentified>> {
        let outcome = &self.outcome;
        if outcome.failed {
            return Err(NotIdentified::because(
                Reason::Unidentified,
                "a credential in the request is malformed or does not verify",
            ));
        }
        if outcome.unknown {
            let unknown_digest = outcome.unknown_digest.filter(|_| outcome.pieces == 1 && !outcome.unread);
            let why = "no policy knows a credential in the request, or this gate does not take its kind";
            return Err(Box::new(NotIdentified { reason: Reason::UnknownApp, why, unknown_digest }));
        }
        if outcome.unread {
            return Err(NotIdentified::because(
                Reason::BadRequest,
                "a credential may stand in the body, which was not read",
            ));
        }
        if outcome.differ {
            return Err(NotIdentified::because(Reason::Unidentified, "the request shows two different credentials"));
        }
        if outcome.unresolved {
            let why = "the gate does not have the keys by which the token in the request could be verified";
            return Err(NotIdentified::because(Reason::IdentityUnresolved, why));
        }
        let (credential, claims) = match (self.known, self.added) {
            (Some(known), Some((added, _))) if (known.app, known.installation) != (added.app, added.installation) => {
                let why = "the credential in the request is another app's than the one it is said to come from";
                return Err(NotIdentified::because(Reason::Unidentified, why));
            }
            (Some(known), Some((_, said)))
                if are_two_users(self.claims.map_or(known.user.as_ref(), |one| one.user()), said) =>
            {
                let why = "the credential in the request names another user than the one it is said to come from";
                return Err(NotIdentified::because(Reason::Unidentified, why));
            }
            // What goes upstream decides who calls.
            (Some(known), _) => (known, self.claims),
            (None, Some((added, claims))) => (added, Some(claims)),
            (None, None) => {
                return Err(NotIdentified::because(Reason::Unidentified, "the request shows no credential"));
            }
        };
        let rewrite = match &credential.proof {
            Proof::GateKey { scheme, upstream } => {
                CredentialRewrite::Replace { scheme: *scheme, secret: upstream.as_ref(), stood_in: outcome.stood_in }
            }
            Proof::Client { upstream: Some(with), .. } => CredentialRewrite::Replace {
                scheme: with.scheme,
                secret: with.secret.as_ref(),
                stood_in: outcome.stood_in,
            },
            Proof::Token | Proof::ConnectJwt { .. } | Proof::Client { upstream: None, .. } => {
                CredentialRewrite::PassThrough
            }
        };
        Ok(Identified { credential, rewrite, url_signed: outcome.url_signed, claims })
    }
}

/// Whether a credential names one user, and who vouches for its caller another one.
fn are_two_users(one: Option<&Arc<str>>, said: &Claims) -> bool {
    one.zip(said.user()).is_some_and(|(one, other)| one != other)
}

impl KeyPlaces {
    fn add(&mut self, place: Place) {
        match place {
            Place::Authorization | Place::Password => self.authorization = true,
            Place::Query => self.query = true,
            // A key in JSON or multipart is refused before: taking it out would mean writing the document anew.
            Place::Form | Place::Fixed => self.form = true,
        }
    }
}

/// The tenant that gate, request and credential agree on.
///
/// # Errors
/// [`Reason::UnknownTenant`] where they differ or none is named. `base_tenant` is the `{tenant}` of a base path.
#[inline]
pub fn request_tenant<'g>(
    gate: &'g GateRules,
    request: &RequestView<'_>,
    base_tenant: Option<&str>,
    credential_tenant: &str,
) -> Result<&'g Arc<str>, Reason> {
    let tenant = match &gate.tenant {
        TenantRule::Token(tenants) => tenants.iter().find(|tenant| ***tenant == *credential_tenant),
        TenantRule::Fixed(_) | TenantRule::Host(_) | TenantRule::Path(_) => gate_tenant(gate, request, base_tenant),
    };
    let tenant = tenant.ok_or(Reason::UnknownTenant)?;
    let agrees = **tenant == *credential_tenant && base_tenant.is_none_or(|base| *base == **tenant);
    if agrees { Ok(tenant) } else { Err(Reason::UnknownTenant) }
}

/// The tenant that gate and request name, whoever calls. `None`: none, or only a credential could tell.
#[inline]
pub fn gate_tenant<'g>(
    gate: &'g GateRules,
    request: &RequestView<'_>,
    base_tenant: Option<&str>,
) -> Option<&'g Arc<str>> {
    let tenant = match &gate.tenant {
        TenantRule::Fixed(tenant) => Some(tenant),
        TenantRule::Host(hosts) => hosts.iter().find(|(host, _)| **host == *request.host).map(|(_, tenant)| tenant),
        TenantRule::Path(tenants) => tenants.iter().find(|tenant| base_tenant == Some(&***tenant)),
        TenantRule::Token(_) => None,
    };
    tenant.filter(|tenant| base_tenant.is_none_or(|base| *base == ***tenant))
}

/// Refuses arguments (Slack's `team_id`) that name another tenant than the request is judged for.
///
/// # Errors
/// [`Reason::UnknownTenant`], or [`Reason::BadRequest`] where an argument can be read in two ways.
pub fn tenant_arguments(
    names: &[Box<str>],
    tenant: &str,
    request: &RequestView<'_>,
    facts: &Facts<'_>,
) -> Result<(), Reason> {
    for name in names {
        let found = argument(name, request, facts).map_err(|_| Reason::BadRequest)?;
        let mut named = found.as_slice().iter().flat_map(|value| value.split(','));
        if named.any(|named| named != tenant) {
            return Err(Reason::UnknownTenant);
        }
    }
    Ok(())
}

/// Refuses a place in the body (Bitbucket's `/workspace/slug`) that names another tenant than the request is judged for.
///
/// # Errors
/// As [`tenant_arguments`].
pub fn tenant_in_body(pointer: &str, tenant: &str, facts: &Facts<'_>) -> Result<(), Reason> {
    let found = facts.body.at(pointer).map_err(|_| Reason::BadRequest)?;
    let own = |value: &str| value.split('/').next() == Some(tenant);
    if found.as_slice().iter().all(|value| own(value)) { Ok(()) } else { Err(Reason::UnknownTenant) }
}
