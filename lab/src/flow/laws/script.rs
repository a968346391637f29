//! An interceptor that does as a list says, and tells what it did.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use crate::flow::{Both, Interceptor, Way, Wire};

/// What happens to one message.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Pass,
    /// Every bit, length kept.
    Flip,
    /// Other bytes of this number.
    Become(usize),
    /// Swallowed.
    Swallow,
    /// So many bytes before it.
    Insert(usize),
    /// Swallowed, and a reply of so many bytes forged.
    Forge(usize),
    /// Waits so many milliseconds, and all behind it.
    Hold(u64),
    /// Swallowed, and inserted so many milliseconds later.
    Delay(u64),
}

pub(crate) fn op() -> impl Strategy<Value = (usize, Op)> {
    let op = prop_oneof![
        3 => Just(Op::Pass),
        1 => Just(Op::Flip),
        2 => (0usize..3_000).prop_map(Op::Become),
        1 => Just(Op::Swallow),
        1 => (0usize..3_000).prop_map(Op::Insert),
        1 => (0usize..2_000).prop_map(Op::Forge),
        1 => (0u64..400).prop_map(Op::Hold),
        1 => (0u64..400).prop_map(Op::Delay),
    ];
    (1usize..400, op)
}

/// What came from a sender, and what its receiver is to get.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) took: Vec<u8>,
    pub(crate) gave: Vec<u8>,
}

pub(crate) struct Script {
    ops: Both<Vec<(usize, Op)>>,
    done: Both<usize>,
    again: bool,
    held: Both<Option<(u64, usize)>>,
    delayed: Both<Vec<(u64, Vec<u8>)>>,
    told: Arc<Mutex<Both<Told>>>,
}

impl Script {
    /// The list for each way, over and over.
    pub(crate) fn new([out, back]: [Vec<(usize, Op)>; 2], told: Arc<Mutex<Both<Told>>>) -> Script {
        let (done, held, delayed) = Default::default();
        Script { ops: Both([out, back]), done, again: true, held, delayed, told }
    }

    /// The list for each way, then passes.
    pub(crate) fn once(ops: [Vec<(usize, Op)>; 2], told: Arc<Mutex<Both<Told>>>) -> Script {
        Script { again: false, ..Script::new(ops, told) }
    }

    fn next(&self, way: Way) -> (usize, Op) {
        let (ops, done) = (&self.ops[way], self.done[way]);
        let index = if self.again { done % ops.len().max(1) } else { done };
        ops.get(index).cloned().unwrap_or((1, Op::Pass))
    }

    fn give(&mut self, way: Way, len: usize, with: &[u8], wire: &mut Wire<'_>) {
        let mut told = self.told.lock().unwrap();
        let told = &mut told[way];
        assert_eq!(wire.offset(way), told.took.len() as u64);
        assert_eq!(wire.out_offset(way), told.gave.len() as u64);
        told.took.extend(&wire.pending(way)[..len]);
        wire.replace(way, len, with);
        if wire.out_offset(way) > told.gave.len() as u64 {
            told.gave.extend(with);
        }
    }

    fn pass(&mut self, way: Way, len: usize, wire: &mut Wire<'_>) {
        let mut told = self.told.lock().unwrap();
        let bytes = &wire.pending(way)[..len];
        told[way].took.extend(bytes);
        told[way].gave.extend(bytes);
        wire.pass(way, len);
    }

    fn act(&mut self, way: Way, wire: &mut Wire<'_>) {
        while self.held[way].is_none() {
            let (len, op) = self.next(way);
            if wire.pending(way).len() < len {
                return;
            }
            let message = wire.pending(way)[..len].to_vec();
            let filled = |len: usize| -> Vec<u8> { (0..len).map(|i| (i % 251) as u8).collect() };
            let later_ns = |ms: u64| wire.now_ns() + ms * 1_000_000;
            match op {
                Op::Pass => self.pass(way, len, wire),
                Op::Flip => self.give(way, len, &message.iter().map(|b| !b).collect::<Vec<_>>(), wire),
                Op::Become(other) => self.give(way, len, &filled(other), wire),
                Op::Swallow => self.give(way, len, &[], wire),
                Op::Insert(more) => {
                    self.give(way, 0, &filled(more), wire);
                    self.pass(way, len, wire);
                }
                Op::Forge(reply) => {
                    self.give(way, len, &[], wire);
                    self.give(way.back(), 0, &filled(reply), wire);
                }
                Op::Hold(ms) => {
                    let until_ns = later_ns(ms);
                    self.held[way] = Some((until_ns, len));
                    wire.wake_at(until_ns);
                }
                Op::Delay(ms) => {
                    let until_ns = later_ns(ms);
                    self.give(way, len, &[], wire);
                    self.delayed[way].push((until_ns, message));
                    wire.wake_at(until_ns);
                }
            }
            self.done[way] += 1;
        }
    }
}

impl Interceptor for Script {
    fn data(&mut self, way: Way, wire: &mut Wire<'_>) {
        self.act(way, wire);
    }

    fn closed(&mut self, way: Way, wire: &mut Wire<'_>) {
        for (_, message) in std::mem::take(&mut self.delayed[way]) {
            self.give(way, 0, &message, wire);
        }
        self.held[way] = None;
        self.pass(way, wire.pending(way).len(), wire);
    }

    fn woken(&mut self, wire: &mut Wire<'_>) {
        let now_ns = wire.now_ns();
        for way in Way::BOTH {
            let (due, waiting): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.delayed[way]).into_iter().partition(|(at_ns, _)| *at_ns <= now_ns);
            due.into_iter().for_each(|(_, message)| self.give(way, 0, &message, wire));
            self.delayed[way] = waiting;
            if let Some((_, len)) = self.held[way].take_if(|(until_ns, _)| *until_ns <= now_ns) {
                self.pass(way, len, wire);
            }
            self.act(way, wire);
            let times =
                self.delayed[way].iter().map(|(at_ns, _)| *at_ns).chain(self.held[way].map(|held| held.0));
            times.for_each(|at_ns| wire.wake_at(at_ns));
        }
    }
}
