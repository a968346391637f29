//! Transactions as flat tables: keys as dense numbers, values as 64-bit codes.

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::OUT_OF_TIME;
use crate::{Budget, History, OpEnd};

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
    /// Returned this: the elements of a list, or one value.
    Read(&'h [Value]),
}

/// The codes of values: integers of 62 bits as themselves, whatever else by the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Codes<'h> {
    others: FxHashMap<&'h Value, u64>,
    texts: Vec<&'h Value>,
}

const PLAIN_MAX: i64 = 1 << 61;

/// What the tables and the graph hold at most at one time (measured: `shardstorm bench checker transactions`).
const BYTES_PER_TXN: u64 = 100;
const BYTES_PER_STEP: u64 = 64;

impl<'h> Codes<'h> {
    /// The code of a value.
    #[inline]
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

    /// The code of a value; none if it was never interned.
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
    /// How each transaction ended, and where it was called and returned: the history's own lines are long.
    ends: Vec<OpEnd>,
    pub(super) spans: Vec<(u64, u64)>,
    /// Where each transaction's steps begin; one more at the end.
    starts: Vec<u32>,
    steps: Vec<Step<'h>>,
    /// The keys by number.
    pub(super) keys: Vec<&'h Value>,
    pub(super) codes: Codes<'h>,
}

impl<'h> Txns<'h> {
    /// Reads a history in; `write` names the steps that write: `append` or `w`. `on_read` is given what each
    /// acknowledged transaction read under which key, while it is at hand, and says what to keep of it.
    ///
    /// The error is a sentence that names the operation which is not a transaction, or the bound of the budget that
    /// the history is beyond.
    pub(super) fn new(
        history: &'h History,
        write: &str,
        budget: &Budget,
        mut on_read: impl FnMut(&mut Codes<'h>, u32, u32, &'h Value) -> Result<&'h [Value], String>,
    ) -> Result<Self, String> {
        if history.ops.len() >= 1 << 29 {
            return Err(format!("more than {} transactions at once", 1 << 29));
        }
        let mut txns = Txns {
            history,
            ends: Vec::with_capacity(history.ops.len()),
            spans: Vec::with_capacity(history.ops.len()),
            starts: Vec::with_capacity(history.ops.len() + 1),
            steps: Vec::with_capacity(history.ops.len() * 3),
            keys: Vec::new(),
            codes: Codes::default(),
        };
        let mut numbers: FxHashMap<u64, u32> = FxHashMap::default();
        for (txn, op) in (0u32..).zip(&history.ops) {
            if txn % (1 << 12) == 0 && budget.stop.is_raised() {
                return Err(OUT_OF_TIME.to_string());
            }
            txns.starts.push(txns.steps.len() as u32);
            txns.ends.push(op.end);
            txns.spans.push((op.call, op.ret));
            let committed = op.end == OpEnd::Ok;
            let told = if committed { &op.output } else { &op.input };
            let steps = told.as_array().ok_or_else(|| {
                let what = if committed { "result" } else { "argument" };
                format!("operation {}: its {what} {told} is not a list of steps", op.index)
            })?;
            for step in steps {
                let key_and_act = txns.step(step, write, &mut numbers).and_then(|(key, value)| match value {
                    (true, value) => Ok(Some(Step { key, act: Act::Write(txns.codes.intern(value)) })),
                    (false, _) if !committed => Ok(None),
                    (false, value) => {
                        let act = Act::Read(on_read(&mut txns.codes, txn, key, value)?);
                        Ok(Some(Step { key, act }))
                    }
                });
                txns.steps.extend(key_and_act.map_err(|why| format!("operation {}: {why}", op.index))?);
            }
        }
        txns.starts.push(txns.steps.len() as u32);
        txns.fits(budget)?;
        Ok(txns)
    }

    /// Is there room for what is to come?
    fn fits(&self, budget: &Budget) -> Result<(), String> {
        let bytes = self.len() as u64 * BYTES_PER_TXN + self.steps.len() as u64 * BYTES_PER_STEP;
        if bytes <= budget.bytes_max {
            return Ok(());
        }
        let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
        Err(format!(
            "{} transactions of {} steps take about {} MiB, which is more than the {} MiB of the budget",
            self.len(),
            self.steps.len(),
            mebibytes(bytes),
            mebibytes(budget.bytes_max),
        ))
    }

    /// Takes a step apart: its key, does it write, its value.
    fn step(
        &mut self,
        step: &'h Value,
        write: &str,
        numbers: &mut FxHashMap<u64, u32>,
    ) -> Result<(u32, (bool, &'h Value)), String> {
        let Some([Value::String(name), key, value]) = step.as_array().map(Vec::as_slice) else {
            return Err(format!("{step} is not a step like [\"{write}\", key, value]"));
        };
        let writes = name == write;
        if !writes && name != "r" {
            return Err(format!("its step {step} is neither `{write}` nor `r`"));
        }
        let code = self.codes.intern(key);
        let number = *numbers.entry(code).or_insert_with(|| {
            self.keys.push(key);
            self.keys.len() as u32 - 1
        });
        Ok((number, (writes, value)))
    }

    /// Steps of all transactions.
    pub(super) fn steps_len(&self) -> usize {
        self.steps.len()
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn steps(&self, txn: u32) -> &[Step<'h>] {
        let txn = txn as usize;
        &self.steps[self.starts[txn] as usize..self.starts[txn + 1] as usize]
    }

    pub(super) fn end(&self, txn: u32) -> OpEnd {
        self.ends[txn as usize]
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
