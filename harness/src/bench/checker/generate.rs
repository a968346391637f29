//! Histories of atomic registers of any size, event by event, from a seed.
//!
//! Clients call a register that does one thing after another; each call takes effect at some instant between
//! its call and its return. What ends unknown took effect before, takes it later, or never does. Without a
//! planted fault the history is therefore linearizable; with one it is not, whatever the other outcomes.

use checker::{Event, EventKind, Process};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// History time between two events, in nanoseconds: about 50,000 operations a second.
pub const EVENT_NS: u64 = 10_000;

/// Out of a hundred operations, how many are reads, writes and (the rest) compare-and-sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    pub reads: u32,
    pub writes: u32,
}

impl Mix {
    /// Half reads, half writes.
    pub const RW: Mix = Mix { reads: 50, writes: 50 };
    /// With three compare-and-sets in ten.
    pub const RWCAS: Mix = Mix { reads: 40, writes: 30 };
    /// A third each.
    pub const THIRDS: Mix = Mix { reads: 34, writes: 33 };
}

/// What a history looks like. Equal shapes give equal histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Operations, over all keys.
    pub ops: u64,
    /// Clients at work at once.
    pub concurrency: u32,
    /// Operations out of a hundred whose outcome nobody learns.
    pub unknown_percent: u32,
    pub mix: Mix,
    /// How many different values are written; none: every value once.
    pub values: Option<u32>,
    /// Registers.
    pub keys: u32,
    /// Is one read, after 95 % of the operations, wrong?
    pub bad: bool,
    pub seed: u64,
}

/// The events of a history, in order.
#[derive(Debug)]
pub struct Events {
    shape: Shape,
    dice: Dice,
    started: u64,
    position: u64,
    clients: Vec<Client>,
    /// Clients whose call is still open.
    open: u32,
    fresh: u64,
    registers: Vec<Register>,
    ghosts: Vec<Ghost>,
    planted: Option<u64>,
}

#[derive(Debug, Clone)]
struct Client {
    id: u64,
    call: Option<Call>,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    key: u32,
    act: Act,
    inv: u64,
    /// The call of some definite update on the key that was back before this call began.
    fence: u64,
    effect: Effect,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Read,
    Write(u64),
    Cas(u64, u64),
}

impl Act {
    fn writes(self) -> Option<u64> {
        match self {
            Act::Write(value) | Act::Cas(_, value) => Some(value),
            Act::Read => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    NotYet,
    /// With the value that was held before, or read.
    Done(u64),
    Mismatch,
}

/// Whether its outcome is learned, and what happens if it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Known,
    /// Takes effect, but nobody learns of it.
    UnknownDone,
    /// Ends before it takes effect, and takes it later.
    UnknownLater,
    UnknownNever,
}

/// An update that takes effect after its client gave up on it.
#[derive(Debug, Clone, Copy)]
struct Ghost {
    key: u32,
    act: Act,
}

/// 0 is the initial value, `null`.
#[derive(Debug, Default)]
struct Register {
    state: u64,
    written: u64,
    /// The latest call of a definite update that is back.
    fence: u64,
    /// With few values, by value: its updates under way or of unknown outcome, and when the last one was back.
    touched: Vec<(u32, u64)>,
    /// With unique values: one that was acknowledged around the middle of the history, and when.
    old: Option<(u64, u64)>,
}

impl Events {
    pub fn new(shape: Shape) -> Self {
        let concurrency = shape.concurrency.max(1);
        let register = || Register {
            touched: vec![(0, 0); shape.values.map_or(0, |values| values as usize + 1)],
            ..Register::default()
        };
        Events {
            shape,
            dice: Dice(shape.seed),
            started: 0,
            position: 0,
            clients: (0..u64::from(concurrency)).map(|id| Client { id, call: None }).collect(),
            open: 0,
            fresh: u64::from(concurrency),
            registers: (0..shape.keys.max(1)).map(|_| register()).collect(),
            ghosts: Vec::new(),
            planted: None,
        }
    }

    /// Index of the event that returned the wrong value, once it is there.
    pub fn planted(&self) -> Option<u64> {
        self.planted
    }

