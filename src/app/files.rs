//! What gates take from files for TLS and proxies. At the start all of it is there and sound, or the gate does not
//! start. While it runs the files are read again: what cannot be taken then leaves in use what was taken before.

mod part;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::authz::policy::document::UpstreamScheme;
use crate::config::Config;
use crate::config::model::admin::{AdminTls, Guard};
use crate::config::model::{self, KeySource, Roots, ServerTls, UpstreamTls};
use crate::control::files::{Contents, FileSet, FileWatch, SETTLE};
use crate::control::folder::read::Unreadable;
use crate::control::health::Readiness;
use crate::metrics::Metrics;
use crate::problem::{At, Problem, Severity, file_name};
use crate::proxy::issuers::Keys;
use crate::proxy::tls::{AskingClients, Protocols, Served, Trust, UPSTREAM_PROTOCOLS, VIA_PROTOCOLS};
use crate::proxy::upstream::Tls;
use crate::proxy::upstream::via::{Authorization, Via};
use part::{Kind, Part, header_in, keys_in, pair_in, roots_in};

/// The files of all gates, and what was made of them.
#[derive(Debug)]
pub(super) struct Files {
    opened: Vec<(FileSet, Part)>,
    problems: Vec<Problem>,
    /// How bad a file is that cannot be read.
    unreadable: Severity,
}

/// What one gate took.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) served: Option<Arc<Served>>,
    pub(super) via: Option<Arc<Via>>,
    pub(super) lookups: Option<Arc<Authorization>>,
    /// Of each issuer, in the configuration's order.
    pub(super) keys: Vec<Arc<Keys>>,
    trusts: Vec<(Roots, Arc<Trust>)>,
}

impl Taken {
    /// The trust in these roots. Upstreams that name the same share it.
    pub(super) fn trust(&self, roots: &Roots) -> Option<Arc<Trust>> {
        self.trusts.iter().find(|(known, _)| known == roots).map(|(_, trust)| Arc::clone(trust))
    }
}

impl Files {
    pub(super) fn of_a_start() -> Self {
        Self { opened: Vec::new(), problems: Vec::new(), unreadable: Severity::Error }
    }

    /// Where a gate is only checked, its files may lie elsewhere.
    pub(super) fn of_a_check() -> Self {
        Self { unreadable: Severity::Warning, ..Self::of_a_start() }
    }

    /// Reads what a gate needs. `None`: some of it cannot be used, and the problems say what.
    pub(super) fn take(&mut self, gate: &model::Gate) -> Option<Taken> {
        let served = gate.tls.as_ref().map(|tls| self.certificate(&gate.name, tls));
        let trusts = self.trusts(gate);
        let via = gate.via.as_ref().map(|via| self.via(&gate.name, via));
        let lookups = gate.lookups.as_ref().and_then(|lookups| lookups.credential.as_ref());
        let lookups = lookups.map(|written| {
            self.authorization(format!("{}/lookups.credential", gate.name), written.scheme, &written.file)
        });
        let keys = self.keys(gate);
        // All are read before the first that is missing ends it, so that all problems are said at once.
        Some(Taken { served: had(served)?, via: had(via)?, lookups: had(lookups)?, keys: keys?, trusts: trusts? })
    }

    /// Reads what the admin listener of a configuration needs.
    ///
    /// # Errors
    /// Some of it cannot be used.
    pub(super) fn of_admin(&mut self, config: &Config) -> Result<Option<Arc<AskingClients>>, Vec<Problem>> {
        let Some(Guard::Tcp(guard)) = config.admin.as_ref().map(|admin| &admin.guard) else { return Ok(None) };
        let Some(tls) = &guard.tls else { return Ok(None) };
        let asking = self.admin(tls, guard.token.is_some());
        asking.map(Some).ok_or_else(|| self.problems.clone())
    }

