//! Tapped connections between real kernels: what passes is the same, what is changed arrives changed, and nobody's
//! TCP takes notice.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use lab::flow::{Flow, Interceptor, Tap, TapCounters, TapGuard, Way, Wire};
use lab::{Action, Lab, Node, RuleGuard};

use crate::net::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const PORT: u16 = 7000;

/// An interceptor that is a function of the bytes that came.
struct On<F>(F);

impl<F: FnMut(Way, &mut Wire<'_>) + Send> Interceptor for On<F> {
    fn data(&mut self, way: Way, wire: &mut Wire<'_>) {
        (self.0)(way, wire);
    }
}

fn tap_all(lab: &Lab, on: impl FnMut(Way, &mut Wire<'_>) + Send + Sync + Clone + 'static) -> TapGuard {
    let tap = Tap { name: "test".into(), server_ports: vec![], nodes: None };
    lab.fabric().tap(tap, move |_| Some(Box::new(On(on.clone())))).expect("a tap")
}

fn pass(way: Way, wire: &mut Wire<'_>) {
    wire.pass(way, usize::MAX);
}

/// Every byte `a` towards the server becomes `<a>`, every `-` vanishes; the way back passes.
fn dress(way: Way, wire: &mut Wire<'_>) {
    if way == Way::ToClient {
        return pass(way, wire);
    }
    while let Some(&first) = wire.pending(way).first() {
        let plain = wire.pending(way).iter().take_while(|byte| !b"a-".contains(byte)).count();
        match first {
            b'a' => wire.replace(way, 1, b"<a>"),
            b'-' => wire.replace(way, 1, b""),
            _ => wire.pass(way, plain),
        }
    }
}

fn dressed(bytes: &[u8]) -> Vec<u8> {
    let each = bytes.iter().map(|byte| match byte {
        b'a' => b"<a>".to_vec(),
        b'-' => vec![],
        other => vec![*other],
    });
    each.collect::<Vec<_>>().concat()
}

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|i| b"the-cat-and-the-dog;"[(i * i / 7 + i) % 20]).collect()
}

/// A server that reads to the end of its one connection and then answers with `answer`.
fn serve_once(node: &Node, answer: Vec<u8>) -> (SocketAddr, JoinHandle<Vec<u8>>) {
    let addr = SocketAddr::from((node.addr(), PORT));
    let listener = inside(node, move || TcpListener::bind(addr).unwrap());
    let served = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("read to the end");
        stream.write_all(&answer).unwrap();
        bytes
    });
    (addr, served)
}