    /// A client takes its next step; an event, unless it took effect or had nothing to do.
    fn turn(&mut self) -> Option<Event> {
        if !self.ghosts.is_empty() && self.dice.below(16) == 0 {
            let at = self.dice.below(self.ghosts.len() as u64) as usize;
            let Ghost { key, act } = self.ghosts.swap_remove(at);
            self.registers[key as usize].apply(act);
        }
        let at = self.dice.below(self.clients.len() as u64) as usize;
        match self.clients[at].call {
            None if self.started < self.shape.ops => Some(self.call(at)),
            None => None,
            Some(call) => match (call.effect, call.fate) {
                (Effect::NotYet, Fate::Known | Fate::UnknownDone) => {
                    let effect = self.registers[call.key as usize].apply(call.act);
                    self.clients[at].call = Some(Call { effect, ..call });
                    None
                }
                (_, Fate::Known) => Some(self.known(at, call)),
                (_, fate) => Some(self.unknown(at, call, fate)),
            },
        }
    }

    fn call(&mut self, at: usize) -> Event {
        self.started += 1;
        self.open += 1;
        let key = match self.shape.keys {
            0 | 1 => 0,
            keys => self.dice.below(u64::from(keys)) as u32,
        };
        let act = self.act(key);
        let fate = match self.dice.below(100) < u64::from(self.shape.unknown_percent) {
            false => Fate::Known,
            true => [Fate::UnknownDone, Fate::UnknownLater, Fate::UnknownNever][self.dice.below(3) as usize],
        };
        let register = &mut self.registers[key as usize];
        register.touch(act);
        let (inv, fence) = (self.position, register.fence);
        self.clients[at].call = Some(Call { key, act, inv, fence, effect: Effect::NotYet, fate });
        self.event(self.clients[at].id, EventKind::Invoke, key, act, argument(act), None)
    }

    fn act(&mut self, key: u32) -> Act {
        let kind = self.dice.below(100) as u32;
        let Mix { reads, writes } = self.shape.mix;
        if kind < reads {
            return Act::Read;
        }
        let fresh = self.shape.values.map(|values| 1 + self.dice.below(u64::from(values)));
        let register = &mut self.registers[key as usize];
        register.written += 1;
        let value = fresh.unwrap_or(register.written);
        if kind < reads + writes { Act::Write(value) } else { Act::Cas(register.state, value) }
    }

    fn known(&mut self, at: usize, call: Call) -> Event {
        let Call { key, act, effect, .. } = call;
        self.clients[at].call = None;
        self.open -= 1;
        let is_late = self.started * 20 >= self.shape.ops * 19;
        let is_half = self.started * 2 >= self.shape.ops;
        let register = &mut self.registers[key as usize];
        let wanted = self.shape.bad && is_late && self.planted.is_none() && act == Act::Read && key == 0;
        let wrong = wanted.then(|| {
            let is_last_chance = self.started * 50 >= self.shape.ops * 49;
            register.stale(call.fence, self.shape.values, is_last_chance)
        });
        if effect != Effect::Mismatch {
            register.back(call, self.position, is_half);
        }
        register.untouch(act, self.position);
        if let Some(value) = wrong.flatten() {
            self.planted = Some(self.position);
            return self.event(self.clients[at].id, EventKind::Ok, key, act, shown(value), None);
        }
        let (kind, value, error) = match (effect, act) {
            (Effect::Mismatch, _) => (EventKind::Fail, argument(act), Some("mismatch")),
            (Effect::Done(value), Act::Read) => (EventKind::Ok, shown(value), None),
            _ => (EventKind::Ok, argument(act), None),
        };
        self.event(self.clients[at].id, kind, key, act, value, error)
    }

    fn unknown(&mut self, at: usize, call: Call, fate: Fate) -> Event {
        let Call { key, act, .. } = call;
        let id = std::mem::replace(&mut self.clients[at], Client { id: self.fresh, call: None }).id;
        self.fresh += 1;
        self.open -= 1;
        if fate == Fate::UnknownLater && act != Act::Read {
            self.ghosts.push(Ghost { key, act });
        }
        self.event(id, EventKind::Info, key, act, argument(act), Some("timeout"))
    }

    fn event(
        &mut self,
        id: u64,
        kind: EventKind,
        key: u32,
        act: Act,
        value: Value,
        error: Option<&'static str>,
    ) -> Event {
        let index = self.position;
        self.position += 1;
        let f = match act {
            Act::Read => "read",
            Act::Write(_) => "write",
            Act::Cas(..) => "cas",
        };
        Event {
            index,
            time_ns: index * EVENT_NS,
            process: Process::Client(id),
            kind,
            f: f.into(),
            key: Some(Value::from(key)),
            value,
            error: error.map(Into::into),
            shard: None,
            epoch: None,
            node: None,
        }
    }
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.started < self.shape.ops || self.open > 0 {
            if let Some(event) = self.turn() {
                return Some(event);
            }
        }
        None
    }
}

