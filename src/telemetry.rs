//! The log: one JSON line per request, never a secret in it.
