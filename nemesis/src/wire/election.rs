//! ZooKeeper's leader election: who dials says who it is and where it listens, then both exchange votes.
//!
//! The greeting is a protocol version, the server's id, and a length with addresses, or from servers of old
//! just the id. Votes are frames. A server that is dialled by one of a lower id hangs up and dials itself.

use super::jute::{Part, Reader, frame};
use super::{Codec, FieldKind, HOLD, Kind, LengthForm, Link, Message, Step, Way, be};

/// Kinds of messages: the dialler's greeting, and votes.
pub(super) const KINDS: [&str; 2] = ["hello", "notification"];

/// One address and several; what is not negative is a server's id of old.
const VERSIONS: [i64; 2] = [-65_536, -65_535];
/// The longest greeting and the longest vote a server accepts.
const HELLO_MAX: usize = 2_048;
const VOTE_MAX: usize = 512 * 1024;

const STATES: &[(i64, &str)] = &[(0, "LOOKING"), (1, "FOLLOWING"), (2, "LEADING"), (3, "OBSERVING")];

const VOTE: &[Part] = &[
    Part::Enum("state", STATES),
    Part::Long("leader"),
    Part::Long("zxid"),
    Part::Long("electionEpoch"),
    Part::Long("peerEpoch"),
    Part::Int("version"),
    Part::Buffer("config"),
];

/// One connection between two electing servers.
#[derive(Default)]
pub(super) struct Election {
    greeted: bool,
    rest: [usize; 2],
}

fn hello(bytes: &[u8]) -> Step {
    let Some(first) = bytes.get(..8) else { return Step::Need(8) };
    let first = be(first);
    let mut message = Message::new(Link::Election, Kind::of(KINDS[0]), 8);
    if first >= 0 {
        if first > 0xFFFF {
            return Step::Lost("not a server's greeting");
        }
        message.push("sid", FieldKind::Int(8), 0..8);
        return Step::Message(Box::new(message));
    }
    if !VERSIONS.contains(&first) {
        return Step::Lost("a greeting of an unknown version");
    }
    let Some(len) = bytes.get(16..20) else { return Step::Need(20) };
    let total = match usize::try_from(be(len)) {
        Ok(len) if len <= HELLO_MAX => 20 + len,
        _ => return Step::Lost("a greeting's length makes no sense"),
    };
    if bytes.len() < total {
        return Step::Need(total);
    }
    message.len = total;
    message.push("protocolVersion", FieldKind::Int(8), 0..8);
    message.push("sid", FieldKind::Int(8), 8..16);
    message.length(16..20, LengthForm::Be32, 20..total);
    message.push("addresses", FieldKind::Str, 20..total);
    Step::Message(Box::new(message))
}

impl Codec for Election {
    fn parse(&mut self, way: Way, bytes: &[u8]) -> Step {
        if way == Way::ToServer && !self.greeted {
            let step = hello(bytes);
            self.greeted = matches!(step, Step::Message(_));
            return step;
        }
        let side = way.index();
        if self.rest[side] > 0 {
            let len = self.rest[side].min(bytes.len());
            self.rest[side] -= len;
            return if len == 0 { Step::Need(1) } else { Step::Body { len, last: self.rest[side] == 0 } };
        }
        let total = match frame(bytes, VOTE_MAX) {
            Ok(total) => total,
            Err(step) => return step,
        };
        let len = total.min(HOLD);
        let mut message = Message::new(Link::Election, Kind::of(KINDS[1]), len);
        message.length(0..4, LengthForm::Be32, 4..total);
        Reader { bytes: &bytes[..len], at: 4, end: total, message: &mut message }.parts(VOTE);
        message.order = message.field("electionEpoch").map(|field| be(&bytes[field.span]));
        message.whole = len == total;
        self.rest[side] = total - len;
        Step::Message(Box::new(message))
    }
}
