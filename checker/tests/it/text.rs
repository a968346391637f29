//! Texts against search over strings, and the shared key-value histories.

use checker::general::{General, Object};
use checker::history::parse_bytes;
use checker::model::Model;
use checker::object::text::Text;
use checker::{Budget, Checker, History, Op, OpEnd, Verdict};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use crate::objects::{compare, cores_stand_alone};
use crate::shared;
use crate::simulated::{Simulated, history, shape};

/// One text; pieces are unique, or of the given number of kinds.
#[derive(Default, Clone)]
struct Words {
    text: String,
    next: u64,
    kinds: Option<u64>,
}

impl Simulated for Words {
    fn call(&mut self, rng: &mut ChaCha8Rng, _: u64) -> (&'static str, Value) {
        self.next += 1;
        let piece = match self.kinds {
            // Sometimes a word of its own: then one text can be told from another.
            Some(kinds) if rng.random_range(0..3) > 0 => format!("<{}>", rng.random_range(0..kinds)),
            Some(_) => format!("<n{}>", self.next),
            None => format!("<{}>", self.next),
        };
        match rng.random_range(0..10) {
            0..5 => ("get", Value::Null),
            5 => ("put", json!(piece)),
            _ => ("append", json!(piece)),
        }
    }

    fn apply(&mut self, f: &str, input: &Value, _: u64) -> Result<Value, ()> {
        let piece = input.as_str().unwrap_or_default();
        match f {
            "put" => self.text = piece.to_string(),
            "append" => self.text.push_str(piece),
            _ => return Ok(json!(self.text)),
        }
        Ok(Value::Null)
    }

    fn falsify(
        &mut self,
        rng: &mut ChaCha8Rng,
        f: &str,
        _: &Value,
        result: Result<Value, ()>,
    ) -> Result<Value, ()> {
        if f != "get" {
            return if rng.random_range(0..3) == 0 { Err(()) } else { result };
        }
        let mut pieces: Vec<&str> = self.text.split_inclusive('>').collect();
        match rng.random_range(0..5) {
            0 => drop(pieces.pop()),
            1 if !pieces.is_empty() => drop(pieces.remove(0)),
            2 => pieces.reverse(),
            3 => pieces.push("<7>"),
            _ => pieces.push("?"),
        }
        Ok(json!(pieces.concat()))
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Call {
    Get(String),
    Put(String),
    Append(String),
}

impl Model for Words {
    type State = String;
    type Call = Call;

    fn init(&self) -> String {
        String::new()
    }

    fn step(&self, text: &String, call: &Call) -> Option<String> {
        match call {
            Call::Get(seen) => (seen == text).then(|| text.clone()),
            Call::Put(put) => Some(put.clone()),
            Call::Append(piece) => Some([text.as_str(), piece].concat()),
        }
    }

    fn is_pure(&self, call: &Call) -> bool {
        matches!(call, Call::Get(_))
    }
}

impl Object for Words {
    fn call(&self, op: &Op) -> Result<Option<Call>, String> {
        let text = |value: &Value| value.as_str().map(str::to_owned).ok_or("no text");
        Ok(match (&*op.f, op.end) {
            (_, OpEnd::Fail) | ("get", OpEnd::Info) => None,
            ("get", _) => Some(Call::Get(text(&op.output)?)),
            ("put", _) => Some(Call::Put(text(&op.input)?)),
            _ => Some(Call::Append(text(&op.input)?)),
        })
    }
}

#[test]
fn a_text_of_unique_pieces_is_judged_as_by_search() {
    let make = |seed| history(Words::default(), &shape(seed), seed);
    compare(Text, General::new("words", Words::default()), make, cores_stand_alone(Text));
}

#[test]
fn a_text_of_repeated_pieces_is_judged_as_by_search() {
    let words = Words { kinds: Some(3), ..Words::default() };
    let make = |seed| history(words.clone(), &shape(seed), seed);
    compare(Text, General::new("words", words.clone()), make, |_, _| {});
}

#[test]
fn the_shared_key_value_histories_are_judged_as_stated() {
    let Some(folder) = shared::folder() else { return };
    for (file, expected) in shared::stated(&folder, "kv-append/") {
        let bytes = std::fs::read(folder.join(&file)).expect("readable");
        let parsed = parse_bytes(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        let history = History::from_events(parsed.events).unwrap_or_else(|error| panic!("{file}: {error}"));
        let verdict = Text.check(&history, &Budget::default());
        let word = if expected { "valid" } else { "invalid" };
        assert_eq!(verdict.word(), word, "{file}: {verdict:?}");
        if let Verdict::Invalid { anomalies } = verdict {
            println!("{}: {}\n{}", anomalies[0].name, anomalies[0].reason, anomalies[0].drawing);
        }
    }
}
