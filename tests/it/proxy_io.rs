//! The moving of bytes, end to end: a pass-through service over the data plane's parts, raw sockets on both sides.

mod bodies;
mod framing;
mod gate;
mod lifetimes;
mod retries;
mod transports;
