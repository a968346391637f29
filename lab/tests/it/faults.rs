//! Every fault on the way of real packets: its effect, its evidence, that it heals, and that the same exchange is
//! clean without it.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use lab::{Action, CountedPer, End, Fabric, Lab, Latency, Node, RuleCounters, Side, Spread};

use crate::net::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const PORT: u16 = 7000;

/// Two nodes with a socket each, and the link from the first to the second.
struct Pair {
    lab: Lab,
    nodes: Vec<Node>,
    near: UdpSocket,
    far: UdpSocket,
}

impl Pair {
    fn of(name: &str) -> Pair {
        let (lab, nodes) = lab_of(name, 2);
        let (near, far) = (udp(&nodes[0], 9), udp(&nodes[1], 9));
        Pair { lab, nodes, near, far }
    }

    fn fabric(&self) -> &Fabric {
        self.lab.fabric()
    }

    /// A rule from the first node to the second.
    fn there(&self, action: Action) -> lab::Rule {
        rule("there", vec![(self.nodes[0].id(), self.nodes[1].id())], action)
    }

    fn both(&self, action: Action) -> lab::Rule {
        rule("both", both_ways(&self.nodes[0], &self.nodes[1]), action)
    }

    /// What arrives of so many numbered datagrams; some 270 fit into the receiver's socket.
    fn exchange(&self, count: u32) -> Vec<u32> {
        send_numbered(&self.near, &self.far, count);
        receive_numbers(&self.far)
    }

    /// Nothing that was done lasts.
    fn is_clean(&self) {
        assert_eq!(self.exchange(100), (0..100).collect::<Vec<_>>());
        assert_eq!(self.fabric().totals().held, 0);
        assert!(self.fabric().rules().is_empty());
        let (mut client, mut server) = self.connection();
        client.write_all(b"ping").unwrap();
        let mut seen = [0; 4];
        server.read_exact(&mut seen).unwrap();
        assert_eq!(&seen, b"ping");
    }

    /// A connection from the first node to the second: both its ends.
    fn connection(&self) -> (TcpStream, TcpStream) {
        let addr = SocketAddr::from((self.nodes[1].addr(), PORT));
        let listener = inside(&self.nodes[1], move || TcpListener::bind(addr).expect("bind"));
        let client = connect(&self.nodes[0], addr, PATIENCE).expect("connect");
        let server = listener.accept().expect("accept").0;
        server.set_nodelay(true).unwrap();
        server.set_read_timeout(Some(PATIENCE)).unwrap();
        (client, server)
    }
}

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

/// Sends all of `bytes` and closes; returns what the other end has read until the end, and how long it took.
fn transfer((mut client, mut server): (TcpStream, TcpStream), bytes: &[u8]) -> (Vec<u8>, Duration) {
    let start = Instant::now();
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        server.read_to_end(&mut seen).expect("all of it");
        seen
    });
    client.write_all(bytes).unwrap();
    drop(client);
    (reader.join().unwrap(), start.elapsed())
}

/// What a read that waits only shortly comes to.
fn glance(stream: &mut TcpStream) -> std::io::Result<usize> {
    stream.set_read_timeout(Some(SILENCE)).unwrap();
    stream.read(&mut [0; 64])
}

