//! What is judged where a request does not name its containers: by what the product was asked, and whether it is worth
//! asking. Off the permit path: it begins where a request was refused.
//!
//! Nothing is asked in vain, and nobody can make the gate ask who would be refused whatever the answer: a request is
//! judged once more as if each thing that is not told yet lay wherever it may pass, and only if that passes is it asked
//! about. What comes of that judgement is never a Permit.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Caller, Case, Denial, Passed};
use crate::authz::catalog::lookups::{Home, LookupId};
use crate::authz::catalog::{CredentialKindId, VariantMask};
use crate::authz::identity::{CredentialRewrite, Identified};
use crate::authz::judge::{Mode, any_limited_revocation, passes};
use crate::authz::looked_up::{Thing, Told};
use crate::authz::policy::Policy;
use crate::authz::policy::credentials::{KnownCredential, Proof, Replacement, Secret};
use crate::authz::policy::document::UpstreamScheme;
use crate::authz::reason::{Class, Reason};
use crate::authz::touch::{ContainerList, ContainerName, ContainerRef, FoundName, Reach, Touched};

/// The most things that are asked about for one request. One that names more reaches, as far as can be told, the tenant.
pub const THINGS_MAX: usize = 16;

/// What must be asked before a request can be judged, and by whom.
#[derive(Debug, Clone)]
pub struct Lacks {
    pub things: Vec<Thing>,
    pub asker: Asker,
    pub by: AskedBy,
    /// What stands before the path of a question, as it stood before the request's (`/ex/jira/{tenant}`).
    pub prefix: Box<str>,
    /// A revocation is limited to containers: what was told long ago is asked again sooner.
    pub urgent: bool,
}

/// Whom an answer is for: what one may not see another may.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asker {
    pub tenant: Arc<str>,
    pub app: Arc<str>,
    pub kind: CredentialKindId,
    pub user: Option<Arc<str>>,
}

/// The credential that a question is asked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskedBy {
    /// The caller's own, as it came in `Authorization`.
    Caller,
    /// The one that the gate puts in the place of a gate key: the caller's, or another one of its installation.
    Secret { scheme: UpstreamScheme, secret: Secret },
    /// Neither can carry another request (a Connect JWT is of one alone): the tenant's own, if there is one.
    Tenant,
}

/// What a request touches as far as is told, and as it is hoped.
pub(super) struct Asking<'t> {
    tenant: &'t str,
    pub(super) told: Touched<'t>,
    hoped: Touched<'t>,
    /// As if all that was told lay in a container that no rule names. What comes of it hangs on nothing that was told.
    elsewhere: Touched<'t>,
    lacks: Vec<Thing>,
    is_told: bool,
    is_nowhere: bool,
    failed: Option<(Reason, Option<u32>)>,
}

impl<'c> Case<'c> {
    /// Judges a request that does not pass by what it touches alone, as far as that is told.
    ///
    /// # Errors
    /// It stays refused, or something is to be asked first.
    #[cold]
    #[inline(never)]
    pub(super) fn judge_refused(
        &self,
        policy: &'c Policy,
        identified: &Identified<'_>,
        caller: &Caller<'_>,
        touched: &Touched<'_>,
    ) -> Result<Passed, Box<Denial>> {
        // Who is observed passes for want of a grant, whatever the answer.
        let hangs_on_answers =
            caller.installation.suspended.is_none() && !caller.installation.observed(self.facts.now_ms);
        if hangs_on_answers && let Some(brief) = self.judge_briefly(policy, identified, caller, touched) {
            return brief;
        }
        match self.judge_caller(policy, caller, touched) {
            Ok(passed) => Ok(passed),
            Err(denial) => self.judge_by_look_ups(policy, identified, caller, touched, denial),
        }
    }

