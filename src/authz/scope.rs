//! Scopes as integers, and sets of them as bits: what the hot path compares.

/// The most scopes one catalog may hold. Jira has about 200, Slack about 130; a set is then one cache line.
pub const SCOPES_MAX: usize = 512;
const WORDS: usize = SCOPES_MAX / 64;

/// A scope of one catalog, numbered from 0 in catalog order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScopeId(u16);

impl ScopeId {
    /// `None` past [`SCOPES_MAX`].
    pub fn new(index: usize) -> Option<Self> {
        (index < SCOPES_MAX).then_some(Self(index as u16))
    }

    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A set of scopes of one catalog.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ScopeSet([u64; WORDS]);

impl ScopeSet {
    pub const EMPTY: Self = Self([0; WORDS]);
    /// Every scope that any catalog could have.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    pub fn insert(&mut self, scope: ScopeId) {
        if let Some(word) = self.0.get_mut(scope.index() / 64) {
            *word |= 1 << (scope.index() % 64);
        }
    }

    #[inline]
    pub fn contains(&self, scope: ScopeId) -> bool {
        self.0.get(scope.index() / 64).is_some_and(|word| word & (1 << (scope.index() % 64)) != 0)
    }

    #[inline]
    pub fn intersects(&self, other: &Self) -> bool {
        // Without a way out in between, it is a few vector instructions.
        self.0.iter().zip(&other.0).fold(0, |common, (a, b)| common | (a & b)) != 0
    }

    pub fn is_subset(&self, of: &Self) -> bool {
        self.0.iter().zip(&of.0).all(|(a, b)| a & !b == 0)
    }

    #[inline]
    pub fn union_with(&mut self, other: &Self) {
        for (a, b) in self.0.iter_mut().zip(&other.0) {
            *a |= b;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// In catalog order.
    pub fn iter(&self) -> impl Iterator<Item = ScopeId> + '_ {
        (0..SCOPES_MAX).filter_map(ScopeId::new).filter(|scope| self.contains(*scope))
    }
}

impl FromIterator<ScopeId> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = ScopeId>>(scopes: I) -> Self {
        let mut set = Self::EMPTY;
        scopes.into_iter().for_each(|scope| set.insert(scope));
        set
    }
}

impl std::fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter().map(ScopeId::index)).finish()
    }
}
