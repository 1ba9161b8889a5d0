//! The sockets of a gate: bound once for each worker before any of them runs, so that a port that is taken is an
//! error at the start.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::connection::Accepted;
use super::limits::BACKLOG;

/// Where a gate listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The sockets of one gate, one for each worker, and their real address.
#[derive(Debug)]
pub struct Bound {
    pub address: ListenAddress,
    pub(super) sockets: Vec<BoundSocket>,
}

/// One worker's socket, not yet on its runtime.
#[derive(Debug)]
pub enum BoundSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// Binds `address` once for each of `workers`.
pub fn bind(address: &ListenAddress, workers: usize) -> io::Result<Bound> {
    match address {
        ListenAddress::Tcp(address) => bind_tcp(*address, workers),
        ListenAddress::Unix(path) => bind_unix(path, workers),
    }
}

fn bind_tcp(wanted: SocketAddr, workers: usize) -> io::Result<Bound> {
    if wanted.port() != 0 {
        // With SO_REUSEPORT a second gate of the same user would share the port in silence, and half the requests
        // would be judged by another policy. Without it, binding tells.
        drop(tcp_socket(wanted, false)?);
    }
    let mut address = wanted;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 0..workers {
        let socket = tcp_socket(address, true)?;
        address = socket.local_addr()?;
        sockets.push(BoundSocket::Tcp(socket));
    }
    Ok(Bound { address: ListenAddress::Tcp(address), sockets })
}

fn tcp_socket(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_unix(path: &Path, workers: usize) -> io::Result<Bound> {
    remove_stale(path)?;
    let first = std::os::unix::net::UnixListener::bind(path)?;
    first.set_nonblocking(true)?;
    let mut sockets = Vec::with_capacity(workers);
    for _ in 1..workers {
        sockets.push(BoundSocket::Unix(first.try_clone()?));
    }
    sockets.push(BoundSocket::Unix(first));
    Ok(Bound { address: ListenAddress::Unix(path.to_path_buf()), sockets })
}

/// Removes the socket that a gate left behind when it was killed. One that is still listened on stays, and so does
/// whatever is not a socket: binding then fails.
fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        _ => Ok(()),
    }
}

/// A listening socket on its worker's runtime.
#[derive(Debug)]
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Must be called within the worker's runtime.
    pub fn start(socket: BoundSocket) -> io::Result<Self> {
        match socket {
            BoundSocket::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            BoundSocket::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    pub async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // A small answer must not wait for the client's delayed acknowledgement.
                stream.set_nodelay(true)?;
                Ok(Accepted::Tcp(stream, address))
            }
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_an_error_although_workers_share_theirs() {
        let any = ListenAddress::Tcp("127.0.0.1:0".parse().expect("an address"));
        let bound = bind(&any, 2).expect("two sockets on one port");
        assert_eq!(bound.sockets.len(), 2);
        let error = bind(&bound.address, 2).expect_err("the port is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_or_a_file_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let address = ListenAddress::Unix(folder.path().join("gate.sock"));
        let bound = bind(&address, 2).expect("bound");
        bind(&address, 1).expect_err("somebody listens there");
        drop(bound);
        bind(&address, 1).expect("the stale one is replaced");

        let file = folder.path().join("file");
        std::fs::write(&file, "kept").expect("written");
        bind(&ListenAddress::Unix(file.clone()), 1).expect_err("a file is no socket");
        assert!(file.exists());
    }
}
