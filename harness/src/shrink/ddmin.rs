//! Delta debugging: the fewest of some items with which a test still fails (Zeller and Hildebrandt 2002). Pure.

/// What a test says of a candidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It fails as the original does: what was left out is not needed.
    Fails,
    /// It does not, or not often enough.
    Passes,
    /// There is no time left to find out.
    Over,
}

/// The items, in order, that are left when no smaller part is found with which `test` fails. `items` themselves
/// are held to fail. Ends early with the best so far when the test says that time is over.
///
/// Where the test is monotone and certain, none of what is left can be missed, alone or with others.
pub fn ddmin<T: Clone + PartialEq>(items: &[T], mut test: impl FnMut(&[T]) -> Answer) -> Vec<T> {
    let mut left = items.to_vec();
    let mut parts = 2;
    while left.len() >= 2 {
        match reduce(&left, parts, &mut test) {
            Found::Part(part) => (left, parts) = (part, 2),
            Found::Rest(rest) => (left, parts) = (rest, (parts - 1).max(2)),
            Found::Nothing if parts < left.len() => parts = (parts * 2).min(left.len()),
            Found::Nothing => break,
            Found::Over => return left,
        }
    }
    if left.len() == 1 && test(&[]) == Answer::Fails {
        left.clear();
    }
    left
}

enum Found<T> {
    Part(Vec<T>),
    Rest(Vec<T>),
    Nothing,
    Over,
}

/// One round: each of so many parts alone, then all but each.
fn reduce<T: Clone>(left: &[T], parts: usize, test: &mut impl FnMut(&[T]) -> Answer) -> Found<T> {
    let chunks = split(left.len(), parts);
    let rest = |(from, to): (usize, usize)| [&left[..from], &left[to..]].concat();
    for &(from, to) in &chunks {
        match test(&left[from..to]) {
            Answer::Fails => return Found::Part(left[from..to].to_vec()),
            Answer::Passes => {}
            Answer::Over => return Found::Over,
        }
    }
    // With two parts, all but one is the other.
    for &chunk in chunks.iter().filter(|_| parts > 2) {
        let rest = rest(chunk);
        match test(&rest) {
            Answer::Fails => return Found::Rest(rest),
            Answer::Passes => {}
            Answer::Over => return Found::Over,
        }
    }
    Found::Nothing
}

/// Bounds of so many parts of nearly the same size.
fn split(len: usize, parts: usize) -> Vec<(usize, usize)> {
    (0..parts)
        .map(|part| (len * part / parts, len * (part + 1) / parts))
        .filter(|(from, to)| from < to)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn answer(fails: bool) -> Answer {
        if fails { Answer::Fails } else { Answer::Passes }
    }

    fn has_all(part: &[u64], needed: &BTreeSet<u64>) -> bool {
        needed.iter().all(|item| part.contains(item))
    }

    proptest! {
        #[test]
        fn exactly_what_is_needed_is_left(n in 1u64..40, needed in btree_set(0u64..40, 0..6)) {
            let needed: BTreeSet<u64> = needed.into_iter().filter(|item| *item < n).collect();
            let items: Vec<u64> = (0..n).collect();
            let mut tests = 0;
            let left = ddmin(&items, |part| { tests += 1; answer(has_all(part, &needed)) });
            prop_assert_eq!(left, needed.into_iter().collect::<Vec<_>>());
            prop_assert!(tests <= n * n + 3 * n, "{} tests for {}", tests, n);
        }

        /// Whatever the test is, as long as it keeps to its word: nothing that is left can be missed alone.
        #[test]
        fn none_of_what_is_left_can_be_missed(n in 1u64..14, salt: u64) {
            let items: Vec<u64> = (0..n).collect();
            let fails = |part: &[u64]| {
                part.len() == items.len() || part.iter().fold(salt, |hash, item| {
                    (hash ^ item).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23)
                }) % 3 == 0
            };
            let left = ddmin(&items, |part| answer(fails(part)));
            prop_assert!(fails(&left));
            for gone in &left {
                let rest: Vec<u64> = left.iter().copied().filter(|item| item != gone).collect();
                prop_assert!(!fails(&rest), "{:?} without {}", left, gone);
            }
        }

        #[test]
        fn when_time_is_over_the_best_so_far_is_left(n in 2u64..30, needed in btree_set(0u64..30, 1..4), most in 0usize..30) {
            let needed: BTreeSet<u64> = needed.into_iter().map(|item| item % n).collect();
            let items: Vec<u64> = (0..n).collect();
            let mut tests = 0;
            let left = ddmin(&items, |part| {
                tests += 1;
                if tests > most { Answer::Over } else { answer(has_all(part, &needed)) }
            });
            prop_assert!(has_all(&left, &needed));
            prop_assert!(tests <= most + 1);
        }
    }

    #[test]
    fn twelve_of_which_one_is_to_blame_take_few_tests() {
        let items: Vec<u64> = (0..12).collect();
        for guilty in 0..12 {
            let mut tests = 0;
            let left = ddmin(&items, |part| {
                tests += 1;
                answer(part.contains(&guilty))
            });
            assert_eq!(left, [guilty]);
            assert!(tests <= 9, "{tests}");
        }
    }
}
