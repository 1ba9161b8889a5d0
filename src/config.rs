//! The configuration of the platform team: a serde mirror in `file`, the checked model here.
