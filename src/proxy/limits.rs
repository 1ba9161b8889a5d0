//! Every bound of the data plane's I/O in one place. The configuration maps onto it; nothing here is read from a request.

use std::time::Duration;

/// Bytes of bodies that are held to be judged, over all gates and workers. Each is bounded by `body_max`, but ten
/// thousand strangers may send one each: beyond this a request is refused for now.
pub const HELD_TOTAL_MAX: usize = 64 * 1024 * 1024;

/// Bounds in time, bytes and counts. `Default` is what a gate gets when its configuration is silent.
#[derive(Debug, Clone)]
pub struct Limits {
    /// From accept, or from a request's first byte, to the end of its head.
    pub header_timeout: Duration,
    /// Between the end of an answer and the first byte of the next request.
    pub idle_timeout: Duration,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// How long a client may leave bytes of an answer untaken.
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
    /// Name look-up, connect and TLS handshake together.
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
        }
    }
}

/// Bytes per second that a request body must reach in the long run: below it, each pause eats into `body_timeout`.
pub const BODY_RATE_MIN: u32 = 256;

/// Bytes that hyper may buffer for one side of one connection: an answer is one or two writes, memory stays flat.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// Unread bytes that are thrown away after an answer, before the connection is closed hard.
pub const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Connections that wait in the kernel to be accepted.
pub const BACKLOG: i32 = 1024;
