//! A set that only grows, read whole.
//!
//! `add` puts an element in, each only once; `read` returns all of them, in any order. Linearizable reads form
//! a chain of inclusions.
//!
//! ```text
//! p0 |-add(1)-|   |-add(2)-|
//! p1                          |-read()=[2]-|     invalid: 1 was acknowledged and is gone
//! ```
//!
//! An indefinite add that no read shows is left out; one that is shown happened.
//!
//! ```
//! use checker::object::set::GrowSet;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-add(1)-|   |-add(2)-|
//! p1                          |-read()=[2]-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = GrowSet.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!((anomalies[0].name.as_str(), &anomalies[0].ops[..]), ("lost-element", &[0, 2, 4][..]));
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::grow::{Growing, Item, Stage};
use super::{Broken, Trouble, by_key};
use crate::{Budget, Checker, History, KeyVerdict, Op, Verdict};

/// Is the history, key by key, one of linearizable sets that only grow? Exact; takes time in proportion to all
/// that was read.
///
/// Anomalies: `fabricated-value`, `aborted-read`, `duplicated-element`, `incomparable-reads` (each of two reads
/// shows what the other misses), `value-of-another-key`, `lost-element`, `stale-read`, `future-read`.
#[derive(Debug, Clone, Copy, Default)]
pub struct GrowSet;

impl Checker for GrowSet {
    fn name(&self) -> &'static str {
        "grow-set"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| judge(ops))
    }
}

fn judge(ops: &[(usize, &Op)]) -> Result<(), Trouble> {
    let mut growing = Growing::new(ops, "add", "a set that only grows")?;
    let mut reads = std::mem::take(&mut growing.reads);
    reads.sort_by_key(|(_, elements)| elements.len());
    // Each element with the number of the read that showed it last.
    let mut shown: FxHashMap<&Value, usize> = FxHashMap::default();
    let mut stages = vec![Stage::default()];
    let mut before: Option<(Item<'_>, &[Value])> = None;
    for (number, (read, elements)) in reads.into_iter().enumerate() {
        let (known, mut again) = (shown.len(), 0);
        let mut fresh = Vec::new();
        for element in elements {
            match shown.insert(element, number) {
                None => fresh.push(growing.seen(element, read)?),
                Some(last) if last == number => {
                    let reason = format!("{} showed {element} twice", read.read());
                    return Err(Broken::new("duplicated-element", vec![read.place], reason).into());
                }
                Some(_) => again += 1,
            }
        }
        if again < known
            && let Some((other, smaller)) = before
        {
            let missed = smaller.iter().find(|&element| shown.get(element) != Some(&number));
            let there: FxHashSet<&Value> = smaller.iter().collect();
            let other_missed = elements.iter().find(|&element| !there.contains(element));
            let text = |element: Option<&Value>| element.unwrap_or(&Value::Null).to_string();
            let reason = format!(
                "{} showed {} and missed {}, and {} showed the latter and missed the former",
                read.read(),
                text(other_missed),
                text(missed),
                other.read()
            );
            return Err(Broken::new("incomparable-reads", vec![other.place, read.place], reason).into());
        }
        if !fresh.is_empty() {
            stages.push(Stage { updates: fresh, reads: Vec::new() });
        }
        if let Some(stage) = stages.last_mut() {
            stage.reads.push(read);
        }
        before = Some((read, elements));
    }
    Ok(growing.judge(stages)?)
}
