//! A schedule as a file of faults that people can read, change and run again.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Event, Rhythm, SafeLimits, Schedule, Window};
use crate::harm::Harm;
use crate::targets::Target;

impl Schedule {
    /// The same windows as TOML, their dice included: read back, it is the same schedule.
    pub fn to_toml(&self) -> String {
        let windows = self.windows.iter().map(entry);
        limits(&self.limits).into_iter().chain(windows).collect::<Vec<_>>().join("\n")
    }

    /// Only the windows with these ids, numbered anew. One that strikes whom another has struck goes with it.
    pub fn keep(&self, ids: &BTreeSet<u64>) -> Schedule {
        let mut kept = BTreeSet::new();
        for window in self.windows.iter().filter(|window| ids.contains(&window.id)) {
            // Whom it refers to comes before it.
            if window.target.same_as().is_none_or(|meant| kept.contains(&meant)) {
                kept.insert(window.id);
            }
        }
        let windows = self.windows.iter().filter(|window| kept.contains(&window.id)).cloned();
        Schedule::numbered(windows.collect(), self.limits)
    }
}

/// A window as it stands in a file: [`Schedule::from_toml`] reads the same window back.
fn entry(window: &Window) -> String {
    let seconds = |ms: u64| toml::Value::Float(ms as f64 / 1_000.0);
    let target = match &window.target {
        // People count from 1.
        Target::SameAs { window } => Target::SameAs { window: window + 1 }.to_string(),
        target => target.to_string(),
    };
    let whole = |number: u64| toml::Value::Integer(i64::try_from(number).unwrap_or(i64::MAX));
    let mut fields = vec![
        ("start_s".to_string(), seconds(window.start_ms)),
        ("stop_s".to_string(), seconds(window.stop_ms)),
        ("target".to_string(), toml::Value::String(target)),
    ];
    for (name, value) in values(&window.harm) {
        let value = toml::Value::try_from(value).expect("what has no null in it");
        let place = if name == "fault" { 2 } else { fields.len() };
        fields.insert(place, (name, value));
    }
    fields.extend(rhythm(window.rhythm));
    fields
        .extend([("lane".to_string(), whole(window.lane.into())), ("seed".to_string(), whole(window.seed))]);
    let lines = fields.into_iter().map(|(name, value)| format!("{name} = {value}\n"));
    format!("[[window]]\n{}", lines.collect::<String>())
}

fn rhythm(rhythm: Rhythm) -> Vec<(String, toml::Value)> {
    let ms = |ms: u64| toml::Value::Integer(i64::try_from(ms).unwrap_or(i64::MAX));
    match rhythm {
        Rhythm::Steady => Vec::new(),
        Rhythm::Flip { on_ms, off_ms } => {
            let turns = [("on_ms".to_string(), ms(on_ms)), ("off_ms".to_string(), ms(off_ms))];
            vec![("flip".to_string(), toml::Value::Table(turns.into_iter().collect()))]
        }
        Rhythm::Each { event: Event::Election, hold_ms } => {
            vec![("each".into(), toml::Value::String("election".into())), ("hold_ms".into(), ms(hold_ms))]
        }
    }
}

fn limits(limits: &SafeLimits) -> Option<String> {
    let text = toml::to_string(limits).expect("limits are plain data");
    (!limits.is_none()).then(|| format!("[limits]\n{text}"))
}

/// The values a harm is made of, without those that are not given: TOML has no word for them.
pub(super) fn values(harm: &Harm) -> Map<String, Value> {
    let value = serde_json::to_value(harm).expect("a harm is plain data");
    match without_null(value) {
        Value::Object(values) => values,
        other => unreachable!("a harm has named values, not {other}"),
    }
}

