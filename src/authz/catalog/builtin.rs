//! The catalogs that the binary carries, in the compact form that the build script made.

use std::sync::{Arc, OnceLock};

use super::Catalog;

include!(concat!(env!("OUT_DIR"), "/catalogs.rs"));

/// One catalog as the build script embeds it.
struct Embedded {
    product: &'static str,
    release: &'static str,
    bytes: &'static [u8],
    compiled: OnceLock<Option<Arc<Catalog>>>,
}

impl Embedded {
    const fn new(product: &'static str, release: &'static str, bytes: &'static [u8]) -> Self {
        Self { product, release, bytes, compiled: OnceLock::new() }
    }

    /// Compiled once per process. It was compiled by a test too, so `None` is a damaged binary.
    fn catalog(&self) -> Option<Arc<Catalog>> {
        let compile = || Catalog::from_compact(self.bytes, self.product).ok().map(Arc::new);
        self.compiled.get_or_init(compile).clone()
    }
}

/// The products that have a built-in catalog, with the release of each.
pub fn products() -> impl Iterator<Item = (&'static str, &'static str)> {
    EMBEDDED.iter().map(|embedded| (embedded.product, embedded.release))
}

/// The built-in catalog of `jira`, or of exactly `jira@2025-12`.
pub fn catalog(name: &str) -> Option<Arc<Catalog>> {
    embedded(name)?.catalog()
}

/// Whether there is such a catalog, without reading it: a command that asks a gate needs none.
pub fn is_there(name: &str) -> bool {
    embedded(name).is_some()
}

fn embedded(name: &str) -> Option<&'static Embedded> {
    let (product, release) = name.split_once('@').map_or((name, None), |(product, release)| (product, Some(release)));
    let same =
        |embedded: &&Embedded| embedded.product == product && release.is_none_or(|release| embedded.release == release);
    EMBEDDED.iter().find(same)
}
