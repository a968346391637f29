//! Things that must be in order wherever real time puts them in order.

/// Where something stands, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ordered {
    pub(super) rank: i64,
    pub(super) call: u64,
    pub(super) ret: u64,
}

/// The first item, in order of call, that ranks below one that had returned before it was called; with the highest
/// of those. O(n log n).
pub(super) fn first_back<T>(items: &[T], of: impl Fn(&T) -> Ordered) -> Option<(&T, &T)> {
    let mut by_return: Vec<&T> = items.iter().collect();
    by_return.sort_by_key(|item| of(item).ret);
    let mut by_call: Vec<&T> = items.iter().collect();
    by_call.sort_by_key(|item| of(item).call);
    let mut returned = by_return.into_iter().peekable();
    let mut highest: Option<&T> = None;
    for new in by_call {
        while let Some(old) = returned.next_if(|old| of(old).ret < of(new).call) {
            if highest.is_none_or(|highest| of(highest).rank < of(old).rank) {
                highest = Some(old);
            }
        }
        if let Some(old) = highest.filter(|old| of(new).rank < of(old).rank) {
            return Some((old, new));
        }
    }
    None
}
