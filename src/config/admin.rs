//! From the mirror to the model: the admin listener. What guards one kind of listener is an error beside the other:
//! ignored, it would guard nothing.

use super::address::is_host;
use super::check::Context;
use super::file::admin::{AdminMirror, AdminTlsMirror, ClientMirror, PeerMirror, SocketMirror};
use super::model::admin::{Admin, AdminTls, CertificateName, Clients, Guard, PeerName, Role, SocketGuard, TcpGuard};
use super::model::{Listen, ServerTls};
use crate::problem::{At, Spanned};
use crate::yaml::field::{Field, Id, List};

/// Owner and group may connect.
const MODE: u32 = 0o660;
/// A list that nobody reads through guards nothing.
const NAMES_MAX: usize = 1_000;

pub fn admin(context: &Context<'_>, mirror: AdminMirror, at: At) -> Option<(Admin, At)> {
    let help = "write a socket such as unix:/run/scopegate/admin.sock";
    let written = context.required(mirror.listen, at, "`admin` lacks `listen`", help)?;
    let listen = context.listen(&written)?;
    let guard = match &listen {
        Listen::Unix(_) => {
            let keys = [(mirror.token.at(), "token"), (mirror.tls.at(), "tls"), (mirror.hosts.at(), "hosts")];
            misplaced(context, keys, "TCP", "write `socket` and `peers` for a Unix socket");
            Guard::Socket(socket(context, mirror.socket, mirror.peers))
        }
        Listen::Tcp(_) => {
            let keys = [(mirror.socket.at(), "socket"), (mirror.peers.at(), "peers"), (None, "")];
            misplaced(context, keys, "a Unix socket", "write `token` or `tls` for TCP");
            let has_token = !mirror.token.is_absent();
            let token = mirror.token.into_spanned().and_then(|token| {
                let help = "write the path of a file with the token";
                context.required(token.value.file, token.at, "`token` lacks `file`", help)
            });
            let tls_at = mirror.tls.at();
            let tls = mirror.tls.into_spanned().and_then(|tls| tls_of(context, tls));
            let knows_clients = tls.as_ref().is_some_and(|tls| tls.clients.is_some());
            // What is broken in `tls` was said.
            let broken = tls_at.is_some() && tls.is_none();
            if !has_token && !knows_clients && !broken {
                let help = "add `token: {file: ...}`, or `client_ca` and `clients` under `tls`, or use a Unix socket: \
                            on loopback too, any process beside it could ask";
                context.error(written.at, "`admin` on TCP lacks `token`", help);
            }
            let token = token.map(|file| context.folder.join(file.value.0));
            Guard::Tcp(TcpGuard { token, tls, hosts: hosts(context, mirror.hosts) })
        }
    };
    Some((Admin { listen, guard }, written.at))
}

fn misplaced(context: &Context<'_>, keys: [(Option<At>, &str); 3], belongs: &str, help: &str) {
    for (at, key) in keys {
        if let Some(at) = at {
            context.error(at, format!("`{key}` guards {belongs}, and nothing here"), help);
        }
    }
}

fn socket(context: &Context<'_>, field: Field<SocketMirror>, peers: Field<List<PeerMirror>>) -> SocketGuard {
    let written = field.into_value().unwrap_or_default();
    let has_peers = !peers.is_absent();
    let mode = written.mode.into_spanned().map_or(MODE, |mode| mode_of(context, &mode, has_peers));
    SocketGuard { mode, gid: written.gid.into_value(), peers: peers.into_spanned().map(|list| peers_of(context, list)) }
}

fn mode_of(context: &Context<'_>, Spanned { value: Id(text), at }: &Spanned<Id>, has_peers: bool) -> u32 {
    let octal = text.strip_prefix("0o").unwrap_or(text);
    let mode = u32::from_str_radix(octal, 8).ok().filter(|mode| mode & !0o666 == 0 && octal.len() <= 4);
    let Some(mode) = mode else {
        context.error(*at, format!("`{text}` is no mode of a socket"), "write it in octal, such as 0600 or 0660");
        return MODE;
    };
    if mode & 0o006 != 0 && !has_peers {
        let help = "add `peers`, or write a mode that ends in 0";
        context.error(*at, "every user of this machine would be an admin", help);
    }
    mode
}

