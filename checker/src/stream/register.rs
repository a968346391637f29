//! One register, judged while its history goes on.

use std::collections::VecDeque;
use std::hash::Hash;

use rustc_hash::FxHashMap;

use super::fault::{Edge, Fault, NO_OP, Past};
use super::zone::{Zone, Zones};

/// No group.
pub(super) const NONE: u32 = u32::MAX;

/// Values remembered after their time, only to call a violation by its name.
const PAST_MAX: usize = 256;

/// What an operation does to a register, or tells about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act<V> {
    /// It held the value.
    Read(V),
    /// It holds the value from now on.
    Write(V),
    /// It held the first and holds the second from now on.
    Cas(V, V),
    /// It did not hold the value.
    Differs(V),
}

impl<V> Act<V> {
    /// The value it replaces, if it names one, and the value it leaves, if it leaves one.
    fn update(&self) -> Option<(Option<&V>, &V)> {
        match self {
            Act::Write(value) => Some((None, value)),
            Act::Cas(expected, value) => Some((Some(expected), value)),
            Act::Read(_) | Act::Differs(_) => None,
        }
    }
}

/// The operations on one value that certainly was there.
#[derive(Debug, Clone)]
pub(super) struct Group<V> {
    pub(super) value: V,
    /// Call of its writer.
    pub(super) inv: u64,
    /// Return of its writer; `u64::MAX` while it has not returned, or never will.
    pub(super) ret: u64,
    pub(super) writer: u64,
    pub(super) by_cas: bool,
    /// A compare-and-set that has not returned yet: its place in a chain is still to be found.
    pub(super) is_pending: bool,
    /// The reader that returned first, and the one that was called last.
    pub(super) reads: Option<(Edge, Edge)>,
    /// The group that replaced it by compare-and-set.
    pub(super) succ: u32,
    /// Does it follow another group that is still live?
    pub(super) is_linked: bool,
    /// What of its chain came before it and is settled.
    pub(super) base: Option<Zone>,
    /// The first mismatch to deny the value after it was certainly there: its return and its operation.
    pub(super) denied: Option<(u64, u64)>,
}

impl<V> Group<V> {
    /// The earliest return of anything on this value.
    pub(super) fn ret_min(&self) -> u64 {
        self.reads.map_or(self.ret, |(first_back, _)| first_back.at.min(self.ret))
    }

    /// The operation that returned then.
    pub(super) fn first_back(&self) -> u64 {
        match self.reads {
            Some((first_back, _)) if first_back.at < self.ret => first_back.op,
            _ => self.writer,
        }
    }
}

/// An indefinite update that nobody has seen.
#[derive(Debug, Clone)]
struct Unseen<V> {
    inv: u64,
    op: u64,
    expected: Option<V>,
}

/// How much of a register is held in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Live {
    /// Values that operations may still meet.
    pub groups: usize,
    /// Settled stretches of time that a later one may still contradict.
    pub zones: usize,
    /// Indefinite updates that nobody has seen.
    pub unseen: usize,
}

/// The state of one register.
#[derive(Debug)]
pub(super) struct Register<V> {
    epoch_events: u32,
    events: u32,
    now: u64,
    pub(super) groups: Vec<Option<Group<V>>>,
    free: Vec<u32>,
    places: FxHashMap<V, u32>,
    unseen: FxHashMap<V, Unseen<V>>,
    /// The unseen compare-and-sets that expect a value.
    waiting: FxHashMap<V, Vec<V>>,
    pub(super) zones: Zones,
    /// Calls of definite operations, with whether they have returned; ascending.
    open: VecDeque<(u64, bool)>,
    /// Definite updates by return: return, call and operation.
    returned: VecDeque<(u64, u64, u64)>,
    /// The definite update that was called last among those that returned before everything now open was
    /// called: its call and operation.
    settled: (u64, u64),
    past: FxHashMap<V, (u64, Past)>,
    past_order: VecDeque<V>,
}

impl<V: Clone + Eq + Hash> Register<V> {
    /// A register that holds `initial`, and settles what can be settled every `epoch_events` edges.
    pub(super) fn new(initial: V, epoch_events: u32) -> Self {
        let mut register = Register {
            epoch_events: epoch_events.max(1),
            events: 0,
            now: 0,
            groups: Vec::new(),
            free: Vec::new(),
            places: FxHashMap::default(),
            unseen: FxHashMap::default(),
            waiting: FxHashMap::default(),
            zones: Zones::default(),
            open: VecDeque::new(),
            returned: VecDeque::new(),
            settled: (0, NO_OP),
            past: FxHashMap::default(),
            past_order: VecDeque::new(),
        };
        register.add(initial, Unseen { inv: 0, op: NO_OP, expected: None }, 0);
        register
    }

