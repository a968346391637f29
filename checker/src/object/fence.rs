//! A lock with fencing tokens, and the store it guards.
//!
//! No lease can promise mutual exclusion to clients that pause. What can be promised: tokens grow in the order
//! in which the lock was granted, and the store refuses whatever comes with a token older than one it has
//! accepted (Kleppmann 2016; Burrows 2006, section 2.4, sequencers).
//!
//! - `acquire` returns a token, an integer.
//! - `guarded`, with the token as its argument, or as the first part of it, is a write to the store that the
//!   token protects.
//! - `claim`, with the token as its argument, is a read of it: the store refuses older tokens from then on.
//! - `release` and `read` may be among them, and tell nothing here.
//!
//! ```text
//! p0 |-acquire()=1-|                                             |-guarded(1)-|   invalid: 2 was there
//! p1                   |-acquire()=2-|  |-guarded(2)-|
//! ```
//!
//! Whatever is indefinite tells nothing here: a token nobody was given, a write that may never have happened.
//!
//! ```
//! use checker::object::fence::FencedLock;
//! use checker::{Budget, Checker, Verdict, history::sketch};
//!
//! let history = sketch::history(
//!     "
//! p0 |-acquire()=1-|                                             |-guarded(1)-|
//! p1                   |-acquire()=2-|  |-guarded(2)-|
//! ",
//! )?;
//! let Verdict::Invalid { anomalies } = FencedLock.check(&history, &Budget::default()) else { panic!() };
//! assert_eq!(anomalies[0].name, "stale-token-accepted");
//! # Ok::<(), checker::history::sketch::SketchError>(())
//! ```

use rustc_hash::FxHashMap;

use super::order::{Ordered, first_back};
use super::{Broken, Trouble, by_key, foreign};
use crate::{Budget, Checker, History, KeyVerdict, Op, OpEnd, Verdict};

/// Do tokens grow, and does the store never go back, key by key? O(n log n).
///
/// Anomalies: `token-reused`, `token-went-back`, `stale-token-accepted`, `token-never-granted` (accepted by the
/// store, although no acquire could have returned it by then).
#[derive(Debug, Clone, Copy, Default)]
pub struct FencedLock;

impl Checker for FencedLock {
    fn name(&self) -> &'static str {
        "fenced-lock"
    }

    fn check(&self, history: &History, budget: &Budget) -> Verdict {
        KeyVerdict::merged(self.check_keys(history, budget))
    }

    fn check_keys(&self, history: &History, budget: &Budget) -> Vec<KeyVerdict> {
        by_key(self.name(), history, budget, |ops, _| judge(ops))
    }
}

/// A token in an operation's interval.
#[derive(Clone, Copy)]
struct Use {
    token: i64,
    call: u64,
    ret: u64,
    place: usize,
}

fn judge(ops: &[(usize, &Op)]) -> Result<(), Trouble> {
    let (mut grants, mut writes, mut unknown_grants) = (Vec::new(), Vec::new(), Vec::new());
    for &(place, op) in ops {
        let uses = |token: i64| Use { token, call: op.call, ret: op.ret, place };
        let integer = |value: &serde_json::Value| {
            let why =
                || Trouble::Unjudged(format!("operation {}: the token {value} is not an integer", op.index));
            value.as_i64().ok_or_else(why)
        };
        match (&*op.f, op.end) {
            ("acquire", OpEnd::Ok) => grants.push(uses(integer(&op.output)?)),
            ("claim" | "guarded", OpEnd::Ok) => {
                writes.push(uses(integer(op.input.get(0).unwrap_or(&op.input))?));
            }
            ("acquire", OpEnd::Info) => unknown_grants.push(op.call),
            ("acquire" | "claim" | "guarded" | "release" | "read", _) => {}
            _ => return Err(foreign(op, "a lock with fencing tokens")),
        }
    }
    let granted = first_grants(&grants)?;
    in_order(&grants, |old, new| {
        let reason = format!("token {} was granted after token {} had been", new.token, old.token);
        Broken::new("token-went-back", vec![old.place, new.place], reason)
    })?;
    for write in &writes {
        let by_known = granted.get(&write.token).is_some_and(|grant| grant.call < write.ret);
        if !by_known && !unknown_grants.iter().any(|&call| call < write.ret) {
            let reason = format!("the store accepted token {}, which nobody had been granted", write.token);
            let grant = granted.get(&write.token).map(|grant| grant.place);
            let places = grant.into_iter().chain([write.place]).collect();
            return Err(Broken::new("token-never-granted", places, reason).into());
        }
    }
    in_order(&writes, |old, new| {
        let reason =
            format!("the store accepted token {} after it had accepted token {}", new.token, old.token);
        let grant = |token: i64| granted.get(&token).map(|grant| grant.place);
        let grants = [old.token, new.token].into_iter().filter_map(grant);
        Broken::new("stale-token-accepted", grants.chain([old.place, new.place]).collect(), reason)
    })?;
    Ok(())
}

fn first_grants(grants: &[Use]) -> Result<FxHashMap<i64, Use>, Broken> {
    let mut granted: FxHashMap<i64, Use> = FxHashMap::default();
    for &grant in grants {
        if let Some(first) = granted.insert(grant.token, grant) {
            let reason = format!("token {} was granted twice", grant.token);
            return Err(Broken::new("token-reused", vec![first.place, grant.place], reason));
        }
    }
    Ok(granted)
}

/// No operation that was called after another one's return has a smaller token.
fn in_order(uses: &[Use], broken: impl Fn(Use, Use) -> Broken) -> Result<(), Broken> {
    match first_back(uses, |used| Ordered { rank: used.token, call: used.call, ret: used.ret }) {
        None => Ok(()),
        Some((&old, &new)) => Err(broken(old, new)),
    }
}
