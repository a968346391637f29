//! What a key holds, and what each command makes of it. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::store::{Answer, CallError, Command};

/// The data under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Datum {
    Register(String),
    Counter(i64),
    /// A list, or a queue.
    List(VecDeque<String>),
    Set(BTreeSet<String>),
    Bank(BTreeMap<String, i64>),
    Guarded {
        token: i64,
        value: Option<String>,
    },
}

impl Datum {
    fn is_empty(&self) -> bool {
        match self {
            Datum::List(all) => all.is_empty(),
            Datum::Set(all) => all.is_empty(),
            Datum::Bank(all) => all.is_empty(),
            Datum::Register(_) | Datum::Counter(_) | Datum::Guarded { .. } => false,
        }
    }
}

/// Carries out `command` on what a key holds, none if nothing; an error changes nothing and is definite.
///
/// Like in Redis a container that is empty is not there.
pub(super) fn apply(datum: &mut Option<Datum>, command: &Command) -> Result<Answer, CallError> {
    let answer = step(datum, command);
    if datum.as_ref().is_some_and(Datum::is_empty) {
        *datum = None;
    }
    answer
}

fn step(datum: &mut Option<Datum>, command: &Command) -> Result<Answer, CallError> {
    Ok(match command {
        Command::Get => Answer::Value(register(datum)?.cloned()),
        Command::Set(value) => {
            // Like Redis: SET takes the place of whatever was there.
            *datum = Some(Datum::Register(value.clone()));
            Answer::Done
        }
        Command::Cas { expected, new } => {
            let applies = register(datum)? == Some(expected);
            if applies {
                *datum = Some(Datum::Register(new.clone()));
            }
            Answer::Applied(applies)
        }
        Command::Add(amount) => {
            let sum = count(datum)?.checked_add(*amount).ok_or_else(|| CallError::definite("ERR"))?;
            *datum = Some(Datum::Counter(sum));
            Answer::Number(sum)
        }
        Command::Count => Answer::Number(count(datum)?),
        Command::Append(element) | Command::Enqueue(element) => {
            list(datum)?.push_back(element.clone());
            Answer::Done
        }
        Command::List => Answer::Items(list(datum)?.iter().cloned().collect()),
        Command::Dequeue => Answer::Value(list(datum)?.pop_front()),
        Command::Insert(element) => {
            set(datum)?.insert(element.clone());
            Answer::Done
        }
        Command::Members => Answer::Items(set(datum)?.iter().cloned().collect()),
        Command::Open { accounts } => {
            let bank = bank(datum)?;
            if bank.is_empty() {
                bank.extend(accounts.iter().cloned());
            }
            Answer::Done
        }
        Command::Transfer { from, to, amount } => Answer::Applied(transfer(bank(datum)?, from, to, *amount)),
        Command::Balances => Answer::Balances(bank(datum)?.clone()),
        Command::Guarded { token, value } => {
            let applies = guarded(datum)?.is_none_or(|(seen, _)| *token >= seen);
            if applies {
                *datum = Some(Datum::Guarded { token: *token, value: Some(value.clone()) });
            }
            Answer::Applied(applies)
        }
        Command::Claim(token) => {
            let (seen, value) =
                guarded(datum)?.map_or((*token, None), |(seen, value)| (seen, value.cloned()));
            if *token < seen {
                return Err(CallError::definite("STALETOKEN"));
            }
            *datum = Some(Datum::Guarded { token: *token, value: value.clone() });
            Answer::Value(value)
        }
        Command::GuardedRead => Answer::Value(guarded(datum)?.and_then(|(_, value)| value.cloned())),
    })
}

fn wrong_type() -> CallError {
    CallError::definite("WRONGTYPE")
}

fn register(datum: &Option<Datum>) -> Result<Option<&String>, CallError> {
    match datum {
        None => Ok(None),
        Some(Datum::Register(value)) => Ok(Some(value)),
        Some(_) => Err(wrong_type()),
    }
}

fn count(datum: &Option<Datum>) -> Result<i64, CallError> {
    match datum {
        None => Ok(0),
        Some(Datum::Counter(count)) => Ok(*count),
        Some(_) => Err(wrong_type()),
    }
}

fn guarded(datum: &Option<Datum>) -> Result<Option<(i64, Option<&String>)>, CallError> {
    match datum {
        None => Ok(None),
        Some(Datum::Guarded { token, value }) => Ok(Some((*token, value.as_ref()))),
        Some(_) => Err(wrong_type()),
    }
}

fn list(datum: &mut Option<Datum>) -> Result<&mut VecDeque<String>, CallError> {
    match datum.get_or_insert_with(|| Datum::List(VecDeque::new())) {
        Datum::List(list) => Ok(list),
        _ => Err(wrong_type()),
    }
}

fn set(datum: &mut Option<Datum>) -> Result<&mut BTreeSet<String>, CallError> {
    match datum.get_or_insert_with(|| Datum::Set(BTreeSet::new())) {
        Datum::Set(set) => Ok(set),
        _ => Err(wrong_type()),
    }
}

