//! What is made of the files of one set: a pair, roots, or what a proxy is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;
use rustls::RootCertStore;

use crate::authz::identity::keys::KeySet;
use crate::authz::policy::document::UpstreamScheme;
use crate::control::files::Contents;
use crate::control::secrets::secret_of;
use crate::metrics::Metrics;
use crate::problem::{At, Problem, file_name};
use crate::proxy::forward::authorization;
use crate::proxy::issuers::Keys;
use crate::proxy::tls::{AskingClients, Pair, PairFault, PemFault, Served, Trust, roots_of};
use crate::proxy::upstream::via::Authorization;

/// Something that a gate uses, and that its files can replace.
#[derive(Debug)]
pub struct Part {
    /// As metrics, log and `/readyz` say it: the gate, and the key of the configuration where it is not `tls`.
    pub name: String,
    pub kind: Kind,
}

#[derive(Debug)]
pub enum Kind {
    /// Made of chain and key.
    Certificate {
        served: Arc<Served>,
        /// Of the pair in use.
        expires_unix_s: i64,
    },
    Roots {
        trust: Arc<Trust>,
        with_public: bool,
    },
    /// The authorities of clients' certificates.
    Clients {
        asking: Arc<AskingClients>,
    },
    Authorization {
        shown: Arc<Authorization>,
        scheme: UpstreamScheme,
    },
    /// The keys of an issuer.
    Keys {
        keys: Arc<Keys>,
    },
}

impl Part {
    /// Puts what the files hold now in the place of what is in use, whole.
    ///
    /// # Errors
    /// They hold nothing that can be used. A certificate and roots then stay as they are; a credential does not
    /// outlive its file.
    pub fn take(&mut self, paths: &[PathBuf], contents: &[Contents]) -> Result<(), Problem> {
        match &mut self.kind {
            Kind::Certificate { served, expires_unix_s } => {
                let pair = pair_in(paths, contents)?;
                *expires_unix_s = pair.expires_unix_s;
                served.replace(pair);
            }
            Kind::Roots { trust, with_public } => {
                let roots = roots_in(paths, contents, *with_public)?;
                let unusable = |error: rustls::Error| problem(paths, 0, error.to_string(), "");
                trust.replace(roots).map_err(unusable)?;
            }
            Kind::Clients { asking } => {
                let roots = roots_in(paths, contents, false)?;
                asking.replace(roots).map_err(|error| problem(paths, 0, error.to_string(), ""))?;
            }
            Kind::Keys { keys } => keys.replace(keys_in(paths, contents)?, i64::MAX, i64::MAX),
            Kind::Authorization { shown, scheme } => match header_in(paths, contents, *scheme) {
                Ok(value) => shown.replace(Some(value)),
                Err(problem) => {
                    shown.replace(None);
                    return Err(problem);
                }
            },
        }
        Ok(())
    }

    /// Shows how it stands in the metrics.
    pub fn show(&self, metrics: &Metrics, problem: Option<&Problem>) {
        metrics.certificate_problem(&self.name, problem.is_some());
        if let Kind::Certificate { expires_unix_s, .. } = &self.kind {
            metrics.certificate(&self.name, *expires_unix_s as f64);
        }
    }

    /// One line of the log for what changed.
    pub fn tell(&self, problem: Option<&Problem>) {
        let name = &*self.name;
        let Some(problem) = problem else {
            tracing::info!(name, "taken anew from its files");
            return;
        };
        let meanwhile = match self.kind {
            Kind::Certificate { .. } | Kind::Roots { .. } | Kind::Clients { .. } | Kind::Keys { .. } => {
                "what was taken before stays in use"
            }
            Kind::Authorization { .. } => "no tunnel is opened until it can be taken",
        };
        let help = problem.help.as_deref().unwrap_or_default();
        tracing::error!(name, place = %problem.file.display(), help, "{}: {meanwhile}", problem.message);
    }
}

/// A chain and the key of its leaf, from the two files of a set.
pub fn pair_in(paths: &[PathBuf], contents: &[Contents]) -> Result<Pair, Problem> {
    const CHAIN: &str = "write the certificate and those that lead to its root as PEM, the gate's own first";
    const KEY: &str = "write the key of the certificate as PEM, without a password, for the gate's user to read";
    let chain = text(paths, contents, 0, "certificate", CHAIN)?;
    let key = text(paths, contents, 1, "private key", KEY)?;
    Pair::of_pem(chain, key).map_err(|fault| match fault {
        PairFault::Chain(fault) => found(paths, 0, "certificate", &fault, CHAIN),
        PairFault::Key(fault) => found(paths, 1, "private key", &fault, KEY),
        PairFault::Mismatch => {
            let chain = paths.first().map_or(Path::new(""), PathBuf::as_path).display();
            let help = "put both files of one pair there; the gate's own certificate stands first in its file";
            problem(paths, 1, format!("the private key is not that of the certificate in {chain}"), help)
        }
    })
}

/// The roots of the one file of a set, beside the public ones where `with_public`.
pub fn roots_in(paths: &[PathBuf], contents: &[Contents], with_public: bool) -> Result<RootCertStore, Problem> {
    const ROOTS: &str = "write the certificates of the authorities as PEM, one after the other";
    let text = text(paths, contents, 0, "list of roots", ROOTS)?;
    roots_of(text, with_public).map_err(|fault| found(paths, 0, "list of roots", &fault, ROOTS))
}

/// An issuer's keys, from the one file of a set.
pub fn keys_in(paths: &[PathBuf], contents: &[Contents]) -> Result<KeySet, Problem> {
    const KEYS: &str = "write the issuer's public keys as a JWK Set: {\"keys\": [...]}";
    let text = text(paths, contents, 0, "key set", KEYS)?;
    KeySet::parse(text).map_err(|fault| problem(paths, 0, format!("the key set {fault}"), KEYS))
}

/// What a proxy is shown, from the one file of a set.
pub fn header_in(paths: &[PathBuf], contents: &[Contents], scheme: UpstreamScheme) -> Result<HeaderValue, Problem> {
    let help = match scheme {
        UpstreamScheme::Basic => "write `user:password` into it, on one line",
        UpstreamScheme::Bearer => "write the token into it, on one line",
    };
    let text = text(paths, contents, 0, "proxy's credential", help)?;
    let secret = secret_of(text).map_err(|fault| problem(paths, 0, fault.to_string(), help))?;
    // RFC 7617 §2: without a colon there is no user.
    let has_user = !matches!(scheme, UpstreamScheme::Basic) || secret.bytes().contains(&b':');
    let value = authorization(scheme, &secret).filter(|_| has_user);
    value.ok_or_else(|| problem(paths, 0, "the proxy's credential is none of its scheme".to_owned(), help))
}

fn text<'c>(
    paths: &[PathBuf],
    contents: &'c [Contents],
    number: usize,
    what: &str,
    help: &str,
) -> Result<&'c [u8], Problem> {
    match contents.get(number) {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(why)) => Err(problem(paths, number, format!("the {what} {why}"), help)),
        None => Err(problem(paths, number, format!("the {what} was not read"), help)),
    }
}

fn found(paths: &[PathBuf], number: usize, what: &str, fault: &PemFault, help: &str) -> Problem {
    problem(paths, number, format!("the {what} {fault}"), help)
}

fn problem(paths: &[PathBuf], number: usize, message: String, help: &str) -> Problem {
    let file = paths.get(number).map(PathBuf::as_path).unwrap_or(Path::new(""));
    Problem::error(&file_name(file), At::default(), message).help(help)
}