    /// Permits by what was told, or says what to ask, without a denial that nobody will see. `None`: that is not all that
    /// is to be said.
    fn judge_briefly(
        &self,
        policy: &'c Policy,
        identified: &Identified<'_>,
        caller: &Caller<'_>,
        touched: &Touched<'_>,
    ) -> Option<Result<Passed, Box<Denial>>> {
        if self.facts.looked_up.is_empty() && !self.sought.is_brief {
            return None;
        }
        let mut asking = self.asking(&caller.installation.tenant, touched)?;
        if asking.is_told && self.passes_by(policy, caller, &asking.told) {
            return Some(Ok(self.passed(policy, caller, &asking.told, None)));
        }
        let is_asked = self.sought.is_brief && !asking.lacks.is_empty() && asking.lacks.len() <= THINGS_MAX;
        if !is_asked || !self.may_be_hoped(policy, caller, &mut asking.hoped) {
            return None;
        }
        let lacks = self.lacks(policy, identified, caller, touched, std::mem::take(&mut asking.lacks));
        let brief = Denial {
            who: Some(caller.who()),
            operation: self.operation,
            lacks: Some(Box::new(lacks)),
            ..Denial::of(Reason::ContainerUnresolved)
        };
        Some(Err(Box::new(brief)))
    }

    /// Whether it would pass with the right answers, in whatever variant.
    fn may_be_hoped(&self, policy: &'c Policy, caller: &Caller<'_>, hoped: &mut Touched<'_>) -> bool {
        let variants = hoped.variants;
        [variants].into_iter().chain(variants.each()).any(|one| {
            hoped.variants = one;
            self.passes_by(policy, caller, hoped)
        })
    }

    /// Of a caller that is not suspended.
    fn passes_by(&self, policy: &'c Policy, caller: &Caller<'_>, touched: &Touched<'_>) -> bool {
        passes(&self.question(policy, caller, touched), Mode::Enforced)
    }

    fn lacks(
        &self,
        policy: &Policy,
        identified: &Identified<'_>,
        caller: &Caller<'_>,
        touched: &Touched<'_>,
        things: Vec<Thing>,
    ) -> Lacks {
        Lacks {
            by: self.asked_by(policy, identified),
            asker: Asker {
                tenant: Arc::clone(&caller.credential.holder.tenant),
                app: Arc::clone(&caller.credential.holder.app),
                kind: caller.credential.kind,
                user: caller.user().cloned(),
            },
            prefix: self.prefix(),
            urgent: any_limited_revocation(&self.question(policy, caller, touched)),
            things,
        }
    }

    /// Judges a request that was refused once more, by what the product said of the things in it.
    ///
    /// # Errors
    /// It stays refused, or something is to be asked first.
    fn judge_by_look_ups(
        &self,
        policy: &'c Policy,
        identified: &Identified<'_>,
        caller: &Caller<'_>,
        touched: &Touched<'_>,
        mut denial: Box<Denial>,
    ) -> Result<Passed, Box<Denial>> {
        let Some(mut asking) = self.asking(&caller.installation.tenant, touched) else { return Err(denial) };
        if asking.is_told {
            match self.judge_caller(policy, caller, &asking.told) {
                Ok(passed) => return Ok(passed),
                Err(still) => denial = still,
            }
        }
        if asking.lacks.len() > THINGS_MAX {
            denial = self.refused_as_tenant(policy, caller, touched, denial);
        }
        if asking.lacks.is_empty() || asking.lacks.len() > THINGS_MAX {
            return Err(self.refused_by(policy, caller, &asking, denial));
        }
        match self.is_hoped(policy, caller, &mut asking.hoped) {
            // Whatever the answer, it would be refused; and for this, which does not hang on it, though perhaps on what was
            // told before.
            Err(hopeless) => Err(self.refused_by(policy, caller, &asking, hopeless)),
            Ok(()) => {
                let lacks = self.lacks(policy, identified, caller, touched, std::mem::take(&mut asking.lacks));
                let denial = self.refused_by(policy, caller, &asking, denial);
                Err(Box::new(Denial { lacks: Some(Box::new(lacks)), ..*denial }))
            }
        }
    }

    /// What names more than is asked about reaches the tenant, and will whenever it is sent again: "for now" is no answer.
    fn refused_as_tenant(
        &self,
        policy: &'c Policy,
        caller: &Caller<'_>,
        touched: &Touched<'_>,
        denial: Box<Denial>,
    ) -> Box<Denial> {
        if denial.reason != Reason::ContainerUnresolved {
            return denial;
        }
        let tenant = Touched { reach: Reach::Tenant, limits: touched.limits.clone(), ..*touched };
        match self.judge_caller(policy, caller, &tenant) {
            Err(denial) => {
                let why = Some("the request names more things than are asked about for one: send fewer in each");
                Box::new(Denial { why, ..*denial })
            }
            // Whoever may reach the whole tenant was not refused for want of a place.
            Ok(_) => denial,
        }
    }

