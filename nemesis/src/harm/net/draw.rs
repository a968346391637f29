//! Faults of the network drawn from a seed. A drawn fault is one that a sound system takes without a wrong answer:
//! corruption is of the kind that checksums catch.

use lab::{CountedPer, End, Spread};
use rand::RngExt;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;

use super::NetFault;
use crate::family::Family;
use crate::shape::Shape;
use crate::targets::Target;

/// A fault of this family.
pub(super) fn fault(family: Family, first: bool, target: Target, rng: &mut ChaCha8Rng) -> NetFault {
    match family {
        Family::Delay => {
            let base_ms = one_of(rng, &[20, 50, 100, 200]);
            let jitter_ms = base_ms / 2;
            let spread = one_of(
                rng,
                &[Spread::Uniform, Spread::Uniform, Spread::Normal, Spread::Exponential, Spread::Pareto],
            );
            NetFault::Delay { base_ms, jitter_ms, spread, correlation: one_of(rng, &[0.0, 0.0, 0.5]) }
        }
        Family::Loss => NetFault::Loss {
            probability: one_of(rng, &[0.05, 0.1, 0.2, 0.4]),
            correlation: 0.0,
            burst: one_of(rng, &[None, None, Some(5.0), Some(20.0)]),
        },
        Family::Duplicate => NetFault::Duplicate { probability: one_of(rng, &[0.05, 0.2, 0.5]) },
        Family::Reorder => {
            NetFault::Reorder { probability: one_of(rng, &[0.05, 0.2]), by_ms: one_of(rng, &[5, 20, 50]) }
        }
        Family::Rate => NetFault::Rate {
            bytes_per_s: one_of(rng, &[20_000, 100_000, 500_000]),
            burst_bytes: one_of(rng, &[0, 10_000]),
            queue_bytes: one_of(rng, &[16_384, 65_536]),
        },
        Family::Corrupt => NetFault::Corrupt { probability: one_of(rng, &[0.01, 0.05, 0.2]), repair: false },
        Family::BlackHole => NetFault::BlackHole { mtu: one_of(rng, &[150, 300, 576]) },
        Family::Reset => NetFault::Reset { probability: one_of(rng, &[0.001, 0.01, 0.1]) },
        Family::HalfOpen => NetFault::HalfOpen {
            loser: one_of(rng, &[End::Client, End::Server]),
            probability: one_of(rng, &[0.01, 0.1, 1.0]),
        },
        Family::SlowClose => NetFault::SlowClose { hold_ms: one_of(rng, &[None, Some(500), Some(2_000)]) },
        Family::Stall => NetFault::Stall {
            after_bytes: one_of(rng, &[0, 10_000, 100_000]),
            per: one_of(rng, &[CountedPer::Connection, CountedPer::Connection, CountedPer::Link]),
        },
        _ => partition(first, target, rng),
    }
}

/// Any shape, one in four of them flapping.
fn partition(first: bool, target: Target, rng: &mut ChaCha8Rng) -> NetFault {
    let shape = match target {
        _ if first => Shape::IsolateOne,
        Target::Client => Shape::ClientFromServer,
        _ => one_of(rng, &Shape::ALL),
    };
    let flaps = !first && rng.random_bool(0.25);
    let mut ms = |choice| flaps.then(|| one_of(rng, choice));
    NetFault::Partition { shape, on_ms: ms(&[50, 200, 500]), off_ms: ms(&[50, 200, 500]) }
}

fn one_of<T: Copy>(rng: &mut ChaCha8Rng, choice: &[T]) -> T {
    *choice.choose(rng).expect("there is a choice")
}
