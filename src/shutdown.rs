//! Orderly shutdown: readiness goes first, then a delay, then the drain.
