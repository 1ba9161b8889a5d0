//! The one shared cell: the current snapshot, swapped by one writer and read by every request.
