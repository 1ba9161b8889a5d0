//! One request over a connection of HTTP/1.1 that it has for itself.

use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use http::{Request, Response, StatusCode, request};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::body::{Body, RequestBody};
use super::super::counters::{Open, UpstreamSide};
use super::super::source::Source;
use super::super::transport::Transport;
use super::super::tunnel::Tunnel;
use super::super::websocket::Handshake;
use super::gate::{GatedIo, Payload};
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
    gate.arm(generation);
    let switching = handshake.map(|handshake| (handshake, gate.await_switch()));
    let (payload, keeper) = Payload::new(body, &gate);
    let answer = lease.sender().try_send_request(Request::from_parts(head, payload));
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
                return Err(keeper.blame(&gate, error.into_error()));
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
