//! A connection of HTTP/1.1 without a task of its own: whoever has a request on it writes the request and reads the
//! answer. For requests without a body, which most are: nothing of such a request can be on its way while its answer
//! comes, so one after the other is enough. What has a body, or asks for another protocol, is sent through hyper.
//!
//! An answer is read as hyper reads it (RFC 9112), with the parser that hyper uses.

mod body;
mod head;

use std::cell::RefCell;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use bytes::BytesMut;
use http::{Method, Response, StatusCode, request, response};
use tokio::io::AsyncWrite as _;
use tokio_util::io::poll_read_buf;

pub use body::DirectBody;
use body::Framing;

use super::super::body::{Body, RequestBody};
use super::super::counters::{Open, UpstreamSide};
use super::super::limits::{ANSWER_BUFFER_BYTES, Limits};
use super::super::source::Source;
use super::super::transport::Transport;
use super::gate::{GatedIo, Keeper};
use super::pool::{Http1Lease, Lease, Place, Pool};
use super::{Failure, SendError, accept, clean};

/// Room for the first bytes of an answer: its head, and the whole of most.
const FIRST_BYTES: usize = 8 * 1024;
/// Interim answers (RFC 9110 §15.2) before the one that counts.
const INTERIM_MAX: usize = 16;

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    #[error("the connection broke off: {0}")]
    Io(#[from] io::Error),
    #[error("the connection was closed before the head of the answer was whole")]
    Closed,
    #[error("the head of the answer is no HTTP/1: {0}")]
    Head(#[from] httparse::Error),
    #[error("the head of the answer is too large")]
    TooLarge,
    #[error("the length of the answer cannot be told")]
    Length,
    #[error("more than {INTERIM_MAX} interim answers came")]
    Interim,
}

/// The connection.
#[derive(Debug)]
pub struct Direct {
    io: GatedIo<Transport>,
    /// What has come and nobody took yet.
    came: BytesMut,
    /// How much of `came` was searched for the end of a head.
    searched: usize,
    /// Bytes that the next read makes room for.
    room: usize,
    /// The head of the request as it is written. Kept for its room.
    head: Vec<u8>,
    written: usize,
    /// Another request may follow on it.
    is_reusable: bool,
    /// It counts for as long as it is open.
    counted: Counted,
}

/// Its places among the open connections.
pub type Counted = (Open<Place>, Open<UpstreamSide>);

/// The head of an answer, and how its body is framed.
#[derive(Debug)]
struct Answer {
    head: response::Parts,
    framing: Framing,
    /// The connection may be used again after it.
    keeps: bool,
}

impl Direct {
    pub fn new(io: GatedIo<Transport>, counted: Counted) -> Self {
        Self {
            io,
            came: BytesMut::new(),
            searched: 0,
            room: FIRST_BYTES,
            head: Vec::new(),
            written: 0,
            is_reusable: true,
            counted,
        }
    }

    /// Whether a request may be sent on it: what came unasked would be taken for its answer, and what was closed is of no
    /// use. The runtime knows whether anything came; the system is asked only then.
    pub fn is_ready(&mut self) -> bool {
        if self.is_reusable {
            let mut nobody = Context::from_waker(Waker::noop());
            self.is_reusable = self.came.is_empty() && self.poll_fill(&mut nobody, 1).is_pending();
        }
        self.is_reusable
    }

    pub fn is_reusable(&self) -> bool {
        self.is_reusable
    }

    /// For whoever drives it otherwise from here on. `None`: of no use to anybody.
    pub fn into_parts(mut self) -> Option<(GatedIo<Transport>, Counted)> {
        self.is_ready().then_some((self.io, self.counted))
    }

    fn begin(&mut self, head: &request::Parts) {
        head::write(head, &mut self.head);
        (self.written, self.searched, self.room) = (0, 0, FIRST_BYTES);
        // Until the answer was read to its end.
        self.is_reusable = false;
    }

    /// Nothing of the request was written.
    fn takes_back(&mut self) {
        self.head.clear();
        self.is_reusable = true;
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.head.get(self.written..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.io).poll_write(context, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => self.written += count,
            }
        }
        Pin::new(&mut self.io).poll_flush(context)
    }

    /// Reads what has come, with room for no more than `most` bytes unless there is more room anyway. Zero: it was closed.
    fn poll_fill(&mut self, context: &mut Context<'_>, most: usize) -> Poll<io::Result<usize>> {
        self.came.reserve(self.room.min(most));
        let count = ready!(poll_read_buf(Pin::new(&mut self.io), context, &mut self.came))?;
        if count >= self.room {
            self.room = (self.room * 2).min(ANSWER_BUFFER_BYTES);
        }
        Poll::Ready(Ok(count))
    }

    /// Writes what is left of the request, and reads as far as the body of its answer.
    fn poll_answer(
        &mut self,
        context: &mut Context<'_>,
        method: &Method,
        interim: &mut usize,
        limits: &Limits,
    ) -> Poll<Result<Answer, Broken>> {
        if !self.head.is_empty() {
            ready!(self.poll_write(context))?;
            self.head.clear();
        }
        loop {
            while let Some(answer) = head::take(&mut self.came, &mut self.searched, method, limits)? {
                let status = answer.head.status;
                if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(answer));
                }
                *interim += 1;
                if *interim > INTERIM_MAX {
                    return Poll::Ready(Err(Broken::Interim));
                }
            }
            if ready!(self.poll_fill(context, usize::MAX))? == 0 {
                return Poll::Ready(Err(Broken::Closed));
            }
        }
    }

    /// The answer was read to its end. What came beside it nobody asked for.
    fn ended(&mut self, keeps: bool) {
        self.is_reusable = keeps && self.came.is_empty();
        // What waits for the next request keeps no more room than most requests need.
        if self.came.capacity() > FIRST_BYTES {
            self.came = BytesMut::new();
        }
        if self.head.capacity() > FIRST_BYTES {
            self.head = Vec::new();
        }
    }
}

