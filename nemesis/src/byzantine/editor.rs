//! What sits in one connection: reads its messages, and strikes those that are meant.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lab::flow::{Flow, Interceptor, Way, Wire};
use rand::rngs::ChaCha8Rng;
use rand::{Rng, RngExt, SeedableRng};

use super::fault::SEEN_MAX;
use super::{ArmedFault, Link, Literal, Op, Protocol, RECORDED_MAX, Shared, StrikeRecord, lock};
use crate::wire::{self, Codec, Form, Head, Message};

/// How often a message that is held looks whether it may go on.
const LOOK_EVERY_NS: u64 = 1_000_000;

/// The interceptor of one connection.
pub(super) struct Editor {
    shared: Arc<Shared>,
    protocol: Protocol,
    codec: Box<dyn Codec>,
    flow: Flow,
    /// The faults in force, as of this generation.
    armed: Vec<Arc<ArmedFault>>,
    generation: u64,
    /// A connection whose protocol was lost: everything passes.
    foreign: bool,
    /// A replica has asked for the stream, and the master has begun it.
    replicates: bool,
    ways: [OneWay; 2],
}

/// What is remembered of one direction.
#[derive(Default)]
struct OneWay {
    /// Messages kept back, each with how many are to pass before it.
    late: VecDeque<(u64, Vec<u8>)>,
    /// Earlier messages by kind, the last first.
    seen: HashMap<String, VecDeque<Vec<u8>>>,
    /// A message read, but not decided: somebody holds it.
    held: Option<(Message, Arc<ArmedFault>)>,
}

/// What became of a message.
enum Done {
    /// It goes on as it came.
    Untouched,
    /// It was taken off the wire, and what should arrive was put there.
    Struck,
    /// It waits.
    Waits,
    /// The connection is over.
    Over,
}

impl Editor {
    pub(super) fn new(shared: Arc<Shared>, protocol: Protocol, flow: &Flow) -> Editor {
        Editor {
            codec: protocol.codec(),
            protocol,
            shared,
            flow: *flow,
            armed: Vec::new(),
            generation: 0,
            foreign: false,
            replicates: false,
            ways: Default::default(),
        }
    }

