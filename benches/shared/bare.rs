//! A proxy of hyper alone, which judges nothing: what any proxy of hyper must cost.

#![allow(dead_code, reason = "each bench uses its part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a bench may stop at the first surprise")]

use std::net::{SocketAddr, TcpListener as StdListener};

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Serves on this thread, single-threaded like a worker, for as long as `serve` runs.
pub fn run<F: Future<Output = ()> + 'static>(listener: StdListener, serve: impl FnOnce(TcpListener) -> F) {
    listener.set_nonblocking(true).expect("a socket");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async { serve(TcpListener::from_std(listener).expect("a listener")).await });
}

/// The same on a thread of its own. Returns where it listens.
pub fn spawn<F>(name: &str, serve: impl FnOnce(TcpListener) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + 'static,
{
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let run = move || run(listener, serve);
    std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread");
    address
}

/// Each connection gets a task of its own.
pub async fn accept<F: Future<Output = ()> + 'static>(listener: TcpListener, serve: impl Fn(TcpStream) -> F) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("no delay");
        spawn_local(serve(stream));
    }
}

/// One upstream connection for each of the client's, heads and bodies passed on.
pub async fn pass_through(stream: TcpStream, upstream: SocketAddr) {
    let onward = TcpStream::connect(upstream).await.expect("the upstream");
    onward.set_nodelay(true).expect("no delay");
    let (sender, connection) = client::handshake(TokioIo::new(onward)).await.expect("a handshake");
    spawn_local(async move { drop(connection.await) });
    let sender = std::rc::Rc::new(tokio::sync::Mutex::new(sender));
    let forward = service_fn(move |request: Request<Incoming>| {
        let sender = std::rc::Rc::clone(&sender);
        async move {
            let mut sender = sender.lock().await;
            sender.ready().await?;
            sender.send_request(request).await
        }
    });
    let _ = server::Builder::new().serve_connection(TokioIo::new(stream), forward).await;
}
