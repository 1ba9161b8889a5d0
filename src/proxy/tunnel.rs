//! A WebSocket that was opened: bytes in both directions until either side ends it. Memory is flat, the form of the
//! frames is checked, and a tunnel on which nothing moves ends.

mod frames;

use std::cell::Cell;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::{Instant, sleep_until, timeout};

use super::limits::Limits;
use super::streams::Ending;
use super::upstream::Switched;
use super::websocket::Agreed;
use crate::authz::Reason;
use frames::{Frames, HEAD_BYTES_MAX};

/// Bytes that wait in one direction: two messages of a chat, one round of a busy feed.
const BUFFER_BYTES: usize = 16 * 1024;

/// Why we close (RFC 6455 §7.4.1).
const CLOSE_GOING_AWAY: u16 = 1001;
const CLOSE_PROTOCOL_ERROR: u16 = 1002;
const CLOSE_POLICY_VIOLATION: u16 = 1008;

/// How long the farewell of a tunnel that was cut may take: a part of the second of law 8.
const CUT_MAX: Duration = Duration::from_millis(250);

/// The upstream's end of a WebSocket, waiting for the client's.
#[derive(Debug)]
pub struct Tunnel {
    upstream: Switched,
    agreed: Agreed,
    /// Told when the tunnel ends.
    ending: Option<Ending>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Upstream,
}

/// How a tunnel ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Closed,
    /// Nothing moved, or one side took nothing.
    TooSlow,
    /// This side sent a frame that may not be. It was not passed on.
    Malformed(Side),
    /// The gate goes away.
    Draining,
    /// It is no longer permitted.
    Cut,
}

impl Over {
    /// What the log says of a tunnel that the upstream ended wrongly. What the client did is counted.
    fn told(self) -> Option<&'static str> {
        match self {
            Self::Malformed(Side::Upstream) => Some("the upstream sent a WebSocket frame of wrong form"),
            Self::Malformed(Side::Client) | Self::Closed | Self::TooSlow | Self::Draining | Self::Cut => None,
        }
    }
}

impl Tunnel {
    pub fn new(upstream: Switched, agreed: Agreed) -> Self {
        Self { upstream, agreed, ending: None }
    }

    pub fn tells(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }

    /// Passes frames until the end. `ahead`: what the client sent behind its request; `closing`: the gate goes away.
    pub async fn run<C>(self, client: C, ahead: Bytes, limits: &Limits, closing: impl Future<Output = ()>) -> Over
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { upstream, agreed, mut ending } = self;
        let Switched { io, ahead: upstream_ahead, counted: _counted } = upstream;
        let (mut from_client, mut to_client) = split(client);
        let (mut from_upstream, mut to_upstream) = split(io);
        let alive = Alive {
            moved: Cell::new(Instant::now()),
            idle: limits.stream_timeout,
            write: limits.write_timeout,
            linger: limits.linger_timeout,
        };
        let mut up = Way::new(Frames::of_client(agreed.deflate), ahead, Side::Client);
        let mut down = Way::new(Frames::of_server(agreed.deflate), upstream_ahead, Side::Upstream);
        let over = {
            let passing = async {
                let mut upwards = pin!(up.pass(&mut from_client, &mut to_upstream, &alive));
                let mut downwards = pin!(down.pass(&mut from_upstream, &mut to_client, &alive));
                tokio::select! {
                    over = &mut upwards => rest(over, downwards, limits.linger_timeout).await,
                    over = &mut downwards => rest(over, upwards, limits.linger_timeout).await,
                    () = alive.ended() => Over::TooSlow,
                    () = closing => Over::Draining,
                }
            };
            tokio::select! {
                // First: nothing passes once it is cut.
                biased;
                () = cut(ending.as_ref()) => Over::Cut,
                over = passing => over,
            }
        };
        // The upstream hears no farewell: it must not take what it has for the whole.
        drop((from_upstream, to_upstream));
        let may_speak = down.may_speak();
        let last_words = match over {
            Over::Cut => farewell(CLOSE_POLICY_VIOLATION, ending.as_ref().and_then(Ending::reason)),
            Over::Malformed(Side::Client) => farewell(CLOSE_PROTOCOL_ERROR, None),
            Over::Draining | Over::Malformed(Side::Upstream) => farewell(CLOSE_GOING_AWAY, None),
            Over::Closed | Over::TooSlow => Vec::new(),
        };
        let patience = if over == Over::Cut { CUT_MAX } else { limits.linger_timeout };
        let mut has_spoken = false;
        if may_speak && !last_words.is_empty() {
            // Whether the client still hears it is its own affair.
            has_spoken = timeout(patience, to_client.write_all(&last_words)).await.is_ok();
        }
        if let (Some(ending), Some(why)) = (&mut ending, over.told()) {
            ending.failed(&why);
        }
        drop(ending);
        // An end in the midst of a frame must not look like one.
        if has_spoken || over != Over::Cut {
            let _ = timeout(limits.linger_timeout, to_client.shutdown()).await;
        }
        over
    }
}

