//! A way to the cluster that lies: what a server delivers of its copy of the bucket is told as something else at the same
//! place, or not at all, as of servers that came to hold different messages.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// A message of the bucket on its way to a gate.
pub struct Told<'t> {
    /// The server whose copy it is of is the one that feeds the session.
    pub is_first: bool,
    /// Without the bucket's prefix.
    pub key: &'t str,
    /// What is told of this key has been told as something else so often, over all connections.
    pub hidden: usize,
}

/// What becomes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    Truth,
    /// Another message stands at that place.
    Other,
    /// It never comes, and neither does what follows it from that server.
    Nothing,
}

type Lies = Arc<Mutex<Box<dyn FnMut(&Told<'_>) -> Lie + Send>>>;

pub struct Liar {
    address: SocketAddr,
    lies: Lies,
}

const PREFIX: &str = "$KV.acts.";
/// As long as the keys of acts are, and nobody's.
const FOREIGN: &str = "$KV.acts.else.";

impl Liar {
    /// Tells the truth at first.
    pub fn before(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let liar = Self { address, lies: Arc::new(Mutex::new(Box::new(|_| Lie::Truth))) };
        let lies = Arc::clone(&liar.lies);
        let hidden = Arc::default();
        // It ends with the process; a test has a few.
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let Ok(there) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let (mut up, mut up_to) = (caller.try_clone().expect("a handle"), there.try_clone().expect("a handle"));
                std::thread::spawn(move || std::io::copy(&mut up, &mut up_to));
                let down = Down {
                    from: BufReader::new(there),
                    to: caller,
                    lies: Arc::clone(&lies),
                    servers: BTreeMap::new(),
                    first: None,
                    held: BTreeMap::new(),
                    mute: BTreeSet::new(),
                    hidden: Arc::clone(&hidden),
                };
                std::thread::spawn(move || down.carry());
            }
        });
        liar
    }

    pub fn url(&self) -> String {
        format!("'nats://{}'", self.address)
    }

    /// From now on.
    pub fn lie(&self, lies: impl FnMut(&Told<'_>) -> Lie + Send + 'static) {
        *self.lies.lock().expect("no panic") = Box::new(lies);
    }

    pub fn be_honest(&self) {
        self.lie(|_| Lie::Truth);
    }
}

/// What comes from the server, message by message.
struct Down {
    from: BufReader<TcpStream>,
    to: TcpStream,
    lies: Lies,
    /// Which server feeds each consumer.
    servers: BTreeMap<String, String>,
    first: Option<String>,
    /// Of consumers of which it is not known yet.
    held: BTreeMap<String, Vec<Message>>,
    mute: BTreeSet<String>,
    hidden: Arc<Mutex<BTreeMap<String, usize>>>,
}

struct Message {
    line: String,
    body: Vec<u8>,
}

impl Message {
    fn word(&self, index: usize) -> &str {
        self.line.split_ascii_whitespace().nth(index).unwrap_or_default()
    }

    /// The consumer that it comes from.
    fn consumer(&self) -> Option<&str> {
        self.word(3).strip_prefix("$JS.ACK.KV_acts.").and_then(|rest| rest.split('.').next())
    }
}

impl Down {
    fn carry(mut self) {
        let mut line = String::new();
        while self.from.read_line(&mut line).is_ok_and(|count| count > 0) {
            let mut message = Message { line: std::mem::take(&mut line), body: Vec::new() };
            if message.line.starts_with("MSG ") || message.line.starts_with("HMSG ") {
                let size = message.line.split_ascii_whitespace().last().and_then(|size| size.parse::<usize>().ok());
                message.body = vec![0; size.expect("a size") + 2];
                if self.from.read_exact(&mut message.body).is_err() {
                    break;
                }
            }
            if self.tell(message).is_err() {
                break;
            }
        }
        let _ = self.to.shutdown(std::net::Shutdown::Both);
    }

    fn tell(&mut self, message: Message) -> std::io::Result<()> {
        let made: Option<(String, String)> = made(&message.body);
        if let Some(consumer) = message.consumer().map(str::to_owned) {
            if self.servers.contains_key(&consumer) {
                return self.judge(message, &consumer);
            }
            self.held.entry(consumer).or_default().push(message);
            return Ok(());
        }
        self.send(&message)?;
        let Some((consumer, server)) = made else { return Ok(()) };
        self.first.get_or_insert_with(|| server.clone());
        self.servers.insert(consumer.clone(), server);
        let held = self.held.remove(&consumer).unwrap_or_default();
        held.into_iter().try_for_each(|message| self.judge(message, &consumer))
    }

    fn judge(&mut self, mut message: Message, consumer: &str) -> std::io::Result<()> {
        let subject = message.word(1).to_owned();
        let key = subject.strip_prefix(PREFIX).unwrap_or_default();
        let lie = {
            let mut hidden = self.hidden.lock().expect("no panic");
            let count = hidden.entry(key.to_owned()).or_default();
            let is_first = self.servers.get(consumer) == self.first.as_ref();
            let lie = (self.lies.lock().expect("no panic"))(&Told { is_first, key, hidden: *count });
            *count += usize::from(lie == Lie::Other);
            lie
        };
        match lie {
            Lie::Truth => {}
            Lie::Other => {
                let id = key.strip_prefix("acts.").expect("only acts are told as something else");
                message.line = message.line.replacen(&subject, &format!("{FOREIGN}{id}"), 1);
            }
            Lie::Nothing => drop(self.mute.insert(consumer.to_owned())),
        }
        if self.mute.contains(consumer) { Ok(()) } else { self.send(&message) }
    }

    fn send(&mut self, message: &Message) -> std::io::Result<()> {
        self.to.write_all(message.line.as_bytes())?;
        self.to.write_all(&message.body)
    }
}

/// The consumer that was made, and the server that has it, where a body says so.
fn made(body: &[u8]) -> Option<(String, String)> {
    let answer: serde_json::Value = serde_json::from_slice(body.strip_suffix(b"\r\n")?).ok()?;
    let text = |value: &serde_json::Value| Some(value.as_str()?.to_owned());
    (answer["type"] == "io.nats.jetstream.api.v1.consumer_create_response").then_some(())?;
    Some((text(&answer["name"])?, text(&answer["cluster"]["leader"])?))
}
