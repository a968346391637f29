//! Less of the same: what is tried when the smallest harm is looked for that still shows a failure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Limits, Schedule, Window, write};
use crate::harm::Harm;
use crate::targets::Target;

/// A window shorter than this is not worth looking for, milliseconds.
const SHORTEST_MS: u64 = 50;
/// Between strikes that have nothing to do with each other, and before the first, milliseconds.
const GAP_MS: u64 = 1_000;
const LEAD_MS: u64 = 2_000;

impl Window {
    /// The same harm for half as long; none where that is too short to matter.
    pub fn shorter(&self) -> Option<Window> {
        let length_ms = (self.stop_ms - self.start_ms) / 2;
        (length_ms >= SHORTEST_MS).then(|| Window { stop_ms: self.start_ms + length_ms, ..self.clone() })
    }

    /// The same window with one of the harm's numbers halved, for each number that may be.
    pub fn weaker(&self, limits: &Limits) -> Vec<Window> {
        let values = write::values(&self.harm);
        let halved = values.iter().filter_map(|(name, value)| {
            let values = Map::from_iter([(name.clone(), halved(value)?)]);
            let harm = Harm::of_values(write::values(&self.harm).into_iter().chain(values).collect()).ok()?;
            harm.check(self.target, limits).ok()?;
            Some(Window { harm, ..self.clone() })
        });
        halved.collect()
    }
}

/// Values that make a harm bigger when they are.
const STRENGTHS: [&str; 3] = ["probability", "base_ms", "jitter_ms"];

impl Harm {
    /// The same harm so many times as strong, as far as it has a strength and as its checks allow.
    pub(super) fn scaled(self, by: f64, target: Target, limits: &Limits) -> Harm {
        let mut values = write::values(&self);
        for name in STRENGTHS {
            let Some(value) = values.get_mut(name) else { continue };
            *value = match value.as_u64() {
                Some(0) => continue, // what is left out stays out
                Some(whole) => Value::from(((whole as f64 * by).round() as u64).max(1)),
                None => Value::from((value.as_f64().unwrap_or(0.0) * by).min(1.0)),
            };
        }
        match Harm::of_values(values) {
            Ok(scaled) if scaled.check(target, limits).is_ok() => scaled,
            _ => self,
        }
    }
}

/// Half of a number, if that is another number.
fn halved(value: &Value) -> Option<Value> {
    match value.as_i64() {
        Some(-1..=1) => None,
        Some(whole) => Some(Value::from(whole / 2)),
        None => value.as_f64().filter(|number| number.abs() > 1e-6).map(|number| Value::from(number / 2.0)),
    }
}

impl Schedule {
    /// When its last window heals, milliseconds.
    pub fn end_ms(&self) -> u64 {
        self.windows.iter().map(|window| window.stop_ms).max().unwrap_or(0)
    }

    /// The same windows sooner: long stretches in which none is open are cut down, shorter ones stay as they are,
    /// since one strike may prepare the next.
    pub fn closer(&self) -> Schedule {
        let mut earlier_by: BTreeMap<u64, u64> = BTreeMap::new();
        let (mut shift_ms, mut healed_ms) = (0, None);
        for window in &self.windows {
            let (since, allowed) = match healed_ms {
                None => (0, LEAD_MS),
                Some(healed) => (healed, GAP_MS),
            };
            let calm_ms = window.start_ms.saturating_sub(since);
            shift_ms += calm_ms.saturating_sub(allowed);
            earlier_by.insert(window.id, shift_ms);
            healed_ms = Some(healed_ms.unwrap_or(0).max(window.stop_ms));
        }
        let moved = self.windows.iter().map(|window| {
            let by = earlier_by[&window.id];
            Window { start_ms: window.start_ms - by, stop_ms: window.stop_ms - by, ..window.clone() }
        });
        Schedule { windows: moved.collect(), limits: self.limits }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { time_limit_ms: 60_000, shards: 2, replicas: 3, zookeepers: 3 };

    proptest! {
        #[test]
        fn closer_windows_keep_order_lengths_and_overlaps(seed: u64) {
            let schedule = Schedule::draw(&Family::ALL, &LIMITS, seed);
            let closer = schedule.closer();
            prop_assert!(closer.end_ms() <= schedule.end_ms());
            let overlap = |a: &Window, b: &Window| a.start_ms < b.stop_ms && b.start_ms < a.stop_ms;
            for (i, (before, after)) in schedule.windows.iter().zip(&closer.windows).enumerate() {
                prop_assert_eq!(before.stop_ms - before.start_ms, after.stop_ms - after.start_ms);
                for (other, then) in schedule.windows.iter().zip(&closer.windows).skip(i + 1) {
                    prop_assert!(after.start_ms <= then.start_ms);
                    prop_assert_eq!(overlap(before, other), overlap(after, then));
                }
            }
            prop_assert_eq!(closer.closer(), closer);
        }

        #[test]
        fn weaker_windows_are_other_windows_that_pass_every_check(seed: u64) {
            for window in Schedule::draw(&Family::ALL, &LIMITS, seed).windows {
                for weaker in window.weaker(&LIMITS) {
                    prop_assert!(weaker != window);
                    prop_assert!(weaker.harm.check(weaker.target, &LIMITS).is_ok());
                }
            }
        }
    }

    #[test]
    fn a_delay_has_two_numbers_to_halve_and_a_kill_none() {
        let text = "[[window]]\nstart_s = 9\nstop_s = 9.08\nfault = 'kill'\ntarget = 'master of shard 0'\n\
                    [[window]]\nstart_s = 12\nstop_s = 16\nfault = 'delay'\nbase_ms = 100\njitter_ms = 50\ntarget = 'client'";
        let schedule = Schedule::from_toml(text, &LIMITS, 1).unwrap();
        assert_eq!(schedule.windows[0].weaker(&LIMITS), []);
        assert_eq!(schedule.windows[0].shorter(), None);
        let weaker = schedule.windows[1].weaker(&LIMITS);
        let said: Vec<String> = weaker.iter().map(|window| window.harm.to_string()).collect();
        assert!(said.contains(&"50 to 100 ms".to_string()) && said.len() == 2, "{said:?}");
        let closer = schedule.closer();
        assert_eq!((closer.windows[0].start_ms, closer.windows[1].start_ms), (2_000, 3_080));
    }
}
