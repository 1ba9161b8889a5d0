//! What a moved snapshot does to a connection on which heads wait. Each waits here for a reason that no caller can be
//! sure to bring about.

use std::io::Write as _;
use std::sync::atomic::Ordering;

use tokio::net::UnixStream;
use tokio::task::LocalSet;

use super::*;

/// A request that was given to the connection, and its body's way.
struct Sent {
    number: u32,
    answer: ResponseFuture,
    stream: h2::SendStream<Bytes>,
    upload: Upload,
    _seat: Rc<Seat>,
}

fn send(link: &Rc<Link>, generation: u64, method: &str, is_empty: bool) -> Sent {
    let seat = Seat::on(link);
    let request = Request::builder().method(method).uri("http://a/").version(Version::HTTP_2).body(()).expect("one");
    let (answer, stream) = link.sender.clone().send_request(request, is_empty).expect("sent");
    let number = stream.stream_id().as_u32();
    link.writes.await_head(number, generation);
    link.flush();
    Sent { number, answer, stream, upload: Upload::of(RequestBody::Empty, Instant::now()), _seat: seat }
}

impl Sent {
    /// What its failure means.
    async fn blame(self, link: &Rc<Link>) -> Failure {
        let answer = tokio::time::timeout(Duration::from_secs(10), self.answer).await.expect("in time");
        let error = answer.expect_err("the connection ended");
        blame(link, self.number, &self.upload, error)
    }
}

async fn link(io: UnixStream, current: &Arc<AtomicU64>) -> Rc<Link> {
    Link::open(Transport::Unix(io), current, &Limits::default(), (), true, 0).await.expect("a connection")
}

/// Methods of the requests that came, in order.
type Came = Rc<RefCell<Vec<String>>>;

/// An upstream of one stream at a time, which answers at once and takes request bodies for ever.
async fn serve(io: UnixStream, came: Came) {
    let mut protocol = h2::server::Builder::new();
    protocol.max_concurrent_streams(1);
    let mut connection = protocol.handshake::<_, Bytes>(io).await.expect("a handshake");
    let mut kept = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        came.borrow_mut().push(request.method().to_string());
        respond.send_response(Response::new(()), true).expect("answered");
        kept.push(request);
    }
}

#[tokio::test]
async fn a_head_that_h2_holds_back_never_leaves_once_the_snapshot_moved() {
    let local = LocalSet::new();
    local
        .run_until(async {
            for is_taken_back in [false, true] {
                let (near, far) = UnixStream::pair().expect("a pair");
                let (current, came) = (Arc::new(AtomicU64::new(1)), Came::default());
                let server = spawn_local(serve(far, Rc::clone(&came)));
                let link = link(near, &current).await;
                let upload = send(&link, 1, "POST", false);
                let answered = upload.answer.await.expect("an early answer");
                assert_eq!((link.sender.current_max_send_streams(), link.has_room(100, 0)), (1, false));

                let mut held = Some(send(&link, 1, "DELETE", true));
                for _ in 0..100 {
                    yield_now().await;
                }
                assert!(link.writes.are_waiting(), "the upload still counts");
                if is_taken_back {
                    held = None;
                }
                current.store(2, Ordering::SeqCst);
                drop((upload.stream, answered, upload._seat));
                if let Some(held) = held {
                    assert!(matches!(held.blame(&link).await, Failure::Moved(_)));
                }
                server.await.expect("the connection to end");
                assert_eq!(*came.borrow(), ["POST"]);
                assert!(!link.has_room(100, 0));
            }
        })
        .await;
}

#[tokio::test]
async fn only_the_request_whose_own_head_waited_is_judged_again() {
    let local = LocalSet::new();
    local
        .run_until(async {
            let (near, far) = UnixStream::pair().expect("a pair");
            let near = near.into_std().expect("a socket");
            let mut full = near.try_clone().expect("the same socket");
            let (current, far) = (Arc::new(AtomicU64::new(1)), far.into_std().expect("a socket"));
            let link = link(UnixStream::from_std(near).expect("a socket"), &current).await;
            let first = send(&link, 1, "POST", true);
            assert!(!link.writes.are_waiting(), "the socket took it");
            while full.write(&[0; 1024]).is_ok() {}

            let second = send(&link, 1, "POST", true);
            assert!(link.writes.are_waiting() && !link.has_room(100, 0));
            current.store(2, Ordering::SeqCst);
            let mut taken = tokio::io::BufReader::new(UnixStream::from_std(far).expect("a socket"));
            spawn_local(async move { tokio::io::copy(&mut taken, &mut tokio::io::sink()).await });
            assert!(matches!(second.blame(&link).await, Failure::Moved(_)));
            assert!(matches!(first.blame(&link).await, Failure::Unanswered(_)), "the upstream may have acted on it");
        })
        .await;
}

#[test]
fn a_head_is_large_by_one_field_or_by_all_together() {
    let head = |path: usize, fields: &[usize]| {
        let mut request = Request::get(format!("/{}", "p".repeat(path)));
        for (number, length) in fields.iter().enumerate() {
            request = request.header(format!("x-{number}"), "v".repeat(*length));
        }
        request.body(()).expect("a request").into_parts().0
    };
    for (large, path, fields) in [
        (false, 1, &[][..]),
        (false, 4000, &[4000, 3000]),
        (true, 4100, &[]),
        (true, 1, &[4096]),
        (false, 1, &[4000, 4000, 4000]),
        (true, 1, &[4000, 4000, 4000, 300]),
        (true, 4000, &[4000, 4000, 300]),
    ] {
        assert_eq!(is_large(&head(path, fields)), large, "{path} {fields:?}");
    }
}
