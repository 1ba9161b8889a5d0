//! Health, admin, metrics and the log, from outside.
