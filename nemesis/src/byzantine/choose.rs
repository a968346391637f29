//! From an operation to an action: every choice is made here, from a random stream of its own.
//!
//! The stream is a hash of the run's seed, the fault, the link, the way, the kind and the occurrence, so what
//! happens to the n-th message does not depend on what happened elsewhere, and one lie told to several
//! receivers is the same lie.

use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};

use super::language::{Forged, Op, Scope, To};
use super::pattern::Pattern;
use super::record::Action;
use super::seen::Seen;
use crate::wire::{Answer, Codec, Field, FieldKind, Message, Splice, Value, WHOLE, Way};

/// A seed for what `words` and `n` name, from the run's seed. FNV-1a, then finished so that close inputs
/// have nothing in common.
pub fn derive(seed: u64, words: &[&str], n: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    seed.to_be_bytes().into_iter().for_each(&mut eat);
    for word in words {
        word.bytes().for_each(&mut eat);
        eat(0xff);
    }
    n.to_be_bytes().into_iter().for_each(&mut eat);
    let mut z = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What an operation is chosen from.
pub(super) struct Chooser<'a> {
    pub way: Way,
    pub message: &'a Message,
    pub bytes: &'a [u8],
    pub seen: &'a Seen,
    pub codec: &'a dyn Codec,
    pub rng: ChaCha8Rng,
}

/// An action, and the field it changes.
pub(super) type Chosen = (Action, Option<String>);

