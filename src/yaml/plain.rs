//! A YAML document of somebody else's, such as an API's description, as values without places. As strict as the rest,
//! and with room for more.

use serde::de::DeserializeOwned;
use serde_saphyr::options::DuplicateKeyPolicy;

/// The largest text, in bytes. The largest known description, of a cloud's compute API, has 10 MB.
pub const PLAIN_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Schemas nest deeper than policies do. The YAML library takes more than 16 KiB of the stack for a level in a debug
/// build, and a thread has 2 MiB: 128 levels overflowed it.
const DEPTH_MAX: usize = 40;

/// Reads one document.
///
/// # Errors
/// Why it cannot be read, in the reader's words.
pub fn plain<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = super::strict(DEPTH_MAX, PLAIN_BYTES_MAX, DuplicateKeyPolicy::Error);
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.without_snippet().to_string())
}
