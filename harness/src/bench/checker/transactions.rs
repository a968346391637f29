//! Transactions on lists, as a serial database at concurrency would have carried them out.
//!
//! One to four steps each, half of them appends, ten lists at a time, each given up after 32 appends, so that a read
//! shows some 16 elements; one transaction in a hundred indefinite, one in a hundred failed. A bad history has one
//! stale read near its end.

use checker::{Event, EventKind, Process};
use serde_json::{Value, json};

use super::generate::Dice;

const CONCURRENCY: u64 = 50;
const LISTS: u64 = 10;
const APPENDS_MAX: usize = 32;

/// All lists ever, by key; the last ones are in use.
struct Lists(Vec<Vec<u64>>);

impl Lists {
    /// One of those in use that is not full; a full one makes room for a new one.
    fn choose(&mut self, dice: &mut Dice) -> usize {
        let at = self.0.len() - 1 - dice.below(LISTS) as usize;
        if self.0[at].len() >= APPENDS_MAX {
            self.0.push(Vec::new());
        }
        at
    }
}

/// A step: what it appends or none for a read, and where.
type Step = (Option<u64>, usize);

enum Call {
    Idle,
    Waiting(Vec<Step>),
    /// Took effect, with this result.
    Done(Value),
}

/// Steps as the history has them; reads return what `lists` hold now, if there are any.
fn told(steps: &[Step], lists: Option<&[&[u64]]>) -> Value {
    let mut reads = lists.into_iter().flatten();
    steps
        .iter()
        .map(|(value, key)| match value {
            Some(value) => json!(["append", key, value]),
            None => json!(["r", key, reads.next()]),
        })
        .collect()
}

/// The events of `size` transactions.
pub fn events(size: usize, bad: bool) -> Vec<Event> {
    let mut dice = Dice(11);
    let mut events: Vec<Event> = Vec::with_capacity(size * 2);
    let mut lists = Lists(vec![Vec::new(); LISTS as usize]);
    let mut clients: Vec<(u64, Call)> = (0..CONCURRENCY).map(|id| (id, Call::Idle)).collect();
    let (mut started, mut running, mut fresh, mut value, mut stale) = (0, 0, CONCURRENCY, 0, bad);
    while started < size || running > 0 {
        let at = dice.below(CONCURRENCY) as usize;
        let id = clients[at].0;
        let mut push = |kind, value: Value| {
            let index = events.len() as u64;
            events.push(Event {
                index,
                time_ns: index * 1_000,
                process: Process::Client(id),
                kind,
                f: "txn".into(),
                key: None,
                value,
                error: None,
                shard: None,
                epoch: None,
                node: None,
            });
        };
        clients[at].1 = match std::mem::replace(&mut clients[at].1, Call::Idle) {
            Call::Idle if started < size => {
                (started, running) = (started + 1, running + 1);
                let count = 1 + dice.below(4);
                let step = |_| {
                    value += 1;
                    ((dice.below(2) == 0).then_some(value), lists.choose(&mut dice))
                };
                let steps: Vec<Step> = (0..count).map(step).collect();
                push(EventKind::Invoke, told(&steps, None));
                Call::Waiting(steps)
            }
            Call::Idle => Call::Idle,
            Call::Waiting(steps) if dice.below(100) == 0 => {
                running -= 1;
                push(EventKind::Fail, told(&steps, None));
                Call::Idle
            }
            Call::Waiting(steps) => {
                let mut reads: Vec<Vec<u64>> = Vec::new();
                for (value, key) in &steps {
                    match value {
                        Some(value) => lists.0[*key].push(*value),
                        None => reads.push(lists.0[*key].clone()),
                    }
                }
                if let Some(read) = reads.iter_mut().find(|read| read.len() > 20)
                    && stale
                    && started > size * 95 / 100
                {
                    stale = false;
                    read.truncate(1);
                }
                Call::Done(told(&steps, Some(&reads.iter().map(Vec::as_slice).collect::<Vec<_>>())))
            }
            Call::Done(_) if dice.below(100) == 0 => {
                running -= 1;
                push(EventKind::Info, Value::Null);
                clients[at].0 = fresh;
                fresh += 1;
                Call::Idle
            }
            Call::Done(result) => {
                running -= 1;
                push(EventKind::Ok, result);
                Call::Idle
            }
        };
    }
    events
}

#[cfg(test)]
mod tests {
    use checker::txn::ListAppend;
    use checker::{Budget, Checker, History};

    use super::*;

    #[test]
    fn only_the_stale_read_is_wrong() {
        for bad in [false, true] {
            let history = History::from_events(events(2_000, bad)).expect("well formed");
            let word = ListAppend::default().check(&history, &Budget::default()).word();
            assert_eq!(word, if bad { "invalid" } else { "valid" });
        }
    }
}