impl<'a> Chooser<'a> {
    pub fn new(
        way: Way,
        (message, bytes): (&'a Message, &'a [u8]),
        seen: &'a Seen,
        codec: &'a dyn Codec,
        seed: u64,
    ) -> Self {
        Chooser { way, message, bytes, seen, codec, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// What the operation comes to for this message; an error says why it cannot be done to it.
    pub fn choose(&mut self, op: &Op, pattern: &Pattern) -> Result<Chosen, String> {
        let whole_only = |action: Action| match self.message.whole {
            true => Ok((action, None)),
            false => Err("the message is too long to be held".to_owned()),
        };
        match op {
            Op::Set { field, to, keep_lengths } => {
                let place = self.field(field)?;
                let with = self.set(&place, to)?;
                self.edit(field, place, with, !keep_lengths)
            }
            Op::Mutate { scope: Scope::Bits, field } | Op::FlipBit { field } => self.flip(field.as_deref()),
            Op::Mutate { scope, field } => self.mutate(*scope, field.as_deref()),
            Op::Omit => Ok((Action::Swallow, None)),
            Op::Blank => {
                let filler = self.codec.filler(self.way, self.message.len).filter(|_| self.message.whole);
                let with = filler.ok_or("nothing of that length does nothing")?;
                let splices = vec![Splice { span: 0..self.message.len, with }];
                Ok((Action::Edit { splices, mend: false }, None))
            }
            Op::Dup => {
                let bytes = self.bytes[..self.message.len].to_vec();
                whole_only(Action::Insert { bytes, place: super::Place::After })
            }
            Op::Replay { back } => {
                let bytes = self.seen.message(self.way, self.message, *back);
                let bytes = bytes.ok_or("no such message has been seen so far back")?;
                whole_only(Action::Insert { bytes, place: super::Place::After })
            }
            Op::Swap => whole_only(Action::Swap { with: pattern.clone() }),
            Op::Delay { messages } => whole_only(Action::Delay { messages: *messages }),
            Op::Insert { bytes, place } => Ok((Action::Insert { bytes: bytes.raw(), place: *place }, None)),
            Op::Forge { answer } => {
                let answer = match answer {
                    Forged::Success => Answer::Success,
                    Forged::Literal(literal) => Answer::Literal(literal.raw()),
                    Forged::Error(super::Literal::Int(n)) => Answer::Error(Value::Int(*n)),
                    Forged::Error(literal) => Answer::Error(Value::Bytes(literal.raw())),
                };
                let answer = self.codec.forge(self.message, self.bytes, &answer);
                let answer = answer.ok_or("it has no such answer")?;
                match self.message.kind.reply {
                    true => self.edit(WHOLE, self.field(WHOLE)?, answer, false),
                    false => Ok((Action::Forge { answer }, None)),
                }
            }
            Op::Truncate { keep } => {
                Ok((Action::Cut { keep: keep.map(|keep| keep.min(self.message.len)) }, None))
            }
            Op::Eavesdrop => Ok((Action::Hear, None)),
        }
    }

    fn field(&self, name: &str) -> Result<Field, String> {
        self.message.field(name).ok_or_else(|| format!("it has no field `{name}`"))
    }

    fn now(&self, field: &Field) -> &'a [u8] {
        &self.bytes[field.span.clone()]
    }

    fn edit(&self, name: &str, field: Field, with: Vec<u8>, mend: bool) -> Result<Chosen, String> {
        if with == self.now(&field) {
            return Err(format!("`{name}` says that already"));
        }
        let splices = vec![Splice { span: field.span, with }];
        Ok((Action::Edit { splices, mend }, Some(name.to_owned())))
    }

    fn set(&mut self, field: &Field, to: &To) -> Result<Vec<u8>, String> {
        let now = self.now(field);
        match to {
            To::Add(n) => match field.value(self.bytes) {
                Value::Int(value) => Ok(field.encode(value.wrapping_add(*n))),
                Value::Bytes(_) => Err(format!("`{}` is not a number", field.name)),
            },
            To::Zero => Ok(match field.kind {
                FieldKind::Int(_) | FieldKind::Enum(..) | FieldKind::AsciiInt => field.encode(0),
                _ => vec![0; now.len()],
            }),
            To::MinusOne => Ok(field.encode(-1)),
            To::Neighbour => self.neighbour(field),
            To::Literal(literal) => Ok(literal.bytes(field)),
            To::Seen(back) => self
                .seen
                .back(self.way, self.message, field.name, now, *back)
                .ok_or_else(|| format!("no such value of `{}` has been seen before", field.name)),
            To::OtherKey => self
                .seen
                .other_key(self.way, self.message, field.name, now)
                .ok_or_else(|| format!("no value of `{}` of another key has been seen", field.name)),
            To::Random => Ok(self.random(field)),
        }
    }

    fn neighbour(&mut self, field: &Field) -> Result<Vec<u8>, String> {
        let now = match field.value(self.bytes) {
            Value::Int(now) => now,
            Value::Bytes(_) => return Err(format!("`{}` has no neighbours", field.name)),
        };
        match field.kind {
            FieldKind::Int(1) => Ok(vec![u8::from(now == 0)]),
            FieldKind::Enum(_, words) => {
                let at = words.iter().position(|(n, _)| *n == now).unwrap_or(0);
                let near = [at.checked_sub(1), at.checked_add(1)];
                let near: Vec<_> = near.into_iter().flatten().filter_map(|i| words.get(i)).collect();
                near.choose(&mut self.rng)
                    .map(|(n, _)| field.encode(*n))
                    .ok_or_else(|| format!("`{}` has no neighbours", field.name))
            }
            _ => Ok(field.encode(now.wrapping_add(if self.rng.random() { 1 } else { -1 }))),
        }
    }

    fn random(&mut self, field: &Field) -> Vec<u8> {
        let len = match self.now(field).len() {
            0 => 8,
            len => len,
        };
        match field.kind {
            FieldKind::Enum(_, words) => match words.choose(&mut self.rng) {
                Some((n, _)) => field.encode(*n),
                None => field.encode(self.rng.random()),
            },
            FieldKind::Int(1) => vec![u8::from(self.rng.random::<bool>())],
            FieldKind::AsciiInt | FieldKind::Int(_) => field.encode(self.rng.random()),
            FieldKind::Str => (0..len).map(|_| self.rng.random_range(b' '..=b'~')).collect(),
            FieldKind::Bytes | FieldKind::Id => {
                let mut bytes = vec![0; len];
                self.rng.fill_bytes(&mut bytes);
                bytes
            }
        }
    }

    fn mutate(&mut self, scope: Scope, name: Option<&str>) -> Result<Chosen, String> {
        let (name, field) = match name {
            Some(name) => (name.to_owned(), self.field(name)?),
            None => {
                let at = match self.message.fields.len() {
                    0 => return Err("it has no fields".into()),
                    fields => self.rng.random_range(0..fields),
                };
                let field = self.message.fields[at].clone();
                let nth = self.message.fields[..=at].iter().filter(|f| f.name == field.name).count();
                (if nth == 1 { field.name.to_owned() } else { format!("{}#{nth}", field.name) }, field)
            }
        };
        let with = if scope == Scope::Any { self.random(&field) } else { self.nudged(&field)? };
        self.edit(&name, field, with, true)
    }

    /// One more, one less, or something it said lately.
    fn nudged(&mut self, field: &Field) -> Result<Vec<u8>, String> {
        let now = self.now(field);
        let mut choices = self.seen.ring(self.way, self.message, field.name, now);
        match (field.value(self.bytes), now.split_last()) {
            (Value::Int(n), _) => {
                choices.extend([1, -1].map(|by| field.encode(n.wrapping_add(by))));
            }
            (Value::Bytes(_), Some((last, start))) => {
                choices.extend([1, 255].map(|by| [start, &[last.wrapping_add(by)]].concat()));
            }
            _ => {}
        }
        choices.choose(&mut self.rng).cloned().ok_or_else(|| format!("`{}` is empty", field.name))
    }

    fn flip(&mut self, name: Option<&str>) -> Result<Chosen, String> {
        let field = self.field(name.unwrap_or(WHOLE))?;
        if field.span.is_empty() {
            return Err(format!("`{}` is empty", field.name));
        }
        let at = self.rng.random_range(field.span.clone());
        let with = vec![self.bytes[at] ^ (1 << self.rng.random_range(0..8))];
        Ok((
            Action::Edit { splices: vec![Splice { span: at..at + 1, with }], mend: false },
            name.map(str::to_owned),
        ))
    }
}
