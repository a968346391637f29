//! A register's contradiction told as one of texts.

use serde_json::Value;

use super::Calls;
use super::decode::{Block, quoted};
use super::owner::AsRegister;
use crate::explain;
use crate::model::Entry;
use crate::model::key_text;
use crate::model::register::{RegisterCall, RegisterPart};
use crate::object::{Broken, Trouble};
use crate::unique::Proof;
use crate::{History, Verdict};

pub(super) fn tell(
    history: &History,
    key: &Value,
    register: AsRegister,
    proof: &Proof,
    calls: &Calls<'_>,
    blocks: &[Block<'_>],
) -> Trouble {
    if let Proof::Order { early, late, .. } = *proof {
        let place = |entry: usize| register.entries[entry].op;
        return order(history, place(early), place(late), calls, blocks).into();
    }
    let part = RegisterPart { entries: register.entries, ..RegisterPart::default() };
    let case = explain::Case { history, part: &part, key: key_text(key) };
    let witnesses = witnesses(&part.entries, proof);
    Trouble::Searched(Verdict::Invalid { anomalies: vec![case.proven_by(proof, &witnesses)] })
}

/// For every append of the proof a get that shows what it was appended to. The texts of one block have ascending
/// numbers, and the last of them was seen.
fn witnesses(entries: &[Entry<RegisterCall>], proof: &Proof) -> Vec<usize> {
    let mut witnesses = Vec::new();
    for entry in proof.bare_entries() {
        let RegisterCall::Cas(_, text) = entries[entry].call else { continue };
        let shown = |i: &usize| match entries[*i].call {
            RegisterCall::Read(seen) => Some(seen).filter(|&seen| seen >= text),
            _ => None,
        };
        witnesses.extend((0..entries.len()).filter(|i| shown(i).is_some()).min_by_key(shown));
    }
    witnesses
}

/// The operation at `early` returned before that at `late` was called, but comes after it in its text.
fn order(history: &History, early: usize, late: usize, calls: &Calls<'_>, blocks: &[Block<'_>]) -> Broken {
    let (first, second) = (&history.ops[early], &history.ops[late]);
    let shown = |value: &Value| quoted(value.as_str().unwrap_or_default());
    let both = vec![early, late];
    // Who shows that a piece is one of this text.
    let piece = if first.f == "append" { first.input.as_str() } else { None };
    let block = piece.and_then(|piece| blocks.iter().find(|block| block.pieces.contains(&piece)));
    let witness = block.map(|block| calls.gets[block.gets[0].0].place);
    match (first.f == "get", second.f == "get") {
        (true, true) => {
            let reason = format!(
                "the get by process {} returned {}, although {} had already been returned to process {} before it began",
                second.process,
                shown(&second.output),
                shown(&first.output),
                first.process
            );
            Broken::new("stale-read", both, reason)
        }
        (true, false) => {
            let reason = format!(
                "the get by process {} returned {}, although process {} began to {} {} only after that",
                first.process,
                shown(&first.output),
                second.process,
                second.f,
                shown(&second.input)
            );
            Broken::new("future-read", both, reason)
        }
        (false, true) => {
            let reason = format!(
                "the get by process {} returned {}, although the {} of {} by process {} had returned before it began",
                second.process,
                shown(&second.output),
                first.f,
                shown(&first.input),
                first.process
            );
            Broken::new("stale-read", both.into_iter().chain(witness).collect(), reason)
        }
        (false, false) => {
            let reason = format!(
                "{} was seen behind {}, although its append by process {} had returned before the {} of the other \
                 by process {} began",
                shown(&first.input),
                shown(&second.input),
                first.process,
                second.f,
                second.process
            );
            Broken::new("reordered-elements", both.into_iter().chain(witness).collect(), reason)
        }
    }
}
