//! The log: one JSON line per request, and the events of the control plane. Never a secret in either.

mod decision;
mod line;
mod queue;
mod text;

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

pub use decision::DecisionId;
pub use line::{CONTAINERS_SHOWN, ContainerShown, DecidedBy, Line, TraceId, UserIds};
pub use queue::{LINES_MAX, LineWriter, Lines};

/// How the events of the control plane are written. Lines of requests are always JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

/// Where the log goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogTarget {
    #[default]
    Stderr,
    Stdout,
}

impl LogTarget {
    /// A writer for the lines of requests.
    pub fn writer(self) -> Box<dyn std::io::Write + Send> {
        match self {
            Self::Stderr => Box::new(std::io::BufWriter::new(std::io::stderr())),
            Self::Stdout => Box::new(std::io::BufWriter::new(std::io::stdout())),
        }
    }
}

/// Sets up the log of the control plane, once per process.
///
/// `filter` is in the words of `RUST_LOG` (`info`, `scopegate=debug`).
///
/// # Errors
/// The filter is not understood, or a log is set up already.
pub fn init(format: LogFormat, target: LogTarget, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter(error.to_string()))?;
    let (writer, terminal) = match target {
        LogTarget::Stderr => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
        LogTarget::Stdout => (BoxMakeWriter::new(std::io::stdout), std::io::stdout().is_terminal()),
    };
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_timer(Rfc3339).with_ansi(terminal);
    let set = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    set.map_err(|_| TelemetryError::Twice)
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log filter is not understood: {0}")]
    Filter(String),
    #[error("the log is set up already")]
    Twice,
}

/// From here on a panic is counted and logged with its place alone: its text may quote a request.
pub fn count_panics(count: impl Fn() + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| {
        count();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: one connection or task has ended");
    }));
}

/// Times as in the lines of requests, so that both sort together.
struct Rfc3339;

impl FormatTime for Rfc3339 {
    fn format_time(&self, writer: &mut tracing_subscriber::fmt::format::Writer<'_>) -> std::fmt::Result {
        writer.write_str(&text::rfc3339(std::time::SystemTime::now()))
    }
}
