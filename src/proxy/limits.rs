//! Every bound of the data plane's I/O in one place. The configuration maps onto it; nothing here is read from a request.

use std::time::Duration;

/// Bytes of bodies that are held to be judged, over all gates and workers. Each is bounded by `body_max`, but ten
/// thousand strangers may send one each: beyond this a request is refused for now.
pub const HELD_TOTAL_MAX: usize = 64 * 1024 * 1024;

/// Of these, what one app may take, and all callers together whose credential is still to come in the body: none of them
/// takes the room from all others.
pub const HELD_EACH_MAX: usize = HELD_TOTAL_MAX / 4;

/// Bounds in time, bytes and counts. `Default` is what a gate gets when its configuration is silent.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From accept, or from a request's first byte, to the end of its head.
    pub header_timeout: Duration,
    /// Between the end of an answer and the first byte of the next request.
    pub idle_timeout: Duration,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// How long a client may leave bytes of an answer untaken, in all; what it earns back is fixed by [`BODY_RATE_MIN`].
    pub write_timeout: Duration,
    /// How long a request body may pause; what a body earns back is fixed by [`BODY_RATE_MIN`].
    pub body_timeout: Duration,
    /// How long a closed connection is still read, so that the answer is not lost to a reset.
    pub linger_timeout: Duration,
    /// Open client connections of the whole process; one more is closed at once.
    pub connections_max: usize,
    /// Header fields in a request or an answer; more is 431, or a broken upstream.
    pub headers_max: usize,
    /// Bytes of a request's or an answer's head.
    pub header_bytes_max: usize,
    /// Bytes that a judged body may have; more is 413.
    pub body_max: usize,
    /// From the start of the hold to the end of a judged body.
    pub hold_timeout: Duration,
    /// From the end of a request's head to the head of its answer, whatever it waits for.
    pub request_timeout: Duration,
    /// Name look-up, connect, the proxy's answer and TLS handshakes together.
    pub connect_timeout: Duration,
    /// From the last byte of a request that the upstream took to the head of its answer.
    pub response_timeout: Duration,
    /// How long an answer's body may pause.
    pub stream_timeout: Duration,
    /// How long an unused upstream connection is kept.
    pub upstream_idle_timeout: Duration,
    /// Unused connections kept per upstream and worker.
    pub upstream_idle_max: usize,
    /// Open connections per upstream, over all workers.
    pub upstream_connections_max: usize,
    /// Requests that one client connection may carry; then it is asked to close.
    pub max_requests_per_connection: u32,
    /// After this long a client connection is asked to close, at the end of what is under way.
    pub max_connection_age: Duration,
    /// Requests under way on one HTTP/2 connection, on either side.
    pub http2_streams_max: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A head is one packet; ten seconds forgives a bad mobile link and starves a slowloris.
            header_timeout: Duration::from_secs(10),
            // Longer than the 60 s after which common SDK pools and load balancers drop their side,
            // so that it is not we who close under a request on its way.
            idle_timeout: Duration::from_secs(75),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(30),
            linger_timeout: Duration::from_secs(2),
            connections_max: 10_000,
            // hyper's own bound; a request with more is not from an SDK.
            headers_max: 100,
            // Room for a fat bearer token and cookies; nginx and Node stop at 32 and 16 KiB.
            header_bytes_max: 32 * 1024,
            body_max: 1024 * 1024,
            hold_timeout: Duration::from_secs(30),
            // Longer than any one of the waits below, so that those say what was slow.
            request_timeout: Duration::from_secs(5 * 60),
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(60),
            // Server-sent events ping at least once a minute as a rule; five leave room.
            stream_timeout: Duration::from_secs(300),
            // Shorter than the 60 s at which most servers close, so that few requests meet a closed one.
            upstream_idle_timeout: Duration::from_secs(45),
            upstream_idle_max: 64,
            upstream_connections_max: 1_000,
            // The kernel gives a connection to one worker for its life: both bounds let a busy client move on.
            max_requests_per_connection: 100_000,
            max_connection_age: Duration::from_secs(15 * 60),
            // What RFC 9113 §6.5.2 recommends as the least.
            http2_streams_max: 100,
        }
    }
}

