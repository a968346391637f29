//! What the editors of a run share: the faults, what was seen, what was done.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};

use lab::flow::Receipt;
use serde::{Deserialize, Serialize};

use super::choose::{Chooser, derive};
use super::editor::Ends;
use super::language::{Counting, FaultError, MessageFault, Op};
use super::record::{Action, Fidelity, Log, Strike};
use super::seen::Seen;
use super::trigger::{FireAt, Fired, Held, Trigger, Watch};
use crate::wire::{Codec, Message, Protocol, Way};

/// Strikes kept of a run; later ones are counted only.
const STRIKES_MAX: usize = 100_000;

/// How far a fault has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Messages it meant while it was armed.
    pub matched: u64,
    /// Messages it struck.
    pub applied: u64,
    /// Those of them whose receiver has acknowledged what came in their place, or that were kept from it.
    pub delivered: u64,
    /// Messages it would have struck, but the operation could not be done to them.
    pub refused: u64,
    /// Why, the last time.
    pub why: Option<String>,
}

/// The faults of a run. Clones are the same.
#[derive(Debug, Clone)]
pub struct Faults(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    seed: u64,
    /// A bit for each protocol and way on which a message may be of interest: elsewhere editors only listen.
    busy: AtomicU8,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    faults: BTreeMap<u64, Entry>,
    watches: Vec<Watch>,
    next_watch: u64,
    seen: Seen,
    strikes: Vec<Strike>,
    log: Option<Log>,
    connections: HashMap<(String, String, u16), u64>,
}

#[derive(Debug)]
struct Entry {
    fault: MessageFault,
    armed: bool,
    tally: Tally,
    /// Matched and applied, for each group that is counted by itself.
    counts: HashMap<Group, (u64, u64)>,
    /// What was struck and is not known to have arrived: where it ends in what is delivered.
    underway: Vec<(Receipt, u64)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Group {
    Pair(String, String),
    Connection(u64),
    All,
}

/// What is known of a message besides itself.
pub(super) struct Sighting<'a> {
    pub ends: &'a Ends,
    pub connection: u64,
    pub way: Way,
    pub message: &'a Message,
    pub bytes: &'a [u8],
    /// Its number among those of its kind, this way, on this connection.
    pub nth: u64,
    pub offset_in: u64,
    pub offset_out: u64,
    pub now_ns: u64,
    /// Of its way.
    pub receipt: &'a Receipt,
}

impl Sighting<'_> {
    fn from(&self) -> &str {
        self.ends.sender(self.way)
    }

    fn to(&self) -> &str {
        self.ends.sender(self.way.back())
    }
}

/// What is to happen to a message.
pub(super) enum Judgement {
    Pass,
    /// Held by this trigger, for so many milliseconds at most.
    Hold(u64, u64),
    /// Done by this fault; what goes on in its place is already in the log.
    Act(u64, Action),
}

