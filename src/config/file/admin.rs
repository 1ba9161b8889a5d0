//! The part of the configuration that says who may use the admin listener.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::model::admin::Role;
use crate::yaml::field::{Field, Id, List};

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "Admin", deny_unknown_fields, extend("required" = ["listen"]))]
pub struct AdminMirror {
    pub listen: Field<Id>,
    /// On TCP: bearer tokens.
    pub token: Field<TokenFileMirror>,
    /// On TCP: what is shown, and whose certificates count.
    pub tls: Field<AdminTlsMirror>,
    /// On TCP: names under which it is asked, besides its address and localhost.
    pub hosts: Field<List<Id>>,
    /// Of a Unix socket: mode and group of its file.
    pub socket: Field<SocketMirror>,
    /// On a Unix socket: who may do what. Without it, whoever may connect may do everything.
    pub peers: Field<List<PeerMirror>>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "TokenFile", deny_unknown_fields, extend("required" = ["file"]))]
pub struct TokenFileMirror {
    /// One token, an admin's; or a line for each: its name, its role, the token. Read again for each request.
    pub file: Field<Id>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "AdminTls", deny_unknown_fields, extend("required" = ["certificate", "key"]))]
pub struct AdminTlsMirror {
    pub certificate: Field<Id>,
    pub key: Field<Id>,
    /// A PEM file with the authorities that clients' certificates come from; read again when it changes.
    pub client_ca: Field<Id>,
    /// What the holder of a certificate may do. The first that matches counts.
    pub clients: Field<List<ClientMirror>>,
}

/// One of `uri`, `dns` and `common_name`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "AdminClient", deny_unknown_fields, extend("required" = ["role"]))]
pub struct ClientMirror {
    /// A URI among its alternative names: `spiffe://example.com/oncall`.
    pub uri: Field<Id>,
    /// A DNS name among its alternative names.
    pub dns: Field<Id>,
    /// The common name of its subject.
    pub common_name: Field<Id>,
    pub role: Field<Role>,
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "AdminSocket", deny_unknown_fields)]
pub struct SocketMirror {
    /// In octal: 0660 unless written.
    pub mode: Field<Id>,
    /// The group by its number: the gate's own unless written.
    pub gid: Field<u32>,
}

/// One of `uid` and `gid`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "AdminPeer", deny_unknown_fields, extend("required" = ["role"]))]
pub struct PeerMirror {
    pub uid: Field<u32>,
    /// The primary group of the process that connects.
    pub gid: Field<u32>,
    pub role: Field<Role>,
}
