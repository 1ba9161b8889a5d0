//! The time that a request is judged by, as the core is told it.

/// A moment. Unix time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// What ends a right, or begins to take one, does so by this.
    pub ms: i64,
    /// So far behind is the time by which a right begins, or a revocation ends: by what the clock was set forward, where it
    /// is not believed. Mostly 0.
    pub behind_ms: i64,
}

impl Now {
    /// By a clock that is believed.
    pub fn at(ms: i64) -> Self {
        Self { ms, behind_ms: 0 }
    }

    /// The time by which a right begins, or a revocation ends.
    #[inline]
    pub fn gives_ms(self) -> i64 {
        self.ms.saturating_sub(self.behind_ms)
    }
}