impl Faults {
    /// No faults yet; random choices come from this seed.
    pub fn new(seed: u64) -> Faults {
        let inner = Mutex::default();
        Faults(Arc::new(Shared { seed, busy: AtomicU8::new(0), inner }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_busy(&self, inner: &Inner) {
        let of_interest = |entry: &&Entry| entry.armed || entry.fault.remembers().is_some();
        let faults = inner.faults.values().filter(of_interest).map(|entry| &entry.fault.pattern);
        let watched = |watch: &Watch| [Some(watch.trigger.at.clone()), watch.trigger.hold.clone()];
        let watched: Vec<_> = inner.watches.iter().flat_map(watched).flatten().collect();
        let mut bits = inner.log.as_ref().map_or(0, |_| u8::MAX);
        for pattern in faults.chain(&watched) {
            bits |= bit(pattern.link.protocol(), pattern.way);
        }
        self.0.busy.store(bits, Ordering::Release);
    }

    /// True if messages of this protocol and way have to be shown to [`Faults::judge`].
    pub(super) fn is_busy(&self, protocol: Protocol, way: Way) -> bool {
        self.0.busy.load(Ordering::Acquire) & bit(protocol, way) != 0
    }

    /// Adds a fault, not armed. From now on what it needs to know of earlier messages is remembered.
    pub fn add(&self, id: u64, fault: MessageFault) -> Result<(), FaultError> {
        fault.check()?;
        let mut inner = self.lock();
        let entry = Entry {
            fault,
            armed: false,
            tally: Tally::default(),
            counts: HashMap::new(),
            underway: Vec::new(),
        };
        inner.faults.insert(id, entry);
        self.note_busy(&inner);
        Ok(())
    }

    /// From now on its messages are counted and struck; its counts begin anew.
    pub fn arm(&self, id: u64) {
        let mut inner = self.lock();
        if let Some(entry) = inner.faults.get_mut(&id) {
            entry.armed = true;
            entry.counts.clear();
        }
        self.note_busy(&inner);
    }

    /// Nothing more is struck; messages it delays go on when their connection is next looked at.
    pub fn disarm(&self, id: u64) {
        let mut inner = self.lock();
        if let Some(entry) = inner.faults.get_mut(&id) {
            entry.armed = false;
        }
        self.note_busy(&inner);
    }

    pub(super) fn is_armed(&self, id: u64) -> bool {
        let inner = self.lock();
        // A fault that comes from a log is in force as long as the log is.
        inner.log.is_some() || inner.faults.get(&id).is_some_and(|entry| entry.armed)
    }

    /// How far a fault has come.
    pub fn tally(&self, id: u64) -> Tally {
        self.lock().faults.get_mut(&id).map(Entry::tally).unwrap_or_default()
    }

    /// What has been done so far, in order of time; the first hundred thousand.
    pub fn strikes(&self) -> Vec<Strike> {
        self.lock().strikes.clone()
    }

    /// Takes what has been done out of the log.
    pub fn take_strikes(&self) -> Vec<Strike> {
        std::mem::take(&mut self.lock().strikes)
    }

    /// Waits for a message and then holds others.
    pub fn watch(&self, trigger: Trigger) -> Result<Held, FaultError> {
        trigger.check()?;
        let (signal, fired) = mpsc::channel();
        let mut inner = self.lock();
        let id = inner.next_watch;
        inner.next_watch += 1;
        let watch = Watch { id, trigger, signal, matched: 0, passed: None, fired: false, held: 0 };
        inner.watches.push(watch);
        self.note_busy(&inner);
        Ok(Held { faults: self.clone(), id, fired })
    }

    pub(super) fn release(&self, id: u64) {
        let mut inner = self.lock();
        inner.watches.retain(|watch| watch.id != id);
        self.note_busy(&inner);
    }

    pub(super) fn held(&self, id: u64) -> u64 {
        self.lock().watches.iter().find(|watch| watch.id == id).map_or(0, |watch| watch.held)
    }

    pub(super) fn is_holding(&self, id: u64) -> bool {
        self.lock().watches.iter().any(|watch| watch.id == id)
    }

    /// Does again what a log says, instead of choosing anew; faults that are armed act besides.
    pub fn replay(&self, log: Vec<Strike>) {
        let mut inner = self.lock();
        inner.log = Some(Log::new(log));
        self.note_busy(&inner);
    }

    /// How much of the log was found again so far.
    pub fn fidelity(&self) -> Option<Fidelity> {
        self.lock().log.as_ref().map(|log| log.fidelity)
    }

    /// The number of a new connection among those from one node to another's port.
    pub(super) fn connection(&self, ends: &Ends) -> u64 {
        let mut inner = self.lock();
        let key = (ends.client.clone(), ends.server.clone(), ends.server_port);
        let next = inner.connections.entry(key).or_default();
        *next += 1;
        *next - 1
    }

    /// What happens to this message.
    pub(super) fn judge(&self, sighting: &Sighting<'_>, codec: &dyn Codec) -> Judgement {
        let mut inner = self.lock();
        let judgement = match inner.watched(sighting) {
            Some((watch, ms)) => Judgement::Hold(watch, ms),
            None => match inner.again(sighting).or_else(|| inner.struck(sighting, codec, self.0.seed)) {
                Some((fault, action)) => Judgement::Act(fault, action),
                None => Judgement::Pass,
            },
        };
        if !matches!(judgement, Judgement::Hold(..)) {
            inner.remember(sighting);
        }
        judgement
    }
}

/// The bit of [`Shared::busy`] for a protocol and a way.
fn bit(protocol: Protocol, way: Way) -> u8 {
    1 << (2 * protocol as u8 + way as u8)
}

impl Inner {
    /// The trigger that holds this message, if one does, and for how long at most.
    fn watched(&mut self, sighting: &Sighting<'_>) -> Option<(u64, u64)> {
        let Sighting { way, message, bytes, .. } = *sighting;
        let mut holder = None;
        for watch in &mut self.watches {
            let is = |pattern: &super::Pattern| {
                pattern.means(message, way, sighting.from(), sighting.to()) && pattern.holds(message, bytes)
            };
            let holds = match (&watch.passed, &watch.trigger.hold) {
                (None, hold) if is(&watch.trigger.at) => {
                    watch.matched += 1;
                    if watch.matched < watch.trigger.nth {
                        continue;
                    }
                    watch.passed = Some(message.order);
                    hold.is_none()
                }
                (Some(from), Some(hold)) => {
                    let behind = matches!((from, message.order), (Some(from), Some(order)) if order < *from);
                    is(hold) && !behind
                }
                _ => continue,
            };
            watch.held += u64::from(holds);
            if !watch.fired && (holds || watch.trigger.fire == FireAt::Match) {
                watch.fired = true;
                let _ = watch.signal.send(Fired {
                    from: sighting.from().into(),
                    to: sighting.to().into(),
                    kind: message.kind.to_string(),
                    order: message.order,
                    at_ns: sighting.now_ns,
                });
            }
            if holds && holder.is_none() {
                holder = Some((watch.id, watch.trigger.max_hold_ms));
            }
        }
        holder
    }

    fn again(&mut self, sighting: &Sighting<'_>) -> Option<(u64, Action)> {
        let Sighting { ends, connection, way, message, bytes, nth, .. } = *sighting;
        let log = self.log.as_mut()?;
        let place = (ends.client.as_str(), ends.server.as_str(), connection);
        let strike = log.again(place, way, message, bytes, nth)?;
        if let Some(entry) = self.faults.get_mut(&strike.fault) {
            entry.tally.matched += 1;
            entry.tally.applied += 1;
        }
        self.write_down(sighting, strike.fault, strike.occurrence, &strike.action, strike.field);
        Some((strike.fault, strike.action))
    }

    /// The first armed fault that strikes this message. Those that only listen do so besides.
    fn struck(&mut self, sighting: &Sighting<'_>, codec: &dyn Codec, seed: u64) -> Option<(u64, Action)> {
        let Sighting { way, message, bytes, .. } = *sighting;
        let mut heard = Vec::new();
        let mut strike = None;
        for (id, entry) in &mut self.faults {
            let pattern = &entry.fault.pattern;
            if !entry.armed
                || !pattern.means(message, way, sighting.from(), sighting.to())
                || !pattern.holds(message, bytes)
            {
                continue;
            }
            let Some(occurrence) = entry.due(sighting) else { continue };
            let listens = entry.fault.op == Op::Eavesdrop;
            if strike.is_some() && !listens {
                entry.refuse("another fault struck the message".into());
                continue;
            }
            let words = [&id.to_string(), message.link.name(), &way.to_string(), &message.kind.to_string()];
            let seed = derive(seed, &words, occurrence);
            let mut chooser = Chooser::new(way, (message, bytes), &self.seen, codec, seed);
            match chooser.choose(&entry.fault.op, &entry.fault.pattern) {
                Ok((action, field)) => {
                    entry.apply(sighting);
                    match listens {
                        true => heard.push((*id, occurrence)),
                        false => strike = Some((*id, occurrence, action, field)),
                    }
                }
                Err(why) => entry.refuse(why),
            }
        }
        for (id, occurrence) in heard {
            self.write_down(sighting, id, occurrence, &Action::Hear, None);
        }
        let (id, occurrence, action, field) = strike?;
        self.write_down(sighting, id, occurrence, &action, field);
        Some((id, action))
    }

    fn remember(&mut self, sighting: &Sighting<'_>) {
        let Sighting { way, message, bytes, .. } = *sighting;
        for entry in self.faults.values() {
            if let Some(field) = entry.fault.remembers()
                && entry.fault.pattern.link == message.link
                && entry.fault.pattern.way == way
                && message.kind.matches(&entry.fault.pattern.message)
            {
                self.seen.note(way, message, bytes, field);
            }
        }
    }

    fn write_down(
        &mut self,
        sighting: &Sighting<'_>,
        fault: u64,
        occurrence: u64,
        action: &Action,
        field: Option<String>,
    ) {
        if self.strikes.len() >= STRIKES_MAX {
            return;
        }
        let Sighting { ends, way, message, bytes, .. } = *sighting;
        let before = bytes[..message.len].to_vec();
        let after = match action {
            Action::Edit { splices, mend } => message.edit(bytes, splices, *mend),
            Action::Swallow | Action::Forge { .. } | Action::Delay { .. } | Action::Swap { .. } => Vec::new(),
            Action::Insert { bytes, place: super::Place::Before } => [bytes, before.as_slice()].concat(),
            Action::Insert { bytes, place: super::Place::After } => [before.as_slice(), bytes].concat(),
            Action::Cut { keep } => before[..keep.unwrap_or(before.len()).min(before.len())].to_vec(),
            Action::Hear => before.clone(),
        };
        if let Some(entry) = self.faults.get_mut(&fault) {
            match after.len() as u64 {
                0 => entry.tally.delivered += 1,
                len => entry.underway.push((sighting.receipt.clone(), sighting.offset_out + len)),
            }
        }
        let place = field.as_deref().and_then(|name| message.field(name));
        let field_after = match (&place, action) {
            (Some(place), Action::Edit { splices, .. }) if splices.len() == 1 => {
                let splice = &splices[0];
                let mut said = bytes[place.span.clone()].to_vec();
                let at = splice.span.start - place.span.start;
                said.splice(at..at + splice.span.len(), splice.with.iter().copied());
                let moved = crate::wire::Field { span: 0..said.len(), ..place.clone() };
                Some(moved.value(&said).to_string())
            }
            _ => None,
        };
        self.strikes.push(Strike {
            fault,
            flow: ends.flow,
            connection: sighting.connection,
            client: ends.client.clone(),
            server: ends.server.clone(),
            link: message.link,
            way,
            kind: message.kind.to_string(),
            occurrence,
            nth: sighting.nth,
            offset_in: sighting.offset_in,
            offset_out: sighting.offset_out,
            delta: after.len() as i64 - before.len() as i64,
            field_before: place.map(|place| place.value(bytes).to_string()),
            field,
            field_after,
            before,
            after,
            at_ns: sighting.now_ns,
            action: action.clone(),
        });
    }
}

impl Entry {
    fn group(&self, sighting: &Sighting<'_>) -> Group {
        match self.fault.counting {
            Counting::Pair => Group::Pair(sighting.from().into(), sighting.to().into()),
            Counting::Connection => Group::Connection(sighting.ends.flow),
            Counting::All => Group::All,
        }
    }

    /// Counts a message that is meant; its number if it is to be struck.
    fn due(&mut self, sighting: &Sighting<'_>) -> Option<u64> {
        self.tally.matched += 1;
        let group = self.group(sighting);
        let (matched, applied) = self.counts.entry(group).or_default();
        *matched += 1;
        let MessageFault { nth, every, count, .. } = self.fault;
        let due = *matched >= nth && (*matched - nth) % every == 0 && (count == 0 || *applied < count);
        due.then_some(*matched)
    }

    fn apply(&mut self, sighting: &Sighting<'_>) {
        self.tally.applied += 1;
        let group = self.group(sighting);
        self.counts.entry(group).or_default().1 += 1;
    }

    fn tally(&mut self) -> Tally {
        let before = self.underway.len();
        self.underway.retain(|(receipt, end)| receipt.acknowledged() < *end);
        self.tally.delivered += (before - self.underway.len()) as u64;
        self.tally.clone()
    }

    fn refuse(&mut self, why: String) {
        self.tally.refused += 1;
        self.tally.why = Some(why);
    }
}