fn without_null(value: Value) -> Value {
    match value {
        Value::Object(values) => {
            let given = values.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(name, value)| (name, without_null(value))).collect())
        }
        Value::Array(values) => Value::Array(values.into_iter().map(without_null).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::Family;
    use crate::schedule::Limits;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { time_limit_ms: 60_000, shards: 2, replicas: 3, zookeepers: 3 };

    proptest! {
        #[test]
        fn a_written_schedule_reads_back_the_same(seed: u64, other: u64) {
            let schedule = Schedule::draw(&Family::ALL, &LIMITS, seed);
            let text = schedule.to_toml();
            let back = Schedule::from_toml(&text, &LIMITS, other).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(back, schedule, "{}", text);
        }

        #[test]
        fn what_is_kept_is_a_schedule_of_its_own(seed: u64, mask: u64) {
            let schedule = Schedule::draw(&Family::ALL, &LIMITS, seed);
            let ids: BTreeSet<u64> = (0..64).filter(|id| mask >> id & 1 == 1).collect();
            let kept = schedule.keep(&ids);
            let wanted = schedule.windows.iter().filter(|window| ids.contains(&window.id));
            prop_assert_eq!(kept.windows.len(), wanted.clone().count());
            for ((now, before), id) in kept.windows.iter().zip(wanted).zip(0..) {
                prop_assert_eq!(now.id, id);
                prop_assert_eq!((now.start_ms, &now.harm, now.seed), (before.start_ms, &before.harm, before.seed));
            }
        }
    }

    #[test]
    fn rhythms_and_limits_are_written_too() {
        let text = "[limits]\nzookeeper = 'minority'\nwindows = 2\n\
                    [[window]]\nstart_s = 3\nstop_s = 4\nfault = 'pause'\ntarget = 'agent of s0r1'\n\
                    flip = { on_ms = 20, off_ms = 30 }\n\
                    [[window]]\nstart_s = 5\nstop_s = 9\nfault = 'kill'\ntarget = 'master of shard 0'\n\
                    each = 'election'\nhold_ms = 300";
        let schedule = Schedule::from_toml(text, &LIMITS, 1).unwrap();
        assert_eq!(Schedule::from_toml(&schedule.to_toml(), &LIMITS, 2).unwrap(), schedule);
        let json = serde_json::to_string(&schedule).unwrap();
        assert_eq!(serde_json::from_str::<Schedule>(&json).unwrap(), schedule);
        assert_eq!(schedule.windows[0].what(), "SIGSTOP, then SIGCONT, 20 ms on and 30 ms off by turns");
    }

    #[test]
    fn a_schedule_from_before_rhythms_is_read() {
        let old = r#"{"windows":[{"id":0,"lane":0,"start_ms":1,"stop_ms":2,"fault":"kill","target":"master of shard 0","seed":7}]}"#;
        let schedule: Schedule = serde_json::from_str(old).unwrap();
        assert!(schedule.windows[0].rhythm.is_steady() && schedule.limits.is_none());
        assert_eq!(serde_json::to_string(&schedule).unwrap(), old, "and is written as it was");
    }

    #[test]
    fn a_window_goes_with_the_one_it_strikes_like() {
        let text = "[[window]]\nstart_s = 3\nstop_s = 4\nfault = 'pause'\ntarget = 'master of shard 1'\n\
                    [[window]]\nstart_s = 5\nstop_s = 6\nfault = 'kill'\ntarget = 'master of shard 0'\n\
                    [[window]]\nstart_s = 7\nstop_s = 8\nfault = 'pause'\ntarget = 'same as window 2'";
        let schedule = Schedule::from_toml(text, &LIMITS, 1).unwrap();
        assert_eq!(Schedule::from_toml(&schedule.to_toml(), &LIMITS, 2).unwrap(), schedule);
        assert!(schedule.keep(&BTreeSet::from([0, 2])).windows.len() == 1);
        let kept = schedule.keep(&BTreeSet::from([1, 2]));
        assert_eq!(kept.windows[1].target, Target::SameAs { window: 0 });
    }
}
