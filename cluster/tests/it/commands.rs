//! The script against the model: a real Redis and [`Solo`] are asked the same and must say the same.

use cluster::{
    client::{command, outcome},
    fake::Solo,
    redis_link::RedisLink,
    store::{Answer, CallError, Command},
};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use crate::rig::Alone;

const COMMANDS: usize = 4_000;

fn small(rng: &mut ChaCha8Rng) -> String {
    ["", "a", "b", "c", "two words", "é\n\"'"][rng.random_range(0..6)].to_owned()
}

fn any(rng: &mut ChaCha8Rng) -> Command {
    match rng.random_range(0..17) {
        0 => Command::Get,
        1 => Command::Set(small(rng)),
        2 => Command::Cas { expected: small(rng), new: small(rng) },
        3 => Command::Add([1, -3, 0, i64::MAX, i64::MIN][rng.random_range(0..5)]),
        4 => Command::Count,
        5 => Command::Append(small(rng)),
        6 => Command::List,
        7 => Command::Insert(small(rng)),
        8 => Command::Members,
        9 => Command::Enqueue(small(rng)),
        10 => Command::Dequeue,
        11 => Command::Open { accounts: vec![("a".into(), rng.random_range(0..9)), ("b".into(), 5)] },
        12 | 13 => Command::Transfer { from: small(rng), to: small(rng), amount: rng.random_range(1..9) },
        14 => Command::Claim(rng.random_range(0..20)),
        15 => Command::Guarded { token: rng.random_range(0..20), value: small(rng) },
        _ => [Command::Balances, Command::GuardedRead][rng.random_range(0..2)].clone(),
    }
}

/// A key for the command's kind of data. One time in twenty it is a key of another kind, among those that Redis
/// tells apart (it keeps counters like registers, and guarded registers like banks).
fn key_of(rng: &mut ChaCha8Rng, command: &Command) -> String {
    const TOLD_APART: [&str; 4] = ["register", "list", "set", "bank"];
    let kind = match command {
        Command::Get | Command::Set(_) | Command::Cas { .. } => "register",
        Command::Add(_) | Command::Count => "counter",
        Command::Append(_) | Command::List | Command::Enqueue(_) | Command::Dequeue => "list",
        Command::Insert(_) | Command::Members => "set",
        Command::Open { .. } | Command::Transfer { .. } | Command::Balances => "bank",
        Command::Guarded { .. } | Command::Claim(_) | Command::GuardedRead => "guarded",
    };
    let astray = TOLD_APART.contains(&kind) && rng.random_ratio(1, 20);
    let kind = if astray { TOLD_APART[rng.random_range(0..4)] } else { kind };
    format!("{kind}-{}", rng.random_range(0..2))
}

/// Sets come in any order.
fn comparable(command: &Command, answer: Result<Answer, CallError>) -> Result<Answer, CallError> {
    match (command, answer) {
        (Command::Members, Ok(Answer::Items(mut items))) => {
            items.sort();
            Ok(Answer::Items(items))
        }
        (_, answer) => answer,
    }
}

async fn ask(link: &mut RedisLink, key: &str, command: &Command) -> Result<Answer, CallError> {
    let mut pipeline = redis::pipe();
    let script = format!("{}return apply(KEYS[1], ARGV, 1)", command::OPERATIONS);
    pipeline.cmd("EVAL").arg(script).arg(1).arg(key).arg(command::words(command));
    let replies = link.pipeline(&pipeline).await.expect("the server answers");
    outcome::read(command, &replies)
}

#[tokio::test]
async fn the_script_does_what_the_model_does() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut redis) = Alone::start(dir.path()).await else { return };
    let (model, mut rng) = (Solo::default(), ChaCha8Rng::seed_from_u64(3));
    let (mut refused, mut answered) = (0, 0);
    for n in 0..COMMANDS {
        let command = any(&mut rng);
        let key = key_of(&mut rng, &command);
        let expected = comparable(&command, model.apply(&key, &command));
        let found = comparable(&command, ask(&mut redis.link, &key, &command).await);
        assert_eq!(found, expected, "command {n}: {command:?} on {key}");
        match found {
            Ok(_) => answered += 1,
            Err(error) => {
                assert!(error.definite);
                refused += 1;
            }
        }
    }
    assert!(refused > 50 && answered > COMMANDS / 2, "{refused} refused, {answered} answered");
}
