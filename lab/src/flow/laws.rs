//! The laws of a tapped connection, held by two simulated TCP ends over a network that loses, repeats and reorders
//! packets on both sides of the tap, under random edits: each end receives exactly the edited stream, in whatever
//! copies; acknowledgements never exceed what was sent; and it comes to an end.

mod peer;
mod script;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use self::peer::{Peer, PeerOptions};
use self::script::{Op, Script, Told};
use super::conn::{Conn, Outbox};
use super::segment::{ACK, SYN, Segment};
use super::{Both, Interceptor, Way};
use crate::fabric::packet::checksum;

const MS: u64 = 1_000_000;
/// Virtual time by which everything must be over.
const END_MS: u64 = 600_000;

/// What a stretch of network does to packets, in thousandths and milliseconds.
#[derive(Clone, Copy, Debug)]
struct Weather {
    loss: u32,
    repeat: u32,
    delay_ms: u64,
}

#[derive(Clone, Debug)]
struct World {
    seed: u64,
    bytes: [usize; 2],
    ends: [PeerOptions; 2],
    before: Weather,
    after: Weather,
}

/// Where a packet is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stop {
    Tap,
    End,
}

struct Sim {
    world: World,
    rng: ChaCha8Rng,
    conn: Conn,
    peers: Both<Peer>,
    /// Packets under way, by arrival.
    air: BTreeMap<(u64, u64), (Stop, Way, Vec<u8>)>,
    serial: u64,
    /// Packets the tap let by, and those it made.
    passed: u64,
    made: u64,
}

impl Sim {
    fn new(world: &World, interceptor: Box<dyn Interceptor>) -> Sim {
        let mut rng = ChaCha8Rng::seed_from_u64(world.seed);
        let mut stream = |len: usize| -> Vec<u8> { (0..len).map(|_| rng.random()).collect() };
        let streams = [stream(world.bytes[0]), stream(world.bytes[1])];
        let addrs = [([10, 77, 0, 1].into(), 40_000), ([10, 77, 0, 2].into(), 6379)];
        let [out, back] = streams;
        let client = Peer::new(true, addrs[0], addrs[1], rng.random(), world.ends[0], out);
        let server = Peer::new(false, addrs[1], addrs[0], rng.random(), world.ends[1], back);
        Sim {
            world: world.clone(),
            rng,
            conn: Conn::new(addrs[0], addrs[1], interceptor, 0),
            peers: Both([client, server]),
            air: BTreeMap::new(),
            serial: 0,
            passed: 0,
            made: 0,
        }
    }

    fn launch(&mut self, stop: Stop, way: Way, packet: Vec<u8>, now_ms: u64) {
        let weather = if stop == Stop::Tap { self.world.before } else { self.world.after };
        let copies = 1 + u32::from(self.rng.random_range(0..1000) < weather.repeat);
        for _ in 0..copies {
            if self.rng.random_range(0..1000) >= weather.loss {
                let at = now_ms + self.rng.random_range(0..=weather.delay_ms);
                self.air.insert((at, self.serial), (stop, way, packet.clone()));
                self.serial += 1;
            }
        }
    }

    fn launch_all(&mut self, out: Outbox, now_ms: u64) {
        for (way, packet) in out {
            assert!(checksum::hold(&packet), "a made packet has broken checksums");
            self.made += 1;
            self.launch(Stop::End, way, packet, now_ms);
        }
    }

    fn arrive(&mut self, stop: Stop, way: Way, packet: Vec<u8>, now_ms: u64) {
        let segment = Segment::read(&packet).expect("a whole segment");
        if stop == Stop::Tap {
            let mut out = Outbox::new();
            if self.conn.packet(way, &segment, now_ms * MS, &mut out) {
                assert!(out.is_empty(), "a packet went by, and others with it");
                self.passed += 1;
                self.launch(Stop::End, way, packet, now_ms);
            } else {
                self.launch_all(out, now_ms);
            }
        } else {
            for answer in self.peers[way.back()].receive(&segment, now_ms) {
                self.launch(Stop::Tap, way.back(), answer, now_ms);
            }
        }
    }

    /// Runs until both ends have sent and received everything. The virtual time it took.
    fn run(&mut self) -> u64 {
        for now_ms in 0..END_MS {
            while let Some(first) = self.air.first_entry().filter(|first| first.key().0 <= now_ms) {
                let (stop, way, packet) = first.remove();
                self.arrive(stop, way, packet, now_ms);
            }
            if self.conn.due_ns().is_some_and(|due_ns| due_ns <= now_ms * MS) {
                let mut out = Outbox::new();
                self.conn.tick(false, now_ms * MS, &mut out);
                self.launch_all(out, now_ms);
            }
            for way in Way::BOTH {
                for packet in self.peers[way].act(now_ms, &mut self.rng) {
                    self.launch(Stop::Tap, way, packet, now_ms);
                }
            }
            if Way::BOTH.iter().all(|way| self.peers[*way].is_done()) {
                return now_ms;
            }
        }
        let ends = Way::BOTH.map(|way| self.peers[way].to_string());
        panic!("it hangs; client {}; server {}; timer {:?}", ends[0], ends[1], self.conn.due_ns());
    }
}

