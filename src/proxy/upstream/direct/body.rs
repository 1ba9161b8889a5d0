//! The body of an answer, off a connection that somebody else keeps: where that is gone, the body is cut.

use std::cell::RefCell;
use std::rc::Weak;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Frame, SizeHint};
use httparse::{Header, Status};

use super::super::super::stream::BodyError;
use super::Direct;

/// Bytes of a line that says the size of a chunk, extensions and all.
const SIZE_LINE_BYTES_MAX: usize = 16 * 1024;
/// Bytes and fields of trailers.
const TRAILER_BYTES_MAX: usize = 16 * 1024;
const TRAILERS_MAX: usize = 100;

/// How a body ends.
#[derive(Debug)]
pub struct Framing(Kind);

#[derive(Debug)]
enum Kind {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunks),
    UntilClosed,
    Over,
}

/// Where in a body of chunks one is (RFC 9112 §7.1).
#[derive(Debug)]
enum Chunks {
    Size,
    /// So many bytes of a chunk are still to come.
    Data(u64),
    EndOfData,
    Trailers,
    /// Boxed: few bodies have trailers, and each has room for this.
    Over(Option<Box<HeaderMap>>),
}

/// The bytes are no chunks.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

impl Framing {
    pub fn none() -> Self {
        Self(Kind::Over)
    }

    pub fn length(bytes: u64) -> Self {
        Self(if bytes == 0 { Kind::Over } else { Kind::Length(bytes) })
    }

    pub fn chunked() -> Self {
        Self(Kind::Chunked(Chunks::Size))
    }

    pub fn until_closed() -> Self {
        Self(Kind::UntilClosed)
    }

    pub fn is_until_closed(&self) -> bool {
        matches!(self.0, Kind::UntilClosed)
    }

    /// Nothing is to come any more.
    pub fn is_over(&self) -> bool {
        matches!(self.0, Kind::Over | Kind::Chunked(Chunks::Over(None)))
    }

    /// The whole body, if its length is known and all of it came.
    pub fn take_whole(&mut self, came: &mut BytesMut) -> Option<Bytes> {
        let Kind::Length(length) = self.0 else { return None };
        let length = usize::try_from(length).ok().filter(|length| *length <= came.len())?;
        self.0 = Kind::Over;
        Some(came.split_to(length).freeze())
    }

    /// Bytes that may still come, as far as anybody said.
    fn most(&self) -> usize {
        match self.0 {
            Kind::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
            Kind::Chunked(_) | Kind::UntilClosed | Kind::Over => usize::MAX,
        }
    }

    /// The next frame of what came. `None`: there is none in it.
    fn next(&mut self, came: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        match &mut self.0 {
            Kind::Over => Ok(None),
            Kind::UntilClosed => Ok((!came.is_empty()).then(|| Frame::data(came.split().freeze()))),
            Kind::Length(left) => {
                let bytes = up_to(came, left);
                if *left == 0 {
                    self.0 = Kind::Over;
                }
                Ok(bytes.map(Frame::data))
            }
            Kind::Chunked(chunks) => chunks.next(came),
        }
    }
}

/// Takes what came of so many bytes, and counts it off.
fn up_to(came: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(came.len());
    *left = left.saturating_sub(count as u64);
    (count > 0).then(|| came.split_to(count).freeze())
}

impl Chunks {
    fn next(&mut self, came: &mut BytesMut) -> Result<Option<Frame<Bytes>>, Malformed> {
        self.advance(came)?;
        let frame = match self {
            Self::Data(left) => {
                let bytes = up_to(came, left);
                if *left == 0 {
                    *self = Self::EndOfData;
                }
                bytes.map(Frame::data)
            }
            Self::Over(trailers) => trailers.take().map(|fields| Frame::trailers(*fields)),
            Self::Size | Self::EndOfData | Self::Trailers => None,
        };
        // Where the end came with the last data it is known at once. What is wrong there the next look finds again.
        if frame.is_some() && matches!(self, Self::EndOfData) {
            let _ = self.advance(came);
        }
        Ok(frame)
    }

