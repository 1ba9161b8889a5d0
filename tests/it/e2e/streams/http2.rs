//! Streams of HTTP/2, with the client and with the upstream.

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::*;
use crate::support::http2::{Client as Http2Client, runtime};
use crate::support::upstream::{DEADLINE, wait_until};

/// What a future becomes, in time.
fn wait<F: Future>(runtime: &tokio::runtime::Runtime, future: F) -> F::Output {
    runtime.block_on(async { timeout(DEADLINE, future).await.expect("in time") })
}

/// One stream of a client.
struct Stream {
    answer: h2::client::ResponseFuture,
    send: SendStream<Bytes>,
}

fn ask(client: &mut Http2Client, gate: &Gate, method: &str, room: &str, thing: &str, is_over: bool) -> Stream {
    let uri = format!("http://{}{}", gate.address(), target(room, thing));
    let request = Request::builder().method(method).uri(uri).header("authorization", "Bearer x");
    let (answer, send) = client.sender.send_request(request.body(()).expect("one"), is_over).expect("sent");
    Stream { answer, send }
}

/// The beginning of an answer that lasts.
fn begun(client: &Http2Client, stream: Stream) -> RecvStream {
    client.runtime.block_on(async {
        let response = timeout(DEADLINE, stream.answer).await.expect("in time").expect("an answer");
        assert_eq!(response.status(), 200);
        let mut body = response.into_body();
        let first = timeout(DEADLINE, body.data()).await.expect("in time").expect("data").expect("bytes");
        assert!(first.starts_with(b"hello"));
        body
    })
}

/// How a body ends: all that came, and the code of its reset.
fn end(client: &Http2Client, mut body: RecvStream) -> (usize, Option<Reason>) {
    client.runtime.block_on(async {
        let mut count = 0;
        loop {
            match timeout(DEADLINE, body.data()).await.expect("in time") {
                Some(Ok(data)) => {
                    count += data.len();
                    body.flow_control().release_capacity(data.len()).expect("room");
                }
                Some(Err(error)) => return (count, error.reason()),
                None => return (count, None),
            }
        }
    })
}

#[test]
fn an_answer_is_reset_and_the_others_of_its_connection_go_on() {
    let (gate, product) = feed();
    let mut client = Http2Client::connect(gate.address());
    let mut bodies = Vec::new();
    for (room, thing) in [("lobby", "events"), ("lobby", "file"), ("board", "events")] {
        let stream = ask(&mut client, &gate, "GET", room, thing, true);
        bodies.push(begun(&client, stream));
    }
    let other = bodies.pop().expect("a stream");
    gate.write_policy("x.yaml", &policy(REVOKED));
    for body in bodies {
        assert_eq!(end(&client, body), (0, Some(Reason::CANCEL)));
    }
    product.ended(&target("lobby", "events"));
    product.ended(&target("lobby", "file"));
    product.say(&target("board", "events"), b"2\r\nhi\r\n0\r\n\r\n");
    assert_eq!(end(&client, other), (2, None));
    assert!(cut_lines(&gate, 2).iter().all(|line| line["reason"] == "container_revoked"));
    assert_eq!(cut_total(&gate, "container_revoked"), 2.0);
}

#[test]
fn an_upload_is_refused_and_reset_and_never_whole_upstream() {
    let (gate, product) = feed();
    let mut client = Http2Client::connect(gate.address());
    let mut upload = ask(&mut client, &gate, "PUT", "lobby", "file", false);
    upload.send.send_data("begun".into(), false).expect("sent");
    product.hears(&target("lobby", "file"), b"5\r\nbegun\r\n");
    gate.write_policy("x.yaml", &policy(REVOKED));
    let answer = wait(&client.runtime, upload.answer).expect("an answer");
    assert_eq!(answer.headers()["x-scopegate-reason"], "container_revoked");
    assert_eq!(product.ended(&target("lobby", "file")), b"5\r\nbegun\r\n");
    let reset = wait(&client.runtime, std::future::poll_fn(|context| upload.send.poll_reset(context)));
    reset.expect("nothing more is taken");
    cut_lines(&gate, 1);
}