/// Bytes per second that a body must reach in the long run. Below it, each pause of a request's body eats into
/// `body_timeout`, and each wait for a caller that does not take its answer into `write_timeout`.
pub const BODY_RATE_MIN: u32 = 256;

/// Bytes that hyper may buffer for one side of one connection: an answer is one or two writes, memory stays flat.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// Bytes that are read of an answer at once, where it comes that fast: a large answer takes half the turns, and half the
/// system calls. hyper begins with 8 KiB and goes there only while reads fill what it has. An answer that its caller does
/// not take keeps as much, and a piece of that size besides: twice this for each upstream connection at the most.
pub const ANSWER_BUFFER_BYTES: usize = 128 * 1024;

/// Header fields that hyper takes when it is told no number. Only then their places are on the stack: a number, be it this
/// one, costs some 5 % of a request.
pub const HEADERS_MAX_OF_HYPER: usize = 100;

/// Unread bytes that are thrown away after an answer, before the connection is closed hard.
pub const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Connections that wait in the kernel to be accepted.
pub const BACKLOG: i32 = 1024;

/// Bytes that an HTTP/2 client may send without a request or a piece of a body in either direction coming of it: a
/// flood of PING or SETTINGS ends the connection. A whole head with its continuations is far below it.
pub const QUIET_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of request bodies that one HTTP/2 stream may have on the way to us, unread (RFC 9113 §5.2).
pub const STREAM_WINDOW_BYTES: u32 = 128 * 1024;

/// The same for all streams of one client's connection. A client that takes no answers stops itself alone.
pub const CONNECTION_WINDOW_BYTES: u32 = 512 * 1024;

/// Bytes of an answer that one HTTP/2 stream of an upstream's may have on the way to us, unread. Less than the
/// [`ANSWER_BUFFER_BYTES`] that an unread answer of HTTP/1.1 may take, since so many share a connection.
pub const UPSTREAM_STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// The largest window that there is (RFC 9113 §6.9.1).
const WINDOW_BYTES_MAX: u32 = u32::MAX >> 1;

/// The same for all streams of one connection to an upstream. Callers share it, so it has room for as much as all of its
/// `streams` may have unread together: a caller that takes nothing of its answers never stops the others'. What may
/// wait unread in memory is this much for each connection, 6.25 MiB with 100 streams.
pub const fn upstream_connection_window_bytes(streams: u32) -> u32 {
    let bytes = streams.saturating_mul(UPSTREAM_STREAM_WINDOW_BYTES);
    if bytes < WINDOW_BYTES_MAX { bytes } else { WINDOW_BYTES_MAX }
}

/// Bytes of one header field (RFC 9113 §6.5.2: with 32 for each) beyond which a head shares no HTTP/2 connection to an
/// upstream: some servers end the whole connection over it, with everybody's requests on it. nginx takes 8 KiB, and
/// took 4 before 1.19.7.
pub const SHARED_FIELD_BYTES_MAX: usize = 4 * 1024;

/// The same for the head as a whole. nginx took 16 KiB before 1.19.7, and most servers take that much.
pub const SHARED_HEAD_BYTES_MAX: usize = 12 * 1024;

/// Requests with such a head that one worker has under way to one upstream over HTTP/2, each on a connection of its own.
/// More wait for as long as a connection may take: the connections of the others are not used up.
pub const LARGE_HEADS_MAX: usize = 32;

/// Requests that an HTTP/2 client may take back on one connection, as long as they are not more than half of all it
/// made: more is the rapid reset of CVE-2023-44487.
pub const RESETS_MAX: u32 = 100;

/// Streams that we may have to reset for errors of the client's on one connection (CVE-2025-8671).
pub const LOCAL_RESETS_MAX: usize = 100;
