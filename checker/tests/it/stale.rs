//! Reads that may be behind: drawings, and every read against every pair of writes.

use checker::object::staleness::{BoundedStaleness, MonotonicReads, ReadsBack, monotonic_reads};
use checker::{Budget, Checker, History, Op, OpEnd, Verdict, history::sketch};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use crate::objects::{compare, cores_stand_alone};
use crate::simulated::{Simulated, history, shape};

/// The name of the first anomaly within a bound of so many columns, or `valid`.
fn name(columns: u64, drawing: &str) -> String {
    let history = sketch::history(drawing).expect("well drawn");
    match (BoundedStaleness { bound_ns: columns * 1_000_000 }).check(&history, &Budget::default()) {
        Verdict::Invalid { anomalies } => anomalies[0].name.clone(),
        other => other.word().to_string(),
    }
}

#[test]
fn an_overwritten_value_may_be_read_for_as_long_as_the_bound_and_no_longer() {
    //                 0         10        20        30        40
    let twice = "p0 |-w1-|  |-w2-|\np1                  |-r1-|";
    // The second write returns in column 16, the read begins in column 20.
    assert_eq!(name(4, twice), "valid");
    assert_eq!(name(3, twice), "stale-read");
    assert_eq!(name(0, twice), "stale-read");
    assert_eq!(name(0, "p0 |-w1-|  |-w2-|\np1                  |-r2-|"), "valid");
}

#[test]
fn what_was_never_written_is_overwritten_by_any_write() {
    assert_eq!(name(9, "p0 |-w1-| |-r_-|"), "valid");
    assert_eq!(name(1, "p0 |-w1-|    |-r_-|"), "stale-read");
    assert_eq!(name(1, "p0 |-w1-?\np1             |-r_-|"), "valid");
}

#[test]
fn only_a_write_that_is_certainly_newer_counts() {
    // They overlap: either may be the older one.
    assert_eq!(name(0, "p0 |---w1---|\np1   |-w2-|      |-r1-|    |-r2-|"), "valid");
    // The first write was never acknowledged, but it was seen before the second one began.
    let seen = "p0 |-w1-?\np1        |-r1-|  |-w2-|        |-r1-|";
    assert_eq!(name(2, seen), "stale-read");
    assert_eq!(name(2, "p0 |-w1-?\np1                |-w2-|        |-r1-|"), "valid");
    // The newer write may not have happened.
    assert_eq!(name(0, "p0 |-w1-| |-w2-?\np1                   |-r1-|"), "valid");
}

#[test]
fn no_bound_allows_what_nobody_had_begun_to_write() {
    assert_eq!(name(99, "p0 |-w1-| |-r2-|"), "fabricated-value");
    assert_eq!(name(99, "p0 |-w1-x |-r1-|"), "aborted-read");
    assert_eq!(name(99, "p0 |-r1-| |-w1-|"), "future-read");
    assert_eq!(name(99, "p0 |-w1-| |-w1-|"), "unknown");
    assert_eq!(name(99, "p0 |-c1>2-|"), "unknown");
}

#[test]
fn going_back_is_counted_by_session() {
    let back = |drawing: &str| {
        let history = sketch::history(drawing).expect("well drawn");
        let counted = monotonic_reads(&history);
        let word = MonotonicReads.check(&history, &Budget::default()).word();
        assert_eq!(word == "invalid", counted.back > 0, "{drawing}");
        counted
    };
    let writes = "p0 |-w1-| |-w2-|\n";
    assert_eq!(back(&format!("{writes}p1 |-r2-| |-r1-| |-r1-|")), ReadsBack { reads: 3, back: 2 });
    assert_eq!(back(&format!("{writes}p1 |-r2-|\np2        |-r1-|")), ReadsBack { reads: 2, back: 0 });
    assert_eq!(back(&format!("{writes}p1        |-r1-| |-r2-|")), ReadsBack { reads: 2, back: 0 });
    assert_eq!(back(&format!("{writes}p1        |-r1-| |-r_-|")), ReadsBack { reads: 2, back: 1 });
    // Other keys have nothing to do with it.
    assert_eq!(back("p0 |-w1@a-| |-w2@b-|\np1 |-r2@b-| |-r1@a-|"), ReadsBack { reads: 2, back: 0 });
}

/// A register whose reads may show anything that was ever written.
#[derive(Default)]
struct Lagging {
    written: Vec<i64>,
    next: i64,
}

impl Simulated for Lagging {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        if rng.random_range(0..2) == 0 {
            return ("read", Value::Null);
        }
        self.next += 1;
        ("write", json!(self.next))
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        if f == "read" {
            return Ok(json!(self.written.last()));
        }
        self.written.extend(input.as_i64());
        Ok(input.clone())
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        match (f, rng.random_range(0..3)) {
            ("write", 0) => Err(()),
            ("write", _) => result,
            (_, 0) => Ok(json!(rng.random_range(1..self.next + 2))),
            _ => Ok(json!(self.written.get(rng.random_range(0..self.written.len() + 1)))),
        }
    }
}

/// The promise word by word, for every read and every two writes.
struct EveryTriple {
    bound_ns: u64,
}

impl EveryTriple {
    fn is_broken(&self, history: &History, read: &Op) -> bool {
        let ops = || history.ops.iter();
        let acked = || ops().filter(|op| op.f == "write" && op.end == OpEnd::Ok);
        let shown_before = |value: &Value, position: u64| {
            value.is_null()
                || acked().any(|old| old.input == *value && old.ret < position)
                || ops().any(|other| {
                    other.f == "read"
                        && other.end == OpEnd::Ok
                        && other.output == *value
                        && other.ret < position
                })
        };
        let too_old = acked().any(|new| {
            new.ret_ns.is_some_and(|ret_ns| ret_ns + self.bound_ns < read.call_ns)
                && shown_before(&read.output, new.call)
        });
        let may_be_there = read.output.is_null()
            || ops().any(|op| {
                op.f == "write" && op.end != OpEnd::Fail && op.input == read.output && op.call < read.ret
            });
        too_old || !may_be_there
    }
}

impl Checker for EveryTriple {
    fn name(&self) -> &'static str {
        "every-triple"
    }

    fn check(&self, history: &History, _: &Budget) -> Verdict {
        let broken =
            history.ops.iter().any(|op| op.f == "read" && op.end == OpEnd::Ok && self.is_broken(history, op));
        if broken { Verdict::Invalid { anomalies: Vec::new() } } else { Verdict::Valid }
    }
}

#[test]
fn staleness_is_judged_as_by_looking_at_every_read_and_every_two_writes() {
    for bound_ns in [0, 3, 8] {
        let make = |seed| history(Lagging::default(), &shape(seed), seed);
        let stale = BoundedStaleness { bound_ns };
        compare(stale, EveryTriple { bound_ns }, make, cores_stand_alone(stale));
    }
}
