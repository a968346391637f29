//! Codecs on real traffic of Redis 7.0.15 and ZooKeeper 3.8.0, on every segmentation, and on rubbish.

mod common;

use common::{Conn, FIXTURES, fixture, sent};
use nemesis::byzantine::Faults;
use nemesis::wire::{Codec, Message, Protocol, Step, Value, WHOLE, Way};
use proptest::prelude::*;

const WAYS: [Way; 2] = [Way::ToServer, Way::ToClient];

/// Every message of a recording, with its bytes, in the order they complete.
fn messages(
    recording: &[(Way, Vec<u8>)],
    protocol: Protocol,
) -> (Vec<(Way, Message, Vec<u8>)>, Option<&'static str>) {
    let mut codec: Box<dyn Codec> = protocol.codec();
    let mut buffers = [Vec::new(), Vec::new()];
    let mut out = Vec::new();
    for (way, bytes) in recording {
        let buffer: &mut Vec<u8> = &mut buffers[*way as usize];
        buffer.extend(bytes);
        loop {
            match codec.parse(*way, buffer) {
                Step::Need(n) => {
                    assert!(n > buffer.len(), "a need of {n} with {} at hand", buffer.len());
                    break;
                }
                Step::Lost(note) => return (out, Some(note)),
                Step::Body { len, .. } => drop(buffer.drain(..len)),
                Step::Message(message) => {
                    let bytes: Vec<u8> = buffer.drain(..message.len).collect();
                    if let Some(ask) = &message.ask {
                        codec.asked(ask.clone());
                    }
                    out.push((*way, *message, bytes));
                }
            }
        }
    }
    (out, None)
}

fn kinds(name: &str, protocol: Protocol, way: Way) -> Vec<String> {
    let (messages, lost) = messages(&fixture(name), protocol);
    assert_eq!(lost, None, "{name}");
    let mut kinds: Vec<String> =
        messages.iter().filter(|(w, ..)| *w == way).map(|(_, m, _)| m.kind.to_string()).collect();
    kinds.dedup();
    kinds
}

fn value(message: &Message, bytes: &[u8], field: &str) -> Value {
    message
        .field(field)
        .unwrap_or_else(|| panic!("{} has no {field}: {message:?}", message.kind))
        .value(bytes)
}

/// The first message of this kind.
fn first(name: &str, protocol: Protocol, way: Way, kind: &str) -> (Message, Vec<u8>) {
    let (messages, _) = messages(&fixture(name), protocol);
    let found = messages.into_iter().find(|(w, m, _)| *w == way && m.kind.to_string() == kind);
    let (_, message, bytes) = found.unwrap_or_else(|| panic!("no {kind} in {name}"));
    (message, bytes)
}

#[test]
fn print_all() {
    for (name, protocol) in FIXTURES {
        let (messages, lost) = messages(&fixture(name), protocol);
        println!("== {name} {lost:?}");
        for (way, message, bytes) in messages {
            let fields: Vec<_> =
                message.fields.iter().map(|f| format!("{}={}", f.name, f.value(&bytes))).collect();
            println!("{way} {} {} {:?} {}", message.link, message.kind, message.order, fields.join(" "));
        }
    }
}

#[test]
fn identity_on_real_traffic_in_any_pieces() {
    for (name, protocol) in FIXTURES {
        let recording = fixture(name);
        for piece in [1, 2, 3, 7, 64, 1000, usize::MAX] {
            let mut conn = Conn::new(&Faults::new(1), protocol);
            conn.play(&recording, piece);
            for way in WAYS {
                assert_eq!(conn.take(way), sent(&recording, way), "{name} in pieces of {piece}");
            }
        }
    }
}