    fn refresh(&mut self) {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.armed = lock(&self.shared.armed).clone();
            self.generation = generation;
        }
    }

    fn link(&self) -> Link {
        match self.protocol {
            Protocol::Redis if self.replicates => Link::Replication,
            Protocol::Redis => Link::RedisClient,
            Protocol::ZkClient => Link::ZkClient,
            Protocol::Election => Link::Election,
            Protocol::Quorum => Link::Quorum,
        }
    }

    /// Reads what is pending, message by message.
    fn read(&mut self, way: Way, wire: &mut Wire<'_>) {
        self.refresh();
        // What passes as it came is passed in one piece.
        let mut passed = 0;
        loop {
            let bytes = &wire.pending(way)[passed..];
            if bytes.is_empty() {
                break;
            }
            if self.foreign {
                passed += bytes.len();
                break;
            }
            let message = match self.ways[way as usize].held.take() {
                Some((message, fault)) if !fault.gate.released.load(Ordering::Acquire) => {
                    self.ways[way as usize].held = Some((message, fault));
                    wire.wake_at(wire.now_ns() + LOOK_EVERY_NS);
                    break;
                }
                Some((message, _)) => {
                    passed += message.len;
                    continue;
                }
                None => match self.codec.read(way, bytes) {
                    Head::Message(message) => message,
                    Head::Part => break,
                    Head::Opaque(len) => {
                        passed += len.clamp(1, bytes.len());
                        continue;
                    }
                    Head::Foreign(why) => {
                        self.foreign = true;
                        self.shared
                            .note(format!("{:?} port {}: {why}", self.protocol, self.flow.server.port));
                        continue;
                    }
                },
            };
            let len = message.len.clamp(1, bytes.len());
            self.replicates |=
                matches!(message.kind.as_ref(), "FULLRESYNC" | "CONTINUE") && way == Way::ToClient;
            let mut done = Done::Untouched;
            if !self.armed.is_empty() {
                let copy = bytes[..len].to_vec();
                done = self.strike(way, message, &copy, wire, &mut passed);
            }
            match done {
                Done::Untouched => passed += len,
                Done::Struck => {}
                Done::Waits => break,
                Done::Over => return,
            }
            self.pass_late(way, wire, &mut passed);
        }
        wire.pass(way, passed);
    }

    /// Strikes a message with the first fault that means it.
    fn strike(
        &mut self,
        way: Way,
        message: Message,
        bytes: &[u8],
        wire: &mut Wire<'_>,
        passed: &mut usize,
    ) -> Done {
        let (sender, receiver) = match way {
            Way::ToServer => (self.flow.client, self.flow.server),
            Way::ToClient => (self.flow.server, self.flow.client),
        };
        let (from, to) =
            (self.shared.name(sender.node).to_string(), self.shared.name(receiver.node).to_string());
        let link = self.link();
        let mut struck = None;
        for armed in &self.armed {
            let fault = &armed.fault;
            let meant = fault.link == link
                && fault.message == message.kind
                && (fault.from.is_empty() || fault.from.contains(&from))
                && (fault.to.is_empty() || fault.to.contains(&to))
                && (fault.among.is_empty() || fault.among.iter().any(|node| *node == from || *node == to))
                && fault.when.iter().all(|(name, value)| holds(&message, bytes, name, value));
            if meant {
                let n = armed.matched.fetch_add(1, Ordering::Relaxed) + 1;
                if fault.strikes(n, armed.applied.load(Ordering::Relaxed)) {
                    struck = Some((armed.clone(), n));
                    break;
                }
            }
        }
        let kind = message.kind.to_string();
        let Some((armed, occurrence)) = struck else {
            self.remember(way, kind, bytes);
            return Done::Untouched;
        };
        // What came before it goes first, so that offsets are true and what is put in lands in its place.
        wire.pass(way, std::mem::take(passed));
        let (offset_in, offset_out) = (wire.offset(way), wire.out_offset(way));
        let mut rng = ChaCha8Rng::from_seed(dice(self.shared.seed, armed.id, occurrence, &kind));
        let effect = self.effect(way, &armed.fault.op, &message, bytes, &mut rng);
        self.remember(way, kind.clone(), bytes);
        let Some(effect) = effect else {
            self.shared.note(format!("{}: a {kind} without what it needs", armed.fault));
            return Done::Untouched;
        };
        armed.applied.fetch_add(1, Ordering::Relaxed);
        let after = match &effect {
            Effect::Replace(with) | Effect::Cut(with) => with.clone(),
            Effect::Answer(_) | Effect::Late(_) => Vec::new(),
            Effect::Look | Effect::Hold => bytes.to_vec(),
        };
        self.shared.record(StrikeRecord {
            fault: armed.id,
            mono_ns: wire.now_ns(),
            link,
            flow: self.flow.id,
            from,
            to,
            message: kind,
            occurrence,
            field: armed.fault.op.field().map(str::to_string),
            offset_in,
            offset_out,
            before: bytes[..bytes.len().min(RECORDED_MAX)].to_vec(),
            delta: after.len() as i64 - bytes.len() as i64,
            after: after[..after.len().min(RECORDED_MAX)].to_vec(),
        });
        match effect {
            Effect::Replace(with) => wire.replace(way, bytes.len(), &with),
            Effect::Answer(reply) => {
                wire.replace(way, bytes.len(), b"");
                wire.replace(way.back(), 0, &reply);
            }
            Effect::Late(messages) => {
                wire.replace(way, bytes.len(), b"");
                // One more than asked for: this very message is counted when it is done with.
                self.ways[way as usize].late.push_back((messages + 1, bytes.to_vec()));
            }
            Effect::Cut(with) => {
                wire.replace(way, bytes.len(), &with);
                wire.reset();
                return Done::Over;
            }
            Effect::Look => return Done::Untouched,
            Effect::Hold => {
                *lock(&armed.gate.fired) = true;
                armed.gate.bell.notify_all();
                self.ways[way as usize].held = Some((message, armed));
                wire.wake_at(wire.now_ns() + LOOK_EVERY_NS);
                return Done::Waits;
            }
        }
        Done::Struck
    }

    /// What a fault makes of a message; none when the message lacks what it needs.
    fn effect(
        &self,
        way: Way,
        op: &Op,
        message: &Message,
        bytes: &[u8],
        rng: &mut ChaCha8Rng,
    ) -> Option<Effect> {
        let earlier = |back: usize| self.ways[way as usize].seen.get(message.kind.as_ref())?.get(back - 1);
        let with = |field: &wire::Field, value: &[u8]| Effect::Replace(message.with(bytes, field, value));
        Some(match op {
            Op::Set { field, value, append } => {
                let field = message.field(field)?;
                let value = in_form(value, field)?;
                match append {
                    None => with(field, &value),
                    Some(append) => Effect::Replace(appended(message, bytes, field, &value, append)?),
                }
            }
            Op::Add { field, by } => {
                let field = message.field(field)?;
                let old = wire::number(&bytes[field.span.clone()], field.form)?;
                with(field, &wire::written(old.wrapping_add(*by), field.form, field.span.len()))
            }
            Op::Previous { field, back } => {
                let field = message.field(field)?;
                let before = earlier(*back)?;
                // The same codec state would be needed to read it again: fields stand where they stand in this one,
                // or, where only one has changed its length, between the same ends.
                let tail = bytes.len() - field.span.end;
                let value = before.get(field.span.start..before.len().checked_sub(tail)?)?;
                with(field, &value.to_vec())
            }
            Op::Random { field } => {
                let field = message.field(field)?;
                let mut value = vec![0; field.span.len()];
                match field.form {
                    Form::Digits => {
                        value.iter_mut().for_each(|byte| *byte = b'0' + rng.random_range(0..10u8))
                    }
                    Form::Int | Form::Bytes => rng.fill_bytes(&mut value),
                }
                with(field, &value)
            }
            Op::Flip { field } => {
                let span = match field {
                    Some(name) => message.field(name)?.span.clone(),
                    None => 0..bytes.len(),
                };
                if span.is_empty() {
                    return None;
                }
                let mut flipped = bytes.to_vec();
                flipped[rng.random_range(span)] ^= 1 << rng.random_range(0..8u8);
                Effect::Replace(flipped)
            }
            Op::Omit => Effect::Replace(Vec::new()),
            Op::Idle => Effect::Replace(idle(bytes.len())?),
            Op::Duplicate => Effect::Replace(bytes.repeat(2)),
            Op::Swap => Effect::Late(1),
            Op::Delay { messages } => Effect::Late(*messages),
            Op::Replay { back } => Effect::Replace([bytes, earlier(*back)?].concat()),
            Op::Insert { text } => Effect::Replace([bytes, &filled(text, message, bytes)?].concat()),
            Op::Answer { text } => Effect::Answer(filled(text, message, bytes)?),
            Op::Truncate => Effect::Cut(bytes[..bytes.len() / 2].to_vec()),
            Op::Eavesdrop => Effect::Look,
            Op::Hold => Effect::Hold,
        })
    }

    fn remember(&mut self, way: Way, kind: String, bytes: &[u8]) {
        let seen = self.ways[way as usize].seen.entry(kind).or_default();
        seen.push_front(bytes.to_vec());
        seen.truncate(SEEN_MAX);
    }

    /// A message has gone by: those kept back until now follow it.
    fn pass_late(&mut self, way: Way, wire: &mut Wire<'_>, passed: &mut usize) {
        let late = &mut self.ways[way as usize].late;
        late.iter_mut().for_each(|(left, _)| *left -= 1);
        while late.front().is_some_and(|(left, _)| *left == 0) {
            let (_, bytes) = late.pop_front().expect("it was looked at");
            wire.pass(way, std::mem::take(passed));
            wire.replace(way, 0, &bytes);
        }
    }
}