    /// Goes on to the next data, or to the end, as far as what came goes.
    fn advance(&mut self, came: &mut BytesMut) -> Result<(), Malformed> {
        loop {
            *self = match self {
                Self::Data(_) | Self::Over(_) => return Ok(()),
                Self::EndOfData => match came.get(..2) {
                    Some(b"\r\n") => {
                        came.advance(2);
                        Self::Size
                    }
                    Some(_) => return Err(Malformed),
                    None => return Ok(()),
                },
                Self::Size => match httparse::parse_chunk_size(came).map_err(|_| Malformed)? {
                    Status::Complete((line, size)) => {
                        came.advance(line);
                        if size == 0 { Self::Trailers } else { Self::Data(size) }
                    }
                    Status::Partial if came.len() > SIZE_LINE_BYTES_MAX => return Err(Malformed),
                    Status::Partial => return Ok(()),
                },
                Self::Trailers => match trailers(came)? {
                    Some(fields) => Self::Over((!fields.is_empty()).then(|| Box::new(fields))),
                    None if came.len() > TRAILER_BYTES_MAX => return Err(Malformed),
                    None => return Ok(()),
                },
            };
        }
    }
}

/// Takes the trailers and the empty line after them. `None`: they are not whole.
fn trailers(came: &mut BytesMut) -> Result<Option<HeaderMap>, Malformed> {
    let mut space = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    let mut fields = HeaderMap::new();
    let end = match came.get(..2) {
        Some(b"\r\n") => 2,
        _ => match httparse::parse_headers(came, &mut space).map_err(|_| Malformed)? {
            Status::Partial => return Ok(None),
            Status::Complete((end, parsed)) => {
                for Header { name, value } in parsed {
                    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Malformed)?;
                    fields.append(name, HeaderValue::from_bytes(value).map_err(|_| Malformed)?);
                }
                end
            }
        },
    };
    came.advance(end);
    Ok(Some(fields))
}

/// The body. The connection is another's, who may end it.
#[derive(Debug)]
pub struct DirectBody {
    connection: Weak<RefCell<Direct>>,
    framing: Framing,
    keeps: bool,
    /// It broke off before its end.
    is_cut: bool,
}

impl DirectBody {
    pub fn new(connection: Weak<RefCell<Direct>>, framing: Framing, keeps: bool) -> Self {
        Self { connection, framing, keeps, is_cut: false }
    }

    pub fn is_end_stream(&self) -> bool {
        self.framing.is_over()
    }

    pub fn size_hint(&self) -> SizeHint {
        match self.framing.0 {
            Kind::Length(left) => SizeHint::with_exact(left),
            Kind::Over => SizeHint::with_exact(0),
            Kind::Chunked(_) | Kind::UntilClosed => SizeHint::default(),
        }
    }

    pub fn poll_frame(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.framing.is_over() {
            return Poll::Ready(None);
        }
        let Some(connection) = self.connection.upgrade() else { return Poll::Ready(Some(Err(BodyError::Cut))) };
        let mut direct = connection.borrow_mut();
        let frame = loop {
            match self.framing.next(&mut direct.came) {
                Ok(Some(frame)) => break Some(frame),
                Ok(None) if self.framing.is_over() => break None,
                Ok(None) => {}
                Err(Malformed) => return cut(&mut self.is_cut, context),
            }
            match ready!(direct.poll_fill(context, self.framing.most())) {
                Ok(0) if self.framing.is_until_closed() => {
                    self.framing = Framing::none();
                    return Poll::Ready(None);
                }
                Ok(0) | Err(_) => return cut(&mut self.is_cut, context),
                Ok(_) => {}
            }
        };
        if self.framing.is_over() {
            direct.ended(self.keeps);
        }
        Poll::Ready(frame.map(Ok))
    }
}

/// The body broke off. It is told a turn later: whoever passes it on drops what it has not written when it hears of a cut.
fn cut<T>(is_told: &mut bool, context: &Context<'_>) -> Poll<Option<Result<T, BodyError>>> {
    if *is_told {
        return Poll::Ready(Some(Err(BodyError::Cut)));
    }
    // Who asks for nobody looks at what is here, and asks again.
    *is_told = !context.waker().will_wake(Waker::noop());
    context.waker().wake_by_ref();
    Poll::Pending
}
