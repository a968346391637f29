//! The editor of one connection.

use std::collections::{HashMap, VecDeque};

use lab::flow::Receipt;

use super::faults::{Faults, Judgement, Sighting};
use super::language::Place;
use super::pattern::Pattern;
use super::record::Action;
use crate::wire::{Ask, Codec, HOLD, Kind, Message, Protocol, Step, Way};

/// Messages one way that may be away at once; past that they go on in their place.
const DELAYED_MAX: usize = 1024;

/// How often a held message looks whether it may go on, nanoseconds; a poke is faster.
const LOOK_AGAIN_NS: u64 = 5_000_000;

/// The two sides of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ends {
    /// The connection's number in the lab.
    pub flow: u64,
    /// The node that dialled.
    pub client: String,
    /// The node that was dialled.
    pub server: String,
    /// The port that was dialled.
    pub server_port: u16,
}

impl Ends {
    /// The node that sends this way.
    pub fn sender(&self, way: Way) -> &str {
        match way {
            Way::ToServer => &self.client,
            Way::ToClient => &self.server,
        }
    }
}

/// A connection as an editor sees it: bytes that have come and are not decided, and what may be said of
/// those at their head.
pub trait Pipe {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    fn now_ns(&self) -> u64;
    /// What has come this way and is not decided yet.
    fn pending(&self, way: Way) -> &[u8];
    /// Where it begins in the stream as sent.
    fn offset(&self, way: Way) -> u64;
    /// Where the next byte goes in the stream as delivered.
    fn out_offset(&self, way: Way) -> u64;
    /// Tells how much of it the receiver has acknowledged, now and later.
    fn receipt(&mut self, way: Way) -> Receipt;
    /// The first `len` of it go on as they are.
    fn pass(&mut self, way: Way, len: usize);
    /// `with` goes on instead of the first `len` of it.
    fn replace(&mut self, way: Way, len: usize, with: &[u8]);
    /// Both sides are told that the connection is no more.
    fn reset(&mut self);
    /// Asks to be woken.
    fn wake_at(&mut self, ns: u64);
}

/// Reads what passes in one connection, and does what the faults say.
///
/// A way on which nothing can be struck is only listened to: bytes go on as they come, and what is not yet a
/// whole message is remembered aside. Otherwise a message waits until it is whole, or long enough to be told.
pub struct Editor {
    protocol: Protocol,
    faults: Faults,
    ends: Ends,
    connection: u64,
    codec: Box<dyn Codec>,
    lost: Option<&'static str>,
    over: bool,
    sides: [Side; 2],
    answers: VecDeque<Due>,
    seen: HashMap<(Way, Kind), u64>,
    /// Answers to come that are for nobody.
    ghosts: u64,
}

/// What is kept of one way.
#[derive(Default)]
struct Side {
    /// Bytes at the head of what is pending that are to go on: told to the pipe in one.
    ready: usize,
    /// Bytes before which there is nothing new to say.
    need: usize,
    /// The beginning of a message that has gone on already.
    gone: Vec<u8>,
    /// The rest of a long message.
    body: Option<Body>,
    held: Option<Holding>,
    delayed: Vec<Delayed>,
    /// What is to be put in at the next boundary.
    inserts: VecDeque<Vec<u8>>,
}

#[derive(Clone, Copy, PartialEq)]
enum Body {
    Pass,
    Swallow,
}

struct Holding {
    message: Box<Message>,
    watch: u64,
    until_ns: u64,
}

/// A message that was taken out and comes back later.
struct Delayed {
    fault: u64,
    bytes: Vec<u8>,
    ask: Option<Ask>,
    until: Until,
}

enum Until {
    Messages(u64),
    Next(Pattern),
}

/// A forged answer and its turn.
struct Due {
    way: Way,
    turn: u64,
    bytes: Vec<u8>,
}