impl Interceptor for Editor {
    fn data(&mut self, way: Way, wire: &mut Wire<'_>) {
        self.read(way, wire);
    }

    fn closed(&mut self, way: Way, wire: &mut Wire<'_>) {
        self.read(way, wire);
        // Nothing will follow that what is kept back could follow.
        wire.pass(way, wire.pending(way).len());
        for (_, bytes) in std::mem::take(&mut self.ways[way as usize].late) {
            wire.replace(way, 0, &bytes);
        }
    }

    fn woken(&mut self, wire: &mut Wire<'_>) {
        for way in Way::BOTH {
            if self.ways[way as usize].held.is_some() {
                self.read(way, wire);
            }
        }
    }
}

enum Effect {
    Replace(Vec<u8>),
    Answer(Vec<u8>),
    Late(u64),
    Cut(Vec<u8>),
    Look,
    Hold,
}

impl Op {
    /// The field it alters, if it is one.
    fn field(&self) -> Option<&str> {
        match self {
            Op::Set { field, .. }
            | Op::Add { field, .. }
            | Op::Previous { field, .. }
            | Op::Random { field }
            | Op::Flip { field: Some(field) } => Some(field),
            _ => None,
        }
    }
}

/// Whether a message's field holds this.
fn holds(message: &Message, bytes: &[u8], name: &str, value: &Literal) -> bool {
    let Some(field) = message.field(name) else { return false };
    let held = &bytes[field.span.clone()];
    match value {
        Literal::Number(wanted) => wire::number(held, field.form) == Some(*wanted),
        Literal::Text(text) => Literal::bytes(text).is_ok_and(|wanted| wanted == held),
    }
}

