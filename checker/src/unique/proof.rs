//! Why a register with unique values is not linearizable: a handful of operations.

/// Why there is no legal order. Numbers are places in the entries. `support` holds the writers and readers
/// without which the operations named first would not prove anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A read or compare-and-set met a value that no operation can have written.
    NoWriter {
        /// The read or compare-and-set.
        entry: usize,
        /// Who saw its effect, if it is indefinite itself.
        support: Vec<usize>,
    },
    /// Two compare-and-sets both replaced the same value.
    TwoCas {
        /// One of them.
        first: usize,
        /// The other.
        second: usize,
        /// Who wrote that value, and who saw theirs.
        support: Vec<usize>,
    },
    /// Each compare-and-set waits for another one's value: none can have been the first.
    CasCycle {
        /// All of them.
        entries: Vec<usize>,
        /// Who saw theirs.
        support: Vec<usize>,
    },
    /// `early` can only come after `late`, but returned before `late` was called.
    Order {
        /// The operation that returned.
        early: usize,
        /// The operation that was called afterwards.
        late: usize,
        /// The writers that make it so.
        support: Vec<usize>,
    },
    /// A mismatch all the while that the value it denies was certainly there.
    Denied {
        /// The mismatch.
        entry: usize,
        /// The value's hold.
        hold: Box<Hold>,
    },
    /// `newer` must come after something of `older` and before something of `older`, and neither can be divided.
    Torn {
        /// The block that certainly holds the register all the while.
        older: Box<Hold>,
        /// The block that has no place before or after it.
        newer: Box<Hold>,
    },
}

/// The two operations that bind a block in time, and what they rest on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// The operation that returned first; none when it is the register's beginning.
    pub first_back: Option<usize>,
    /// The operation that was called last; none when there is none but the register's beginning.
    pub last_called: Option<usize>,
    /// Writers from the block's first value on, and who saw the indefinite ones.
    pub support: Vec<usize>,
    /// True when the block is one write that nobody saw.
    pub is_unseen: bool,
}

impl Proof {
    /// Every operation the proof names.
    pub fn entries(&self) -> Vec<usize> {
        let mut entries = match self {
            Proof::NoWriter { entry, support } => [&[*entry], &support[..]].concat(),
            Proof::TwoCas { first, second, support } => [&[*first, *second], &support[..]].concat(),
            Proof::CasCycle { entries, support } => [&entries[..], &support[..]].concat(),
            Proof::Order { early, late, support } => [&[*early, *late], &support[..]].concat(),
            Proof::Denied { entry, hold } => [vec![*entry], hold.entries()].concat(),
            Proof::Torn { older, newer } => [older.entries(), newer.entries()].concat(),
        };
        entries.sort_unstable();
        entries.dedup();
        entries
    }
}

impl Proof {
    /// The operations of the contradiction alone, without what they rest on.
    pub(crate) fn bare_entries(&self) -> Vec<usize> {
        let mut entries = match self {
            Proof::NoWriter { entry, .. } => vec![*entry],
            Proof::TwoCas { first, second, .. } => vec![*first, *second],
            Proof::CasCycle { entries, .. } => entries.clone(),
            Proof::Order { early, late, .. } => vec![*early, *late],
            Proof::Denied { entry, hold } => {
                [Some(*entry), hold.first_back, hold.last_called].into_iter().flatten().collect()
            }
            Proof::Torn { older, newer } => {
                [older.first_back, older.last_called, newer.first_back, newer.last_called]
                    .into_iter()
                    .flatten()
                    .collect()
            }
        };
        entries.sort_unstable();
        entries.dedup();
        entries
    }

    /// The same proof where entry `i` is called `places[i]`.
    pub(crate) fn renumbered(self, places: &[usize]) -> Proof {
        let one = |i: usize| places[i];
        let all = |entries: Vec<usize>| entries.into_iter().map(one).collect::<Vec<_>>();
        let hold = |hold: Box<Hold>| {
            Box::new(Hold {
                first_back: hold.first_back.map(one),
                last_called: hold.last_called.map(one),
                support: all(hold.support),
                is_unseen: hold.is_unseen,
            })
        };
        match self {
            Proof::NoWriter { entry, support } => {
                Proof::NoWriter { entry: one(entry), support: all(support) }
            }
            Proof::TwoCas { first, second, support } => {
                Proof::TwoCas { first: one(first), second: one(second), support: all(support) }
            }
            Proof::CasCycle { entries, support } => {
                Proof::CasCycle { entries: all(entries), support: all(support) }
            }
            Proof::Order { early, late, support } => {
                Proof::Order { early: one(early), late: one(late), support: all(support) }
            }
            Proof::Denied { entry, hold: held } => Proof::Denied { entry: one(entry), hold: hold(held) },
            Proof::Torn { older, newer } => Proof::Torn { older: hold(older), newer: hold(newer) },
        }
    }
}

impl Hold {
    fn entries(&self) -> Vec<usize> {
        self.first_back.into_iter().chain(self.last_called).chain(self.support.iter().copied()).collect()
    }
}