    /// `optional`: who shows no certificate may show a token.
    fn admin(&mut self, tls: &AdminTls, optional: bool) -> Option<Arc<AskingClients>> {
        let served = self.certificate("admin/tls", &tls.pair);
        let authorities = tls.clients.as_ref().map(|clients| {
            let (set, contents) = FileSet::open(vec![clients.ca.clone()]);
            let roots = self.noted(&contents, roots_in(set.paths(), &contents, false))?;
            Some((set, roots))
        });
        // Both are read before the first that is missing ends it, so that all problems are said at once.
        let (served, authorities) = (served?, had(authorities)?);
        let (set, roots) = authorities.unzip();
        let asking = AskingClients::new(served, roots, optional).map_err(|error| unusual("admin", &error));
        let asking = self.noted(&[], asking)?;
        if let Some(set) = set {
            self.open(set, "admin/tls.client_ca".to_owned(), Kind::Clients { asking: Arc::clone(&asking) });
        }
        Some(asking)
    }

    pub(super) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn certificate(&mut self, gate: &str, files: &ServerTls) -> Option<Arc<Served>> {
        let (set, contents) = FileSet::open(vec![files.certificate.clone(), files.key.clone()]);
        let pair = self.noted(&contents, pair_in(set.paths(), &contents))?;
        let expires_unix_s = pair.expires_unix_s;
        let served = Served::new(pair);
        self.open(set, gate.to_owned(), Kind::Certificate { served: Arc::clone(&served), expires_unix_s });
        Some(served)
    }

    fn trusts(&mut self, gate: &model::Gate) -> Option<Vec<(Roots, Arc<Trust>)>> {
        let mut trusts: Vec<(Roots, Option<Arc<Trust>>)> = Vec::new();
        let upstreams = gate.tenants.iter().filter_map(|tenant| tenant.upstream.tls.as_ref());
        let elsewhere = gate.redirect_hosts.iter().map(|fixed| &fixed.roots);
        for roots in upstreams.map(|UpstreamTls { roots, .. }| roots).chain(elsewhere) {
            if !trusts.iter().any(|(known, _)| known == roots) {
                let name = format!("{}/upstream_tls.ca", gate.name);
                trusts.push((roots.clone(), self.trust(name, roots, UPSTREAM_PROTOCOLS)));
            }
        }
        let issuers = gate.keys.iter().filter_map(|keys| match keys {
            KeySource::File(_) => None,
            KeySource::Fetched(fetched) => fetched.from.tls.as_ref(),
        });
        for UpstreamTls { roots, .. } in issuers {
            if !trusts.iter().any(|(known, _)| known == roots) {
                let name = format!("{}/identify.keys.tls.ca", gate.name);
                trusts.push((roots.clone(), self.trust(name, roots, UPSTREAM_PROTOCOLS)));
            }
        }
        trusts.into_iter().map(|(roots, trust)| Some((roots, trust?))).collect()
    }

    /// The key sets of a gate's issuers: those in files as they are now, the others to be fetched.
    fn keys(&mut self, gate: &model::Gate) -> Option<Vec<Arc<Keys>>> {
        let all: Vec<Option<Arc<Keys>>> = gate.keys.iter().map(|source| self.keys_of(gate, source)).collect();
        all.into_iter().collect()
    }

    fn keys_of(&mut self, gate: &model::Gate, source: &KeySource) -> Option<Arc<Keys>> {
        let path = match source {
            KeySource::Fetched(fetched) => return Some(Keys::fetched(fetched.cool_down)),
            KeySource::File(path) => path,
        };
        let (set, contents) = FileSet::open(vec![path.clone()]);
        let keys = Keys::of_file(self.noted(&contents, keys_in(set.paths(), &contents))?);
        self.open(set, format!("{}/identify.keys.file", gate.name), Kind::Keys { keys: Arc::clone(&keys) });
        Some(keys)
    }

