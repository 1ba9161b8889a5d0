//! Turns vendors' API descriptions into catalogs.
