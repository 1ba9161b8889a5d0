//! A YAML document of somebody else's, such as an API's description, as values without places. As strict as the rest,
//! and with room for more.

use serde::de::DeserializeOwned;
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};

use super::{ALIAS_DEPTH_MAX, ALIAS_EVENTS_MAX, ALIASES_MAX, ANCHORS_MAX, NODES_MAX};

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
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            flow_nesting_limit: DEPTH_MAX,
            max_depth: DEPTH_MAX,
            max_documents: 1,
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_anchors: ANCHORS_MAX,
            max_aliases: ALIASES_MAX,
            max_total_scalar_bytes: PLAIN_BYTES_MAX,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        merge_keys: MergeKeyPolicy::Error,
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_EVENTS_MAX,
            max_replay_stack_depth: ALIAS_DEPTH_MAX,
            max_alias_expansions_per_anchor: ALIASES_MAX,
        },
        strict_booleans: true,
        ignore_binary_tag_for_string: true,
        reject_unsupported_tags: true,
        reject_tagged_field_names: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| error.without_snippet().to_string())
}
