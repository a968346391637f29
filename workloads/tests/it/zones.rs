//! An oracle for registers whose written values are unique: exact, without search.
//!
//! A value's zone is the time between the first return and the last call of its writer and readers
//! (Gibbons and Korach 1997); a compare-and-set welds its value's zone to that of the value it expected.

use std::collections::HashMap;

/// One operation on one register, in order of events.
#[derive(Debug, Clone)]
pub struct Op {
    pub call: u64,
    /// None when nobody knows whether it happened.
    pub ret: Option<u64>,
    pub action: Action,
}

#[derive(Debug, Clone)]
pub enum Action {
    /// Null is `None`.
    Read(Option<String>),
    Write(String),
    Cas(String, String),
}

struct Group {
    call: u64,
    ret: u64,
    expected: Option<Option<String>>,
    first_ret: u64,
    last_call: u64,
    read: bool,
    needed: bool,
    next: Option<Option<String>>,
}

/// Why the history of one register cannot be explained, if it cannot.
pub fn contradiction(ops: &[Op]) -> Option<String> {
    let mut groups = match groups(ops) {
        Ok(groups) => groups,
        Err(why) => return Some(why),
    };
    if let Err(why) = weld(&mut groups) {
        return Some(why);
    }
    let mut zones = Vec::new();
    for (value, group) in &groups {
        if group.needed && group.expected.is_none() {
            match zone(&groups, value) {
                Ok(zone) => zones.push((zone, value)),
                Err(why) => return Some(why),
            }
        }
    }
    clash(zones)
}

fn groups(ops: &[Op]) -> Result<HashMap<Option<String>, Group>, String> {
    let group = |call, ret, expected, needed| Group {
        call,
        ret,
        expected,
        first_ret: ret,
        last_call: call,
        read: false,
        needed,
        next: None,
    };
    let mut groups = HashMap::from([(None, group(0, 0, None, true))]);
    for op in ops {
        let (value, expected) = match &op.action {
            Action::Read(_) => continue,
            Action::Write(value) => (value.clone(), None),
            Action::Cas(expected, value) => (value.clone(), Some(Some(expected.clone()))),
        };
        let new = group(op.call, op.ret.unwrap_or(u64::MAX), expected, op.ret.is_some());
        assert!(groups.insert(Some(value), new).is_none(), "values are unique");
    }
    for op in ops {
        if let (Action::Read(value), Some(ret)) = (&op.action, op.ret) {
            let group = groups.get_mut(value).ok_or(format!("nobody wrote {value:?}"))?;
            group.first_ret = if group.read { group.first_ret.min(ret) } else { ret };
            group.last_call = if group.read { group.last_call.max(op.call) } else { op.call };
            (group.read, group.needed) = (true, true);
        }
    }
    Ok(groups)
}

/// Links each compare-and-set that must have happened to the value it replaced, which then must have been.
fn weld(groups: &mut HashMap<Option<String>, Group>) -> Result<(), String> {
    let mut work: Vec<Option<String>> =
        groups.iter().filter(|(_, group)| group.needed).map(|(value, _)| value.clone()).collect();
    while let Some(value) = work.pop() {
        let Some(expected) = groups[&value].expected.clone() else { continue };
        let before = groups.get_mut(&expected).ok_or(format!("nobody wrote {expected:?}"))?;
        if let Some(other) = before.next.replace(value.clone()) {
            return Err(format!("both {other:?} and {value:?} replaced {expected:?}"));
        }
        if !before.needed {
            before.needed = true;
            work.push(expected);
        }
    }
    Ok(())
}

/// First return and last call of a value and all that compare-and-sets made of it.
fn zone(groups: &HashMap<Option<String>, Group>, root: &Option<String>) -> Result<(u64, u64), String> {
    let (mut earliest, mut first_ret, mut last_call) = (0, u64::MAX, 0);
    let mut next = Some(root);
    while let Some(value) = next {
        let group = &groups[value];
        if group.ret < earliest {
            return Err(format!("{value:?} was written before the value it replaced was there"));
        }
        earliest = earliest.max(group.call);
        first_ret = first_ret.min(group.ret);
        last_call = last_call.max(group.call);
        if group.read {
            if group.first_ret < earliest {
                return Err(format!("{value:?} was read before it was written"));
            }
            earliest = earliest.max(group.last_call);
            first_ret = first_ret.min(group.first_ret);
            last_call = last_call.max(group.last_call);
        }
        next = group.next.as_ref();
    }
    Ok((first_ret, last_call))
}

fn clash(zones: Vec<((u64, u64), &Option<String>)>) -> Option<String> {
    let (mut forward, backward): (Vec<_>, Vec<_>) =
        zones.into_iter().partition(|((first_ret, last_call), _)| first_ret < last_call);
    forward.sort();
    for pair in forward.windows(2) {
        if pair[1].0.0 < pair[0].0.1 {
            return Some(format!(
                "{:?} and {:?} were both seen before and after each other",
                pair[0].1, pair[1].1
            ));
        }
    }
    for ((last, first), value) in backward {
        let around = forward.iter().find(|((from, to), _)| *from < first && last < *to);
        if let Some((_, other)) = around {
            return Some(format!("{value:?} lies within the time in which {other:?} was there"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(call: u64, ret: u64, action: Action) -> Op {
        Op { call, ret: Some(ret), action }
    }

    fn read(call: u64, ret: u64, value: &str) -> Op {
        op(call, ret, Action::Read((!value.is_empty()).then(|| value.to_owned())))
    }

    fn write(call: u64, ret: u64, value: &str) -> Op {
        op(call, ret, Action::Write(value.to_owned()))
    }

    fn cas(call: u64, ret: u64, expected: &str, new: &str) -> Op {
        op(call, ret, Action::Cas(expected.to_owned(), new.to_owned()))
    }

    fn open(mut op: Op) -> Op {
        op.ret = None;
        op
    }

    #[test]
    fn what_can_be_explained_is_and_what_cannot_is_not() {
        let good: [&[Op]; 5] = [
            &[read(1, 2, ""), write(3, 4, "a"), read(5, 6, "a")],
            &[write(1, 9, "a"), read(2, 3, "a"), read(4, 5, "a")],
            &[open(write(1, 0, "a")), write(2, 3, "b"), read(4, 5, "b"), read(6, 7, "a")],
            &[write(1, 2, "a"), cas(3, 4, "a", "b"), read(5, 6, "b")],
            &[write(1, 2, "a"), open(cas(3, 0, "a", "b")), read(5, 6, "a"), read(7, 8, "b")],
        ];
        let bad: [&[Op]; 6] = [
            &[write(1, 2, "a"), read(3, 4, "")],
            &[write(1, 2, "a"), write(3, 4, "b"), read(5, 6, "a")],
            &[write(1, 9, "a"), read(2, 3, "a"), read(4, 5, "")],
            &[read(1, 2, "a"), write(3, 4, "a")],
            &[write(1, 2, "a"), cas(3, 4, "a", "b"), cas(5, 6, "a", "c")],
            &[write(1, 2, "a"), read(3, 4, "x")],
        ];
        for ops in good {
            assert_eq!(contradiction(ops), None, "{ops:?}");
        }
        for ops in bad {
            assert!(contradiction(ops).is_some(), "{ops:?}");
        }
    }
}