    fn trust(&mut self, name: String, roots: &Roots, protocols: Protocols) -> Option<Arc<Trust>> {
        let (path, with_public) = match roots {
            Roots::Public => return self.noted(&[], Trust::public(protocols).map_err(|error| unusual(&name, &error))),
            Roots::File(path) => (path, false),
            Roots::Both(path) => (path, true),
        };
        let (set, contents) = FileSet::open(vec![path.clone()]);
        let trust = roots_in(set.paths(), &contents, with_public)
            .and_then(|roots| Trust::new(roots, protocols).map_err(|error| unusual(&name, &error)));
        let trust = self.noted(&contents, trust)?;
        self.open(set, name, Kind::Roots { trust: Arc::clone(&trust), with_public });
        Some(trust)
    }

    fn via(&mut self, gate: &str, via: &model::Via) -> Option<Arc<Via>> {
        let tls = via.tls.as_ref().map(|tls| {
            let name = format!("{gate}/via.tls.ca");
            let trust = self.trust(name.clone(), &tls.roots, VIA_PROTOCOLS)?;
            self.noted(&[], Tls::of(&tls.server_name, trust).map_err(|error| unusual(&name, &error)))
        });
        let authorization = via
            .authorization
            .as_ref()
            .map(|written| self.authorization(format!("{gate}/via.authorization"), written.scheme, &written.file));
        Some(Arc::new(Via {
            host: via.host.clone(),
            port: via.port,
            tls: had(tls)?,
            authorization: had(authorization)?,
        }))
    }

    fn authorization(&mut self, name: String, scheme: UpstreamScheme, file: &Path) -> Option<Arc<Authorization>> {
        let (set, contents) = FileSet::open(vec![file.to_path_buf()]);
        let value = self.noted(&contents, header_in(set.paths(), &contents, scheme))?;
        let shown = Authorization::new(Some(value));
        let kind = Kind::Authorization { shown: Arc::clone(&shown), scheme };
        self.open(set, name, kind);
        Some(shown)
    }

    fn open(&mut self, set: FileSet, name: String, kind: Kind) {
        self.opened.push((set, Part { name, kind }));
    }

    fn noted<T>(&mut self, contents: &[Contents], read: Result<T, Problem>) -> Option<T> {
        let is_unread = contents.iter().any(|one| matches!(one, Err(Unreadable::Io(_))));
        let severity = if is_unread { self.unreadable } else { Severity::Error };
        read.map_err(|problem| self.problems.push(Problem { severity, ..problem })).ok()
    }

    /// From now on what changes is taken. `None`: there is no file.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(super) fn watch(self, metrics: &Arc<Metrics>, readiness: &Readiness) -> std::io::Result<Option<FileWatch>> {
        if self.opened.is_empty() {
            return Ok(None);
        }
        let (sets, parts): (Vec<FileSet>, Vec<Part>) = self.opened.into_iter().unzip();
        let paths: Vec<_> = sets.iter().map(|set| set.paths().to_vec()).collect();
        parts.iter().for_each(|part| part.show(metrics, None));
        let (metrics, readiness) = (Arc::clone(metrics), readiness.clone());
        let mut parts: Vec<_> = parts.into_iter().zip(paths).collect();
        let mut standing = BTreeMap::new();
        let on_change = move |number: usize, contents: Vec<Contents>| {
            let Some((part, paths)) = parts.get_mut(number) else { return };
            let problem = part.take(paths, &contents).err();
            part.show(&metrics, problem.as_ref());
            part.tell(problem.as_ref());
            match problem {
                Some(problem) => drop(standing.insert(part.name.clone(), format!("{}: {}", part.name, said(&problem)))),
                None => drop(standing.remove(&part.name)),
            }
            readiness.file_problems(standing.values().cloned().collect());
        };
        FileWatch::spawn(sets, SETTLE, on_change).map(Some)
    }
}

/// What is written must be had; what is not written need not.
fn had<T>(taken: Option<Option<T>>) -> Option<Option<T>> {
    match taken {
        Some(taken) => taken.map(Some),
        None => Some(None),
    }
}

fn said(problem: &Problem) -> String {
    format!("{}: {}", problem.file.display(), problem.message)
}

/// What the configuration rules out, and the types do not.
fn unusual(name: &str, error: &dyn std::fmt::Display) -> Problem {
    Problem::error(&file_name("start"), At::default(), format!("{name}: {error}"))
}
