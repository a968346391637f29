//! Transactions as flat tables: keys as dense numbers, values as 64-bit codes.

use rustc_hash::FxHashMap;
use serde_json::Value;

use crate::{History, OpEnd};

/// One step of a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'h> {
    pub(super) key: u32,
    pub(super) act: Act<'h>,
}

/// What a step does. Reads are of committed transactions only: others have no results.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act<'h> {
    /// Writes or appends the value with this code.
    Write(u64),
    /// Returned this.
    Read(&'h Value),
}

/// The codes of values: integers of 62 bits as themselves, whatever else by the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Codes<'h> {
    others: FxHashMap<&'h Value, u64>,
    texts: Vec<&'h Value>,
}

const PLAIN_MAX: i64 = 1 << 61;

impl<'h> Codes<'h> {
    /// The code of a value that is written.
    pub(super) fn intern(&mut self, value: &'h Value) -> u64 {
        if let Some(code) = plain(value) {
            return code;
        }
        let texts = &mut self.texts;
        *self.others.entry(value).or_insert_with(|| {
            texts.push(value);
            (texts.len() as u64 - 1) << 1 | 1
        })
    }

    /// The code of a value that is read; none if it was never written.
    #[inline]
    pub(super) fn find(&self, value: &Value) -> Option<u64> {
        plain(value).or_else(|| self.others.get(value).copied())
    }

    /// The value of a code, as people read it.
    pub(super) fn text(&self, code: u64) -> String {
        match code & 1 {
            0 => ((code as i64) >> 1).to_string(),
            _ => self.texts[(code >> 1) as usize].to_string(),
        }
    }
}

#[inline]
fn plain(value: &Value) -> Option<u64> {
    let number = value.as_i64()?;
    (-PLAIN_MAX..PLAIN_MAX).contains(&number).then_some((number << 1) as u64)
}

/// The history as tables. A transaction is named by its place in `History::ops`.
pub(super) struct Txns<'h> {
    pub(super) history: &'h History,
    /// Where each transaction's steps begin; one more at the end.
    starts: Vec<u32>,
    steps: Vec<Step<'h>>,
    /// The keys by number.
    pub(super) keys: Vec<&'h Value>,
    pub(super) codes: Codes<'h>,
}

impl<'h> Txns<'h> {
    /// Reads a history in; `write` names the steps that write: `append` or `w`.
    ///
    /// The error is a sentence that names the operation which is not a transaction.
    pub(super) fn new(history: &'h History, write: &str) -> Result<Self, String> {
        if history.ops.len() >= 1 << 29 {
            return Err(format!("more than {} transactions at once", 1 << 29));
        }
        let mut txns = Txns {
            history,
            starts: Vec::with_capacity(history.ops.len() + 1),
            steps: Vec::with_capacity(history.ops.len() * 2),
            keys: Vec::new(),
            codes: Codes::default(),
        };
        let mut numbers = FxHashMap::default();
        for op in &history.ops {
            txns.starts.push(txns.steps.len() as u32);
            let committed = op.end == OpEnd::Ok;
            let told = if committed { &op.output } else { &op.input };
            let steps = told.as_array().ok_or_else(|| {
                let what = if committed { "result" } else { "argument" };
                format!("operation {}: its {what} {told} is not a list of steps", op.index)
            })?;
            for step in steps {
                txns.step(step, write, committed, &mut numbers)
                    .map_err(|why| format!("operation {}: {why}", op.index))?;
            }
        }
        txns.starts.push(txns.steps.len() as u32);
        Ok(txns)
    }

    fn step(
        &mut self,
        step: &'h Value,
        write: &str,
        committed: bool,
        numbers: &mut FxHashMap<u64, u32>,
    ) -> Result<(), String> {
        let Some([Value::String(name), key, value]) = step.as_array().map(Vec::as_slice) else {
            return Err(format!("{step} is not a step like [\"{write}\", key, value]"));
        };
        let code = self.codes.intern(key);
        let key = *numbers.entry(code).or_insert_with(|| {
            self.keys.push(key);
            self.keys.len() as u32 - 1
        });
        if name == write {
            let act = Act::Write(self.codes.intern(value));
            self.steps.push(Step { key, act });
        } else if name != "r" {
            return Err(format!("its step {step} is neither `{write}` nor `r`"));
        } else if committed {
            self.steps.push(Step { key, act: Act::Read(value) });
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn steps(&self, txn: u32) -> &[Step<'h>] {
        let txn = txn as usize;
        &self.steps[self.starts[txn] as usize..self.starts[txn + 1] as usize]
    }

    pub(super) fn end(&self, txn: u32) -> OpEnd {
        self.history.ops[txn as usize].end
    }

    /// Those that were acknowledged.
    pub(super) fn acknowledged(&self) -> impl Iterator<Item = u32> {
        (0..self.len() as u32).filter(|&txn| self.end(txn) == OpEnd::Ok)
    }

    /// A key as people read it.
    pub(super) fn key_text(&self, key: u32) -> String {
        crate::model::key_text(self.keys[key as usize])
    }

    /// A transaction's steps, brought together by key, within a key in their order.
    pub(super) fn by_key<'s>(&self, txn: u32, scratch: &'s mut Vec<Step<'h>>) -> &'s [Step<'h>] {
        scratch.clear();
        scratch.extend_from_slice(self.steps(txn));
        // Most transactions have few steps: sorting them by insertion is quick, and stable.
        scratch.sort_by_key(|step| step.key);
        scratch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn equal_values_have_equal_codes_and_others_do_not() {
        let values =
            [json!(0), json!(-1), json!(1), json!("1"), json!([1]), json!(i64::MAX), json!(u64::MAX)];
        let mut codes = Codes::default();
        let first: Vec<u64> = values.iter().map(|value| codes.intern(value)).collect();
        let again: Vec<Option<u64>> = values.iter().map(|value| codes.find(value)).collect();
        assert_eq!(again, first.iter().copied().map(Some).collect::<Vec<_>>());
        for (i, code) in first.iter().enumerate() {
            assert!(!first[..i].contains(code), "{}", values[i]);
            assert_eq!(codes.text(*code), values[i].to_string());
        }
        assert_eq!(codes.find(&json!("2")), None);
    }
}
