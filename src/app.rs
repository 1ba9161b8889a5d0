//! Wiring: builds the parts of a gate from a checked configuration and returns the real bound addresses.
