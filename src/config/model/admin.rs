//! Who may use the admin listener, and what each may do there.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Listen, ServerTls};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    pub listen: Listen,
    pub guard: Guard,
}

/// What tells who asks. Each kind of listener has its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    Socket(SocketGuard),
    Tcp(TcpGuard),
}

/// A Unix socket: its file says who may connect, and the kernel says who did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketGuard {
    /// Of the socket's file.
    pub mode: u32,
    /// The group that the file is given. `None`: the gate's own.
    pub gid: Option<u32>,
    /// The first that matches counts. `None`: whoever may connect is an admin.
    pub peers: Option<Vec<(PeerName, Role)>>,
}

/// TCP: at least one of `token` and `tls.clients` is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpGuard {
    /// The file with the bearer tokens.
    pub token: Option<PathBuf>,
    pub tls: Option<AdminTls>,
    /// Names under which the listener may be asked besides its address, in lower case and without port.
    pub hosts: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminTls {
    pub pair: ServerTls,
    pub clients: Option<Clients>,
}

/// Whose certificates count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clients {
    /// A PEM file with the authorities that may have signed them.
    pub ca: PathBuf,
    /// The first that matches counts; never empty.
    pub names: Vec<(CertificateName, Role)>,
}

/// A user of this machine, as the kernel names who connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerName {
    Uid(u32),
    /// The primary group of the process.
    Gid(u32),
}

/// A name in a client's certificate, compared whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateName {
    /// Of the subject alternative names.
    Uri(String),
    /// Of the subject alternative names, in lower case.
    Dns(String),
    /// The subject's only common name.
    CommonName(String),
}

/// What somebody may do. `Right` says it one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Reads, and takes away: an incident need not wait for an admin.
    Approver,
    /// Everything.
    Admin,
}

impl Role {
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Approver, Self::Admin];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Approver => "approver",
            Self::Admin => "admin",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}
