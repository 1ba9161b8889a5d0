//! A stub of a corporate proxy: it records what it is asked and what goes through it, and does what it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What to do with a request for a tunnel.
#[derive(Debug, Clone)]
pub enum Lead {
    /// Say 200, and pass bytes on in both directions.
    To(SocketAddr),
    /// The same, with these bytes for an answer.
    Saying(Vec<u8>, SocketAddr),
    /// Say this and keep the connection open.
    Nowhere(Vec<u8>),
    /// Say this and close.
    Close(Vec<u8>),
    /// Say this byte again and again, a little later each time.
    Dribble(Vec<u8>, u8),
}

impl Lead {
    pub fn saying(text: &str, address: SocketAddr) -> Self {
        Self::Saying(text.as_bytes().to_vec(), address)
    }

    pub fn nowhere(text: &str) -> Self {
        Self::Nowhere(text.as_bytes().to_vec())
    }

    pub fn close(text: &str) -> Self {
        Self::Close(text.as_bytes().to_vec())
    }
}

#[derive(Debug, Default)]
struct Log {
    connections: AtomicUsize,
    heads: Mutex<Vec<String>>,
    /// What came from clients after their heads.
    tunnelled: Mutex<Vec<u8>>,
}

/// The stub. Its thread ends with the test process.
#[derive(Debug)]
pub struct StubProxy {
    pub address: SocketAddr,
    log: Arc<Log>,
}

impl StubProxy {
    pub fn start(lead: impl Fn(&str) -> Lead + Send + Sync + 'static) -> Self {
        Self::serve(None, lead)
    }

    /// One that is spoken to over TLS.
    pub fn start_tls(config: Arc<ServerConfig>, lead: impl Fn(&str) -> Lead + Send + Sync + 'static) -> Self {
        Self::serve(Some(config), lead)
    }

    fn serve(tls: Option<Arc<ServerConfig>>, lead: impl Fn(&str) -> Lead + Send + Sync + 'static) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let log: Arc<Log> = Arc::default();
        let (shared, lead) = (Arc::clone(&log), Arc::new(lead));
        std::thread::spawn(move || {
            runtime.block_on(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    shared.connections.fetch_add(1, Ordering::SeqCst);
                    let (log, lead, tls) = (Arc::clone(&shared), Arc::clone(&lead), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => attend(stream, &log, &*lead).await,
                            Some(tls) => match TlsAcceptor::from(tls).accept(stream).await {
                                Ok(stream) => attend(stream, &log, &*lead).await,
                                Err(_) => None,
                            },
                        }
                    });
                }
            });
        });
        Self { address, log }
    }

    /// Connections ever accepted.
    pub fn connections(&self) -> usize {
        self.log.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.log.heads.lock().expect("the log").clone()
    }

    /// All that clients sent after their heads.
    pub fn tunnelled(&self) -> Vec<u8> {
        self.log.tunnelled.lock().expect("the log").clone()
    }
}

/// Serves one client. `None`: it went, or said nothing that could be answered.
async fn attend<T>(mut stream: T, log: &Log, lead: &(impl Fn(&str) -> Lead + ?Sized)) -> Option<()>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).trim_end().to_owned();
    let lead = lead(&head);
    log.heads.lock().expect("the log").push(head);
    match lead {
        Lead::To(address) => {
            stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
            relay(stream, address, log).await
        }
        Lead::Saying(text, address) => {
            stream.write_all(&text).await.ok()?;
            relay(stream, address, log).await
        }
        Lead::Nowhere(text) => {
            stream.write_all(&text).await.ok()?;
            drain(&mut stream, log).await
        }
        Lead::Close(text) => {
            stream.write_all(&text).await.ok()?;
            stream.shutdown().await.ok()
        }
        Lead::Dribble(first, again) => {
            stream.write_all(&first).await.ok()?;
            loop {
                stream.write_all(&[again]).await.ok()?;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

async fn relay<T: AsyncRead + AsyncWrite + Unpin>(mut client: T, address: SocketAddr, log: &Log) -> Option<()> {
    let mut upstream = TcpStream::connect(address).await.ok()?;
    let (mut up, mut down) = (vec![0; 16 * 1024], vec![0; 16 * 1024]);
    loop {
        tokio::select! {
            count = client.read(&mut up) => {
                let bytes = &up[..count.ok().filter(|count| *count > 0)?];
                log.tunnelled.lock().expect("the log").extend_from_slice(bytes);
                upstream.write_all(bytes).await.ok()?;
            }
            count = upstream.read(&mut down) => {
                client.write_all(&down[..count.ok().filter(|count| *count > 0)?]).await.ok()?;
                client.flush().await.ok()?;
            }
        }
    }
}

async fn drain<T: AsyncRead + Unpin>(client: &mut T, log: &Log) -> Option<()> {
    let mut space = vec![0; 16 * 1024];
    loop {
        let count = client.read(&mut space).await.ok().filter(|count| *count > 0)?;
        log.tunnelled.lock().expect("the log").extend_from_slice(&space[..count]);
    }
}
