//! The metrics, by the names that DESIGN fixes. No label value comes from a caller.
