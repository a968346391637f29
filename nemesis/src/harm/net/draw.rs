//! Faults of the network drawn from a seed. A drawn fault is one that a sound system takes without a wrong answer:
//! corruption is of the kind that checksums catch. Partitions, delays and losses are drawn so plain that a network of
//! whole messages can do them too.

use lab::{CountedPer, End, Spread};
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
            let (spread, correlation) = (Spread::Uniform, 0.0);
            NetFault::Delay { base_ms, jitter_ms: base_ms / 2, spread, correlation }
        }
        Family::Loss => {
            let probability = one_of(rng, &[0.05, 0.1, 0.2, 0.4]);
            NetFault::Loss { probability, correlation: 0.0, burst: None }
        }
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
        Family::HiddenClose => NetFault::HiddenClose,
        Family::Stall => NetFault::Stall {
            after_bytes: one_of(rng, &[0, 10_000, 100_000]),
            per: one_of(rng, &[CountedPer::Connection, CountedPer::Connection, CountedPer::Link]),
        },
        Family::Flap => {
            let ms = |rng: &mut ChaCha8Rng| Some(one_of(rng, &[50, 200, 500]));
            NetFault::Partition { shape: shape(first, target, rng), on_ms: ms(rng), off_ms: ms(rng) }
        }
        _ => NetFault::Partition { shape: shape(first, target, rng), on_ms: None, off_ms: None },
    }
}

fn shape(first: bool, target: Target, rng: &mut ChaCha8Rng) -> Shape {
    match target {
        _ if first => Shape::IsolateOne,
        Target::Client => Shape::ClientFromServer,
        _ => one_of(rng, &Shape::ALL),
    }
}

fn one_of<T: Copy>(rng: &mut ChaCha8Rng, choice: &[T]) -> T {
    *choice.choose(rng).expect("there is a choice")
}
