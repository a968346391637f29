//! What a history can be judged as: a table, a line for each.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use checker::general::General;
use checker::model::multi_register::MultiRegister;
use checker::object::{delivery, elements, lease, mutex, session, text};
use checker::txn::{ConsistencyModel, ListAppend};
use checker::{Checker, History, Op, OpEnd};
use serde_json::{Value, json};

use crate::exit::UsageError;
use crate::registry;

/// What a history can be judged as.
pub struct Model {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it promises, in a line.
    pub about: &'static str,
    /// Functions of its operations: a history that has none but these is taken for the first such model.
    /// Empty: never taken unasked.
    functions: &'static [&'static str],
    /// Can its objects hold something else than null at first? What, unless the user says so.
    initial: Initial,
    /// What judges it.
    checkers: Checkers,
}

enum Initial {
    Fixed,
    Null,
    Zero,
}

enum Checkers {
    /// Those of the workload of this name.
    OfWorkload(&'static str),
    Own(fn(&Options) -> Box<dyn Checker>),
}

/// What a model is made from.
#[derive(Debug, Clone)]
pub struct Options {
    /// What registers hold at first.
    pub initial: Option<Value>,
    /// How far reads may be behind.
    pub staleness_max: Duration,
    /// What transactions promise.
    pub consistency: ConsistencyModel,
}

use Checkers::{OfWorkload, Own};
use Initial::{Fixed, Null, Zero};

/// All models; more special ones come first.
#[rustfmt::skip]
pub const MODELS: &[Model] = &[
    Model { name: "register", about: "read, write and cas of a value; linearizable per key", functions: &["read", "write", "cas"], initial: Null, checkers: OfWorkload("register") },
    Model { name: "knossos-register", about: "the same as Knossos has it: 0 at first, a read that returned nil tells nothing", functions: &[], initial: Zero, checkers: OfWorkload("register") },
    Model { name: "multi-register", about: "transactions that read and write several registers; linearizable", functions: &["txn:read", "txn:write"], initial: Null, checkers: Own(multi_register) },
    Model { name: "list-append", about: "transactions that append unique elements to lists and read them; Elle's anomalies", functions: &["txn:append", "txn:r"], initial: Fixed, checkers: Own(|options| Box::new(ListAppend { model: options.consistency })) },
    Model { name: "set", about: "add unique elements, read all; linearizable per key", functions: &["add", "read"], initial: Fixed, checkers: OfWorkload("set") },
    Model { name: "element-set", about: "add, remove and contains of elements, reads of all; linearizable per key", functions: &["add", "remove", "contains", "read"], initial: Fixed, checkers: Own(|_| Box::new(elements::LinearizableSet)) },
    Model { name: "append", about: "append unique elements to lists, read them whole; linearizable per key", functions: &["append", "read"], initial: Fixed, checkers: OfWorkload("append") },
    Model { name: "text", about: "put, append and get of texts, as in Porcupine's key-value suite; linearizable per key", functions: &["get", "put", "append"], initial: Fixed, checkers: Own(|_| Box::new(text::Text)) },
    Model { name: "counter", about: "increment, add, decrement, fetch_add, read the count; linearizable per key", functions: &["increment", "add", "decrement", "fetch_add", "read", "read:count"], initial: Fixed, checkers: OfWorkload("counter") },
    Model { name: "queue", about: "enqueue unique values, dequeue the oldest; linearizable per key", functions: &["enqueue", "dequeue"], initial: Fixed, checkers: OfWorkload("queue") },
    Model { name: "at-least-once-queue", about: "enqueue, dequeue, drain; nothing is lost or made up, whatever the order", functions: &["enqueue", "dequeue", "drain"], initial: Fixed, checkers: Own(|_| Box::new(delivery::AtLeastOnceQueue { once: false })) },
    Model { name: "exactly-once-queue", about: "the same, and nothing comes out more often than it was put in", functions: &[], initial: Fixed, checkers: Own(|_| Box::new(delivery::AtLeastOnceQueue { once: true })) },
    Model { name: "bank", about: "open accounts, transfer, read all balances; linearizable, money stays the same", functions: &["open", "transfer", "read"], initial: Fixed, checkers: OfWorkload("bank") },
    Model { name: "mutex", about: "acquire, release; never two holders", functions: &["acquire", "release"], initial: Fixed, checkers: Own(|_| Box::new(mutex::Mutex)) },
    Model { name: "lock", about: "a lock with fencing tokens and the counter it guards; tokens grow, every write counts", functions: &["acquire", "release", "claim", "guarded", "read"], initial: Fixed, checkers: OfWorkload("lock") },
    Model { name: "members", about: "join, leave and list a group; nobody missing, no ghost, nobody twice", functions: &["join", "leave", "members"], initial: Fixed, checkers: OfWorkload("members") },
    Model { name: "leases", about: "elect, renew, resign, ask for the leader; one leader in every epoch, epochs never go back", functions: &["elect", "renew", "resign", "leader"], initial: Fixed, checkers: Own(|_| Box::new(lease::Leases)) },
    Model { name: "replica-reads", about: "writes, and reads that may be behind by --staleness-s", functions: &[], initial: Fixed, checkers: OfWorkload("replica-reads") },
    Model { name: "sessions", about: "reads return versions; every client reads its own writes and never goes back", functions: &[], initial: Fixed, checkers: Own(|_| Box::new(session::Sessions)) },
    Model { name: "value-sessions", about: "write and read of unique values; the four session guarantees, told by the values", functions: &[], initial: Fixed, checkers: Own(|_| Box::new(session::ValueSessions)) },
];

fn multi_register(options: &Options) -> Box<dyn Checker> {
    let initial = options.initial.clone().unwrap_or_default();
    Box::new(General::new("multi-register", MultiRegister { initial }))
}

/// The model called `name`.
pub fn named(name: &str) -> Result<&'static Model> {
    // What is done to the cluster meanwhile makes no difference to what its clients saw.
    let name = if name == registry::RESHARDING { "register" } else { name };
    let names = || MODELS.iter().map(|model| model.name).collect::<Vec<_>>().join(", ");
    let found = MODELS.iter().find(|model| model.name == name);
    found.ok_or_else(|| UsageError(format!("--model {name}: unknown; use one of {}", names())).into())
}

