//! What nodes said to each other around anomalies and failovers: read from the fabric's recording of a run, kept as a
//! few lines per scene.
//!
//! A connection is followed from its SYN. A message is sent when its first byte first comes to the fabric, and has
//! arrived when the fabric has handed on its last: what a rule loses and a kernel sends again arrives late, what is never
//! handed on is lost.

mod conversation;
mod label;
mod recording;
mod scenes;

use std::collections::HashMap;
use std::net::SocketAddrV4;
use std::path::Path;

use anyhow::{Context, Result};
use nemesis::wire::Protocol;
use results::messages::{Fate, MessageLine};
use results::strikes::StrikeLine;

use crate::judge::Judged;
use crate::testbed::zk_redis::PROTOCOLS;
use conversation::{Conversation, Said};
use recording::{Packet, Recording};
use scenes::Scenes;

/// Bytes of packets that are recorded where nobody asked for all of them: some minutes of the usual load.
pub const RECORDED_MAX: u64 = 128 * 1024 * 1024;

/// The messages around what `judged` found, out of a recording whose clock read `zero_ns` when the run's read 0.
pub fn around(judged: &Judged, recording: &Path, zero_ns: i64) -> Result<Vec<MessageLine>> {
    let mut scenes = Scenes::of(&judged.summary, &judged.history, &judged.record.node_events);
    if scenes.is_empty() {
        return Ok(Vec::new());
    }
    let mut recording =
        Recording::open(recording).with_context(|| format!("failed to read {}", recording.display()))?;
    let mut conversations = Conversations::default();
    while let Some(packet) = recording.next_packet()? {
        conversations.take(&packet, zero_ns, &mut scenes);
    }
    for (_, conversation) in conversations.open {
        scenes.take(conversation.finish());
    }
    judged.record.strikes.iter().for_each(|strike| scenes.struck(strike));
    Ok(scenes.finish())
}

/// Connections by their client's and their server's address.
#[derive(Default)]
struct Conversations {
    open: HashMap<(SocketAddrV4, SocketAddrV4), Conversation>,
    names: HashMap<std::net::Ipv4Addr, String>,
}

impl Conversations {
    fn take(&mut self, packet: &Packet<'_>, zero_ns: i64, scenes: &mut Scenes) {
        if packet.fate == recording::Fate::Taken {
            return; // what a tap made of it follows
        }
        let Some(segment) = recording::segment(packet.bytes) else { return };
        let server = |port: u16| PROTOCOLS.iter().find(|known| known.0 == port).map(|known| known.1);
        let (protocol, to_server): (Protocol, bool) =
            match (server(segment.to.port()), server(segment.from.port())) {
                (Some(protocol), _) => (protocol, true),
                (None, Some(protocol)) => (protocol, false),
                (None, None) => return,
            };
        self.names.entry(*segment.from.ip()).or_insert_with(|| packet.node.to_string());
        let ends = if to_server { (segment.from, segment.to) } else { (segment.to, segment.from) };
        if segment.opens && to_server && !self.open.get(&ends).is_some_and(|known| known.opened_by(&segment))
        {
            let name = |addr: &SocketAddrV4| {
                self.names.get(addr.ip()).cloned().unwrap_or_else(|| packet.name_of(*addr.ip()))
            };
            let fresh = Conversation::new(protocol, name(&ends.0), name(&ends.1));
            if let Some(old) = self.open.insert(ends, fresh) {
                scenes.take(old.finish());
            }
        }
        if let Some(conversation) = self.open.get_mut(&ends) {
            let time_ns = packet.time_ns - zero_ns;
            conversation.take(to_server, &segment, packet.fate, time_ns, |said| scenes.wants(said));
        }
    }
}

/// A message that was altered by hand, as the nemesis tells it.
fn altered(strike: &StrikeLine, scene: &str) -> MessageLine {
    MessageLine {
        scene: scene.to_string(),
        sent_ns: strike.time_ns,
        received_ns: Some(strike.time_ns),
        from: strike.from.clone(),
        to: strike.to.clone(),
        label: strike.told.clone(),
        fate: Fate::Altered,
    }
}

fn line(said: &Said, scene: &str) -> MessageLine {
    MessageLine {
        scene: scene.to_string(),
        sent_ns: said.sent_ns,
        received_ns: said.received_ns,
        from: said.from.clone(),
        to: said.to.clone(),
        label: said.label.clone(),
        fate: said.fate,
    }
}
