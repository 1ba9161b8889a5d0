//! What the gate remembers of jobs, as they are started: an answer that names one is watched on its way back, and what the
//! request touched is remembered before the app can know the id. Nothing here is judged.
//!
//! The answer passes as it comes and is not held: one member of it is read, within bounds. An id that cannot be read is not
//! remembered.

pub mod answer;
pub mod memory;

use std::sync::Arc;
use std::time::Instant;

use http::header::{self, HeaderMap};
use http::{Response, StatusCode};

use super::links;
use crate::authz::catalog::Catalog;
use crate::authz::catalog::jobs::{ID_BYTES_MAX, NamedAt};
use crate::authz::jobs::Starting;
use crate::authz::origin::Origins;
use answer::Reader;
pub use memory::Memory;

/// The longest link to a job that is read.
const LINK_BYTES_MAX: usize = 2_048;

/// Looks for the id of a job in the answer to the request that starts it.
#[derive(Debug)]
pub struct Watch {
    memory: Arc<Memory>,
    catalog: Arc<Catalog>,
    /// The product's own names, for links.
    own: Arc<Origins>,
    at: NamedAt,
    starting: Starting,
    reader: Reader,
    /// The answer has named something.
    is_named: bool,
    /// What was remembered of it.
    remembered: Option<String>,
}

impl Watch {
    pub fn new(
        memory: &Arc<Memory>,
        catalog: &Arc<Catalog>,
        own: &Arc<Origins>,
        at: &NamedAt,
        starting: Starting,
    ) -> Self {
        let longest = match at {
            NamedAt::Answer(_) => ID_BYTES_MAX,
            NamedAt::Link(_) | NamedAt::Location => LINK_BYTES_MAX,
        };
        Self {
            memory: Arc::clone(memory),
            catalog: Arc::clone(catalog),
            own: Arc::clone(own),
            reader: Reader::new(at.pointer().unwrap_or_default(), longest),
            at: at.clone(),
            starting,
            is_named: false,
            remembered: None,
        }
    }

    /// The head of the answer has come, and nothing of it has gone on. Whether its body is to be heard.
    pub fn sees<B>(&mut self, response: &Response<B>) -> bool {
        let (status, headers) = (response.status(), response.headers());
        match self.at {
            NamedAt::Location => {
                if let Some(location) = self.location(status, headers) {
                    self.named(location);
                }
                false
            }
            NamedAt::Answer(_) | NamedAt::Link(_) => status.is_success() && links::is_read(status, headers),
        }
    }

    /// A piece of the body, before it goes on. Whether the rest is to be heard.
    pub fn hears(&mut self, bytes: &[u8]) -> bool {
        self.reader.take(bytes);
        if self.reader.is_spoilt() {
            // What was read before is not what every reader reads.
            if let Some(id) = self.remembered.take() {
                self.memory.forget(&self.starting, &id);
            }
            return false;
        }
        if !self.is_named
            && let Some(text) = self.reader.found()
        {
            self.named(text.to_owned());
        }
        true
    }

    /// Of a redirect that asks for nothing else than the job, and of what was made.
    fn location(&self, status: StatusCode, headers: &HeaderMap) -> Option<String> {
        let mut all = headers.get_all(header::LOCATION).iter();
        let (location, None) = (all.next()?, all.next()) else { return None };
        let location = location.to_str().ok().filter(|text| text.len() <= LINK_BYTES_MAX)?;
        (status.is_success() || status == StatusCode::SEE_OTHER).then(|| location.to_owned())
    }

    fn named(&mut self, text: String) {
        self.is_named = true;
        let id = match self.at {
            NamedAt::Answer(_) => Some(text),
            NamedAt::Link(_) | NamedAt::Location => links::own_path(text.as_bytes(), &self.own)
                .and_then(|path| self.catalog.job_in_link(self.starting.kind, path, &self.starting.owner.tenant)),
        };
        let id = id.filter(|id| (1..=ID_BYTES_MAX).contains(&id.len()));
        if let Some(id) = &id {
            self.memory.remember(&self.starting, id, Instant::now());
        }
        self.remembered = id;
    }
}