    pub(super) fn live(&self) -> Live {
        Live { groups: self.places.len(), zones: self.zones.len(), unseen: self.unseen.len() }
    }

    /// Does an operation exist that may have written the value?
    pub(super) fn knows(&self, value: &V) -> bool {
        self.places.contains_key(value) || self.unseen.contains_key(value) || self.past.contains_key(value)
    }

    /// A definite operation is called.
    pub(super) fn call(&mut self, op: u64, inv: u64, act: &Act<V>) -> Result<(), Fault<V>> {
        self.now = inv;
        self.open.push_back((inv, false));
        if let Some((expected, value)) = act.update() {
            self.must_be_new(op, value)?;
            let place = self.add(value.clone(), Unseen { inv, op, expected: expected.cloned() }, u64::MAX);
            self.group(place).is_pending = expected.is_some();
        }
        self.tick()
    }

    /// An operation is called whose outcome nobody will ever know; reads of that kind tell nothing.
    pub(super) fn call_indefinite(&mut self, op: u64, inv: u64, act: &Act<V>) -> Result<(), Fault<V>> {
        self.now = inv;
        if let Some((expected, value)) = act.update() {
            self.must_be_new(op, value)?;
            if let Some(expected) = expected {
                self.waiting.entry(expected.clone()).or_default().push(value.clone());
            }
            self.unseen.insert(value.clone(), Unseen { inv, op, expected: expected.cloned() });
        }
        self.tick()
    }

    /// An update failed: its value ought never to be seen.
    pub(super) fn failed(&mut self, op: u64, act: &Act<V>) -> Result<(), Fault<V>> {
        if let Some((_, value)) = act.update() {
            self.remember(value.clone(), op, Past::Failed);
        }
        Ok(())
    }

    /// The definite operation called at `inv` returns.
    pub(super) fn ret(&mut self, op: u64, inv: u64, ret: u64, act: &Act<V>) -> Result<(), Fault<V>> {
        self.now = ret;
        match act {
            Act::Read(value) => self.seen(op, inv, ret, value)?,
            Act::Write(value) | Act::Cas(_, value) => {
                // Present, as only groups older than anything open are forgotten.
                if let Some(&place) = self.places.get(value) {
                    let group = self.group(place);
                    (group.ret, group.is_pending) = (ret, false);
                    if let Act::Cas(expected, _) = act {
                        self.link(expected, place)?;
                    }
                }
                self.returned.push_back((ret, inv, op));
            }
            Act::Differs(value) => {
                if let Some(&place) = self.places.get(value) {
                    let group = self.group(place);
                    if group.denied.is_none() && group.ret_min() < inv {
                        group.denied = Some((ret, op));
                    }
                }
            }
        }
        if let Ok(at) = self.open.binary_search_by_key(&inv, |&(inv, _)| inv) {
            self.open[at].1 = true;
        }
        while self.open.front().is_some_and(|&(_, returned)| returned) {
            self.open.pop_front();
        }
        self.tick()
    }

    /// The history is over: whatever is left must fit.
    pub(super) fn finish(&mut self) -> Result<(), Fault<V>> {
        self.settle(u64::MAX, u64::MAX)
    }

    fn must_be_new(&self, op: u64, value: &V) -> Result<(), Fault<V>> {
        if self.places.contains_key(value) || self.unseen.contains_key(value) {
            return Err(Fault::Repeated { op, value: value.clone() });
        }
        Ok(())
    }

    fn tick(&mut self) -> Result<(), Fault<V>> {
        self.events += 1;
        if self.events < self.epoch_events {
            return Ok(());
        }
        self.events = 0;
        let oldest = self.open.front().map_or(self.now, |&(inv, _)| inv);
        while let Some(&(ret, inv, op)) = self.returned.front()
            && ret < oldest
        {
            self.settled = self.settled.max((inv, op));
            self.returned.pop_front();
        }
        self.settle(self.settled.0, oldest)
    }

    pub(super) fn group(&mut self, place: u32) -> &mut Group<V> {
        match &mut self.groups[place as usize] {
            Some(group) => group,
            None => unreachable!("places and links only lead to live groups"),
        }
    }

