//! Finds the operation of a request.

/// Finds the operation of a method and a canonical path.
#[derive(Debug, Default)]
pub struct Matcher;