fn weather(loss_max: u32, delay_max: u64) -> impl Strategy<Value = Weather> {
    let kind = (0..=loss_max, 0..=loss_max, 0..=delay_max);
    prop_oneof![
        1 => Just(Weather { loss: 0, repeat: 0, delay_ms: 0 }),
        3 => kind.prop_map(|(loss, repeat, delay_ms)| Weather { loss, repeat, delay_ms })
    ]
}

fn end() -> impl Strategy<Value = PeerOptions> {
    (40u16..=1460, 0u8..=3, 2_000usize..20_000, 60usize..5_000, any::<bool>()).prop_map(
        |(mss, scale, buffer, reads_per_ms, timestamps)| PeerOptions {
            mss,
            scale: Some(scale),
            buffer,
            reads_per_ms,
            timestamps,
        },
    )
}

fn world() -> impl Strategy<Value = World> {
    let bytes = || prop_oneof![1 => 0usize..20, 3 => 0usize..12_000];
    (any::<u64>(), [bytes(), bytes()], [end(), end()], weather(60, 5), weather(150, 20))
        .prop_map(|(seed, bytes, ends, before, after)| World { seed, bytes, ends, before, after })
}

struct Pass;

impl Interceptor for Pass {
    fn data(&mut self, way: Way, wire: &mut super::Wire<'_>) {
        wire.pass(way, usize::MAX);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: std::env::var("FLOW_CASES").map_or(300, |n| n.parse().unwrap()), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_ends_receive_the_edited_streams(
        world in world(),
        ops in [prop::collection::vec(script::op(), 0..12), prop::collection::vec(script::op(), 0..12)],
    ) {
        let told = Arc::new(Mutex::new(Both::<Told>::default()));
        let mut sim = Sim::new(&world, Box::new(Script::new(ops, told.clone())));
        sim.run();
        let told = told.lock().unwrap();
        for way in Way::BOTH {
            prop_assert!(told[way].took == sim.peers[way].sent(), "{way:?}: the interceptor saw other bytes");
            prop_assert!(told[way].gave == sim.peers[way.back()].received(), "{way:?}: other bytes arrived");
        }
    }

    #[test]
    fn a_pass_on_a_clean_way_to_the_tap_touches_no_packet(mut world in world()) {
        world.before = Weather { loss: 0, ..world.before };
        world.before.delay_ms = 0;
        let mut sim = Sim::new(&world, Box::new(Pass));
        sim.run();
        prop_assert_eq!(sim.made, 0);
        for way in Way::BOTH {
            prop_assert!(sim.peers[way].sent() == sim.peers[way.back()].received());
        }
    }

    #[test]
    fn any_segments_in_any_order_are_no_trouble(
        ops in [prop::collection::vec(script::op(), 0..6), prop::collection::vec(script::op(), 0..6)],
        segments in prop::collection::vec(
            (any::<bool>(), 0u32..5_000, 0u32..5_000, any::<u8>(), any::<u16>(), 0usize..300, 0u64..50_000),
            0..60,
        ),
    ) {
        let (client, server) = (([10, 77, 0, 1].into(), 1), ([10, 77, 0, 2].into(), 2));
        let mut conn = Conn::new(client, server, Box::new(Script::new(ops, Arc::default())), 0);
        let mut out = Outbox::new();
        let mut now_ns = 0;
        for (to_server, seq, ack, flags, window, len, later_us) in segments {
            now_ns += later_us * 1_000;
            let way = if to_server { Way::ToServer } else { Way::ToClient };
            let flags = if later_us % 3 == 0 { flags } else { flags & !super::segment::RST };
            let payload = vec![flags; len];
            let (mss, scale) = (Some(window), Some(flags));
            let timestamps = (len % 2 == 0).then_some((seq, ack));
            let segment = Segment {
                seq: seq.wrapping_sub(2_500), ack: ack.wrapping_sub(2_500), flags, window, mss,
                scale: scale.map(|scale| scale.min(14)), sacks: false, timestamps, payload: &payload,
            };
            conn.packet(way, &segment, now_ns, &mut out);
            conn.tick(later_us % 7 == 0, now_ns, &mut out);
            conn.is_over(now_ns);
        }
        conn.release(now_ns, &mut out);
        for (_, packet) in &out {
            prop_assert!(checksum::hold(packet));
        }
    }
}

/// A wait, an edit of equal length and a delay leave no trace: the flow is plain again, and its packets go by.
#[test]
fn a_flow_that_counts_alike_again_is_plain_again() {
    let clear = Weather { loss: 0, repeat: 0, delay_ms: 1 };
    let end =
        PeerOptions { mss: 1460, scale: Some(2), buffer: 60_000, reads_per_ms: 5_000, timestamps: true };
    let world = World {
        seed: 5,
        bytes: [400_000, 0],
        ends: [end; 2],
        before: Weather { delay_ms: 0, ..clear },
        after: clear,
    };
    let ops = vec![(700, Op::Pass), (900, Op::Flip), (300, Op::Hold(30)), (200, Op::Delay(5))];
    let told = Arc::new(Mutex::new(Both::<Told>::default()));
    let mut sim = Sim::new(&world, Box::new(Script::once([ops, vec![]], told)));
    sim.run();
    assert!(sim.made > 0 && sim.passed > 100, "{} made, {} passed", sim.made, sim.passed);
}

struct Never;

impl Interceptor for Never {
    fn data(&mut self, _: Way, _: &mut super::Wire<'_>) {}
}

/// A connection that has just been opened, with windows of 60,000 bytes.
struct Talk {
    conn: Conn,
    now_ns: u64,
}

impl Talk {
    fn new(interceptor: Box<dyn Interceptor>) -> Talk {
        let (client, server) = (([10, 77, 0, 1].into(), 1), ([10, 77, 0, 2].into(), 2));
        let mut talk = Talk { conn: Conn::new(client, server, interceptor, 0), now_ns: 0 };
        talk.say(Way::ToServer, 0, 0, SYN, 60_000, &[]);
        talk.say(Way::ToClient, 0, 1, SYN | ACK, 60_000, &[]);
        talk.say(Way::ToServer, 1, 1, ACK, 60_000, &[]);
        talk
    }