    fn add(&mut self, value: V, from: Unseen<V>, ret: u64) -> u32 {
        let group = Group {
            value: value.clone(),
            inv: from.inv,
            ret,
            writer: from.op,
            by_cas: from.expected.is_some(),
            is_pending: false,
            reads: None,
            succ: NONE,
            is_linked: false,
            base: None,
            denied: None,
        };
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.groups.push(None);
                (self.groups.len() - 1) as u32
            }
        };
        self.groups[place as usize] = Some(group);
        self.places.insert(value, place);
        place
    }

    /// A read returned the value.
    fn seen(&mut self, op: u64, inv: u64, ret: u64, value: &V) -> Result<(), Fault<V>> {
        let place = self.needed(op, false, value)?;
        let group = self.group(place);
        still_allowed(group, op, inv)?;
        let edge = |at| Edge { at, op, writer: group.writer, is_update: false };
        group.reads = Some(match group.reads {
            None => (edge(ret), edge(inv)),
            // Returns come in order: the first to return is the first met.
            Some((back, called)) => (back, if called.at < inv { edge(inv) } else { called }),
        });
        Ok(())
    }

    /// The group of a value that certainly was there; whatever had to happen for that, happened.
    fn needed(&mut self, op: u64, by_cas: bool, value: &V) -> Result<u32, Fault<V>> {
        if let Some(&place) = self.places.get(value) {
            return Ok(place);
        }
        let Some(mut from) = self.unseen.remove(value) else {
            return Err(self.unexplained(op, by_cas, value));
        };
        let first = self.add(value.clone(), from.clone(), u64::MAX);
        let mut place = first;
        // Back along the indefinite compare-and-sets without which the value would not have been there.
        while let Some(expected) = from.expected.take() {
            if self.places.contains_key(&expected) {
                self.link(&expected, place)?;
                break;
            }
            let writer = self.group(place).writer;
            from = match self.unseen.remove(&expected) {
                Some(from) => from,
                None => return Err(self.unexplained(writer, true, &expected)),
            };
            let before = self.add(expected.clone(), from.clone(), u64::MAX);
            self.link(&expected, place)?;
            place = before;
        }
        Ok(first)
    }

    /// Puts a group behind the one it replaced.
    fn link(&mut self, expected: &V, place: u32) -> Result<(), Fault<V>> {
        let (writer, inv) = (self.group(place).writer, self.group(place).inv);
        let before = self.needed(writer, true, expected)?;
        still_allowed(self.group(before), writer, inv)?;
        if self.group(before).succ != NONE {
            let other = self.group(before).succ;
            let (first, of) = (self.group(other).writer, self.group(before).writer);
            return Err(Fault::TwoCas { ops: [first, writer], writer: of, value: expected.clone() });
        }
        self.group(before).succ = place;
        self.group(place).is_linked = true;
        Ok(())
    }

    fn unexplained(&self, op: u64, by_cas: bool, value: &V) -> Fault<V> {
        Fault::NoWriter { op, by_cas, value: value.clone(), past: self.past.get(value).copied() }
    }

    /// Takes a settled group out, and the indefinite compare-and-sets that could only have followed it.
    pub(super) fn forget(&mut self, place: u32) -> Option<Group<V>> {
        let group = self.groups[place as usize].take()?;
        self.free.push(place);
        self.places.remove(&group.value);
        let over = Past::Over { shown: group.first_back(), replaced: self.settled.1 };
        self.remember(group.value.clone(), group.writer, over);
        let mut gone = vec![group.value.clone()];
        while let Some(value) = gone.pop() {
            for ghost in self.waiting.remove(&value).unwrap_or_default() {
                if let Some(unseen) = self.unseen.remove(&ghost) {
                    self.remember(ghost.clone(), unseen.op, over);
                    gone.push(ghost);
                }
            }
        }
        Some(group)
    }

    fn remember(&mut self, value: V, op: u64, what: Past) {
        if self.past.insert(value.clone(), (op, what)).is_none() {
            self.past_order.push_back(value);
        }
        if self.past_order.len() > PAST_MAX
            && let Some(value) = self.past_order.pop_front()
        {
            self.past.remove(&value);
        }
    }
}

/// May an operation that was called at `inv` still meet this value, or was it denied before?
fn still_allowed<V: Clone>(group: &Group<V>, op: u64, inv: u64) -> Result<(), Fault<V>> {
    match group.denied {
        Some((ret, mismatch)) if ret < inv => Err(Fault::Denied {
            op: mismatch,
            value: group.value.clone(),
            before: group.first_back(),
            after: op,
            writer: group.writer,
        }),
        _ => Ok(()),
    }
}
