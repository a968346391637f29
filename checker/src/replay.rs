//! An independent look at a "yes": does the order that an engine gave really explain the history?

use crate::model::{Entry, Model};

/// Checks that `order` (places in `entries`) holds every definite operation once and no operation twice, keeps
/// to real time, and is possible step by step. The answer says what is wrong.
pub fn replay<M: Model>(model: &M, entries: &[Entry<M::Call>], order: &[usize]) -> Result<(), String> {
    let mut placed = vec![false; entries.len()];
    let mut state = model.init();
    let mut latest_call = 0;
    for &i in order {
        let entry = entries.get(i).ok_or_else(|| format!("there is no entry {i}"))?;
        if std::mem::replace(&mut placed[i], true) {
            return Err(format!("entry {i} takes effect twice"));
        }
        if entry.ret < latest_call {
            return Err(format!("entry {i} comes after an operation that was called after its return"));
        }
        latest_call = latest_call.max(entry.inv);
        state = model
            .step(&state, &entry.call)
            .ok_or_else(|| format!("entry {i} is not possible in its place"))?;
    }
    match (0..entries.len()).find(|&i| !placed[i] && !entries[i].is_optional()) {
        Some(i) => Err(format!("entry {i} took effect but is not in the order")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::register::{Register, RegisterCall};

    #[test]
    fn every_kind_of_wrong_order_is_refused() {
        use RegisterCall::{Read, Write};
        let entry = |call, inv, ret| Entry { call, inv, ret, op: 0 };
        let entries = [entry(Write(1), 0, 1), entry(Read(1), 2, 3), entry(Write(2), 2, u64::MAX)];
        let replay = |order: &[usize]| replay(&Register, &entries, order);
        assert_eq!(replay(&[0, 1]), Ok(()));
        assert_eq!(replay(&[0, 1, 2]), Ok(()));
        assert!(replay(&[0]).is_err(), "a definite read is missing");
        assert!(replay(&[1, 0]).is_err(), "not possible");
        assert!(replay(&[0, 2, 1]).is_err(), "the read would see 2");
        assert!(replay(&[0, 0, 1]).is_err(), "twice");
        assert!(replay(&[7]).is_err(), "no such entry");
        let entries = [entry(Write(1), 5, 6), entry(Write(2), 0, 1)];
        assert!(super::replay(&Register, &entries, &[0, 1]).is_err(), "against real time");
    }
}
