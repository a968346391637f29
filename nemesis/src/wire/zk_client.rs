//! The link between a client and a ZooKeeper server (<https://zookeeper.apache.org/doc/r3.8.0/zookeeperProgrammers.html>,
//! `zookeeper.jute`): a handshake, then requests and replies told apart by `xid`, and events in between.
//!
//! Kinds: `ConnectRequest`, `ConnectResponse`, requests by their names as in the client's API, `reply create` by what
//! they answer, `event`. Fields by their names in `zookeeper.jute`.

use std::collections::VecDeque;

use lab::flow::Way;

use super::jute::{Record, framed};
use super::{Codec, Head, Message, WHOLE_MAX};

/// Requests whose replies are waited for.
const OUTSTANDING_MAX: usize = 100_000;

/// `xid` of what no request asked for.
const EVENT: i64 = -1;
const PING: i64 = -2;
const AUTH: i64 = -4;
const SET_WATCHES: i64 = -8;

/// Reads a connection to a ZooKeeper server's client port.
#[derive(Debug, Default)]
pub struct ZkClient {
    outstanding: VecDeque<(i64, &'static str)>,
    greeted: [bool; 2],
    rest: [usize; 2],
}

impl Codec for ZkClient {
    fn read(&mut self, way: Way, bytes: &[u8]) -> Head {
        let rest = &mut self.rest[way as usize];
        if *rest > 0 {
            let len = bytes.len().min(*rest);
            *rest -= len;
            return Head::Opaque(len);
        }
        if !self.greeted[way as usize] && bytes.len() >= 4 && bytes[..4].iter().all(u8::is_ascii_alphabetic) {
            return Head::Foreign("a four-letter word");
        }
        let whole = match framed(bytes) {
            Ok(Some(len)) => &bytes[..len],
            Ok(None) => return self.large(way, bytes),
            Err(why) => return Head::Foreign(why),
        };
        let record = Record::new(whole, 4).framed(0..4);
        let greeted = std::mem::replace(&mut self.greeted[way as usize], true);
        Head::Message(match (way, greeted) {
            (Way::ToServer, false) => connect_request(record),
            (Way::ToClient, false) => connect_response(record),
            (Way::ToServer, true) => {
                if self.outstanding.len() > OUTSTANDING_MAX {
                    return Head::Foreign("more requests than replies");
                }
                self.request(record)
            }
            (Way::ToClient, true) => self.reply(record),
        })
    }
}

impl ZkClient {
    /// A packet too large to be waited for goes through in parts. A reply whose request is thereby not seen is just a
    /// `reply`.
    fn large(&mut self, way: Way, bytes: &[u8]) -> Head {
        if bytes.len() < WHOLE_MAX {
            return Head::Part;
        }
        let len = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        self.greeted[way as usize] = true;
        self.rest[way as usize] = 4 + len - bytes.len();
        if way == Way::ToClient
            && let Some(xid) = bytes.get(4..8).and_then(|xid| super::number(xid, super::Form::Int))
        {
            self.answered(xid);
        }
        Head::Opaque(bytes.len())
    }

    fn request(&mut self, mut record: Record<'_>) -> Message {
        let xid = record.int("xid", 4).unwrap_or(0);
        let kind = match record.int("type", 4) {
            Some(-11) => "closeSession",
            Some(-10) => "createSession",
            Some(1) => "create",
            Some(2) => "delete",
            Some(3) => "exists",
            Some(4) => "getData",
            Some(5) => "setData",
            Some(6) => "getACL",
            Some(7) => "setACL",
            Some(8) => "getChildren",
            Some(9) => "sync",
            Some(11) => "ping",
            Some(12) => "getChildren2",
            Some(13) => "check",
            Some(14) => "multi",
            Some(15) => "create2",
            Some(16) => "reconfig",
            Some(17) => "checkWatches",
            Some(18) => "removeWatches",
            Some(19) => "createContainer",
            Some(21) => "createTTL",
            Some(22) => "multiRead",
            Some(100) => "auth",
            Some(101) => "setWatches",
            Some(102) => "sasl",
            Some(105) => "setWatches2",
            Some(106) => "addWatch",
            _ => "request",
        };
        match kind {
            "create" | "create2" | "createContainer" | "createTTL" | "setData" => {
                record.buffer("path");
                record.buffer("data");
                if kind == "setData" {
                    record.int("version", 4);
                } else {
                    record.rest("acl and flags");
                }
            }
            "delete" | "check" => {
                record.buffer("path");
                record.int("version", 4);
            }
            "exists" | "getData" | "getChildren" | "getChildren2" => {
                record.buffer("path");
                record.int("watch", 1);
            }
            "sync" | "getACL" => drop(record.buffer("path")),
            "addWatch" => {
                record.buffer("path");
                record.int("mode", 4);
            }
            _ => record.rest("body"),
        }
        if xid != PING && xid != AUTH && xid != SET_WATCHES {
            self.outstanding.push_back((xid, kind));
        }
        record.whole(kind)
    }

    fn reply(&mut self, mut record: Record<'_>) -> Message {
        let xid = record.int("xid", 4).unwrap_or(0);
        record.int("zxid", 8);
        let err = record.int("err", 4);
        let kind = match xid {
            EVENT => {
                record.int("event type", 4);
                record.int("state", 4);
                record.buffer("path");
                return record.whole("event");
            }
            PING => "ping",
            AUTH => "auth",
            SET_WATCHES => "setWatches",
            xid => self.answered(xid),
        };
        if err == Some(0) {
            match kind {
                "create" | "create2" | "createContainer" | "createTTL" | "sync" => {
                    drop(record.buffer("path"))
                }
                "getData" => drop(record.buffer("data")),
                "setData" | "exists" => {
                    record.int("czxid", 8);
                    record.int("mzxid", 8);
                    record.skip(16); // ctime, mtime
                    record.int("version", 4);
                }
                _ => {}
            }
        }
        record.rest("body");
        record.whole(format!("reply {kind}"))
    }

    /// What a reply with this `xid` answers: requests are answered in order.
    fn answered(&mut self, xid: i64) -> &'static str {
        match self.outstanding.iter().position(|(asked, _)| *asked == xid) {
            Some(n) => self.outstanding.drain(..=n).next_back().map_or("", |(_, kind)| kind),
            None => "",
        }
    }
}

fn connect_request(mut record: Record<'_>) -> Message {
    record.int("protocolVersion", 4);
    record.int("lastZxidSeen", 8);
    record.int("timeOut", 4);
    record.int("sessionId", 8);
    record.buffer("passwd");
    record.rest("readOnly");
    record.whole("ConnectRequest")
}

fn connect_response(mut record: Record<'_>) -> Message {
    record.int("protocolVersion", 4);
    record.int("timeOut", 4);
    record.int("sessionId", 8);
    record.buffer("passwd");
    record.rest("readOnly");
    record.whole("ConnectResponse")
}
