//! `scopegate demo`: an embedded upstream, sample policies and a gate in one process.
