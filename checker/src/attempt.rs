//! How far an order of a few operations on a register comes: for people who want to see where it ends.
//!
//! An [`Anomaly`](crate::Anomaly) names the operations that contradict each other. Here every order of them that time
//! allows is tried; one that places as many as any is told step by step, with what could have come next and does not fit.
//! Nothing is told where these operations alone can be put in order, or where somebody else wrote what they saw: then the
//! proof rests on more than them.

use std::collections::HashSet;

use serde_json::Value;

use crate::{Op, OpEnd};

/// Most operations that are put in order.
const OPS_MAX: usize = 24;

/// Most configurations that are visited.
const CONFIGURATIONS_MAX: usize = 200_000;

/// An order as long as any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The steps, in order.
    pub placed: Vec<Placed>,
    /// What could have come next, and why it does not fit.
    pub refused: Vec<Refused>,
}

/// A step of the order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Place among the operations given.
    pub op: usize,
    /// What the register holds after it, as JSON; none while nothing is known of it.
    pub holds: Option<String>,
}

/// An operation that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Place among the operations given.
    pub op: usize,
    /// Why not, as a clause.
    pub why: String,
}

/// What a register does with an operation.
#[derive(Debug, Clone, Copy)]
enum Call<'a> {
    Read(&'a Value),
    Write(&'a Value),
    Cas(&'a Value, &'a Value),
    Differs(&'a Value),
}

/// Where a search stands: what has been placed, and what the register holds; none where that is not known.
type Held<'a> = Option<&'a Value>;

/// Tries every order of these operations on one register; none where they are something else, or too many, or can be put
/// in order.
pub fn attempt(ops: &[&Op]) -> Option<Attempt> {
    if ops.len() > OPS_MAX || ops.iter().any(|op| op.key != ops[0].key) {
        return None;
    }
    let mut calls = Vec::new();
    for (place, op) in ops.iter().enumerate() {
        match call(op)? {
            Some(call) => calls.push((place, *op, call)),
            None => continue, // it says nothing of the register
        }
    }
    let writes = |call: &Call<'_>, wanted: &Value| match call {
        Call::Write(value) | Call::Cas(_, value) => *value == wanted,
        Call::Read(_) | Call::Differs(_) => false,
    };
    let is_ours = |seen: &Value| seen.is_null() || calls.iter().any(|(_, _, call)| writes(call, seen));
    let has_writer = |(_, _, call): &(usize, &Op, Call<'_>)| match call {
        Call::Read(value) | Call::Cas(value, _) => is_ours(value),
        Call::Write(_) | Call::Differs(_) => true,
    };
    if !calls.iter().all(has_writer) {
        return None;
    }
    // Whatever the register held before; and where that leaves an order, what it holds at first: nothing.
    [None, Some(&Value::Null)].into_iter().find_map(|init| {
        let mut search = Search { calls: &calls, seen: HashSet::new(), path: Vec::new(), best: None };
        search.go(0, init)?;
        search.told()
    })
}

/// The call of an operation: the outer none where it is not one on a register, the inner where it says nothing.
fn call<'a>(op: &'a Op) -> Option<Option<Call<'a>>> {
    let call = match (&*op.f, &op.input, op.end) {
        ("read", _, OpEnd::Ok) => Call::Read(&op.output),
        ("read", ..) => return Some(None),
        ("write", _, OpEnd::Fail) => return Some(None),
        ("write", value, _) => Call::Write(value),
        ("cas", Value::Array(pair), end) if pair.len() == 2 => match (end, op.error.as_deref()) {
            (OpEnd::Fail, Some("mismatch")) => Call::Differs(&pair[0]),
            (OpEnd::Fail, _) => return Some(None),
            _ => Call::Cas(&pair[0], &pair[1]),
        },
        _ => return None,
    };
    Some(Some(call))
}

/// What the register holds after a call; none where the call does not fit.
fn step<'a>(held: Held<'a>, call: Call<'a>) -> Option<Held<'a>> {
    let is = |value: &Value| held.is_none_or(|held| held == value);
    match call {
        Call::Read(value) => is(value).then_some(Some(value)),
        Call::Write(value) => Some(Some(value)),
        Call::Cas(expected, new) => is(expected).then_some(Some(new)),
        Call::Differs(value) => (held != Some(value)).then_some(held),
    }
}

struct Search<'s, 'a> {
    calls: &'s [(usize, &'a Op, Call<'a>)],
    /// Configurations that were visited: what was placed, and what was held.
    seen: HashSet<(u32, String)>,
    path: Order<'a>,
    /// Definite operations placed, the order that placed them, and what is held after it.
    best: Option<(usize, Order<'a>, Held<'a>)>,
}

/// Operations in order, each with what was held after it.
type Order<'a> = Vec<(usize, Held<'a>)>;

