//! The request as the core sees it.