#[test]
fn a_client_that_takes_nothing_is_reset() {
    let (gate, product) = feed();
    let mut client = Http2Client::connect(gate.address());
    let stream = ask(&mut client, &gate, "GET", "lobby", "flood", true);
    let body = begun(&client, stream);
    wait_until("it to be a stream", || gate.metric(r#"scopegate_streams{gate="jira"}"#) == 1.0);
    gate.write_policy("x.yaml", &policy(REVOKED));
    product.ended(&target("lobby", "flood"));
    cut_lines(&gate, 1);
    let (count, reason) = end(&client, body);
    assert!(count < 1_000_000);
    assert_eq!(reason, Some(Reason::CANCEL));
}

#[test]
fn a_websocket_over_http_2_is_closed_with_1008() {
    let (gate, product) = feed();
    let client = Http2Client::connect(gate.address());
    let (sender, address) = (client.sender.clone(), gate.address());
    let mut body = client.runtime.block_on(async move {
        let mut sender = sender.ready().await.expect("room");
        while !sender.is_extended_connect_protocol_enabled() {
            tokio::task::yield_now().await;
        }
        let request = Request::builder().method("CONNECT").uri(format!("http://{address}/api/rooms/lobby/live"));
        let request = request.header("sec-websocket-version", "13").header("authorization", "Bearer x");
        let request = request.extension(h2::ext::Protocol::from_static("websocket")).body(()).expect("one");
        let (answer, stream) = sender.send_request(request, false).expect("sent");
        let body = answer.await.expect("an answer").into_body();
        // Kept open: the client ends nothing.
        std::mem::forget(stream);
        body
    });
    let read = |body: &mut RecvStream| {
        let data = wait(&client.runtime, body.data());
        data.map(|data| data.expect("bytes"))
    };
    assert_eq!(read(&mut body).expect("a frame"), &b"\x81\x05hello"[..]);
    gate.write_policy("x.yaml", &policy(REVOKED));
    assert_eq!(read(&mut body).expect("a close frame"), [&[0x88, 19, 0x03, 0xF0][..], b"container_revoked"].concat());
    assert_eq!(read(&mut body).unwrap_or_default(), "", "and the end of the stream");
    assert!(product.ended(&target("lobby", "live")).is_empty());
    cut_lines(&gate, 1);
}

/// What an upstream of HTTP/2 saw.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// A request whose answer has begun, or that is not answered.
    Began(String),
    Body(Bytes),
    /// Its stream was reset; never a valid end.
    Reset(String, Reason),
    Ended(String),
}

/// Answers GET with `hello` and no end, and PUT with nothing; tells what comes of each.
fn http2_product() -> (std::net::SocketAddr, UnboundedReceiver<Seen>, tokio::runtime::Runtime) {
    let runtime = runtime();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = unbounded_channel();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let Ok(mut connection) = h2::server::handshake(stream).await else { return };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(converse(request, respond, tell.clone()));
                }
            });
        }
    });
    (address, told, runtime)
}

async fn converse(
    request: Request<RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    tell: UnboundedSender<Seen>,
) {
    let path = request.uri().path().to_owned();
    let say = |seen| drop(tell.send(seen));
    if request.method() == "GET" {
        let mut stream = respond.send_response(Response::new(()), false).expect("sent");
        stream.send_data("hello".into(), false).expect("sent");
        say(Seen::Began(path.clone()));
        let reset = std::future::poll_fn(|context| stream.poll_reset(context)).await;
        return say(Seen::Reset(path, reset.expect("a reset")));
    }
    say(Seen::Began(path.clone()));
    let mut body = request.into_body();
    loop {
        match body.data().await {
            Some(Ok(data)) => say(Seen::Body(data)),
            Some(Err(error)) => return say(Seen::Reset(path, error.reason().expect("a reset"))),
            None => return say(Seen::Ended(path)),
        }
    }
}

#[test]
fn an_upstream_of_http_2_sees_each_stream_reset_and_keeps_the_others() {
    let (address, mut told, product) = http2_product();
    let setup = setup(&Product::start()).gate("upstream", &format!("http://{address}"));
    let gate = setup.gate("upstream_protocol", "http2").policy("x.yaml", &policy(GRANTED)).start();
    let mut next = || wait(&product, told.recv()).expect("word");
    let mut client = Http2Client::connect(gate.address());
    let mut bodies = Vec::new();
    for room in ["lobby", "board"] {
        let stream = ask(&mut client, &gate, "GET", room, "events", true);
        bodies.push(begun(&client, stream));
        assert_eq!(next(), Seen::Began(target(room, "events")));
    }
    let mut upload = ask(&mut client, &gate, "PUT", "lobby", "file", false);
    upload.send.send_data("begun".into(), false).expect("sent");
    assert_eq!([next(), next()], [Seen::Began(target("lobby", "file")), Seen::Body("begun".into())]);
    gate.write_policy("x.yaml", &policy(REVOKED));
    let mut resets = [next(), next()];
    resets.sort_by_key(|seen| format!("{seen:?}"));
    assert_eq!(
        resets,
        ["events", "file"].map(|thing| Seen::Reset(target("lobby", thing), Reason::CANCEL)),
        "and no end of either"
    );
    assert_eq!(end(&client, bodies.remove(0)), (0, Some(Reason::CANCEL)));
    let answer = wait(&client.runtime, upload.answer).expect("an answer");
    assert_eq!(answer.headers()["x-scopegate-reason"], "container_revoked");
    // The connection is the same for the next one.
    let stream = ask(&mut client, &gate, "GET", "attic", "events", true);
    bodies.push(begun(&client, stream));
    assert_eq!(next(), Seen::Began(target("attic", "events")));
    assert_eq!(cut_lines(&gate, 2).len(), 2);
}
