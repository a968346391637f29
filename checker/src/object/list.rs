//! A list that is only appended to, read whole.
//!
//! `append` puts an element at the end, each only once; `read` returns the list. The longest read tells the
//! order of all that was ever seen, and every other read must be a prefix of it.
//!
//! ```text
//! p0 |-append(1)-|  |-read()=[1]-|                            invalid: the reads disagree on what came first
//! p1    |-append(2)-|               |-read()=[2,1]-|
//! ```
//!
//! An indefinite append that no read shows is left out; one that is shown happened.
//!
//! ```
//! use checker::object::list::AppendList;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-append(1)-|  |-read()=[1]-|
//! p1    |-append(2)-|               |-read()=[2,1]-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = AppendList.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!(anomalies[0].name, "reordered-elements");
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::grow::{Growing, Item, Stage};
use super::{Broken, Trouble, by_key};
use crate::{Budget, Checker, History, KeyVerdict, Op, Verdict};

/// Is the history, key by key, one of linearizable lists? Exact; takes time in proportion to all that was read.
///
/// Anomalies: `fabricated-value`, `aborted-read`, `value-of-another-key`, `duplicated-element`,
/// `reordered-elements` (two reads of which neither is a prefix of the other, or a read that shows an element behind
/// one that was only appended after it), `lost-element`, `stale-read`, `future-read`.
#[derive(Debug, Clone, Copy, Default)]
pub struct AppendList;

impl Checker for AppendList {
    fn name(&self) -> &'static str {
        "append-list"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| judge(ops))
    }
}

fn judge(ops: &[(usize, &Op)]) -> Result<(), Trouble> {
    let mut growing = Growing::new(ops, "append", "a list that is only appended to")?;
    let reads = std::mem::take(&mut growing.reads);
    let Some(&(longest, order)) = reads.iter().max_by_key(|(_, elements)| elements.len()) else {
        return Ok(());
    };
    let mut stages = vec![Stage::default()];
    for (i, element) in order.iter().enumerate() {
        let update = growing.seen(element, longest).map_err(|broken| match order[..i].contains(element) {
            true => {
                let reason = format!("{} showed {element} twice", longest.read());
                Broken::new("duplicated-element", vec![longest.place], reason)
            }
            false => broken,
        })?;
        stages.push(Stage { updates: vec![update], reads: Vec::new() });
    }
    for (read, elements) in reads {
        if let Some(at) = elements.iter().zip(order).position(|(one, other)| one != other) {
            return Err(disagree(read, longest, elements, order, at, &mut growing).into());
        }
        stages[elements.len()].reads.push(read);
    }
    Ok(growing.judge(stages)?)
}

/// `read` is no prefix of the longest read from place `at` on.
fn disagree<'h>(
    read: Item<'h>,
    longest: Item<'h>,
    elements: &'h [Value],
    order: &'h [Value],
    at: usize,
    growing: &mut Growing<'h>,
) -> Broken {
    let known: FxHashSet<&Value> = order.iter().collect();
    let mut met = FxHashSet::default();
    for element in elements {
        if !met.insert(element) {
            let reason = format!("{} showed {element} twice", read.read());
            return Broken::new("duplicated-element", vec![read.place], reason);
        }
        if !known.contains(element)
            && let Err(nowhere) = growing.seen(element, read)
        {
            return nowhere;
        }
    }
    let reason = format!(
        "{} showed {} in place {}, where {} showed {}",
        read.read(),
        elements[at],
        at + 1,
        longest.read(),
        order[at]
    );
    Broken::new("reordered-elements", vec![read.place, longest.place], reason)
}
