//! What a search over a register need not look at.

use crate::model::Entry;
use crate::model::register::{RegisterCall, ValueId};

/// A smaller partition with the same verdict.
#[derive(Debug, Clone)]
pub(crate) struct Reduced {
    pub(crate) entries: Vec<Entry<RegisterCall>>,
    /// Place of each in the entries that were reduced.
    pub(crate) places: Vec<usize>,
}

/// Leaves out indefinite writes that cannot matter, and makes values that nobody can tell apart one.
///
/// A value is *told apart* when some read, compare-and-set or mismatch names it; all others are as one. An
/// indefinite write of a value that nobody reads or expects can serve only a mismatch: without mismatches it
/// is left out, and what it alone expected may then be left out too.
pub(crate) fn reduce(entries: &[Entry<RegisterCall>], values_len: usize) -> Reduced {
    let mut wanted = vec![0u32; values_len];
    let mut named = vec![false; values_len];
    let mut mismatches = false;
    for entry in entries {
        if let Some(value) = entry.call.needs() {
            wanted[value as usize] += 1;
            named[value as usize] = true;
        }
        if let RegisterCall::Differs(value) = entry.call {
            mismatches = true;
            named[value as usize] = true;
        }
    }
    let mut kept = vec![true; entries.len()];
    if !mismatches {
        leave_out(entries, &mut wanted, &mut kept);
    }
    let common: Option<ValueId> = (0..values_len as ValueId).find(|&value| !named[value as usize]);
    let folded = |value: ValueId| match common {
        Some(common) if !named[value as usize] => common,
        _ => value,
    };
    let places: Vec<usize> = (0..entries.len()).filter(|&i| kept[i]).collect();
    let entries = places.iter().map(|&i| {
        let call = match entries[i].call {
            RegisterCall::Write(value) => RegisterCall::Write(folded(value)),
            RegisterCall::Cas(expected, new) => RegisterCall::Cas(expected, folded(new)),
            other => other,
        };
        Entry { call, ..entries[i] }
    });
    Reduced { entries: entries.collect(), places }
}

/// Drops indefinite writers of values that nobody wants, until nothing changes.
fn leave_out(entries: &[Entry<RegisterCall>], wanted: &mut [u32], kept: &mut [bool]) {
    let mut writers: Vec<(ValueId, usize)> = entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| entry.is_optional())
        .filter_map(|(i, entry)| Some((entry.call.writes()?, i)))
        .collect();
    writers.sort_unstable();
    let of = |value: ValueId| {
        let start = writers.partition_point(|(v, _)| *v < value);
        writers[start..].iter().take_while(move |(v, _)| *v == value).map(|&(_, i)| i)
    };
    let mut work: Vec<ValueId> = (0..wanted.len() as ValueId).filter(|&v| wanted[v as usize] == 0).collect();
    while let Some(value) = work.pop() {
        for i in of(value) {
            kept[i] = false;
            if let Some(expected) = entries[i].call.needs() {
                wanted[expected as usize] -= 1;
                if wanted[expected as usize] == 0 {
                    work.push(expected);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RegisterCall::{Cas, Differs, Read, Write};

    fn entries(calls: &[(RegisterCall, bool)]) -> Vec<Entry<RegisterCall>> {
        let entry = |(i, &(call, definite)): (usize, &(RegisterCall, bool))| {
            let inv = 2 * i as u64;
            Entry { call, inv, ret: if definite { inv + 1 } else { u64::MAX }, op: i }
        };
        calls.iter().enumerate().map(entry).collect()
    }

    #[test]
    fn an_unseen_chain_of_indefinite_writes_is_left_out() {
        let entries = entries(&[(Write(1), false), (Cas(1, 2), false), (Cas(2, 3), false), (Write(4), true)]);
        assert_eq!(reduce(&entries, 5).places, [3]);
    }

    #[test]
    fn what_is_read_is_kept_with_all_that_led_to_it() {
        let entries = entries(&[(Write(1), false), (Cas(1, 2), false), (Write(3), false), (Read(2), true)]);
        assert_eq!(reduce(&entries, 4).places, [0, 1, 3]);
    }

    #[test]
    fn with_a_mismatch_every_write_may_matter_but_unnamed_values_are_one() {
        let entries = entries(&[(Write(1), true), (Differs(1), true), (Write(2), false), (Write(3), false)]);
        let reduced = reduce(&entries, 4);
        assert_eq!(reduced.places, [0, 1, 2, 3]);
        assert_eq!(reduced.entries[2].call, reduced.entries[3].call);
        assert_ne!(reduced.entries[2].call, Write(1));
    }
}
