//! Servers of NATS that a test starts, kills and starts again; and a way to one of them that can be cut.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::{self, kv};

use super::PATIENCE;

/// How long the keys of a bucket may take to be listed.
const KEYS_MAX: Duration = Duration::from_secs(5);

pub struct Cluster {
    folder: tempfile::TempDir,
    nodes: Vec<Node>,
}

struct Node {
    port: u16,
    route: u16,
    child: Option<Child>,
}

impl Cluster {
    pub fn of_three() -> Self {
        Self::of(3, "")
    }

    pub fn of_one() -> Self {
        Self::of(1, "")
    }

    /// `more`: lines of every server's configuration.
    pub fn of(count: usize, more: &str) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").expect("a port");
        // Held until all are known, so that none is given twice.
        let held: Vec<(TcpListener, TcpListener)> = (0..count).map(|_| (free(), free())).collect();
        let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
        let nodes: Vec<Node> =
            held.iter().map(|(client, route)| Node { port: port(client), route: port(route), child: None }).collect();
        drop(held);
        let folder = tempfile::tempdir().expect("a folder");
        let routes: Vec<String> = nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.route)).collect();
        for (index, node) in nodes.iter().enumerate() {
            let (store, port, route) = (folder.path().join(format!("store-{index}")), node.port, node.route);
            let cluster = format!("cluster {{ name: fleet, listen: \"127.0.0.1:{route}\", routes: {routes:?} }}\n");
            let text = format!(
                "server_name: n{index}\nlisten: \"127.0.0.1:{port}\"\n\
                 jetstream {{ store_dir: {store:?}, max_file_store: 1G, max_memory_store: 64M }}\n{}{more}\n",
                if count > 1 { &cluster } else { "" },
            );
            std::fs::write(folder.path().join(format!("n{index}.conf")), text).expect("a file");
        }
        let mut cluster = Self { folder, nodes };
        (0..count).for_each(|index| cluster.start(index));
        cluster
    }

    pub fn start(&mut self, index: usize) {
        let server = std::env::var("NATS_SERVER").expect("NATS_SERVER: tests/fleet/run sets it");
        let log = std::fs::File::create(self.folder.path().join(format!("n{index}.log"))).expect("a file");
        let mut command = Command::new(server);
        command.arg("-c").arg(self.folder.path().join(format!("n{index}.conf")));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.nodes[index].child = Some(command.spawn().expect("the server starts"));
        let (port, began) = (self.nodes[index].port, Instant::now());
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed() < PATIENCE, "server {index} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// As `kill -9` would.
    pub fn kill(&mut self, index: usize) {
        if let Some(mut child) = self.nodes[index].child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it ends");
        }
    }

    /// It lies still, as on a machine that has no time for it.
    pub fn pause(&self, index: usize) {
        self.signal(index, "STOP");
    }

    pub fn resume(&self, index: usize) {
        self.signal(index, "CONT");
    }

    fn signal(&self, index: usize, name: &str) {
        let process = self.nodes[index].child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status().expect("kill runs");
        assert!(sent.success(), "{name} to {process}");
    }

    pub fn kill_all(&mut self) {
        (0..self.nodes.len()).for_each(|index| self.kill(index));
    }

    pub fn start_all(&mut self) {
        (0..self.nodes.len()).for_each(|index| self.start(index));
    }

    pub fn port(&self, index: usize) -> u16 {
        self.nodes[index].port
    }

    /// As the configuration lists them.
    pub fn servers(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(|node| format!("'nats://127.0.0.1:{}'", node.port)).collect();
        urls.join(", ")
    }

    /// Does something to the bucket that no gate would do.
    pub fn meddle<T>(&self, what: impl AsyncFnOnce(jetstream::Context) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let servers: Vec<String> = self.nodes.iter().map(|node| format!("nats://127.0.0.1:{}", node.port)).collect();
        runtime.block_on(async {
            let client = async_nats::connect(servers).await.expect("a server");
            what(jetstream::new(client)).await
        })
    }

    pub fn put(&self, key: &str, value: &'static [u8]) {
        self.meddle(async |context| {
            let store = store(&context).await;
            store.put(key, value.into()).await.expect("it is put");
        });
    }

    pub fn delete(&self, key: &str) {
        self.meddle(async |context| store(&context).await.delete(key).await.expect("it is deleted"));
    }

    /// Every key that holds something. A consumer that is made while the bucket is made anew may never deliver: then it is asked
    /// again.
    pub fn all_keys(&self) -> Vec<String> {
        use futures_util::TryStreamExt as _;
        self.meddle(async |context| {
            let began = Instant::now();
            loop {
                let listed = async { store(&context).await.keys().await.ok()?.try_collect().await.ok() };
                if let Ok(Some(keys)) = tokio::time::timeout(KEYS_MAX, listed).await {
                    return keys;
                }
                assert!(began.elapsed() < PATIENCE, "the bucket does not list its keys");
            }
        })
    }

    /// How many keys that begin so hold something.
    pub fn keys(&self, prefix: &str) -> usize {
        self.all_keys().iter().filter(|key| key.starts_with(prefix)).count()
    }

    /// The server that leads the bucket's stream.
    pub fn leader(&self) -> usize {
        self.meddle(async |context| {
            let began = Instant::now();
            loop {
                if let Ok(mut stream) = context.get_stream("KV_acts").await
                    && let Ok(info) = stream.info().await
                    && let Some(leader) = info.cluster.as_ref().and_then(|cluster| cluster.leader.as_deref())
                {
                    return leader.trim_start_matches('n').parse().expect("a number");
                }
                assert!(began.elapsed() < PATIENCE, "nobody leads");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
    }
}

pub async fn store(context: &jetstream::Context) -> kv::Store {
    context.get_key_value("acts").await.expect("the bucket")
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.kill_all();
    }
}

const OPEN: u8 = 0;
const CUT: u8 = 1;
/// What is sent is swallowed: nobody is told that the way is gone.
const SILENT: u8 = 2;

/// A port that leads to another, until it is cut.
pub struct Way {
    address: SocketAddr,
    state: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Way {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let way = Self { address, state: Arc::new(AtomicU8::new(OPEN)), open: Arc::default() };
        let (state, open) = (Arc::clone(&way.state), Arc::clone(&way.open));
        // It ends with the process; a test has a few.
        std::thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let there = (state.load(Ordering::SeqCst) == OPEN).then(|| TcpStream::connect(("127.0.0.1", port)));
                let Some(Ok(there)) = there else { continue };
                let ends = [&caller, &there].map(|end| end.try_clone().expect("a handle"));
                open.lock().expect("the list").extend(ends);
                let back = (there.try_clone().expect("a handle"), caller.try_clone().expect("a handle"));
                for (from, to) in [(caller, there), back] {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || carry(from, to, &state));
                }
            }
        });
        way
    }

    pub fn url(&self) -> String {
        format!("'nats://{}'", self.address)
    }

    pub fn cut(&self) {
        self.state.store(CUT, Ordering::SeqCst);
        self.end_all();
    }

    pub fn silence(&self) {
        self.state.store(SILENT, Ordering::SeqCst);
    }

    pub fn mend(&self) {
        self.end_all();
        self.state.store(OPEN, Ordering::SeqCst);
    }

    fn end_all(&self) {
        for end in self.open.lock().expect("the list").drain(..) {
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, state: &AtomicU8) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if state.load(Ordering::SeqCst) == OPEN && to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