    /// `None`: nothing in it can be asked about.
    pub(super) fn asking<'t>(&self, tenant: &'t str, touched: &Touched<'t>) -> Option<Asking<'t>> {
        let Reach::Containers(containers) = &touched.reach else { return None };
        // What its arguments ask for and tell hangs on no answer.
        let anywhere = || Touched { reach: Reach::Tenant, limits: touched.limits.clone(), ..*touched };
        let mut asking = Asking {
            tenant,
            told: anywhere(),
            hoped: anywhere(),
            elsewhere: anywhere(),
            lacks: Vec::new(),
            is_told: false,
            is_nowhere: false,
            failed: None,
        };
        let mut variants = VariantMask::NONE;
        let (mut told, mut hoped): (Vec<ContainerRef<'t>>, Vec<ContainerRef<'t>>) = (Vec::new(), Vec::new());
        let mut elsewhere: Vec<ContainerRef<'t>> = Vec::new();
        for container in containers.as_slice() {
            let Some((lookup, name)) = self.asked_about(container) else {
                // Of a container that nothing is asked about the variant stays as it was.
                variants = VariantMask(variants.0 | touched.variants.0);
                told.push(container.clone());
                hoped.push(container.clone());
                elsewhere.push(container.clone());
                continue;
            };
            elsewhere.push(self.found(
                container,
                Home { id: Some("".into()), key: Some("".into()), is_word: false },
                false,
            ));
            let answer = self.facts.looked_up.get(tenant, lookup, name);
            let may_be = match answer {
                Some(Told::In { variants, .. }) if *variants != VariantMask::NONE => *variants,
                Some(_) | None => touched.variants,
            };
            variants = VariantMask(variants.0 | may_be.0);
            let hope = match answer {
                Some(Told::In { homes, .. }) => {
                    asking.is_told = true;
                    // The one that the request names is reached, whatever the product calls it now.
                    let named = match &container.name {
                        ContainerName::Id(id) => homes.iter().any(|home| home.id.as_deref() == Some(&**id)),
                        _ => true,
                    };
                    if !named {
                        told.push(container.clone());
                        hoped.push(container.clone());
                    }
                    for home in homes.iter() {
                        match self.named(container, home, lookup) {
                            None => {
                                told.push(self.found(container, home.clone(), false));
                                hoped.push(self.found(container, home.clone(), false));
                            }
                            Some(thing) => self.name_told(&mut asking, (&mut told, &mut hoped), container, home, thing),
                        }
                    }
                    continue;
                }
                Some(Told::Nowhere) => {
                    asking.is_nowhere = true;
                    container.clone()
                }
                Some(Told::Failed { reason, retry_after_s }) => {
                    asking.failed.get_or_insert((*reason, *retry_after_s));
                    container.clone()
                }
                None => {
                    asking.lack(Thing { lookup, name: name.into() });
                    self.found(container, known_of(container), true)
                }
            };
            told.push(container.clone());
            hoped.push(hope);
        }
        if asking.lacks.is_empty() && !asking.is_told && !asking.is_nowhere && asking.failed.is_none() {
            return None;
        }
        asking.told.reach = Reach::Containers(list(told)?);
        asking.hoped.reach = Reach::Containers(list(hoped)?);
        asking.elsewhere.reach = Reach::Containers(list(elsewhere)?);
        // What the arguments say and the product denies is no variant at all, and nothing is judged by it.
        asking.told.variants = VariantMask(touched.variants.0 & variants.0);
        Some(asking)
    }

