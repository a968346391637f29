//! The one table from commands and answers to what the history says: function, argument, result. The names are
//! those that the checkers know, which are Jepsen's where it has them.

use cluster::store::{Answer, Command};
use serde_json::{Value, json};

/// What the history calls a command.
pub fn f(command: &Command) -> &'static str {
    match command {
        Command::Get
        | Command::Count
        | Command::List
        | Command::Members
        | Command::Balances
        | Command::GuardedRead => "read",
        Command::Set(_) => "write",
        Command::Cas { .. } => "cas",
        Command::Add(1) => "increment",
        Command::Add(_) => "add",
        Command::Append(_) => "append",
        Command::Insert(_) => "add",
        Command::Enqueue(_) => "enqueue",
        Command::Dequeue => "dequeue",
        Command::Open { .. } => "open",
        Command::Transfer { .. } => "transfer",
        Command::Guarded { .. } => "guarded",
        Command::Claim(_) => "claim",
    }
}

/// Its argument; null where there is none.
pub fn argument(command: &Command) -> Value {
    match command {
        Command::Get
        | Command::Count
        | Command::List
        | Command::Members
        | Command::Balances
        | Command::GuardedRead
        | Command::Dequeue
        // An increment: with an argument, its result could be taken for that.
        | Command::Add(1) => Value::Null,
        Command::Set(text) | Command::Append(text) | Command::Insert(text) | Command::Enqueue(text) => {
            as_json(text)
        }
        Command::Cas { expected, new } => json!([as_json(expected), as_json(new)]),
        Command::Add(amount) => json!(amount),
        Command::Open { accounts } => {
            accounts.iter().map(|(name, balance)| (name.clone(), json!(balance))).collect()
        }
        Command::Transfer { from, to, amount } => json!({"from": from, "to": to, "amount": amount}),
        Command::Guarded { token, value } => json!([token, as_json(value)]),
        Command::Claim(token) => json!(token),
    }
}

/// What it came back with; none when its condition did not hold.
pub fn result(command: &Command, answer: &Answer) -> Option<Value> {
    match answer {
        Answer::Done | Answer::Applied(true) => Some(argument(command)),
        Answer::Applied(false) => None,
        Answer::Value(value) => Some(value.as_deref().map_or(Value::Null, as_json)),
        Answer::Number(number) => Some(json!(number)),
        Answer::Items(items) => Some(items.iter().map(|item| as_json(item)).collect()),
        Answer::Balances(balances) => Some(json!(balances)),
    }
}

/// A stored text as the history shows it: the number it is the usual form of, else the text itself.
fn as_json(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn every_stored_text_is_shown_without_loss(text in "-?[0-9]{0,20}|[a-z0-9 .+-]{0,6}") {
            let back = match as_json(&text) {
                Value::String(shown) => shown,
                number => number.to_string(),
            };
            prop_assert_eq!(back, text);
        }
    }

    #[test]
    fn arguments_and_results_are_told_as_the_checkers_read_them() {
        let transfer = Command::Transfer { from: "a".into(), to: "b".into(), amount: 3 };
        assert_eq!(argument(&transfer), json!({"from": "a", "to": "b", "amount": 3}));
        assert_eq!(result(&transfer, &Answer::Applied(false)), None);
        let open = Command::Open { accounts: vec![("a".into(), 5)] };
        assert_eq!((f(&open), argument(&open)), ("open", json!({"a": 5})));
        assert_eq!(result(&Command::Add(1), &Answer::Number(7)), Some(json!(7)));
        assert_eq!(result(&Command::Dequeue, &Answer::Value(None)), Some(Value::Null));
        let items = Answer::Items(vec!["3".into(), "x".into()]);
        assert_eq!(result(&Command::List, &items), Some(json!([3, "x"])));
    }
}
