//! `scopegate demo`: two gates before a Jira and a Slack that live in this process, and what to try on them.
//!
//! Everything it writes lies in one fresh folder of the user's own, which is removed at the end. Nothing leaves the
//! machine, and the upstreams are made up.

mod folder;
mod guide;
mod requests;
mod upstream;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::Receiver;

use crate::app::{self, Running};
use crate::authz::catalog::builtin;
use crate::config;
use crate::config::model::Listen;
use crate::problem::{Problem, render_human};
use crate::proxy::listener::ListenAddress;
use crate::shutdown;
use crate::telemetry::{self, LogFormat, LogTarget};
use folder::{Addresses, Folder};
use guide::Guide;
use requests::{Shown, Tee};
use upstream::Upstream;

/// Where the gates and the health listener stand if nobody else stands there.
const USUAL_PORTS: [u16; 3] = [8080, 8081, 9902];

/// The policies settle within half a second; a machine that needs more than this is of no use for a demo.
const READY_MAX: Duration = Duration::from_secs(10);
const READY_LOOK: Duration = Duration::from_millis(20);

/// How a demo is run.
#[derive(Debug, Clone, Copy, Default)]
pub struct DemoOptions {
    /// Leaves the folder where it is at the end.
    pub keep: bool,
    pub colour: bool,
}

/// A running demo. It stops, and its folder goes, when it is dropped.
#[derive(Debug)]
pub struct Demo {
    // Fields are dropped in this order: the gates before what they stand before, the folder last.
    _gates: Gates,
    _upstream: Upstream,
    shown: Receiver<Shown>,
    guide: Guide,
    folder: Folder,
}

/// Runs the demo until SIGINT or SIGTERM. `false`: it could not be started, and `out` says why.
///
/// # Errors
/// The output cannot be written, or the folder, a thread or a port cannot be had.
pub fn run(options: DemoOptions, out: &mut dyn Write) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut ended = std::pin::pin!(shutdown::signalled());
    // Polled once before anything is written: from here on a signal no longer kills, so the folder is always removed.
    runtime.block_on(async {
        tokio::select! {
            biased;
            end = &mut ended => end,
            () = std::future::ready(()) => Ok(()),
        }
    })?;
    let mut demo = match Demo::start(options, &USUAL_PORTS) {
        Ok(demo) => demo,
        Err(StartError::Io(error)) => return Err(error),
        Err(StartError::Problems(problems)) => {
            out.write_all(render_human(&problems, options.colour).as_bytes())?;
            return Ok(false);
        }
    };
    out.write_all(demo.guide.text(options.colour).as_bytes())?;
    out.flush()?;
    // On stderr beside the requests: what a reload made of an edit, and what is wrong with it.
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    telemetry::init(LogFormat::Text, LogTarget::Stderr, &filter).map_err(io::Error::other)?;
    runtime.block_on(demo.show(ended, options.colour, out))?;
    let folder = demo.folder().to_owned();
    drop(demo);
    let left = if options.keep { "kept" } else { "removed" };
    writeln!(out, "\nstopped; {} is {left}", folder.display())?;
    Ok(true)
}

/// Why a demo did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the demo's own files have problems")]
    Problems(Vec<Problem>),
}

impl Demo {
    /// Starts upstreams and gates, and waits until the gates are ready. `ports`: of the Jira gate, the Slack gate and
    /// the health listener; one that is taken, or 0, or absent, is any free one.
    ///
    /// # Errors
    /// What could not be opened or written.
    pub fn start(options: DemoOptions, ports: &[u16]) -> Result<Self, StartError> {
        let mut folder = Folder::create(options.keep)?;
        let keys = folder.write_policies()?;
        let upstream = Upstream::start(folder::JIRA_TOKEN, folder::SLACK_TOKEN)?;
        let mut addresses = Addresses {
            gates: [free(ports.first()), free(ports.get(1))],
            health: free(ports.get(2)),
            upstreams: upstream.addresses,
        };
        let text = folder.write_config(&addresses)?;
        let (tee, shown) = Tee::create(&folder.log())?;
        let running = start_gates(&folder.config(), &text, folder.path(), tee).map_err(StartError::Problems)?;
        let gates = Gates(Some(running));
        gates.wait_until_ready()?;
        gates.read_addresses(&mut addresses);
        // With the ports that were given: `explain --config` and people read this file.
        folder.write_config(&addresses)?;
        let guide = Guide::new(&folder, addresses, keys)?;
        Ok(Self { _gates: gates, _upstream: upstream, shown, guide, folder })
    }

    /// What to try, as `run` prints it.
    pub fn guide(&self) -> &Guide {
        &self.guide
    }

    /// The folder with everything that the demo writes.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The next request that was judged, in one line; `None` where none has been.
    pub fn next_shown(&mut self) -> Option<String> {
        self.shown.try_recv().ok().map(|shown| shown.line(false))
    }

    /// Writes a line for each request until `ended`.
    async fn show(
        &mut self,
        mut ended: Pin<&mut impl Future<Output = io::Result<()>>>,
        colour: bool,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        loop {
            tokio::select! {
                end = &mut ended => return end,
                Some(shown) = self.shown.recv() => {
                    writeln!(out, "{}", shown.line(colour))?;
                    out.flush()?;
                }
            }
        }
    }
}

/// The gates, stopped at once when dropped: nobody waits for a demo to drain.
#[derive(Debug)]
struct Gates(Option<Running>);

impl Drop for Gates {
    fn drop(&mut self) {
        if let Some(running) = self.0.take() {
            running.stop();
        }
    }
}

impl Gates {
    fn wait_until_ready(&self) -> io::Result<()> {
        let end = Instant::now() + READY_MAX;
        while self.0.as_ref().is_some_and(|running| !running.readiness.report().ready) {
            if Instant::now() > end {
                return Err(io::Error::other("the gates were not ready in time"));
            }
            std::thread::sleep(READY_LOOK);
        }
        Ok(())
    }

    fn read_addresses(&self, addresses: &mut Addresses) {
        let Some(running) = &self.0 else { return };
        for (known, real) in addresses.gates.iter_mut().zip(&running.gates) {
            if let ListenAddress::Tcp(real) = real {
                *known = *real;
            }
        }
        if let Some(Listen::Tcp(real)) = &running.health {
            addresses.health = *real;
        }
    }
}

fn start_gates(file: &Path, text: &str, base: &Path, tee: Tee) -> Result<Running, Vec<Problem>> {
    let config = config::parse(&file.into(), text, &|product| builtin::catalog(product).is_some())?;
    app::start(&config, base.to_owned(), Some(Box::new(tee)))
}

/// The port on loopback if nobody listens there, else 0.
fn free(port: Option<&u16>) -> SocketAddr {
    let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let wanted = address(port.copied().unwrap_or(0));
    // The gates share their port among threads, so they would get it beside another demo: this asks first.
    if TcpListener::bind(wanted).is_ok() { wanted } else { address(0) }
}