    /// An end's segment; what the tap sends for it, as sequence number and payload. `None` if it goes by.
    fn say(&mut self, way: Way, seq: u32, ack: u32, flags: u8, window: u16, payload: &[u8]) -> Option<Made> {
        let (mss, scale, sacks, timestamps) = (Some(1460), Some(0), false, None);
        let segment = Segment { seq, ack, flags, window, mss, scale, sacks, timestamps, payload };
        let mut out = Outbox::new();
        (!self.conn.packet(way, &segment, self.now_ns, &mut out)).then(|| made(&out))
    }

    /// Waits for the next timer.
    fn wait(&mut self) -> Made {
        self.now_ns = self.conn.due_ns().expect("a timer");
        let mut out = Outbox::new();
        self.conn.tick(false, self.now_ns, &mut out);
        made(&out)
    }
}

type Made = Vec<(Way, u32, Vec<u8>)>;

fn made(out: &Outbox) -> Made {
    let read = |(way, packet): &(Way, Vec<u8>)| {
        let segment = Segment::read(packet).expect("a segment");
        (*way, segment.seq, segment.payload.to_vec())
    };
    out.iter().map(read).collect()
}

#[test]
fn too_much_waiting_passes_and_is_counted() {
    const LEN: usize = 1000;
    let mut talk = Talk::new(Box::new(Never));
    let fits = super::PENDING_MAX / LEN;
    for i in 0..=fits {
        let made = talk.say(Way::ToServer, (1 + i * LEN) as u32, 1, ACK, 60_000, &[7; LEN]);
        let sent: usize = made.expect("it waits").iter().map(|(_, _, payload)| payload.len()).sum();
        assert_eq!(sent, if i < fits { 0 } else { 41 * 1460 }, "what the window takes, without crumbs");
    }
    assert_eq!((talk.conn.tally.overflowed, talk.conn.tally.edited), (1, 0));
}

#[test]
fn a_closed_window_is_asked_for_until_it_opens() {
    let ops = vec![(1, Op::Insert(3))];
    let mut talk = Talk::new(Box::new(Script::once([ops, vec![]], Arc::default())));
    talk.say(Way::ToClient, 1, 1, ACK, 0, &[]);
    assert_eq!(talk.say(Way::ToServer, 1, 1, ACK, 60_000, b"x"), Some(vec![]));
    let probe = vec![(Way::ToServer, 0, vec![])];
    assert_eq!(talk.wait(), probe);
    talk.say(Way::ToClient, 1, 1, ACK, 0, &[]);
    assert_eq!(talk.wait(), probe);
    let made = talk.say(Way::ToClient, 1, 1, ACK, 100, &[]).expect("taken");
    assert_eq!(made[0], (Way::ToServer, 1, vec![0, 1, 2, b'x']));
    // Nobody answers: the same again.
    assert_eq!(talk.wait(), [(Way::ToServer, 1, vec![0, 1, 2, b'x'])]);
    // An acknowledgement inside what was inserted is none of the byte behind it.
    let made = talk.say(Way::ToClient, 1, 3, ACK, 100, &[]).expect("taken");
    assert!(made.iter().all(|(way, _, _)| *way == Way::ToServer), "{made:?}");
}