/// A request without a body that is about to be sent. Its head is written down already: it has no room in what waits.
#[derive(Debug)]
pub(super) struct Exchange {
    lease: Http1Lease,
    connection: Rc<RefCell<Direct>>,
    method: Method,
}

impl Exchange {
    /// Takes the request, if the connection is one that nobody else drives.
    pub(super) fn begin(lease: Http1Lease, head: &request::Parts) -> Result<Self, Http1Lease> {
        let Some(connection) = lease.direct() else { return Err(lease) };
        connection.borrow_mut().begin(head);
        Ok(Self { lease, connection, method: head.method.clone() })
    }
}

/// Sends it.
pub(super) async fn exchange(
    Exchange { lease, connection, method }: Exchange,
    generation: u64,
    pool: &Pool,
) -> Result<Response<Body>, Failure> {
    let limits = pool.limits();
    let gate = Rc::clone(lease.gate());
    if gate.has_moved(generation) {
        connection.borrow_mut().takes_back();
        lease.give_back();
        return Err(Failure::Moved(RequestBody::Empty));
    }
    gate.arm(generation);
    let answer = {
        let mut interim = 0;
        let answer = pin!(std::future::poll_fn(|context| {
            connection.borrow_mut().poll_answer(context, &method, &mut interim, limits)
        }));
        pool.timers().until(gate.progress() + limits.response_timeout, answer).await
    };
    match answer {
        Ok(Ok(answer)) if answer.head.status == StatusCode::SWITCHING_PROTOCOLS => {
            Err(Failure::Final(SendError::Switched("nobody asked for it")))
        }
        Ok(Ok(answer)) => Ok(pass_on(answer, lease, &connection, limits)),
        Ok(Err(broken)) => Err(Keeper::Empty.blame(&gate, broken.into())),
        Err(_) => Err(Failure::Final(SendError::ResponseTimeout)),
    }
}

/// The answer as it goes on. One that is here whole needs its connection no more.
fn pass_on(answer: Answer, lease: Http1Lease, connection: &Rc<RefCell<Direct>>, limits: &Limits) -> Response<Body> {
    let Answer { mut head, mut framing, keeps } = answer;
    let whole = {
        let mut direct = connection.borrow_mut();
        let whole = framing.take_whole(&mut direct.came);
        if framing.is_over() {
            direct.ended(keeps);
        }
        whole
    };
    if let Some(whole) = whole {
        clean(&mut head);
        lease.give_back();
        return Response::from_parts(head, Body::Full(whole));
    }
    let body = DirectBody::new(Rc::downgrade(connection), framing, keeps);
    accept(head, Source::Direct(body), Lease::Http1(lease), limits)
}
