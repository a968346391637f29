//! How a [`Command`] travels to a Redis, and how its reply reads.
//!
//! Every command is an operation of the script [`OPERATIONS`].

use std::collections::BTreeMap;

use redis::Value;

use crate::store::{Answer, CallError, Command};

/// The operations, as Lua: defines `apply(key, argv, first)` and executes nothing. A script is this, then
/// whatever checks its sender wants, then a line that returns what `apply` returns.
pub const OPERATIONS: &str = include_str!("op.lua");

/// Name and arguments of a command, as the script takes them.
pub fn words(command: &Command) -> Vec<String> {
    let mut words = vec![command.name().to_owned()];
    match command {
        Command::Get
        | Command::Count
        | Command::List
        | Command::Members
        | Command::Dequeue
        | Command::Balances
        | Command::GuardedRead => {}
        Command::Set(text) | Command::Append(text) | Command::Insert(text) | Command::Enqueue(text) => {
            words.push(text.clone());
        }
        Command::Cas { expected, new } => words.extend([expected.clone(), new.clone()]),
        Command::Add(amount) => words.push(amount.to_string()),
        Command::Open { accounts } => {
            words.extend(accounts.iter().flat_map(|(name, balance)| [name.clone(), balance.to_string()]));
        }
        Command::Transfer { from, to, amount } => {
            words.extend([from.clone(), to.clone(), amount.to_string()]);
        }
        Command::Guarded { token, value } => words.extend([token.to_string(), value.clone()]),
        Command::Claim(token) => words.push(token.to_string()),
    }
    words
}

impl Answer {
    /// Reads the reply to `command`, an error reply excepted. A reply of another shape is an indefinite error.
    pub fn parse(command: &Command, reply: &Value) -> Result<Answer, CallError> {
        let answer = match command {
            Command::Get | Command::Dequeue | Command::Claim(_) | Command::GuardedRead => {
                optional_text(reply).map(Answer::Value)
            }
            Command::Set(_)
            | Command::Append(_)
            | Command::Insert(_)
            | Command::Enqueue(_)
            | Command::Open { .. } => matches!(reply, Value::Okay).then_some(Answer::Done),
            Command::Cas { .. } | Command::Transfer { .. } | Command::Guarded { .. } => match reply {
                Value::Int(0) => Some(Answer::Applied(false)),
                Value::Int(1) => Some(Answer::Applied(true)),
                _ => None,
            },
            Command::Add(_) | Command::Count => number(reply).map(Answer::Number),
            Command::List | Command::Members => texts(reply).map(Answer::Items),
            Command::Balances => balances(reply).map(Answer::Balances),
        };
        answer.ok_or_else(CallError::unexpected)
    }
}

fn text(reply: &Value) -> Option<String> {
    match reply {
        Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
        _ => None,
    }
}

fn optional_text(reply: &Value) -> Option<Option<String>> {
    match reply {
        Value::Nil => Some(None),
        other => text(other).map(Some),
    }
}

/// A counter that was never added to is 0.
fn number(reply: &Value) -> Option<i64> {
    optional_text(reply)?.map_or(Some(0), |text| text.parse().ok())
}

fn texts(reply: &Value) -> Option<Vec<String>> {
    match reply {
        Value::Array(all) | Value::Set(all) => all.iter().map(text).collect(),
        _ => None,
    }
}

/// Accounts and balances by turns.
fn balances(reply: &Value) -> Option<BTreeMap<String, i64>> {
    let words = texts(reply)?;
    let (pairs, rest) = words.as_chunks::<2>();
    let balance = |[account, balance]: &[String; 2]| Some((account.clone(), balance.parse().ok()?));
    rest.is_empty().then(|| pairs.iter().map(balance).collect())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn parsed(command: &Command, reply: Value) -> Option<Answer> {
        Answer::parse(command, &reply).ok()
    }

    #[test]
    fn every_reply_is_read_as_its_command_means_it() {
        let cas = Command::Cas { expected: "a".into(), new: "b".into() };
        assert_eq!(parsed(&Command::Get, Value::Nil), Some(Answer::Value(None)));
        assert_eq!(parsed(&Command::Dequeue, bulk("7")), Some(Answer::Value(Some("7".into()))));
        assert_eq!(parsed(&Command::Set("a".into()), Value::Okay), Some(Answer::Done));
        assert_eq!(parsed(&cas, Value::Int(1)), Some(Answer::Applied(true)));
        assert_eq!(parsed(&cas, Value::Int(0)), Some(Answer::Applied(false)));
        assert_eq!(parsed(&Command::Count, Value::Nil), Some(Answer::Number(0)));
        assert_eq!(parsed(&Command::Add(2), bulk("-5")), Some(Answer::Number(-5)));
        let items = |words: &[&str]| Value::Array(words.iter().map(|word| bulk(word)).collect());
        assert_eq!(
            parsed(&Command::List, items(&["b", "a"])),
            Some(Answer::Items(vec!["b".into(), "a".into()]))
        );
        assert_eq!(parsed(&Command::Members, items(&[])), Some(Answer::Items(vec![])));
        let balances = BTreeMap::from([("a".into(), 3), ("b".into(), -1)]);
        assert_eq!(
            parsed(&Command::Balances, items(&["b", "-1", "a", "3"])),
            Some(Answer::Balances(balances))
        );
    }

    #[test]
    fn a_reply_of_another_shape_is_indefinite() {
        let cas = Command::Cas { expected: "a".into(), new: "b".into() };
        let odd: [(&Command, Value); 9] = [
            (&Command::Get, Value::Int(3)),
            (&Command::Get, Value::BulkString(vec![0xff])),
            (&Command::Set("a".into()), Value::Int(1)),
            (&cas, Value::Int(2)),
            (&cas, Value::Nil),
            (&Command::Count, bulk("many")),
            (&Command::List, bulk("a")),
            (&Command::Balances, Value::Array(vec![bulk("a")])),
            (&Command::Balances, Value::Array(vec![bulk("a"), bulk("b")])),
        ];
        for (command, reply) in odd {
            let error = Answer::parse(command, &reply).unwrap_err();
            assert!(!error.definite, "{command:?} {reply:?}");
        }
    }

    #[test]
    fn the_words_of_a_command_are_its_name_and_its_arguments_in_order() {
        let open = Command::Open { accounts: vec![("a".into(), 5), ("b".into(), 0)] };
        assert_eq!(words(&open), ["open", "a", "5", "b", "0"]);
        let transfer = Command::Transfer { from: "a".into(), to: "b".into(), amount: 3 };
        assert_eq!(words(&transfer), ["transfer", "a", "b", "3"]);
        assert_eq!(words(&Command::Guarded { token: 9, value: "v".into() }), ["guarded", "9", "v"]);
        assert_eq!(words(&Command::GuardedRead), ["guarded-read"]);
    }
}