/// Returns when the request that opened the tunnel is no longer permitted.
async fn cut(ending: Option<&Ending>) {
    match ending {
        Some(ending) => ending.open().cut().await,
        None => std::future::pending().await,
    }
}

/// A close frame of our own (RFC 6455 §5.5.1), without a mask as a server's are.
fn farewell(code: u16, reason: Option<Reason>) -> Vec<u8> {
    let reason = reason.map_or("", Reason::as_str);
    // The longest code is far below the 123 bytes that fit.
    let length = u8::try_from(2 + reason.len()).unwrap_or(2);
    let text = reason.get(..usize::from(length) - 2).unwrap_or_default();
    [&[0x88, length], &code.to_be_bytes()[..], text.as_bytes()].concat()
}

/// One direction ended in order: the other may still say its own farewell.
async fn rest(over: Over, other: impl Future<Output = Over>, linger: Duration) -> Over {
    match over {
        Over::Closed => timeout(linger, other).await.unwrap_or(Over::Closed),
        over => over,
    }
}

/// When something last moved, in either direction.
struct Alive {
    moved: Cell<Instant>,
    idle: Duration,
    write: Duration,
    linger: Duration,
}

impl Alive {
    /// Returns when nothing has moved for too long.
    async fn ended(&self) {
        loop {
            let end = self.moved.get() + self.idle;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }
}

/// One direction.
struct Way {
    frames: Frames,
    /// What came and may not pass yet: at first what came ahead, later the beginning of a head.
    held: Vec<u8>,
    sender: Side,
    /// Bytes are being written that may be cut anywhere.
    is_writing: bool,
}

impl Way {
    fn new(frames: Frames, ahead: Bytes, sender: Side) -> Self {
        Self { frames, held: ahead.into(), sender, is_writing: false }
    }

    /// True between two frames, and before a close frame.
    fn may_speak(&self) -> bool {
        !self.is_writing && self.frames.may_follow()
    }

    async fn pass<R, W>(&mut self, from: &mut ReadHalf<R>, to: &mut WriteHalf<W>, alive: &Alive) -> Over
    where
        R: AsyncRead,
        W: AsyncWrite,
    {
        loop {
            let Ok(passing) = self.frames.check(&self.held) else { return Over::Malformed(self.sender) };
            if passing > 0 {
                self.is_writing = true;
                match timeout(alive.write, write(to, self.held.get(..passing).unwrap_or_default())).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Over::Closed,
                    Err(_) => return Over::TooSlow,
                }
                self.is_writing = false;
                self.held.drain(..passing);
                alive.moved.set(Instant::now());
            }
            debug_assert!(self.held.len() < HEAD_BYTES_MAX, "only the beginning of a head is held back");
            self.held.reserve_exact(BUFFER_BYTES.saturating_sub(self.held.len()));
            match from.read_buf(&mut self.held).await {
                Ok(0) | Err(_) => {
                    // A client's side waits for the client to close as well: not for ever.
                    let _ = timeout(alive.linger, to.shutdown()).await;
                    return Over::Closed;
                }
                Ok(_) => alive.moved.set(Instant::now()),
            }
        }
    }
}

async fn write<W: AsyncWrite>(to: &mut WriteHalf<W>, bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}