/// Names and lines, for `shardstorm list`.
pub fn describe() -> Vec<registry::Entry> {
    MODELS.iter().map(|model| (model.name, model.about)).collect()
}

/// The first model that has all functions of the history.
pub fn fitting(history: &History) -> Result<&'static Model, String> {
    let seen = functions(history);
    let fits = |model: &&Model| seen.iter().all(|f| model.functions.contains(&f.as_str()));
    MODELS.iter().find(fits).ok_or_else(|| {
        format!(
            "no model fits the functions {}; name one with --model (`shardstorm list` has them all)",
            seen.join(", ")
        )
    })
}

/// What the operations are called; a transaction by its parts: `txn:append`.
fn functions(history: &History) -> Vec<String> {
    let mut seen = BTreeSet::new();
    for op in &history.ops {
        match op.input.as_array() {
            Some(parts) if op.f == "txn" => {
                let names = parts.iter().map(|part| part.get(0).and_then(Value::as_str).unwrap_or("?"));
                seen.extend(names.map(|f| (true, f)));
            }
            _ => drop(seen.insert((false, &*op.f))),
        }
    }
    // `add` is a word of sets and of counters.
    let is_count = |op: &Op| op.f == "read" && op.end == OpEnd::Ok && op.output.is_number();
    if seen.contains(&(false, "add")) && history.ops.iter().any(is_count) {
        seen.insert((false, "read:count"));
    }
    seen.into_iter().map(|(in_txn, f)| if in_txn { format!("txn:{f}") } else { f.to_string() }).collect()
}

impl Model {
    /// What judges a history, after it was made to say what the model takes for granted. `events` is how many
    /// there were.
    pub fn prepare(
        &self,
        history: &mut History,
        options: &Options,
        events: u64,
    ) -> Result<Vec<Box<dyn Checker>>> {
        let initial = match (&self.initial, &options.initial) {
            (Fixed, Some(_)) => {
                return Err(UsageError(format!("--initial: {} has none; leave it out", self.name)).into());
            }
            (_, Some(initial)) => initial.clone(),
            (Zero, None) => json!(0),
            (Fixed | Null, None) => Value::Null,
        };
        match &self.checkers {
            Own(make) => Ok(vec![make(&Options { initial: Some(initial), ..options.clone() })]),
            OfWorkload(name) => {
                history.hold_at_first(&initial, events);
                registry::checkers(name, options.staleness_max)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use checker::history::sketch;

    use super::*;

    #[test]
    fn every_workload_is_a_model_and_every_model_can_be_made() {
        let options = Options {
            initial: None,
            staleness_max: Duration::from_secs(1),
            consistency: ConsistencyModel::default(),
        };
        for (name, _) in registry::WORKLOADS {
            assert!(named(name).is_ok(), "{name}");
        }
        for model in MODELS {
            let checkers = model.prepare(&mut History::default(), &options, 0).unwrap();
            assert!(!checkers.is_empty(), "{}", model.name);
        }
        let error = named("song").err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("--model song") && error.contains("replica-reads"), "{error}");
    }

    #[test]
    fn a_model_is_found_by_the_functions_that_were_called() {
        let cases = [
            ("p0 |-w1-| |-r1-| |-c1>2-|", "register"),
            ("p0 |-enqueue(1)-| |-dequeue()=1-|", "queue"),
            ("p0 |-acquire()-| |-release()-|", "mutex"),
            ("p0 |-acquire()=1-| |-claim(1)-|", "lock"),
            ("p0 |-add(1)-| |-read()=[1]-|", "set"),
            ("p0 |-add(1)-| |-read()=1-|", "counter"),
            ("p0 |-add(1)-| |-contains(1)=true-|", "element-set"),
            ("p0 |-enqueue(1)-| |-drain()=[1]-|", "at-least-once-queue"),
            ("p0 |-append(a)-| |-get()=a-|", "text"),
        ];
        for (drawing, model) in cases {
            let history = sketch::history(drawing).expect("well drawn");
            assert_eq!(fitting(&history).map(|model| model.name), Ok(model), "{drawing}");
        }
        let strange = sketch::history("p0 |-enqueue(1)-| |-sing()-|").expect("well drawn");
        let why = fitting(&strange).err().unwrap_or_default();
        assert!(why.contains("enqueue, sing"), "{why}");
    }
}