/// A value as a field holds it.
fn in_form(value: &Literal, field: &wire::Field) -> Option<Vec<u8>> {
    match value {
        Literal::Number(number) => Some(wire::written(*number, field.form, field.span.len())),
        Literal::Text(text) => {
            let bytes = Literal::bytes(text).ok()?;
            // A number of fixed width stays one.
            (field.form != Form::Int || bytes.len() == field.span.len()).then_some(bytes)
        }
    }
}

/// A message with a field set, and bytes after its own, within its frame.
fn appended(
    message: &Message,
    bytes: &[u8],
    field: &wire::Field,
    value: &[u8],
    append: &str,
) -> Option<Vec<u8>> {
    let more = Literal::bytes(append).ok()?;
    let end = wire::Field { name: "end".into(), span: bytes.len()..bytes.len(), form: Form::Bytes };
    let longer = message.with(bytes, &end, &more);
    // Setting a number moves nothing, so that the same places hold in the longer message.
    (value.len() == field.span.len()).then(|| {
        let mut longer = longer;
        longer[field.span.clone()].copy_from_slice(value);
        longer
    })
}

/// A `PING` with an argument, so many bytes in all.
fn idle(len: usize) -> Option<Vec<u8>> {
    let word = |pad: usize| {
        let pad = "x".repeat(pad);
        format!("*2\r\n$4\r\nPING\r\n${}\r\n{pad}\r\n", pad.len()).into_bytes()
    };
    let shortest = word(0).len();
    (0..=len.checked_sub(shortest)?).rev().map(word).find(|word| word.len() == len)
}

/// A text with `{field}` filled in.
fn filled(text: &str, message: &Message, bytes: &[u8]) -> Option<Vec<u8>> {
    let (is_hex, mut rest) = match text.strip_prefix("hex:") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut out = Vec::new();
    let plain = |part: &str, out: &mut Vec<u8>| {
        let part =
            if is_hex { Literal::bytes(&format!("hex:{part}")).ok()? } else { part.as_bytes().to_vec() };
        out.extend(part);
        Some(())
    };
    while let Some(open) = rest.find('{') {
        let close = open + rest[open..].find('}')?;
        plain(&rest[..open], &mut out)?;
        let field = message.field(&rest[open + 1..close])?;
        out.extend_from_slice(&bytes[field.span.clone()]);
        rest = &rest[close + 1..];
    }
    plain(rest, &mut out)?;
    Some(out)
}

/// A stream of its own for each strike, so that what happens elsewhere shifts no draw.
fn dice(seed: u64, fault: u64, occurrence: u64, kind: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&fault.to_le_bytes());
    bytes[16..24].copy_from_slice(&occurrence.to_le_bytes());
    for (place, byte) in bytes[24..].iter_mut().zip(kind.bytes()) {
        *place = byte;
    }
    bytes
}
