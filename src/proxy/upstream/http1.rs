//! One request over a connection of HTTP/1.1 that it has for itself, driven by hyper: one with a body, or one that asks
//! for another protocol.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, request};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tokio::task::spawn_local;
use tokio::time::Instant;

use super::super::body::{Body, RequestBody};
use super::super::counters::{IoCounters, Open, PanicWatch, UpstreamSide};
use super::super::limits::{ANSWER_BUFFER_BYTES, HEADERS_MAX_OF_HYPER, Limits};
use super::super::source::Source;
use super::super::transport::Transport;
use super::super::tunnel::Tunnel;
use super::super::websocket::Handshake;
use super::gate::{Gate, GatedIo, Payload};
use super::pool::{Http1Lease, Lease, Place, Pool};
use super::{Failure, SendError, accept};

/// A connection that left HTTP, and what came on it already.
#[derive(Debug)]
pub struct Switched {
    pub io: GatedIo<Transport>,
    pub ahead: Bytes,
    /// It is a connection of the upstream's for as long as it is open.
    pub counted: (Open<Place>, Open<UpstreamSide>),
}

/// Hands a connection, on which nothing came, to hyper.
pub(super) async fn open(
    io: GatedIo<Transport>,
    gate: &Rc<Gate>,
    counted: (Open<Place>, Open<UpstreamSide>),
    counters: &Arc<IoCounters>,
    limits: &Limits,
) -> Result<SendRequest<Payload>, hyper::Error> {
    let mut protocol = http1::Builder::new();
    protocol.max_header_size(limits.header_bytes_max).max_buf_size(ANSWER_BUFFER_BYTES);
    if limits.headers_max != HEADERS_MAX_OF_HYPER {
        protocol.max_headers(limits.headers_max);
    }
    let (sender, mut connection) = protocol.handshake(TokioIo::new(io)).await?;
    let (gate, watch) = (Rc::clone(gate), PanicWatch(Arc::clone(counters)));
    spawn_local(async move {
        let _watch = watch;
        // How it ended is told to the request on it, if there was one.
        let _ = (&mut connection).await;
        if let Some(tell) = gate.switched() {
            let parts = connection.into_parts();
            // Whoever asked may have gone: then the connection goes as well.
            let _ = tell.send(Switched { io: parts.io.into_inner(), ahead: parts.read_buf, counted });
        }
    });
    Ok(sender)
}

pub(super) async fn exchange(
    mut lease: Http1Lease,
    generation: u64,
    head: request::Parts,
    body: RequestBody,
    handshake: Option<&Handshake>,
    pool: &Pool,
) -> Result<Response<Body>, Failure> {
    let limits = pool.limits();
    let gate = Rc::clone(lease.gate());
    if gate.has_moved(generation) {
        lease.give_back();
        return Err(Failure::Moved(body));
    }
    // Boxed: it is done once for a connection, and its state would else be room in every request.
    if lease.direct().is_some() && !Box::pin(lease.through_hyper(pool)).await {
        return Err(Failure::Unsent(body, super::direct::Broken::Closed.into()));
    }
    gate.arm(generation);
    let switching = handshake.map(|handshake| (handshake, gate.await_switch()));
    let (payload, keeper) = Payload::new(body, &gate);
    let Some(sender) = lease.sender() else {
        return Err(Failure::Unsent(keeper.take_back(), super::direct::Broken::Closed.into()));
    };
    let answer = sender.try_send_request(Request::from_parts(head, payload));
    let mut answer = pin!(answer);
    loop {
        let deadline = gate.progress() + limits.response_timeout;
        match pool.timers().until(deadline, answer.as_mut()).await {
            Ok(Ok(response)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                return switch(response, switching).await.map_err(|why| Failure::Final(SendError::Switched(why)));
            }
            Ok(Ok(response)) => {
                gate.switches_no_more();
                let (head, body) = response.into_parts();
                return Ok(accept(head, Source::Http1(body), Lease::Http1(lease), limits));
            }
            Ok(Err(mut error)) => {
                // hyper gives back what it did not take; the keeper has what it took and the gate held.
                drop(error.take_message());
                return Err(keeper.blame(&gate, error.into_error().into()));
            }
            // The body is still on its way: a slow client has its own bound, and a busy upload is progress.
            Err(_) if gate.progress() + limits.response_timeout > Instant::now() => {}
            Err(_) if keeper.waits_for_the_client() => gate.note_progress(),
            Err(_) => return Err(Failure::Final(SendError::ResponseTimeout)),
        }
    }
}

/// Takes the connection over from hyper, if the upstream opened what it was asked for.
async fn switch(
    response: Response<Incoming>,
    switching: Option<(&Handshake, oneshot::Receiver<Switched>)>,
) -> Result<Response<Body>, &'static str> {
    let (handshake, switched) = switching.ok_or("nobody asked for it")?;
    let (mut head, _) = response.into_parts();
    let agreed = handshake.opened(&mut head.headers)?;
    head.extensions.clear();
    let switched = switched.await.map_err(|_| "it broke off")?;
    Ok(Response::from_parts(head, Body::Tunnel(Box::new(Tunnel::new(switched, agreed)))))
}
