//! A body whose links are rewritten as it streams by.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};

use super::json::Rewriter;
use super::media::unvouch_trailers;
use crate::proxy::stream::BodyError;

/// Frames in, frames out. It holds no more than its rewriter does.
#[derive(Debug)]
pub struct Rewritten<B> {
    inner: B,
    rewriter: Rewriter,
    /// What comes after the bytes that were held until the end.
    last: Option<Result<Frame<Bytes>, BodyError>>,
    is_over: bool,
}

impl<B> Rewritten<B> {
    pub fn new(inner: B, rewriter: Rewriter) -> Self {
        Self { inner, rewriter, last: None, is_over: false }
    }

    pub fn inner(&self) -> &B {
        &self.inner
    }

    pub fn inner_mut(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Rewritten<B> {
    /// Bytes that may go on; `None` where all of them are held.
    fn rewrite(&mut self, bytes: Bytes) -> Option<Result<Frame<Bytes>, BodyError>> {
        let mut out = match self.rewriter.take(bytes) {
            Ok(out) => out,
            Err(unreadable) => {
                tracing::warn!(why = %unreadable, "the links of an answer cannot be read: it is cut");
                self.is_over = true;
                return Some(Err(BodyError::Cut));
            }
        };
        if self.inner.is_end_stream() && !self.rewriter.holds_nothing() {
            let held = self.rewriter.finish();
            let mut both = BytesMut::from(&out[..]);
            both.extend_from_slice(&held);
            out = both.freeze();
        }
        (!out.is_empty()).then(|| Ok(Frame::data(out)))
    }

    /// The bytes that are held go before what comes last.
    fn end_with(&mut self, last: Option<Result<Frame<Bytes>, BodyError>>) -> Option<Result<Frame<Bytes>, BodyError>> {
        self.is_over = !matches!(last, Some(Ok(_)));
        let held = self.rewriter.finish();
        if held.is_empty() {
            return last;
        }
        self.last = last;
        Some(Ok(Frame::data(held)))
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Rewritten<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(last) = this.last.take() {
            return Poll::Ready(Some(last));
        }
        loop {
            if this.is_over {
                return Poll::Ready(None);
            }
            let frame = match std::task::ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => frame,
                other => return Poll::Ready(this.end_with(other)),
            };
            let rewritten = match frame.into_data() {
                Ok(bytes) => this.rewrite(bytes),
                Err(frame) => {
                    let trailers = frame.into_trailers().map(|mut trailers| {
                        unvouch_trailers(&mut trailers);
                        Frame::trailers(trailers)
                    });
                    trailers.ok().and_then(|trailers| this.end_with(Some(Ok(trailers))))
                }
            };
            if rewritten.is_some() {
                return Poll::Ready(rewritten);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && (self.is_over || self.inner.is_end_stream() && self.rewriter.holds_nothing())
    }

    /// Nobody knows: a link becomes longer or shorter.
    fn size_hint(&self) -> SizeHint {
        if self.is_end_stream() { SizeHint::with_exact(0) } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use http::HeaderMap;
    use http_body_util::BodyExt;

    use super::*;
    use crate::authz::catalog::links::LinkRules;
    use crate::authz::origin::{Origin, Origins};
    use crate::proxy::links::json::GateAddress;

    /// Frames from a list. It tells its end beforehand, or only when it is asked once more.
    struct Listed {
        frames: VecDeque<Result<Frame<Bytes>, BodyError>>,
        foretold: bool,
    }

    impl Body for Listed {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.frames.pop_front())
        }

        fn is_end_stream(&self) -> bool {
            self.foretold && self.frames.is_empty()
        }
    }

    fn data(text: &'static str) -> Result<Frame<Bytes>, BodyError> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    /// All bytes, whether it ended well, and the trailers.
    async fn read(
        frames: Vec<Result<Frame<Bytes>, BodyError>>,
        foretold: bool,
    ) -> (String, Result<(), BodyError>, Option<HeaderMap>) {
        let rules = Arc::new(LinkRules::of(["self"], []).expect("rules"));
        let own = Arc::new(Origins::new(Origin::parse("https://acme.test").expect("an origin"), []));
        let rewriter = Rewriter::new(rules, own, GateAddress::new(false, "gate"));
        let mut body = Rewritten::new(Listed { frames: frames.into(), foretold }, rewriter);
        let (mut bytes, mut trailers) = (Vec::new(), None);
        let mut ended = Ok(());
        while !body.is_end_stream() {
            match body.frame().await {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        assert!(!data.is_empty(), "an empty chunk would end the answer");
                        bytes.extend_from_slice(&data);
                    }
                    Err(frame) => trailers = frame.into_trailers().ok(),
                },
                Some(Err(error)) => ended = Err(error),
                None => break,
            }
        }
        (String::from_utf8(bytes).expect("UTF-8"), ended, trailers)
    }

    #[tokio::test]
    async fn what_is_held_goes_out_at_the_end_whichever_way_it_ends() {
        let trailers = || {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", http::HeaderValue::from_static("1"));
            trailers.insert("content-digest", http::HeaderValue::from_static("sha-256=:x:"));
            trailers
        };
        for foretold in [true, false] {
            let cut = vec![data("{\"self\":\"https"), data("://acme"), data(".test/1\"}")];
            assert_eq!(read(cut, foretold).await.0, "{\"self\":\"http://gate/1\"}");
            let (text, ended, _) = read(vec![data("{\"self\":\"https"), data("://acme.te")], foretold).await;
            assert_eq!((text.as_str(), ended), ("{\"self\":\"https://acme.te", Ok(())));
            let (text, ended, _) =
                read(vec![data("{\"self\":\"https"), Err(BodyError::Cut), data("x")], foretold).await;
            assert_eq!((text.as_str(), ended), ("{\"self\":\"https", Err(BodyError::Cut)), "and nothing after it");
            let (text, _, found) =
                read(vec![data("{\"self\":\"https"), Ok(Frame::trailers(trailers()))], foretold).await;
            let found = found.expect("trailers");
            assert_eq!((text.as_str(), found.len()), ("{\"self\":\"https", 1), "a digest of other bytes is gone");
            assert!(found.contains_key("x-sum"));
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_cut_and_nothing_of_it_passes() {
        for foretold in [true, false] {
            let (text, ended, _) = read(vec![data("\u{0}{\"s"), data("\"self\":1}")], foretold).await;
            assert_eq!((text.as_str(), ended), ("", Err(BodyError::Cut)));
        }
    }
}
