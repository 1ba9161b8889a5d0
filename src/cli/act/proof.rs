//! What a command shows the admin listener of a gate, so that it is let in; and how it knows that it is that gate.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use crate::cli::Failure;
use crate::cli::health::reachable;
use crate::config::model::Listen;
use crate::config::model::admin::{Admin, Guard, TcpGuard};
use crate::proxy::tls::showing_config;

/// For an admin listener on TCP. On a Unix socket the kernel says who asks.
#[derive(Debug, Clone, Default, Args)]
pub struct Proof {
    /// A file with your own token for the admin listener [default: the configuration's, where that holds one alone]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Your certificate for the admin listener, as PEM
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_certificate: Option<PathBuf>,
    /// Its private key, as PEM
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
    /// The authorities that the admin listener's own certificate comes from, as PEM [default: public ones]
    #[arg(long, value_name = "FILE")]
    pub gate_ca: Option<PathBuf>,
}

/// How a gate is reached.
pub struct Way {
    pub to: To,
    pub token: Option<String>,
}

pub enum To {
    Unix(PathBuf),
    Tcp(SocketAddr, Option<(Arc<ClientConfig>, ServerName<'static>)>),
}

impl Proof {
    /// The way to the admin listener of a configuration.
    ///
    /// # Errors
    /// What is to be shown cannot be read, or does not belong to such a listener.
    pub fn way(&self, admin: &Admin) -> Result<Way, Failure> {
        match (&admin.listen, &admin.guard) {
            (Listen::Unix(path), _) => {
                self.nothing("the gate is asked over a Unix socket, which tells it who you are")?;
                Ok(Way { to: To::Unix(path.clone()), token: None })
            }
            (Listen::Tcp(address), Guard::Tcp(guard)) => {
                let tls = self.tls(guard, *address)?;
                Ok(Way { to: To::Tcp(reachable(*address), tls), token: self.token(guard)? })
            }
            (Listen::Tcp(_), Guard::Socket(_)) => {
                Err(Failure::Other("the admin listener has no guard that a command knows".to_owned()))
            }
        }
    }

    fn nothing(&self, why: &str) -> Result<(), Failure> {
        let Self { token_file, client_certificate, client_key, gate_ca } = self;
        let shown = [
            (token_file, "--token-file"),
            (client_certificate, "--client-certificate"),
            (client_key, "--client-key"),
            (gate_ca, "--gate-ca"),
        ];
        match shown.into_iter().find(|(file, _)| file.is_some()) {
            Some((_, flag)) => Err(Failure::Usage(format!("{flag} has no use: {why}"))),
            None => Ok(()),
        }
    }

    /// One's own token; a certificate is enough where it is shown.
    fn token(&self, guard: &TcpGuard) -> Result<Option<String>, Failure> {
        if let Some(path) = &self.token_file {
            if guard.token.is_none() {
                let why =
                    "--token-file has no use: the admin listener takes certificates alone, see --client-certificate";
                return Err(Failure::Usage(why.to_owned()));
            }
            return one_token(path).map(Some);
        }
        match &guard.token {
            Some(path) if self.client_certificate.is_none() => one_token(path).map(Some),
            Some(_) => Ok(None),
            None if self.client_certificate.is_none() => {
                let why = "the admin listener takes certificates alone: show yours with --client-certificate and --client-key";
                Err(Failure::Usage(why.to_owned()))
            }
            None => Ok(None),
        }
    }

    fn tls(
        &self,
        guard: &TcpGuard,
        address: SocketAddr,
    ) -> Result<Option<(Arc<ClientConfig>, ServerName<'static>)>, Failure> {
        if guard.tls.is_none() {
            let why = "the admin listener speaks no TLS";
            return Self { token_file: None, ..self.clone() }.nothing(why).map(|()| None);
        }
        let roots = self.gate_ca.as_deref().map(read).transpose()?;
        let pair = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            _ => None,
        };
        let shown = pair.as_ref().map(|(certificate, key)| (&certificate[..], &key[..]));
        let config = showing_config(roots.as_deref(), shown).map_err(Failure::Other)?;
        // The name that its certificate is looked up by.
        let name = guard.hosts.first().map_or_else(|| reachable(address).ip().to_string(), Clone::clone);
        let name = ServerName::try_from(name).map_err(|error| Failure::Other(error.to_string()))?;
        Ok(Some((config, name)))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::Other(format!("{}: {error}", path.display())))
}

/// A file with one token. Of several, one is another's: whoever shows it acts in their name.
fn one_token(path: &Path) -> Result<String, Failure> {
    let text = String::from_utf8_lossy(&read(path)?).into_owned();
    let mut words = text.lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(str::split_whitespace);
    match (words.next(), words.next()) {
        (Some(token), None) => Ok(token.to_owned()),
        (None, _) => Err(Failure::Other(format!("{}: there is no token in it", path.display()))),
        (Some(_), Some(_)) => {
            let why =
                "holds the tokens of several people: write yours alone into a file, and name it with --token-file";
            Err(Failure::Other(format!("{}: it {why}", path.display())))
        }
    }
}