impl Editor {
    /// An editor for a new connection, from its first byte.
    pub fn new(faults: &Faults, ends: Ends, protocol: Protocol) -> Editor {
        Editor {
            connection: faults.connection(&ends),
            faults: faults.clone(),
            ends,
            protocol,
            codec: protocol.codec(),
            lost: None,
            over: false,
            sides: Default::default(),
            answers: VecDeque::new(),
            seen: HashMap::new(),
            ghosts: 0,
        }
    }

    /// Why the connection is not followed any more, if it is not.
    pub fn lost(&self) -> Option<&'static str> {
        self.lost
    }

    /// Messages read so far this way of each kind.
    pub fn counts(&self, way: Way) -> Vec<(Kind, u64)> {
        let mut counts: Vec<_> =
            self.seen.iter().filter(|((w, _), _)| *w == way).map(|((_, kind), n)| (*kind, *n)).collect();
        counts.sort_unstable();
        counts
    }

    /// More has come this way.
    pub fn data(&mut self, way: Way, pipe: &mut dyn Pipe) {
        if self.over {
            return;
        }
        while self.lost.is_none() && !self.over && self.step(way, pipe) {}
        if self.over {
            return;
        }
        if self.lost.is_some() {
            for way in [Way::ToServer, Way::ToClient] {
                self.let_go(way, pipe);
            }
            return;
        }
        self.flush(way, pipe);
        self.put_in(way.back(), pipe);
    }

    /// The sender of this way is done. What it had delayed comes now; what is held was never sent.
    pub fn closed(&mut self, way: Way, pipe: &mut dyn Pipe) {
        self.data(way, pipe);
        if self.over || self.lost.is_some() {
            return;
        }
        let side = &mut self.sides[way.index()];
        if side.held.take().is_some() {
            let len = pipe.pending(way).len();
            pipe.replace(way, len, b"");
        } else if side.body.is_none() && side.gone.is_empty() {
            for delayed in std::mem::take(&mut side.delayed) {
                pipe.replace(way, 0, &delayed.bytes);
            }
        }
    }

    /// Time has passed, or something was released.
    pub fn woken(&mut self, pipe: &mut dyn Pipe) {
        for way in [Way::ToServer, Way::ToClient] {
            self.data(way, pipe);
        }
    }

    /// Everything pending goes on, unread, and with it what was kept back.
    fn let_go(&mut self, way: Way, pipe: &mut dyn Pipe) {
        self.sides[way.index()].held = None;
        for delayed in std::mem::take(&mut self.sides[way.index()].delayed) {
            pipe.replace(way, 0, &delayed.bytes);
        }
        self.sides[way.index()].ready = 0;
        let len = pipe.pending(way).len();
        if len > 0 {
            pipe.pass(way, len);
        }
    }

    fn flush(&mut self, way: Way, pipe: &mut dyn Pipe) {
        let ready = std::mem::take(&mut self.sides[way.index()].ready);
        if ready > 0 {
            pipe.pass(way, ready);
        }
    }

    /// Decides about the next piece; false when there is nothing more to decide.
    fn step(&mut self, way: Way, pipe: &mut dyn Pipe) -> bool {
        if let Some(message) = self.released(way, pipe) {
            return self.message(way, message, pipe);
        }
        let side = &self.sides[way.index()];
        if side.held.is_some() {
            return false;
        }
        self.free_disarmed(way, pipe);
        let strikes = self.sides[way.index()].gone.is_empty() && self.may_strike(way);
        let side = &mut self.sides[way.index()];
        let fresh = &pipe.pending(way)[side.ready..];
        if fresh.is_empty() {
            return false;
        }
        // What was remembered aside, and what goes with it.
        let before = side.gone.len();
        if before > 0 {
            side.gone.extend_from_slice(&fresh[..fresh.len().min(2 * HOLD)]);
        }
        let bytes = if before > 0 { side.gone.as_slice() } else { fresh };
        let step = match bytes.len() < side.need {
            true => Step::Need(side.need),
            false => self.codec.parse(way, bytes),
        };
        let too_much = bytes.len() > 2 * HOLD;
        side.need = 0;
        let len = match &step {
            Step::Message(message) => message.len,
            Step::Body { len, .. } => *len,
            Step::Need(_) if too_much => {
                self.lost = Some("a message could not be told apart");
                return true;
            }
            Step::Need(need) => {
                side.need = *need;
                if !strikes {
                    let fresh = fresh.len();
                    if before == 0 {
                        side.gone.extend_from_slice(&pipe.pending(way)[side.ready..]);
                    }
                    side.ready += fresh;
                }
                return false;
            }
            Step::Lost(note) => {
                self.lost = Some(note);
                return true;
            }
        };
        // Of the piece, what had gone on before is behind us.
        if before > 0 && len < before {
            side.gone.truncate(before);
            side.gone.drain(..len);
        } else {
            side.gone.clear();
        }
        match step {
            Step::Message(message) => {
                let seen = self.seen.entry((way, message.kind)).or_default();
                *seen += u64::from(!message.ghost);
                self.ghosts -= u64::from(message.ghost && self.ghosts > 0);
                if strikes {
                    return self.message(way, message, pipe);
                }
                self.sides[way.index()].ready += len.saturating_sub(before);
                self.went_on(way, &message);
                self.boundary_if_whole(way, &message, None, pipe);
            }
            Step::Body { last, .. } => {
                let fresh = len.saturating_sub(before);
                match self.sides[way.index()].body {
                    Some(Body::Swallow) => {
                        self.flush(way, pipe);
                        pipe.replace(way, fresh, b"");
                    }
                    _ => self.sides[way.index()].ready += fresh,
                }
                if last {
                    self.sides[way.index()].body = None;
                    self.boundary(way, None, pipe);
                }
            }
            Step::Need(_) | Step::Lost(_) => {}
        }
        true
    }

    /// False if no message this way can come to any harm.
    fn may_strike(&self, way: Way) -> bool {
        let side = &self.sides[way.index()];
        self.faults.is_busy(self.protocol, way)
            || side.body == Some(Body::Swallow)
            || !side.delayed.is_empty()
            || (way == Way::ToClient && self.ghosts > 0)
    }

    /// A message that was held and may go on.
    fn released(&mut self, way: Way, pipe: &mut dyn Pipe) -> Option<Box<Message>> {
        let holding = self.sides[way.index()].held.as_ref()?;
        if self.faults.is_holding(holding.watch) && pipe.now_ns() < holding.until_ns {
            pipe.wake_at((pipe.now_ns() + LOOK_AGAIN_NS).min(holding.until_ns));
            return None;
        }
        self.faults.release(holding.watch);
        self.sides[way.index()].held.take().map(|holding| holding.message)
    }

    /// What happens to a message whose bytes are the next that are not ready.
    fn message(&mut self, way: Way, message: Box<Message>, pipe: &mut dyn Pipe) -> bool {
        let ready = self.sides[way.index()].ready;
        if message.ghost {
            self.swallow(way, &message, pipe);
            self.boundary_if_whole(way, &message, None, pipe);
            return true;
        }
        if !self.faults.is_busy(self.protocol, way) {
            self.go_on(way, &message);
            self.boundary_if_whole(way, &message, None, pipe);
            return true;
        }
        let receipt = pipe.receipt(way);
        let bytes = &pipe.pending(way)[ready..ready + message.len];
        let sighting = Sighting {
            ends: &self.ends,
            connection: self.connection,
            way,
            message: &message,
            bytes,
            nth: self.seen.get(&(way, message.kind)).copied().unwrap_or(0),
            offset_in: pipe.offset(way) + ready as u64,
            offset_out: pipe.out_offset(way) + ready as u64,
            now_ns: pipe.now_ns(),
            receipt: &receipt,
        };
        match self.faults.judge(&sighting, &*self.codec) {
            Judgement::Pass => {
                let meant = self.is_awaited(way, &message, bytes);
                self.go_on(way, &message);
                self.boundary_if_whole(way, &message, meant, pipe);
            }
            Judgement::Hold(watch, ms) => {
                let until_ns = pipe.now_ns().saturating_add(ms * 1_000_000);
                pipe.wake_at((pipe.now_ns() + LOOK_AGAIN_NS).min(until_ns));
                self.sides[way.index()].held = Some(Holding { message, watch, until_ns });
                return false;
            }
            Judgement::Act(fault, action) => {
                let bytes = bytes.to_vec();
                let meant = self.is_awaited(way, &message, &bytes);
                self.flush(way, pipe);
                self.act(way, &message, &bytes, (fault, action), pipe);
                if !self.over {
                    self.boundary_if_whole(way, &message, meant, pipe);
                }
            }
        }
        true
    }

    /// The message goes on as it is.
    fn go_on(&mut self, way: Way, message: &Message) {
        self.sides[way.index()].ready += message.len;
        self.went_on(way, message);
    }

    fn went_on(&mut self, way: Way, message: &Message) {
        if let Some(ask) = &message.ask {
            self.codec.asked(ask.clone());
        }
        self.sides[way.index()].body = (!message.whole).then_some(Body::Pass);
    }

    fn swallow(&mut self, way: Way, message: &Message, pipe: &mut dyn Pipe) {
        self.flush(way, pipe);
        pipe.replace(way, message.len, b"");
        self.sides[way.index()].body = (!message.whole).then_some(Body::Swallow);
    }

    fn act(
        &mut self,
        way: Way,
        message: &Message,
        bytes: &[u8],
        (fault, action): (u64, Action),
        pipe: &mut dyn Pipe,
    ) {
        match action {
            Action::Edit { splices, mend } => {
                let edited = message.edit(bytes, &splices, mend);
                pipe.replace(way, message.len, &edited);
                self.sides[way.index()].body = (!message.whole).then_some(Body::Pass);
                if let Some(ask) = &message.ask {
                    let ask = self.codec.ask_of(&edited).unwrap_or_else(|| ask.clone());
                    self.codec.asked(ask);
                }
            }
            Action::Swallow => self.swallow(way, message, pipe),
            Action::Insert { bytes, place: Place::Before } => {
                self.insert(way, &bytes, pipe);
                self.go_on(way, message);
            }
            Action::Insert { bytes, place: Place::After } => {
                self.go_on(way, message);
                self.sides[way.index()].inserts.push_back(bytes);
            }
            Action::Forge { answer } => {
                self.swallow(way, message, pipe);
                let (answered, waiting) = self.codec.turn();
                let turn = if way == Way::ToServer { answered + waiting } else { 0 };
                self.answers.push_back(Due { way: way.back(), turn, bytes: answer });
            }
            Action::Delay { messages } => {
                // The boundary that its own leaving makes is not one of them.
                self.delay(way, message, bytes, (fault, Until::Messages(messages + 1)), pipe);
            }
            Action::Swap { with } => self.delay(way, message, bytes, (fault, Until::Next(with)), pipe),
            Action::Cut { keep } => {
                pipe.pass(way, keep.unwrap_or(message.len).min(message.len));
                pipe.reset();
                self.over = true;
            }
            Action::Hear => self.go_on(way, message),
        }
    }

    fn delay(
        &mut self,
        way: Way,
        message: &Message,
        bytes: &[u8],
        (fault, until): (u64, Until),
        pipe: &mut dyn Pipe,
    ) {
        if self.sides[way.index()].delayed.len() >= DELAYED_MAX {
            return self.go_on(way, message);
        }
        self.swallow(way, message, pipe);
        let delayed = Delayed { fault, bytes: bytes.to_vec(), ask: message.ask.clone(), until };
        self.sides[way.index()].delayed.push(delayed);
    }

    /// Puts in something that nobody sent.
    fn insert(&mut self, way: Way, bytes: &[u8], pipe: &mut dyn Pipe) {
        self.flush(way, pipe);
        pipe.replace(way, 0, bytes);
        if way == Way::ToServer
            && let Some(ask) = self.codec.ask_of(bytes)
        {
            self.ghosts += 1;
            self.codec.asked(Ask { ghost: true, ..ask });
        }
    }

    /// Which of the delayed messages wait for this one, by position.
    fn is_awaited(&self, way: Way, message: &Message, bytes: &[u8]) -> Option<usize> {
        let (from, to) = (self.ends.sender(way), self.ends.sender(way.back()));
        self.sides[way.index()].delayed.iter().position(|delayed| match &delayed.until {
            Until::Next(pattern) => pattern.means(message, way, from, to) && pattern.holds(message, bytes),
            Until::Messages(_) => false,
        })
    }

    fn boundary_if_whole(
        &mut self,
        way: Way,
        message: &Message,
        awaited: Option<usize>,
        pipe: &mut dyn Pipe,
    ) {
        if message.whole {
            self.boundary(way, awaited, pipe);
        } else if let Some(at) = awaited {
            // It comes when the body is through.
            self.sides[way.index()].delayed[at].until = Until::Messages(1);
        }
    }

    /// A message has ended: what waits for a boundary comes.
    fn boundary(&mut self, way: Way, awaited: Option<usize>, pipe: &mut dyn Pipe) {
        let mut out = Vec::new();
        let mut at = 0;
        self.sides[way.index()].delayed.retain_mut(|delayed| {
            let is_due = match &mut delayed.until {
                Until::Messages(left) => {
                    *left = left.saturating_sub(1);
                    *left == 0
                }
                Until::Next(_) => awaited == Some(at),
            };
            at += 1;
            if is_due {
                out.push((std::mem::take(&mut delayed.bytes), delayed.ask.take()));
            }
            !is_due
        });
        self.put_in(way, pipe);
        for (bytes, ask) in out {
            self.come_late(way, &bytes, ask, pipe);
        }
    }

    fn come_late(&mut self, way: Way, bytes: &[u8], ask: Option<Ask>, pipe: &mut dyn Pipe) {
        self.flush(way, pipe);
        pipe.replace(way, 0, bytes);
        if let Some(ask) = ask {
            self.codec.asked(ask);
        }
    }

    /// Messages delayed by a fault that is no longer armed come now.
    fn free_disarmed(&mut self, way: Way, pipe: &mut dyn Pipe) {
        let side = &mut self.sides[way.index()];
        if side.delayed.is_empty() || side.body.is_some() || !side.gone.is_empty() {
            return;
        }
        let faults = self.faults.clone();
        let (stay, go): (Vec<_>, Vec<_>) =
            std::mem::take(&mut side.delayed).into_iter().partition(|delayed| faults.is_armed(delayed.fault));
        side.delayed = stay;
        for delayed in go {
            self.come_late(way, &delayed.bytes, delayed.ask, pipe);
        }
    }

    /// Inserts and forged answers whose turn it is, if this way is between two messages.
    fn put_in(&mut self, way: Way, pipe: &mut dyn Pipe) {
        let side = &self.sides[way.index()];
        if side.body.is_some() || !side.gone.is_empty() {
            return;
        }
        while let Some(bytes) = self.sides[way.index()].inserts.pop_front() {
            self.insert(way, &bytes, pipe);
        }
        let (answered, _) = self.codec.turn();
        while self.answers.front().is_some_and(|due| due.way == way && due.turn <= answered) {
            if let Some(due) = self.answers.pop_front() {
                self.flush(way, pipe);
                pipe.replace(way, 0, &due.bytes);
            }
        }
    }
}