fn peers_of(context: &Context<'_>, list: Spanned<List<PeerMirror>>) -> Vec<(PeerName, Role)> {
    bounded(context, list.value.len(), list.at, "`peers`");
    let of = |Spanned { value: peer, at }: Spanned<PeerMirror>| {
        let role = role(context, peer.role, at);
        let name = match (peer.uid.into_value(), peer.gid.into_value()) {
            (Some(uid), None) => Some(PeerName::Uid(uid)),
            (None, Some(gid)) => Some(PeerName::Gid(gid)),
            (Some(_), Some(_)) | (None, None) => None,
        };
        if name.is_none() {
            context.error(at, "a peer is one `uid` or one `gid`", "write a number, and a second line for another");
        }
        Some((name?, role?))
    };
    list.value.into_iter().filter_map(Field::into_spanned).filter_map(of).collect()
}

fn tls_of(context: &Context<'_>, Spanned { value: mirror, at }: Spanned<AdminTlsMirror>) -> Option<AdminTls> {
    let clients = clients(context, mirror.client_ca, mirror.clients, at);
    let certificate =
        context.required(mirror.certificate, at, "`tls` lacks `certificate`", "write the path of a PEM file");
    let key = context.required(mirror.key, at, "`tls` lacks `key`", "write the path of a PEM file");
    let path = |written: Spanned<Id>| context.folder.join(written.value.0);
    Some(AdminTls { pair: ServerTls { certificate: path(certificate?), key: path(key?) }, clients: clients? })
}

/// `None`: what is written is broken. `Some(None)`: nobody's certificate is asked for.
fn clients(context: &Context<'_>, ca: Field<Id>, names: Field<List<ClientMirror>>, at: At) -> Option<Option<Clients>> {
    if ca.is_absent() && names.is_absent() {
        return Some(None);
    }
    let help = "write both: who signs the certificates, and what each of their holders may do";
    let ca = context.required(ca, at, "`clients` stands without `client_ca`", help);
    let list = context.required(names, at, "`client_ca` stands without `clients`", help)?;
    bounded(context, list.value.len(), list.at, "`clients`");
    let written = list.value.len();
    let names: Vec<_> =
        list.value.into_iter().filter_map(Field::into_spanned).filter_map(|one| client(context, one)).collect();
    let ca = context.folder.join(ca?.value.0);
    (names.len() == written).then_some(Some(Clients { ca, names }))
}

fn client(context: &Context<'_>, one: Spanned<ClientMirror>) -> Option<(CertificateName, Role)> {
    let Spanned { value: ClientMirror { uri, dns, common_name, role: written }, at } = one;
    let role = role(context, written, at);
    let written = [
        uri.into_value().map(|Id(uri)| CertificateName::Uri(uri)),
        dns.into_value().map(|Id(dns)| CertificateName::Dns(dns.to_ascii_lowercase())),
        common_name.into_value().map(|Id(name)| CertificateName::CommonName(name)),
    ];
    let mut names = written.into_iter().flatten();
    let (Some(name), None) = (names.next(), names.next()) else {
        let help = "write one of `uri`, `dns` and `common_name`, and a second line for another name";
        context.error(at, "a client is told by one name", help);
        return None;
    };
    Some((name, role?))
}

fn role(context: &Context<'_>, field: Field<Role>, at: At) -> Option<Role> {
    context.required(field, at, "the role is missing", "write viewer, approver or admin").map(|role| role.value)
}

fn bounded(context: &Context<'_>, length: usize, at: At, key: &str) {
    if length == 0 {
        context.error(at, format!("an empty {key} lets nobody in"), "name somebody, or delete it");
    } else if length > NAMES_MAX {
        context.error(at, format!("{key} has at most {NAMES_MAX} entries"), "name a group instead of its members");
    }
}

fn hosts(context: &Context<'_>, field: Field<List<Id>>) -> Vec<String> {
    let Some(list) = field.into_spanned() else { return Vec::new() };
    bounded(context, list.value.len(), list.at, "`hosts`");
    let of = |Spanned { value: Id(text), at }: Spanned<Id>| {
        let host = text.to_ascii_lowercase();
        if !is_host(&host) {
            context.error(at, format!("`{text}` is no host"), "write the name alone, without scheme and port");
        }
        host
    };
    list.value.into_iter().filter_map(Field::into_spanned).map(of).collect()
}
