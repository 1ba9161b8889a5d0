//! The data plane hub: `handle` cannot fail, `answer` is the life of a request.

pub mod body;
pub mod connection;
pub mod counters;
pub mod forward;
pub mod headers;
pub mod limits;
pub mod listener;
pub mod record;
pub mod refuse;
pub mod stream;
pub mod tls;
pub mod upstream;
pub mod worker;
