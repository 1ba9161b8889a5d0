//! The data plane hub: `handle` cannot fail, `answer` is the life of a request.

pub mod record;
pub mod refuse;
