//! A connection without a network, and recorded traffic to send through it.

#![allow(dead_code)]

use lab::flow::Receipt;
use nemesis::byzantine::{Editor, Ends, Faults, Literal, MessageFault, Op, Pattern, Pipe, To};
use nemesis::wire::{Link, Protocol, Way};

/// One direction.
#[derive(Default)]
pub struct Half {
    pub pending: Vec<u8>,
    pub offset: u64,
    pub out: Vec<u8>,
    pub taken: u64,
    pub receipt: Receipt,
}

/// A connection that remembers what came out.
#[derive(Default)]
pub struct FakePipe {
    pub halves: [Half; 2],
    pub now: u64,
    pub reset: bool,
    pub wake: Option<u64>,
}

impl Pipe for FakePipe {
    fn now_ns(&self) -> u64 {
        self.now
    }
    fn pending(&self, way: Way) -> &[u8] {
        &self.halves[way as usize].pending
    }
    fn offset(&self, way: Way) -> u64 {
        self.halves[way as usize].offset
    }
    fn out_offset(&self, way: Way) -> u64 {
        self.halves[way as usize].taken + self.halves[way as usize].out.len() as u64
    }
    fn receipt(&mut self, way: Way) -> Receipt {
        self.halves[way as usize].receipt.clone()
    }
    fn pass(&mut self, way: Way, len: usize) {
        let half = &mut self.halves[way as usize];
        let bytes: Vec<u8> = half.pending.drain(..len).collect();
        half.offset += len as u64;
        half.out.extend(bytes);
    }
    fn replace(&mut self, way: Way, len: usize, with: &[u8]) {
        let half = &mut self.halves[way as usize];
        half.pending.drain(..len);
        half.offset += len as u64;
        half.out.extend(with);
    }
    fn reset(&mut self) {
        self.reset = true;
    }
    fn wake_at(&mut self, ns: u64) {
        self.wake = Some(ns);
    }
}

/// A connection with an editor in it.
pub struct Conn {
    pub pipe: FakePipe,
    pub editor: Editor,
}

impl Conn {
    pub fn new(faults: &Faults, protocol: Protocol) -> Conn {
        Conn::between(faults, protocol, "a", "b")
    }

    pub fn between(faults: &Faults, protocol: Protocol, client: &str, server: &str) -> Conn {
        let ends = Ends { flow: 7, client: client.into(), server: server.into(), server_port: 1 };
        Conn { pipe: FakePipe::default(), editor: Editor::new(faults, ends, protocol) }
    }

    /// Sends some bytes; returns what came out of this way since the last call of `take`.
    pub fn send(&mut self, way: Way, bytes: &[u8]) {
        self.pipe.halves[way as usize].pending.extend(bytes);
        self.pipe.now += 1_000;
        self.editor.data(way, &mut self.pipe);
    }

    pub fn up(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(Way::ToServer, bytes.as_ref());
        self.take(Way::ToServer)
    }

    pub fn down(&mut self, bytes: impl AsRef<[u8]>) -> Vec<u8> {
        self.send(Way::ToClient, bytes.as_ref());
        self.take(Way::ToClient)
    }

    pub fn take(&mut self, way: Way) -> Vec<u8> {
        let half = &mut self.pipe.halves[way as usize];
        half.taken += half.out.len() as u64;
        std::mem::take(&mut half.out)
    }

    /// Plays a recording, split into pieces of at most `piece` bytes.
    pub fn play(&mut self, recording: &[(Way, Vec<u8>)], piece: usize) {
        for (way, bytes) in recording {
            for chunk in bytes.chunks(piece.max(1)) {
                self.send(*way, chunk);
            }
        }
    }
}

/// What is in a recording, both ways.
pub fn fixture(name: &str) -> Vec<(Way, Vec<u8>)> {
    let path = format!("{}/tests/fixtures/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
    text.lines()
        .map(|line| {
            let (way, hex) = line.split_once(' ').unwrap();
            let bytes = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap());
            (if way == ">" { Way::ToServer } else { Way::ToClient }, bytes.collect())
        })
        .collect()
}

/// All bytes of one way.
pub fn sent(recording: &[(Way, Vec<u8>)], way: Way) -> Vec<u8> {
    recording.iter().filter(|(w, _)| *w == way).flat_map(|(_, bytes)| bytes.clone()).collect()
}

pub const FIXTURES: [(&str, Protocol); 12] = [
    ("redis-client-resp2", Protocol::Redis),
    ("redis-client-resp3", Protocol::Redis),
    ("redis-client-inline", Protocol::Redis),
    ("replication-disk", Protocol::Redis),
    ("replication-diskless", Protocol::Redis),
    ("replication-continue", Protocol::Redis),
    ("zk-client", Protocol::ZkClient),
    ("zk-four-letter-word", Protocol::ZkClient),
    ("election", Protocol::Election),
    ("election-refused", Protocol::Election),
    ("quorum-diff", Protocol::Quorum),
    ("quorum-snap", Protocol::Quorum),
];

/// An armed fault on the first such message.
pub fn armed(faults: &Faults, id: u64, pattern: Pattern, op: Op) {
    let fault = MessageFault::first(pattern, op);
    faults.add(id, fault).unwrap();
    faults.arm(id);
}

pub fn pattern(link: Link, way: Way, message: &str) -> Pattern {
    Pattern::of(link, way, message)
}

pub fn set(field: &str, to: To) -> Op {
    Op::Set { field: field.into(), to, keep_lengths: false }
}

pub fn text(text: &str) -> Literal {
    Literal::Text(text.into())
}

/// A request in RESP.
pub fn resp(words: &[&str]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len());
    for word in words {
        out += &format!("${}\r\n{word}\r\n", word.len());
    }
    out.into_bytes()
}
