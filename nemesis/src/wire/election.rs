//! The link on which ZooKeeper servers elect a leader (`FastLeaderElection`, `QuorumCnxManager` in 3.8): the server
//! that connects says who and where it is, then both sides send notifications, each behind a length.
//!
//! Kinds: `hello`, `notification`. Fields by their names in the sources: `state` (0 looking, 1 following, 2 leading,
//! 3 observing), `leader`, `zxid`, `electionEpoch`, `peerEpoch`, `version`.

use lab::flow::Way;

use super::jute::{Record, framed};
use super::{Codec, Form, Head, number};

/// The first number of a greeting that names addresses after it: one, or several (3.6 and later).
const GREETINGS: [i64; 2] = [-65_536, -65_535];
/// A greeting names a few addresses.
const ADDRESSES_MAX: usize = 4_096;

/// Reads a connection to a ZooKeeper server's election port.
#[derive(Debug, Default)]
pub struct Election {
    greeted: bool,
}

impl Codec for Election {
    fn read(&mut self, way: Way, bytes: &[u8]) -> Head {
        if way == Way::ToServer && !self.greeted {
            return self.hello(bytes);
        }
        let whole = match framed(bytes) {
            Ok(Some(len)) => &bytes[..len],
            Ok(None) if bytes.len() > super::WHOLE_MAX => return Head::Foreign("a notification too large"),
            Ok(None) => return Head::Part,
            Err(why) => return Head::Foreign(why),
        };
        let mut record = Record::new(whole, 4).framed(0..4);
        record.int("state", 4);
        record.int("leader", 8);
        record.int("zxid", 8);
        record.int("electionEpoch", 8);
        record.int("peerEpoch", 8);
        record.int("version", 4);
        record.buffer("config");
        Head::Message(record.whole("notification"))
    }
}

impl Election {
    fn hello(&mut self, bytes: &[u8]) -> Head {
        let mut record = Record::new(bytes, 0);
        let first = record.int("protocolVersion", 8);
        match first {
            Some(version) if GREETINGS.contains(&version) => {
                record.int("sid", 8);
                record.buffer("addresses");
            }
            // Before 3.5 the first number was the server itself.
            Some(sid) if sid >= 0 => {}
            Some(_) => return Head::Foreign("a greeting of an unknown version"),
            None => return Head::Part,
        }
        if record.is_short() {
            let length = bytes.get(16..20).and_then(|length| number(length, Form::Int));
            let sane = length.is_none_or(|len| (0..=ADDRESSES_MAX as i64).contains(&len));
            return if sane { Head::Part } else { Head::Foreign("a greeting of a strange length") };
        }
        self.greeted = true;
        Head::Message(record.ends("hello"))
    }
}