impl Register {
    fn apply(&mut self, act: Act) -> Effect {
        let held = self.state;
        match act {
            Act::Read => {}
            Act::Cas(expected, _) if expected != held => return Effect::Mismatch,
            Act::Write(value) | Act::Cas(_, value) => self.state = value,
        }
        Effect::Done(held)
    }

    fn touch(&mut self, act: Act) {
        if let Some(touched) = act.writes().and_then(|value| self.touched.get_mut(value as usize)) {
            touched.0 += 1;
        }
    }

    /// A definite operation is back; those of unknown outcome go on touching their value.
    fn untouch(&mut self, act: Act, at: u64) {
        if let Some(touched) = act.writes().and_then(|value| self.touched.get_mut(value as usize)) {
            *touched = (touched.0 - 1, at);
        }
    }

    fn back(&mut self, call: Call, at: u64, is_half: bool) {
        let Some(value) = call.act.writes() else { return };
        self.fence = self.fence.max(call.inv);
        if is_half && self.old.is_none() && call.fate == Fate::Known {
            self.old = Some((value, at));
        }
    }

    /// A value that was certainly replaced before a read that began after `fence` was back; at the last chance,
    /// where every one of a few values may be there, one that nobody writes.
    fn stale(&self, fence: u64, values: Option<u32>, is_last_chance: bool) -> Option<u64> {
        match values {
            None => self.old.filter(|&(_, back)| back < fence).map(|(value, _)| value),
            Some(values) => {
                let over = |value: &u64| {
                    let (under_way, back) = self.touched[*value as usize];
                    under_way == 0 && back < fence && back > 0
                };
                let nobodys = is_last_chance.then_some(u64::from(values) + 1);
                (1..=u64::from(values)).find(over).or(nobodys)
            }
        }
    }
}

fn shown(value: u64) -> Value {
    if value == 0 { Value::Null } else { Value::from(value) }
}

fn argument(act: Act) -> Value {
    match act {
        Act::Read => Value::Null,
        Act::Write(value) => Value::from(value),
        Act::Cas(expected, value) => json!([shown(expected), value]),
    }
}

/// splitmix64 (Steele, Lea, Flood 2014): what is generated does not depend on any library's stream.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    /// A number under `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((u128::from(z ^ (z >> 31)) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use checker::{Budget, Checker, History, Linearizable};

    use super::*;

    const SMALL: Shape = Shape {
        ops: 400,
        concurrency: 5,
        unknown_percent: 5,
        mix: Mix::RWCAS,
        values: None,
        keys: 1,
        bad: false,
        seed: 1,
    };

    fn word(shape: Shape) -> &'static str {
        let history = History::from_events(Events::new(shape)).expect("well formed");
        assert_eq!(history.ops.len() as u64, shape.ops);
        Linearizable.check(&history, &Budget::default()).word()
    }

    #[test]
    fn what_an_atomic_register_did_is_valid_and_a_planted_fault_is_not() {
        for seed in 0..10 {
            for (values, keys, mix) in [(None, 1, Mix::RW), (None, 3, Mix::RWCAS), (Some(5), 1, Mix::THIRDS)]
            {
                let shape = Shape { values, keys, mix, seed, ..SMALL };
                assert_eq!(word(shape), "valid", "{shape:?}");
                let shape = Shape { bad: true, unknown_percent: (seed % 2) as u32 * 5, ..shape };
                assert_eq!(word(shape), "invalid", "{shape:?}");
            }
        }
    }

    #[test]
    fn equal_shapes_give_equal_histories() {
        let events = |shape| Events::new(shape).collect::<Vec<_>>();
        assert_eq!(events(SMALL), events(SMALL));
        assert_ne!(events(SMALL), events(Shape { seed: 2, ..SMALL }));
    }

    #[test]
    fn the_shape_is_what_it_says() {
        let events: Vec<Event> = Events::new(Shape { ops: 20_000, ..SMALL }).collect();
        let share = |is_it: &dyn Fn(&Event) -> bool| {
            events.iter().filter(|event| is_it(event)).count() as f64 / 20_000.0
        };
        assert!((share(&|event| event.kind == EventKind::Info) - 0.05).abs() < 0.01);
        assert!((share(&|event| event.kind == EventKind::Invoke && event.f == "cas") - 0.3).abs() < 0.02);
        let mut open = 0i32;
        let most = events.iter().map(|event| {
            open += if event.kind == EventKind::Invoke { 1 } else { -1 };
            open
        });
        assert_eq!(most.max(), Some(5));
    }
}