    /// What is asked about a container that is not told, or not told whole.
    fn asked_about<'n>(&self, container: &'n ContainerRef<'_>) -> Option<(LookupId, &'n str)> {
        let catalog = &self.gate.catalog;
        let (lookup, name): (LookupId, &str) = match &container.name {
            ContainerName::Around { lookup, thing } => (*lookup, thing),
            ContainerName::Hint(name) => (catalog.containers.get(usize::from(container.kind.0))?.lookup?, name),
            ContainerName::Id(id) => {
                let kind = catalog.containers.get(usize::from(container.kind.0))?;
                (kind.lookup_id.or(kind.lookup)?, id)
            }
            ContainerName::Name(_)
            | ContainerName::Word(_)
            | ContainerName::Prefix(_)
            | ContainerName::Found(_)
            | ContainerName::Unknown => return None,
        };
        let asked = catalog.lookups.get(usize::from(lookup.0))?;
        asked.may_be_called(name).then_some((lookup, name))
    }

    /// What tells the name of a container whose id alone was told, where policies may write the name.
    fn named(&self, container: &ContainerRef<'_>, home: &Home, by: LookupId) -> Option<Thing> {
        let (Some(id), None, true) = (&home.id, &home.key, self.gate.names_as_written) else { return None };
        let kind = self.gate.catalog.containers.get(usize::from(container.kind.0))?;
        let lookup = kind.lookup_id.or(kind.lookup).filter(|lookup| *lookup != by)?;
        let asked = self.gate.catalog.lookups.get(usize::from(lookup.0))?;
        asked.may_be_called(id).then(|| Thing { lookup, name: (**id).into() })
    }

    /// A container with its name, as far as that is told.
    fn name_told<'t>(
        &self,
        asking: &mut Asking<'t>,
        (told, hoped): (&mut Vec<ContainerRef<'t>>, &mut Vec<ContainerRef<'t>>),
        container: &ContainerRef<'_>,
        home: &Home,
        thing: Thing,
    ) {
        let (id, tenant) = (&home.id, asking.tenant);
        let answer = self.facts.looked_up.get(tenant, thing.lookup, &thing.name);
        let of_it =
            |homes: &Arc<[Home]>| homes.iter().find(|other| other.id == *id).and_then(|other| other.key.clone());
        let (key, is_hoped) = match answer {
            Some(Told::In { homes, .. }) => (of_it(homes), false),
            Some(Told::Nowhere) => (None, false),
            Some(Told::Failed { reason, retry_after_s }) => {
                asking.failed.get_or_insert((*reason, *retry_after_s));
                (None, false)
            }
            None => {
                asking.lack(thing);
                (None, true)
            }
        };
        let home = Home { id: id.clone(), key, is_word: false };
        told.push(self.found(container, home.clone(), false));
        hoped.push(self.found(container, home, is_hoped));
    }

    fn found<'t>(&self, container: &ContainerRef<'_>, home: Home, hoped: bool) -> ContainerRef<'t> {
        let by_name = self.gate.names_as_written;
        if let (true, Some(word)) = (home.is_word, &home.key) {
            let word = Cow::Owned(word.to_string());
            let name = if by_name { ContainerName::Word(word) } else { ContainerName::Hint(word) };
            return ContainerRef { kind: container.kind, name };
        }
        let called = match &container.name {
            ContainerName::Hint(name) => Some(Box::from(&**name)),
            _ => None,
        };
        let found = FoundName { home, by_name, called, hoped };
        ContainerRef { kind: container.kind, name: ContainerName::Found(Box::new(found)) }
    }

    /// The denial as it is answered. Who was refused for what the product said must not learn what that was: a thing in
    /// a container that is closed to the app, and one that does not exist, get the same answer. So what is answered hangs
    /// on nothing that was told.
    fn refused_by(
        &self,
        policy: &'c Policy,
        caller: &Caller<'_>,
        asking: &Asking<'_>,
        denial: Box<Denial>,
    ) -> Box<Denial> {
        let hangs_on_it = asking.is_told || asking.is_nowhere;
        if let Some((reason, retry_after_s)) = asking.failed {
            let why = Some(match reason {
                Reason::Unidentified => "the product does not take the credential of the request",
                _ => "the gate could not ask the product which container this lies in",
            });
            let denial = if hangs_on_it { Self::without_what_was_found(*denial) } else { *denial };
            return Box::new(Denial { reason, why, retry_after_s, rule: None, ..denial });
        }
        let is_unresolved = |denial: &Denial| denial.reason == Reason::ContainerUnresolved;
        let is_lasting = matches!(denial.reason.class(), Class::Scope | Class::Container | Class::Terms);
        if !hangs_on_it || !is_lasting && !is_unresolved(&denial) {
            return denial;
        }
        match self.judge_caller(policy, caller, &asking.elsewhere) {
            // A name that the policy writes may yet turn out to be that of any container.
            Err(anywhere) if is_unresolved(&anywhere) => Box::new(Self::without_what_was_found(*anywhere)),
            Ok(_) | Err(_) => {
                let reason = if asking.is_nowhere { Reason::ContainerUnreadable } else { denial.reason };
                Box::new(Denial { reason, hidden: true, ..*denial })
            }
        }
    }

    fn without_what_was_found(denial: Denial) -> Denial {
        Denial { container: None, container_name: None, needed: Vec::new(), held: Vec::new(), ..denial }
    }

    /// Whether it could pass: with the right answers, and as one of the variants that it may be.
    fn is_hoped(&self, policy: &'c Policy, caller: &Caller<'_>, hoped: &mut Touched<'_>) -> Result<(), Box<Denial>> {
        let variants = hoped.variants;
        let mut refused = None;
        for one in [variants].into_iter().chain(variants.each()) {
            hoped.variants = one;
            match self.judge_caller(policy, caller, hoped) {
                Ok(_) => return Ok(()),
                Err(denial) => drop(refused.get_or_insert(denial)),
            }
        }
        Err(refused.unwrap_or_else(|| Box::new(Denial::of(Reason::ContainerUnresolved))))
    }

    fn asked_by(&self, policy: &Policy, identified: &Identified<'_>) -> AskedBy {
        let secret_of = |known: &KnownCredential| match &known.proof {
            Proof::GateKey { scheme, upstream: Some(secret) } => Some((*scheme, secret.clone())),
            Proof::Client { upstream: Some(Replacement { scheme, secret: Some(secret) }), .. } => {
                Some((*scheme, secret.clone()))
            }
            Proof::GateKey { upstream: None, .. } | Proof::Token | Proof::ConnectJwt { .. } | Proof::Client { .. } => {
                None
            }
        };
        match &identified.rewrite {
            CredentialRewrite::Replace { scheme, secret: Some(secret), .. } => {
                return AskedBy::Secret { scheme: *scheme, secret: (*secret).clone() };
            }
            CredentialRewrite::PassThrough if !identified.url_signed && self.request.authorization().is_some() => {
                return AskedBy::Caller;
            }
            CredentialRewrite::PassThrough | CredentialRewrite::Replace { secret: None, .. } => {}
        }
        let credentials = policy.product(self.product.id).map(|product| &product.credentials);
        let (app, installation) = (identified.credential.app, identified.credential.installation);
        let others = credentials.into_iter().flat_map(|all| all.all());
        let of_installation = others.filter(|known| known.app == app && known.installation == installation);
        let sendable = of_installation.filter_map(|known| Some((known.kind, &known.file, secret_of(known)?)));
        // Whichever it is, always the same one.
        let chosen = sendable.min_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
        chosen.map_or(AskedBy::Tenant, |(_, _, (scheme, secret))| AskedBy::Secret { scheme, secret })
    }

    fn prefix(&self) -> Box<str> {
        let Some(tenant) = self.base_tenant else { return Box::default() };
        let written = self.gate.catalog.tenant_bases.iter().map(|base| base.replace("{tenant}", tenant));
        let stands =
            |base: &String| self.request.path.strip_prefix(base.as_str()).is_some_and(|rest| rest.starts_with('/'));
        written.into_iter().find(stands).unwrap_or_default().into()
    }
}

/// What of a container is known without asking.
fn known_of(container: &ContainerRef<'_>) -> Home {
    let text = |text: &Cow<'_, str>| Some(Box::from(&**text));
    match &container.name {
        ContainerName::Id(id) => Home { id: text(id), key: None, is_word: false },
        ContainerName::Hint(key) => Home { id: None, key: text(key), is_word: false },
        ContainerName::Name(_)
        | ContainerName::Word(_)
        | ContainerName::Prefix(_)
        | ContainerName::Around { .. }
        | ContainerName::Found(_)
        | ContainerName::Unknown => Home { id: None, key: None, is_word: false },
    }
}

pub(super) fn list(containers: Vec<ContainerRef<'_>>) -> Option<ContainerList<'_>> {
    let mut containers = containers.into_iter();
    let mut list = ContainerList::one(containers.next()?);
    containers.for_each(|container| list.push(container));
    Some(list)
}

impl Asking<'_> {
    fn lack(&mut self, thing: Thing) {
        // Of one more than are asked about nothing is asked: the rest need not be told apart.
        if self.lacks.len() <= THINGS_MAX && !self.lacks.contains(&thing) {
            self.lacks.push(thing);
        }
    }
}
