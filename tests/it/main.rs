//! The integration tests, one binary; each theme is a module.

mod yaml;