/// Sends `request`, closes that half, and reads the answer to its end.
fn exchange(node: &Node, to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(node, to, PATIENCE).expect("connect");
    stream.write_all(request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("an answer");
    answer
}

fn storm(lab: &Lab, nodes: &[Node]) -> [RuleGuard; 2] {
    let links = both_ways(&nodes[0], &nodes[1]);
    let delay = Action::Delay { base: MS(2), jitter: MS(3) };
    let loss = Action::Loss { probability: 0.05 };
    [("slow", delay), ("loss", loss)]
        .map(|(name, action)| lab.fabric().install(rule(name, links.clone(), action)).unwrap())
}

/// What a client reads within a while: bytes, an end, or an error.
fn hear(stream: &mut TcpStream, within: Duration) -> Result<Vec<u8>, ErrorKind> {
    stream.set_read_timeout(Some(within)).unwrap();
    let mut buffer = [0; 4096];
    stream.read(&mut buffer).map(|len| buffer[..len].to_vec()).map_err(|e| e.kind())
}

fn read_exact(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("so many bytes");
    bytes
}

pub fn a_tap_that_passes_touches_no_packet() {
    let (lab, nodes) = lab_of("tap-pass", 2);
    let tap = tap_all(&lab, pass);
    let (request, answer) = (text(3_000_000), text(1_000_000));
    let (addr, served) = serve_once(&nodes[1], answer.clone());
    assert!(exchange(&nodes[0], addr, &request) == answer, "another answer");
    assert!(served.join().unwrap() == request, "another request");
    assert_eq!(tap.heal(), TapCounters { flows: 1, ..TapCounters::default() });
}

pub fn a_pass_under_loss_and_delay_touches_no_packet() {
    let (lab, nodes) = lab_of("tap-pass-loss", 2);
    let tap = tap_all(&lab, pass);
    let _storm = storm(&lab, &nodes);
    let (request, answer) = (text(300_000), text(100_000));
    let (addr, served) = serve_once(&nodes[1], answer.clone());
    assert!(exchange(&nodes[0], addr, &request) == answer, "another answer");
    assert!(served.join().unwrap() == request, "another request");
    assert_eq!(tap.heal(), TapCounters { flows: 1, ..TapCounters::default() });
}

pub fn edits_that_change_the_length_arrive_whole_and_so_does_the_end() {
    let (lab, nodes) = lab_of("tap-edit", 2);
    let tap = tap_all(&lab, dress);
    let (request, answer) = (text(2_000_000), text(1_000_000));
    let (addr, served) = serve_once(&nodes[1], answer.clone());
    assert!(exchange(&nodes[0], addr, &request) == answer, "another answer");
    assert!(served.join().unwrap() == dressed(&request), "another request");
    let counters = tap.counters();
    assert_eq!((counters.flows, counters.edited, counters.reset, counters.given_up), (1, 1, 0, 0));
    assert!(counters.taken > 1_000 && counters.made > 1_000, "{counters:?}");
    let there = lab.fabric().link_counters(nodes[0].id(), nodes[1].id());
    assert!(there.bytes > dressed(&request).len() as u64, "made packets are counted: {there:?}");
}

pub fn what_a_receiver_has_acknowledged_is_told_even_when_the_connection_is_gone() {
    let (lab, nodes) = lab_of("tap-receipt", 2);
    let receipts = Arc::new(Mutex::new(Vec::new()));
    let kept = receipts.clone();
    let _tap = tap_all(&lab, move |way, wire| {
        if way == Way::ToServer && kept.lock().unwrap().is_empty() {
            kept.lock().unwrap().push(wire.receipt(way));
        }
        dress(way, wire);
    });
    let request = text(200_000);
    let (addr, served) = serve_once(&nodes[1], text(10));
    exchange(&nodes[0], addr, &request);
    let arrived = served.join().unwrap().len() as u64;
    assert!(arrived > request.len() as u64);
    eventually("all is acknowledged", || receipts.lock().unwrap()[0].acknowledged() == arrived);
}

pub fn edits_survive_loss_delay_and_jitter() {
    let (lab, nodes) = lab_of("tap-edit-loss", 2);
    let tap = tap_all(&lab, dress);
    let storm = storm(&lab, &nodes);
    let (request, answer) = (text(400_000), text(300_000));
    let (addr, served) = serve_once(&nodes[1], answer.clone());
    assert!(exchange(&nodes[0], addr, &request) == answer, "another answer");
    assert!(served.join().unwrap() == dressed(&request), "another request");
    let counters = tap.counters();
    assert!(counters.repeated > 10, "made packets were lost, too: {counters:?}");
    assert!(storm[1].counters().dropped > 10);
}

pub fn an_edit_survives_a_cut_and_comes_soon_after_it() {
    let (lab, nodes) = lab_of("tap-cut", 2);
    let _tap = tap_all(&lab, dress);
    let echo = serve_echo(&nodes[1], PORT);
    let mut stream = connect(&nodes[0], echo, PATIENCE).unwrap();
    stream.write_all(b"cat").unwrap();
    assert_eq!(read_exact(&mut stream, 5), b"c<a>t");
    let cut = lab.fabric().install(rule("cut", both_ways(&nodes[0], &nodes[1]), Action::Drop)).unwrap();
    stream.write_all(b"a dog").unwrap();
    assert_eq!(hear(&mut stream, MS(1500)), Err(ErrorKind::WouldBlock));
    assert!(cut.heal().dropped >= 3, "sent again and again");
    let healed = Instant::now();
    assert_eq!(read_exact(&mut stream, 7), b"<a> dog");
    assert!(healed.elapsed() < MS(3_000), "{:?}", healed.elapsed());
}

/// `answer me` is swallowed and answered in the server's name, `drop` is swallowed.
fn forge(way: Way, wire: &mut Wire<'_>) {
    match wire.pending(way) {
        b"answer me" if way == Way::ToServer => {
            wire.replace(Way::ToServer, 9, b"");
            wire.replace(Way::ToClient, 0, b"forged reply");
        }
        b"drop" if way == Way::ToServer => wire.replace(way, 4, b""),
        _ => pass(way, wire),
    }
}

pub fn a_reply_can_be_forged_and_the_connection_goes_on() {
    let (lab, nodes) = lab_of("tap-forge", 2);
    let tap = tap_all(&lab, forge);
    let echo = serve_echo(&nodes[1], PORT);
    let mut stream = connect(&nodes[0], echo, PATIENCE).unwrap();
    for _ in 0..20 {
        stream.write_all(b"answer me").unwrap();
        assert_eq!(read_exact(&mut stream, 12), b"forged reply");
        stream.write_all(b"honest").unwrap();
        assert_eq!(read_exact(&mut stream, 6), b"honest");
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(hear(&mut stream, PATIENCE), Ok(vec![]), "the end comes through");
    assert_eq!(tap.counters().edited, 1);
}

pub fn what_is_swallowed_is_acknowledged_and_never_arrives() {
    let (lab, nodes) = lab_of("tap-swallow", 2);
    let tap = tap_all(&lab, forge);
    let echo = serve_echo(&nodes[1], PORT);
    let mut stream = connect(&nodes[0], echo, PATIENCE).unwrap();
    stream.write_all(b"drop").unwrap();
    assert_eq!(hear(&mut stream, MS(700)), Err(ErrorKind::WouldBlock));
    // Its kernel would have sent it again twice by now.
    assert_eq!(tap.counters().taken, 1, "acknowledged at once");
    stream.write_all(b"not this").unwrap();
    assert_eq!(read_exact(&mut stream, 8), b"not this");
}

/// Keeps everything towards the server until the gate is open.
struct Gate(Arc<AtomicBool>);

impl Interceptor for Gate {
    fn data(&mut self, way: Way, wire: &mut Wire<'_>) {
        if way == Way::ToClient || self.0.load(Relaxed) {
            pass(way, wire);
        }
    }
    fn woken(&mut self, wire: &mut Wire<'_>) {
        self.data(Way::ToServer, wire);
    }
}

pub fn what_waits_goes_on_when_poked_and_leaves_no_trace() {
    let (lab, nodes) = lab_of("tap-hold", 2);
    let gate = Arc::new(AtomicBool::new(false));
    let tap = Tap { name: "gate".into(), server_ports: vec![PORT], nodes: Some(vec![nodes[1].id()]) };
    let inner = gate.clone();
    let tap = lab.fabric().tap(tap, move |_| Some(Box::new(Gate(inner.clone())))).unwrap();
    let (echo, other) = (serve_echo(&nodes[1], PORT), serve_echo(&nodes[1], 7001));
    assert!(reaches(&nodes[0], other), "another port is not tapped");
    let mut stream = connect(&nodes[0], echo, PATIENCE).unwrap();
    stream.write_all(b"wait for it").unwrap();
    assert_eq!(hear(&mut stream, MS(600)), Err(ErrorKind::WouldBlock));
    gate.store(true, Relaxed);
    tap.poke();
    assert_eq!(read_exact(&mut stream, 11), b"wait for it");
    let before = tap.counters();
    for _ in 0..100 {
        round_trip(&mut stream).expect("an echo");
    }
    let after = tap.heal();
    assert!(after.made - before.made < 5 && after.edited == 0, "plain again: {before:?} {after:?}");
    round_trip(&mut stream).expect("an echo without the tap");
}

/// Delays what goes to the server by 100 ms: swallows it now, and puts it back later.
#[derive(Default)]
struct Later(Vec<(u64, Vec<u8>)>);

impl Interceptor for Later {
    fn data(&mut self, way: Way, wire: &mut Wire<'_>) {
        if way == Way::ToClient {
            return pass(way, wire);
        }
        let bytes = wire.pending(way).to_vec();
        wire.replace(way, bytes.len(), b"");
        self.0.push((wire.now_ns() + 100_000_000, bytes));
        wire.wake_at(self.0[0].0);
    }
    fn woken(&mut self, wire: &mut Wire<'_>) {
        let now_ns = wire.now_ns();
        while self.0.first().is_some_and(|(due_ns, _)| *due_ns <= now_ns) {
            wire.replace(Way::ToServer, 0, &self.0.remove(0).1);
        }
        self.0.first().into_iter().for_each(|(due_ns, _)| wire.wake_at(*due_ns));
    }
}

pub fn a_delayed_message_comes_at_its_time() {
    let (lab, nodes) = lab_of("tap-later", 2);
    let tap = Tap { name: "later".into(), server_ports: vec![], nodes: None };
    let tap = lab.fabric().tap(tap, |_| Some(Box::<Later>::default())).unwrap();
    let echo = serve_echo(&nodes[1], PORT);
    let mut stream = connect(&nodes[0], echo, PATIENCE).unwrap();
    for _ in 0..5 {
        let took = round_trip(&mut stream).expect("an echo");
        assert!((MS(100)..MS(1_500)).contains(&took), "{took:?}");
    }
    assert_eq!(tap.heal().drained, 0, "in the end both sides count alike");
    round_trip(&mut stream).expect("an echo without the tap");
}

pub fn a_reset_reaches_both_ends() {
    let (lab, nodes) = lab_of("tap-reset", 2);
    let tap = tap_all(&lab, |way, wire: &mut Wire<'_>| match wire.pending(way) {
        b"die" => wire.reset(),
        _ => pass(way, wire),
    });
    let addr = SocketAddr::from((nodes[1].addr(), PORT));
    let listener = inside(&nodes[1], move || TcpListener::bind(addr).unwrap());
    let mut near = connect(&nodes[0], addr, PATIENCE).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    near.write_all(b"hello").unwrap();
    assert_eq!(read_exact(&mut far, 5), b"hello");
    near.write_all(b"die").unwrap();
    assert_eq!(hear(&mut near, PATIENCE), Err(ErrorKind::ConnectionReset));
    assert_eq!(hear(&mut far, PATIENCE), Err(ErrorKind::ConnectionReset));
    assert_eq!(tap.counters().reset, 1);
}

pub fn a_reset_of_an_end_passes_an_edited_flow() {
    let (lab, nodes) = lab_of("tap-their-reset", 2);
    let _tap = tap_all(&lab, dress);
    let addr = SocketAddr::from((nodes[1].addr(), PORT));
    let listener = inside(&nodes[1], move || TcpListener::bind(addr).unwrap());
    let mut near = connect(&nodes[0], addr, PATIENCE).unwrap();
    let (far, _) = listener.accept().unwrap();
    near.write_all(b"a").unwrap();
    eventually("the edit arrives", || far.peek(&mut [0; 9]).is_ok_and(|len| len == 3));
    far.set_read_timeout(Some(MS(1))).unwrap();
    drop(far); // with bytes unread: a reset, not an end
    assert_eq!(hear(&mut near, PATIENCE), Err(ErrorKind::ConnectionReset));
}

pub fn when_the_tap_goes_edited_flows_are_reset_and_others_go_on() {
    let (lab, nodes) = lab_of("tap-drop", 2);
    let seen: Arc<Mutex<Vec<Flow>>> = Arc::default();
    let tap = Tap { name: "test".into(), server_ports: vec![], nodes: None };
    let flows = seen.clone();
    let echo = serve_echo(&nodes[1], PORT);
    let mut before = connect(&nodes[0], echo, PATIENCE).unwrap();
    let tap = lab.fabric().tap(tap, move |flow| {
        flows.lock().unwrap().push(*flow);
        Some(Box::new(On(dress)))
    });
    let tap = tap.unwrap();
    before.write_all(b"a").unwrap();
    assert_eq!(read_exact(&mut before, 1), b"a", "its SYN was not seen");
    let mut same = connect(&nodes[0], echo, PATIENCE).unwrap();
    let mut edited = connect(&nodes[0], echo, PATIENCE).unwrap();
    let mut balanced = connect(&nodes[0], echo, PATIENCE).unwrap();
    round_trip(&mut same).unwrap();
    edited.write_all(b"a").unwrap();
    assert_eq!(read_exact(&mut edited, 3), b"<a>");
    balanced.write_all(b"a--").unwrap();
    assert_eq!(read_exact(&mut balanced, 3), b"<a>");
    let seen = seen.lock().unwrap().clone();
    let client = edited.local_addr().unwrap().port();
    assert_eq!(seen.iter().map(|flow| flow.id).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!((seen[1].client.node, seen[1].client.port), (nodes[0].id(), client));
    assert_eq!((seen[1].server.node, seen[1].server.port), (nodes[1].id(), PORT));
    let counters = tap.heal();
    assert_eq!((counters.flows, counters.edited, counters.drained), (3, 2, 1), "{counters:?}");
    assert_eq!(hear(&mut edited, PATIENCE), Err(ErrorKind::ConnectionReset));
    for mut stream in [before, same, balanced] {
        stream.write_all(b"a-a").unwrap();
        assert_eq!(read_exact(&mut stream, 3), b"a-a");
    }
    let mut fresh = connect(&nodes[0], echo, PATIENCE).unwrap();
    fresh.write_all(b"a-").unwrap();
    assert_eq!(read_exact(&mut fresh, 2), b"a-");
}

pub fn a_slow_reader_gets_a_grown_stream_through_its_window() {
    let (lab, nodes) = lab_of("tap-window", 2);
    let _tap = tap_all(&lab, dress);
    let addr = SocketAddr::from((nodes[1].addr(), PORT));
    let listener = inside(&nodes[1], move || TcpListener::bind(addr).unwrap());
    let mut near = connect(&nodes[0], addr, PATIENCE).unwrap();
    let (mut far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent = vec![b'a'; 4_000_000];
    let writer = std::thread::spawn(move || {
        near.write_all(&sent).unwrap();
        near
    });
    std::thread::sleep(MS(500)); // until the window is closed
    let mut received = 0;
    let mut buffer = vec![0; 100_000];
    while received < 12_000_000 {
        let len = far.read(&mut buffer).expect("more");
        for (i, byte) in buffer[..len].iter().enumerate() {
            assert_eq!(*byte, b"<a>"[(received + i) % 3]);
        }
        received += len;
        if received < 2_000_000 {
            std::thread::sleep(MS(5));
        }
    }
    drop(writer.join().unwrap());
    assert_eq!(hear(&mut far, PATIENCE), Ok(vec![]));
}

pub fn the_end_lets_go_of_what_waits() {
    let (lab, nodes) = lab_of("tap-overflow", 2);
    let waiting = |way: Way, wire: &mut Wire<'_>| {
        if way == Way::ToClient {
            pass(way, wire);
        }
    };
    let tap = tap_all(&lab, waiting);
    let (addr, served) = serve_once(&nodes[1], b"done".to_vec());
    let request = text(100_000);
    // Its end lets go of what waits.
    assert!(exchange(&nodes[0], addr, &request[..9_000]) == b"done");
    assert!(served.join().unwrap() == request[..9_000]);
    assert_eq!((tap.counters().overflowed, tap.counters().edited), (0, 0));
}

pub fn bad_taps_are_refused_with_a_reason() {
    let (lab, nodes) = lab_of("bad-taps", 1);
    let refused = |nodes| {
        let tap = Tap { name: "bad".into(), server_ports: vec![], nodes: Some(nodes) };
        match lab.fabric().tap(tap, |_| None) {
            Ok(_) => panic!("it was installed"),
            Err(e) => e.to_string(),
        }
    };
    assert!(refused(vec![]).contains("no node"));
    assert!(refused(vec![nodes[0].id(), lab::NodeId(7)]).contains("node 7 does not exist"));
}
