//! Hostile requests: what is refused, and what is judged as what.