impl<'a> Search<'_, 'a> {
    /// Depth first; none where all can be placed, or there is too much to try.
    fn go(&mut self, placed: u32, held: Held<'a>) -> Option<()> {
        let text = held.map(Value::to_string).unwrap_or_else(|| "?".to_string());
        if !self.seen.insert((placed, text)) {
            return Some(());
        }
        let definite = |i: &usize| self.calls[*i].1.end != OpEnd::Info;
        let all = (0..self.calls.len()).filter(definite).count();
        let done = (0..self.calls.len()).filter(|i| placed >> i & 1 == 1).filter(definite).count();
        if done == all || self.seen.len() > CONFIGURATIONS_MAX {
            return None;
        }
        let rank = (done, usize::MAX - self.path.len());
        if self.best.as_ref().is_none_or(|best| rank > (best.0, usize::MAX - best.1.len())) {
            self.best = Some((done, self.path.clone(), held));
        }
        for i in self.next(placed) {
            if let Some(after) = step(held, self.calls[i].2) {
                self.path.push((i, after));
                self.go(placed | 1 << i, after)?;
                self.path.pop();
            }
        }
        Some(())
    }

    /// Who may come next: nobody that was called after one that is still to come had returned.
    fn next(&self, placed: u32) -> Vec<usize> {
        let left: Vec<usize> = (0..self.calls.len()).filter(|i| placed >> i & 1 == 0).collect();
        let bound = left.iter().map(|&i| self.calls[i].1.ret).min().unwrap_or(u64::MAX);
        left.into_iter().filter(|&i| self.calls[i].1.call < bound).collect()
    }

    fn told(self) -> Option<Attempt> {
        let (_, path, held) = self.best.clone()?;
        let done = path.iter().fold(0, |done, (i, _)| done | 1 << i);
        let placed = path
            .iter()
            .map(|&(i, held)| Placed { op: self.calls[i].0, holds: held.map(Value::to_string) })
            .collect();
        let refused = self.next(done).into_iter().filter(|&i| self.calls[i].1.end != OpEnd::Info);
        let refused =
            refused.map(|i| Refused { op: self.calls[i].0, why: why(self.calls[i].2, held) }).collect();
        Some(Attempt { placed, refused })
    }
}

fn why(call: Call<'_>, held: Held<'_>) -> String {
    let held = held.map(Value::to_string).unwrap_or_else(|| "something".to_string());
    match call {
        Call::Read(value) => format!("it returned {value}, and the register holds {held}"),
        Call::Cas(expected, _) => format!("it found {expected}, and the register holds {held}"),
        Call::Differs(value) => {
            format!("it found something else than {value}, and the register holds {held}")
        }
        Call::Write(_) => format!("after it nothing of the rest fits, and the register holds {held}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sketch;

    /// What was placed with what was held after it, and what could come next.
    type Told = (Vec<(String, Option<String>)>, Vec<String>);

    fn tried(drawing: &str) -> Option<Told> {
        let history = sketch::history(drawing).expect("it is well drawn");
        let ops: Vec<&Op> = history.ops.iter().collect();
        let name = |place: usize| format!("p{}", ops[place].process);
        let attempt = attempt(&ops)?;
        let placed = attempt.placed.iter().map(|step| (name(step.op), step.holds.clone())).collect();
        let refused = attempt.refused.iter().map(|one| format!("{}: {}", name(one.op), one.why)).collect();
        Some((placed, refused))
    }

    #[test]
    fn a_stale_read_is_what_does_not_fit() {
        let (placed, refused) = tried(
            "p0 |--w1--| |--w2--|\n\
             p1                     |--r2--|\n\
             p2                               |--r1--|\n",
        )
        .expect("no order explains it");
        let steps: Vec<_> = placed.iter().map(|(name, holds)| (name.as_str(), holds.as_deref())).collect();
        assert_eq!(steps, [("p0", Some("1")), ("p0", Some("2")), ("p1", Some("2"))]);
        assert_eq!(refused, ["p2: it returned 1, and the register holds 2"]);
    }

    #[test]
    fn what_nobody_can_say_is_used_where_it_helps_and_only_there() {
        let (placed, _) = tried(
            "p0 |--w1--|\n\
             p1           |--w2--?\n\
             p2                     |--r2--|  |--r1--|\n",
        )
        .expect("no order explains it");
        assert_eq!(placed.iter().map(|step| step.0.as_str()).collect::<Vec<_>>(), ["p0", "p1", "p2"]);
        let (placed, _) = tried(
            "p0 |--w1--|\n\
             p1           |--w9--?\n\
             p2                     |--r1--|  |--r_--|\n",
        )
        .expect("nobody took 1 away");
        assert_eq!(placed.iter().map(|step| step.0.as_str()).collect::<Vec<_>>(), ["p0", "p2"]);
    }

    #[test]
    fn nothing_is_told_of_what_can_be_put_in_order_or_is_no_register() {
        assert_eq!(tried("p0 |--w1--|\np1           |--r1--|\n"), None);
        assert_eq!(tried("p0 |--w1--| |--r7--|\n"), None, "somebody else wrote 7");
        assert_eq!(tried("p0 |--push(1)--|\n"), None);
    }
}
