//! Keys judged side by side: linearizability is local, so they are independent questions.

use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::model::{Partition, partitions};
use crate::{Budget, History, KeyVerdict, Verdict};

/// Fewer operations than this are judged sooner than threads are started.
const PARALLEL_OPS_MIN: usize = 4_096;

/// Judges every key of a history, on as many threads as there are processors; answers in the order of keys.
///
/// The largest keys come first, so that the last thread to end has little to do alone. Keys judged at the same
/// time share the budget's bytes. `judge` returns the engine that answered, and its answer; it owns the partition
/// and may drop it early.
pub(crate) fn judge_keys<J>(history: &History, budget: &Budget, judge: J) -> Vec<KeyVerdict>
where
    J: for<'h> Fn(Partition<'h>, &Budget) -> (&'static str, Verdict) + Sync,
{
    let parts = partitions(history);
    let workers = match history.ops.len() {
        0..PARALLEL_OPS_MIN => 1,
        _ => thread::available_parallelism().map_or(1, |processors| processors.get()).min(parts.len()),
    };
    let share = budget.shared_by(workers);
    let verdict = |part: Partition<'_>| {
        let (key, ops) = (part.key_text(), part.ops.len());
        let (engine, verdict) = judge(part, &share);
        KeyVerdict { key, ops, engine, verdict }
    };
    if workers <= 1 {
        return parts.into_iter().map(verdict).collect();
    }
    let mut by_size: Vec<(usize, Partition<'_>)> = parts.into_iter().enumerate().collect();
    by_size.sort_by_key(|(_, part)| std::cmp::Reverse(part.ops.len()));
    let left = Mutex::new(by_size.into_iter());
    let work = || {
        let turns = std::iter::from_fn(|| left.lock().unwrap_or_else(PoisonError::into_inner).next());
        turns.map(|(i, part)| (i, verdict(part))).collect::<Vec<_>>()
    };
    let mut judged = on_threads(workers, work);
    judged.sort_by_key(|&(i, _)| i);
    judged.into_iter().map(|(_, verdict)| verdict).collect()
}

/// What `workers` threads that do the same return, one after another. A panic among them goes on here.
fn on_threads<T: Send>(workers: usize, work: impl Fn() -> Vec<T> + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let others: Vec<_> = (1..workers).map(|_| scope.spawn(&work)).collect();
        let mut all = work();
        for other in others {
            match other.join() {
                Ok(more) => all.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sketch;

    #[test]
    fn answers_come_in_the_order_of_keys_whoever_gave_them() {
        let mut history = sketch::history("p0 |-w1@0-|").expect("well drawn");
        let op = history.ops[0].clone();
        history.ops = (0..2 * PARALLEL_OPS_MIN as u64)
            .map(|i| crate::Op { key: (i * i % 97).into(), call: 2 * i, ret: 2 * i + 1, ..op.clone() })
            .collect();
        let keys = judge_keys(&history, &Budget::default(), |part, share| {
            ("none", Verdict::unknown(format!("{} {}", part.ops.len(), share.bytes_max)))
        });
        let expected = partitions(&history);
        assert_eq!(keys.len(), expected.len());
        for (key, part) in keys.iter().zip(&expected) {
            assert_eq!((&key.key, key.ops), (&part.key_text(), part.ops.len()));
            let Verdict::Unknown { why } = &key.verdict else { panic!("unknown was said") };
            assert!(why[0].starts_with(&format!("{} ", key.ops)));
        }
    }

    #[test]
    fn a_single_key_has_all_the_memory() {
        let history = sketch::history("p0 |-w1-| |-w2-|").expect("well drawn");
        let keys = judge_keys(&history, &Budget::of_bytes(1000), |_, share| {
            ("none", Verdict::unknown(share.bytes_max.to_string()))
        });
        assert_eq!(keys[0].verdict, Verdict::unknown("1000"));
    }
}