/// True if the end of a connection hears nothing and believes that all is well.
fn waits(stream: &mut TcpStream) -> bool {
    glance(stream).is_err_and(|e| matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

fn is_reset(stream: &mut TcpStream) -> bool {
    glance(stream).is_err_and(|e| e.kind() == ErrorKind::ConnectionReset)
}

pub fn duplicates_arrive_twice() {
    let pair = Pair::of("duplicate");
    pair.is_clean();
    let duplicate = pair.there(Action::Duplicate { probability: 0.5 }).on_ports(9);
    let guard = pair.fabric().install(duplicate).unwrap();
    let seen = pair.exchange(150);
    let RuleCounters { matched, duplicated, .. } = guard.heal();
    assert_eq!(matched, 150);
    assert!((45..105).contains(&duplicated), "{duplicated}");
    assert_eq!(seen.len() as u64, 150 + duplicated);
    assert!(seen.is_sorted(), "a copy follows its packet");
    pair.is_clean();
}

pub fn reordered_packets_arrive_late_and_all() {
    let pair = Pair::of("reorder");
    let reorder = Action::Reorder { probability: 0.2, by: MS(5) };
    let guard = pair.fabric().install(pair.there(reorder)).unwrap();
    let mut seen = pair.exchange(200);
    let counters = guard.heal();
    assert!(!seen.is_sorted() && counters.reordered > 15, "{counters:?}");
    seen.sort_unstable();
    assert_eq!(seen, (0..200).collect::<Vec<_>>());
    pair.is_clean();
}

pub fn a_slow_link_carries_its_rate_and_drops_the_tail_of_its_queue() {
    let pair = Pair::of("rate");
    let bytes = pattern(400_000);
    let rate = Action::Rate { bytes_per_s: 1_000_000, burst_bytes: 10_000, queue_bytes: 60_000 };
    let guard = pair.fabric().install(pair.there(rate)).unwrap();
    let (seen, took) = transfer(pair.connection(), &bytes);
    assert!(seen == bytes && (MS(350)..MS(5_000)).contains(&took), "{took:?}");
    assert!(guard.counters().shaped > 100, "{:?}", guard.counters());
    guard.heal();
    let rate = Action::Rate { bytes_per_s: 10_000, burst_bytes: 0, queue_bytes: 320 };
    let guard = pair.fabric().install(pair.there(rate)).unwrap();
    let seen = pair.exchange(100);
    let counters = guard.heal();
    assert_eq!(seen.len() as u64 + counters.dropped, 100);
    assert!((10..40).contains(&seen.len()), "{} of 100 in a queue of 10", seen.len());
    assert!(seen.is_sorted());
    let (seen, took) = transfer(pair.connection(), &bytes);
    assert!(seen == bytes && took < MS(350), "{took:?} without a rule");
    pair.is_clean();
}

pub fn corruption_is_caught_by_checksums_unless_they_are_repaired() {
    let pair = Pair::of("corrupt");
    let all = |repair| Action::Corrupt { probability: 1.0, repair };
    let guard = pair.fabric().install(pair.there(all(false))).unwrap();
    assert_eq!(pair.exchange(50), []);
    assert_eq!(guard.heal().corrupted, 50);
    let bytes = pattern(400_000);
    let some = Action::Corrupt { probability: 0.05, repair: false };
    let guard = pair.fabric().install(pair.there(some)).unwrap();
    let (seen, _) = transfer(pair.connection(), &bytes);
    assert!(seen == bytes && guard.heal().corrupted > 3, "TCP sends again what came wrong");

    let guard = pair.fabric().install(pair.there(all(true))).unwrap();
    let seen = pair.exchange(50);
    assert_eq!((seen.len(), guard.heal().corrupted), (50, 50));
    let flipped = seen.iter().zip(0u32..).map(|(seen, sent)| (seen ^ sent).count_ones());
    assert!(flipped.into_iter().all(|bits| bits == 1), "{seen:?}");
    let some = Action::Corrupt { probability: 0.1, repair: true };
    let guard = pair.fabric().install(pair.there(some)).unwrap();
    let (seen, _) = transfer(pair.connection(), &bytes);
    assert_eq!(seen.len(), bytes.len());
    let flipped: u32 = seen.iter().zip(&bytes).map(|(a, b)| (a ^ b).count_ones()).sum();
    assert!(flipped > 0 && u64::from(flipped) <= guard.heal().corrupted, "{flipped} bits");
    pair.is_clean();
}

pub fn a_black_hole_swallows_what_is_long() {
    let pair = Pair::of("black-hole");
    let (mut client, mut server) = pair.connection();
    let guard = pair.fabric().install(pair.there(Action::BlackHole { mtu: 576 })).unwrap();
    let mut seen = [0; 300];
    client.write_all(&[1; 300]).unwrap();
    server.read_exact(&mut seen).expect("short ones pass");
    client.write_all(&[2; 1_400]).unwrap();
    assert!(waits(&mut server));
    assert!(guard.heal().dropped > 0);
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.read_exact(&mut [0; 1_400]).expect("TCP sends it again");
    pair.is_clean();
}

pub fn a_reset_ends_a_connection_at_both_ends() {
    let pair = Pair::of("reset");
    let only = |guard: &lab::RuleGuard| guard.counters().reset;
    for idle_first in [true, false] {
        let (mut client, mut server) = pair.connection();
        if !idle_first {
            for _ in 0..20 {
                client.write_all(&[1; 100]).unwrap();
                server.read_exact(&mut [0; 100]).unwrap();
                server.write_all(&[2; 50]).unwrap();
                client.read_exact(&mut [0; 50]).unwrap();
            }
        }
        let reset = pair.both(Action::Reset { probability: 1.0 }).on_ports(PORT);
        let guard = pair.fabric().install(reset).unwrap();
        client.write_all(b"ping").unwrap();
        assert!(is_reset(&mut client), "the sender");
        let _may_have_arrived = glance(&mut server);
        assert!(is_reset(&mut server) || server.take_error().unwrap().is_some() || write_fails(&mut server));
        assert_eq!(only(&guard), 1);
        guard.heal();
    }
    pair.is_clean();
}

fn write_fails(stream: &mut TcpStream) -> bool {
    (0..5).any(|_| stream.write_all(b"x").is_err())
}

pub fn a_half_open_connection_is_lost_at_one_end_only() {
    let pair = Pair::of("half-open");
    for loser in [End::Client, End::Server] {
        let (client, server) = pair.connection();
        let (mut loses, mut believes) =
            if loser == End::Client { (client, server) } else { (server, client) };
        let half_open = pair.both(Action::HalfOpen { loser, probability: 1.0 }).on_ports(PORT);
        let guard = pair.fabric().install(half_open).unwrap();
        believes.write_all(b"ping").unwrap();
        assert!(is_reset(&mut loses), "{loser:?}");
        assert!(waits(&mut believes));
        believes.write_all(b"still there?").expect("it believes");
        assert!(waits(&mut believes), "the other one's own resets do not get through");
        let counters = guard.heal();
        assert!(counters.reset == 1 && counters.dropped > 1, "{counters:?}");
        eventually("it finds out", || is_reset(&mut believes) || write_fails(&mut believes));
    }
    pair.is_clean();
}

pub fn a_slow_close_is_told_when_the_rule_is_healed() {
    let pair = Pair::of("slow-close");
    let (mut client, mut server) = pair.connection();
    let guard = pair.fabric().install(pair.there(Action::SlowClose { hold: None })).unwrap();
    client.write_all(b"last").unwrap();
    drop(client);
    server.read_exact(&mut [0; 4]).expect("what was sent before");
    assert!(waits(&mut server), "it does not know that the other end is gone");
    assert!(guard.heal().delayed > 0);
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(server.read(&mut [0; 4]).unwrap(), 0);
    let hold = Action::SlowClose { hold: Some(MS(200)) };
    let (client, mut server) = pair.connection();
    let _guard = pair.fabric().install(pair.there(hold)).unwrap();
    let start = Instant::now();
    drop(client);
    assert_eq!(server.read(&mut [0; 4]).unwrap(), 0);
    assert!((MS(200)..MS(1_500)).contains(&start.elapsed()), "{:?}", start.elapsed());
    drop(_guard);
    pair.is_clean();
}

pub fn a_hidden_close_leaves_the_other_end_believing_until_it_is_healed() {
    let pair = Pair::of("hidden-close");
    let (mut client, mut server) = pair.connection();
    let guard = pair.fabric().install(pair.there(Action::HideClose)).unwrap();
    client.write_all(b"last").unwrap();
    drop(client);
    server.read_exact(&mut [0; 4]).expect("what was sent before");
    assert!(waits(&mut server), "it does not know that the other end is gone");
    server.write_all(b"are you there?").expect("as if somebody listened");
    assert!(waits(&mut server), "nor does it when the other end refuses what it says");
    let counters = guard.heal();
    assert!(counters.hidden > 1 && counters.dropped > 0, "a FIN and a RST: {counters:?}");
    eventually("it finds out", || is_reset(&mut server) || write_fails(&mut server));
    pair.is_clean();
}

pub fn a_stalled_connection_goes_on_when_the_rule_is_healed() {
    let pair = Pair::of("stall");
    let (client, mut server) = pair.connection();
    let stall = Action::Stall { after_bytes: 5_000, per: CountedPer::Connection };
    let guard = pair.fabric().install(pair.there(stall)).unwrap();
    let bytes = pattern(50_000);
    let writer = std::thread::spawn({
        let (bytes, mut client) = (bytes.clone(), client);
        move || client.write_all(&bytes).unwrap()
    });
    server.set_read_timeout(Some(SILENCE)).unwrap();
    let mut seen = Vec::new();
    let end = server.read_to_end(&mut seen).unwrap_err();
    assert_eq!(end.kind(), ErrorKind::WouldBlock, "it waits for more");
    assert!((1_000..=5_000).contains(&seen.len()), "{}", seen.len());
    assert!(guard.heal().dropped > 0);
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.read_to_end(&mut seen).unwrap();
    writer.join().unwrap();
    assert!(seen == bytes, "nothing is lost in the end");
    pair.is_clean();
}

pub fn a_stalled_link_carries_so_many_bytes_and_no_more() {
    let pair = Pair::of("stall-link");
    let stall = Action::Stall { after_bytes: 20 * 32, per: CountedPer::Link };
    let guard = pair.fabric().install(pair.there(stall)).unwrap();
    assert_eq!(pair.exchange(50), (0..20).collect::<Vec<_>>(), "a datagram of 4 bytes has 32 on the link");
    assert_eq!(guard.heal().dropped, 30);
    pair.is_clean();
}

pub fn a_latency_spreads_as_its_distribution_says() {
    let pair = Pair::of("latency");
    let (mut client, server) = pair.connection();
    std::thread::spawn(move || {
        let (mut server, mut buffer) = (server, [0; 4]);
        while server.read_exact(&mut buffer).and_then(|()| server.write_all(&buffer)).is_ok() {}
    });
    let mut median_ms = || {
        let mut trips: Vec<_> = (0..60).map(|_| round_trip(&mut client).expect("an echo")).collect();
        trips.sort_unstable();
        (trips[30].as_secs_f64() * 1e3, trips[59].as_secs_f64() * 1e3)
    };
    let (bare, _) = median_ms();
    let latency = Latency { base: MS(5), jitter: MS(10), spread: Spread::Exponential, correlation: 0.0 };
    let guard = pair.fabric().install(pair.there(Action::Latency(latency))).unwrap();
    let (median, longest) = median_ms();
    // Half of an exponential distribution lies below ln 2 times its mean; the longest of 60 is some 4.7 means.
    assert!((bare + 8.0..bare + 25.0).contains(&median) && longest > 25.0, "{bare} {median} {longest}");
    assert!(guard.heal().delayed >= 60);
    assert!(median_ms().0 < 5.0);
    pair.is_clean();
}

pub fn bursts_lose_packets_in_runs() {
    let pair = Pair::of("bursts");
    let bursts = Action::Bursts { to_bad: 0.02, to_good: 0.1, loss_good: 0.0, loss_bad: 1.0 };
    let guard = pair.fabric().install(pair.there(bursts)).unwrap();
    let seen: Vec<u32> = (0..4).flat_map(|_| pair.exchange(250)).collect();
    let dropped = guard.heal().dropped;
    assert_eq!(seen.len() as u64 + dropped, 1_000, "what is not dropped arrives");
    let runs = seen.windows(2).filter(|pair| pair[1] > pair[0] + 1).count() as u64;
    assert!(dropped > 30 && runs > 0 && dropped > 3 * runs, "{dropped} in {runs} runs");
    pair.is_clean();
}

pub fn a_flapping_cut_lets_packets_pass_now_and_then() {
    let pair = Pair::of("flap");
    let flap = pair.there(Action::Drop).flapping(MS(40), MS(60));
    let guard = pair.fabric().install(flap).unwrap();
    let to = pair.far.local_addr().unwrap();
    for number in 0..200u32 {
        pair.near.send_to(&number.to_be_bytes(), to).unwrap();
        std::thread::sleep(MS(2));
    }
    let seen = receive_numbers(&pair.far);
    let dropped = guard.heal().dropped;
    assert_eq!(seen.len() as u64 + dropped, 200);
    assert!((40..130).contains(&dropped), "{dropped} of 200 in 40 of 100 ms");
    let cuts = seen.windows(2).filter(|pair| pair[1] > pair[0] + 5).count();
    assert!(cuts >= 2, "{seen:?}");
    pair.is_clean();
}

pub fn a_rule_whose_time_is_up_heals_without_anybody() {
    let pair = Pair::of("dead-man");
    let cut = pair.fabric().install(pair.there(Action::Drop).expiring(MS(400))).unwrap();
    let hold = Action::Delay { base: Duration::from_secs(600), jitter: Duration::ZERO };
    let back = vec![(pair.nodes[1].id(), pair.nodes[0].id())];
    let slow = pair.fabric().install(rule("slow", back, hold).expiring(MS(400))).unwrap();
    send_numbered(&pair.near, &pair.far, 10);
    send_numbered(&pair.far, &pair.near, 10);
    eventually("all are judged", || cut.counters().dropped == 10 && slow.counters().delayed == 10);
    assert!(!cut.counters().expired && pair.fabric().rules().len() == 2);
    assert_eq!(pair.fabric().totals().held, 10);
    eventually("it is over", || cut.counters().expired && slow.counters().expired);
    assert_eq!(
        receive_numbers(&pair.near),
        (0..10).collect::<Vec<_>>(),
        "let go with no packet to wake anybody"
    );
    pair.is_clean();
    assert_eq!((cut.heal().dropped, slow.heal().delayed), (10, 10));
    pair.is_clean();
}

pub fn a_port_is_matched_on_the_side_that_was_asked_for() {
    let pair = Pair::of("side");
    let (mut client, mut server) = pair.connection();
    let links = both_ways(&pair.nodes[0], &pair.nodes[1]);
    let to_server = rule("to", links.clone(), Action::Drop).on_ports((PORT, Side::Destination));
    let guard = pair.fabric().install(to_server).unwrap();
    client.write_all(b"ping").unwrap();
    assert!(waits(&mut server));
    server.write_all(b"pong").unwrap();
    client.read_exact(&mut [0; 4]).expect("the way back is open");
    assert!(guard.heal().dropped > 0);
    let elsewhere = rule("from", links, Action::Drop).on_ports((9, Side::Source));
    let guard = pair.fabric().install(elsewhere).unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    server.read_exact(&mut [0; 4]).expect("TCP sends it again");
    assert_eq!(guard.heal().matched, 0);
    pair.is_clean();
}

pub fn what_a_rule_makes_does_not_cross_a_cut() {
    let pair = Pair::of("made");
    let (mut client, mut server) = pair.connection();
    let back = rule("cut", vec![(pair.nodes[1].id(), pair.nodes[0].id())], Action::Drop);
    let cut = pair.fabric().install(back).unwrap();
    let reset = pair.both(Action::Reset { probability: 1.0 }).on_ports(PORT);
    let guard = pair.fabric().install(reset).unwrap();
    client.write_all(b"ping").unwrap();
    assert!(waits(&mut client), "its reset is cut");
    assert!(guard.counters().reset >= 1 && cut.counters().dropped >= 1);
    let _may_have_arrived = glance(&mut server);
    assert!(is_reset(&mut server) || write_fails(&mut server));
    drop((guard, cut));
    pair.is_clean();
}