fn bank(datum: &mut Option<Datum>) -> Result<&mut BTreeMap<String, i64>, CallError> {
    match datum.get_or_insert_with(|| Datum::Bank(BTreeMap::new())) {
        Datum::Bank(bank) => Ok(bank),
        _ => Err(wrong_type()),
    }
}

fn transfer(bank: &mut BTreeMap<String, i64>, from: &str, to: &str, amount: i64) -> bool {
    let allowed = bank.contains_key(to) && bank.get(from).is_some_and(|&balance| balance >= amount);
    if allowed {
        for (account, change) in [(from, -amount), (to, amount)] {
            if let Some(balance) = bank.get_mut(account) {
                *balance += change;
            }
        }
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries out the commands one after the other; what each was answered.
    fn run(commands: &[Command]) -> Vec<Result<Answer, CallError>> {
        let mut datum = None;
        commands.iter().map(|command| apply(&mut datum, command)).collect()
    }

    fn last(commands: &[Command]) -> Answer {
        run(commands).pop().unwrap().unwrap()
    }

    fn texts(all: &[&str]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    fn pay(from: &str, to: &str, amount: i64) -> Command {
        Command::Transfer { from: from.into(), to: to.into(), amount }
    }

    fn guarded(token: i64, value: &str) -> Command {
        Command::Guarded { token, value: value.into() }
    }

    #[test]
    fn each_kind_of_data_does_what_its_commands_say() {
        use Command::{
            Add, Append, Balances, Claim, Count, Dequeue, Enqueue, GuardedRead, Insert, List, Members,
        };
        assert_eq!(last(&[Add(2), Add(-5), Count]), Answer::Number(-3));
        assert_eq!(last(&[Append("b".into()), Append("a".into()), List]), Answer::Items(texts(&["b", "a"])));
        let queue = run(&[Enqueue("1".into()), Enqueue("2".into()), Dequeue, Dequeue, Dequeue]);
        let taken: Vec<_> = queue[2..].iter().map(|answer| answer.clone().unwrap()).collect();
        assert_eq!(taken, [Some("1"), Some("2"), None].map(|v| Answer::Value(v.map(str::to_owned))));
        let set = [Insert("b".into()), Insert("a".into()), Insert("b".into()), Members];
        assert_eq!(last(&set), Answer::Items(texts(&["a", "b"])));
        let open = |balance| Command::Open { accounts: vec![("a".into(), balance), ("b".into(), 0)] };
        let balances = |a, b| Answer::Balances(BTreeMap::from([("a".into(), a), ("b".into(), b)]));
        assert_eq!(last(&[open(5), pay("a", "b", 3), open(9), Balances]), balances(2, 3));
        assert_eq!(last(&[open(5), pay("a", "b", 6)]), Answer::Applied(false), "no overdraft");
        assert_eq!(last(&[open(5), pay("a", "nobody", 1)]), Answer::Applied(false));
        assert_eq!(last(&[open(5), pay("a", "a", 5), Balances]), balances(5, 0));
        assert_eq!(last(&[pay("a", "b", 1)]), Answer::Applied(false), "there is no bank");
        assert_eq!(last(&[guarded(2, "x"), guarded(2, "y")]), Answer::Applied(true));
        assert_eq!(last(&[guarded(2, "x"), guarded(1, "y")]), Answer::Applied(false));
        let read = last(&[guarded(2, "x"), guarded(1, "y"), GuardedRead]);
        assert_eq!(read, Answer::Value(Some("x".into())));
        assert_eq!(last(&[guarded(2, "x"), Claim(3)]), Answer::Value(Some("x".into())));
        assert_eq!(last(&[Claim(3), guarded(2, "x")]), Answer::Applied(false), "a claim is a sight");
        assert_eq!(last(&[Claim(3), GuardedRead]), Answer::Value(None));
        assert_eq!(run(&[guarded(3, "x"), Claim(2)])[1], Err(CallError::definite("STALETOKEN")));
    }

    #[test]
    fn what_is_of_another_kind_is_refused_and_left_as_it_was() {
        let mut datum = Some(Datum::Counter(3));
        for command in [Command::Get, Command::List, Command::Insert("a".into()), Command::Balances] {
            assert!(apply(&mut datum, &command).unwrap_err().definite, "{command:?}");
        }
        assert!(apply(&mut datum, &Command::Add(i64::MAX)).unwrap_err().definite);
        assert_eq!(datum, Some(Datum::Counter(3)));
    }

    #[test]
    fn what_changed_nothing_leaves_nothing_behind() {
        let mut datum = None;
        for command in [
            Command::Dequeue,
            pay("a", "b", 1),
            Command::Get,
            Command::Count,
            Command::List,
            Command::Members,
            Command::Balances,
        ] {
            assert!(apply(&mut datum, &command).is_ok());
            assert_eq!(datum, None, "{command:?}");
        }
    }
}
