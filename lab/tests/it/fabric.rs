//! What the fabric carries, and what rules do to it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use lab::{Action, Lab, LabOptions, Node, NodeId, RuleCounters};

use crate::net::*;

const MS: fn(u64) -> Duration = Duration::from_millis;

pub fn two_nodes_talk_tcp_and_the_link_counts_it() {
    let (lab, nodes) = lab_of("talk", 2);
    let echo = serve_echo(&nodes[1], 7000);
    let mut stream = connect(&nodes[0], echo, PATIENCE).expect("connect");
    for _ in 0..100 {
        round_trip(&mut stream).expect("an echo");
    }
    assert_eq!(stream.peer_addr().unwrap().ip(), nodes[1].addr());
    let there = lab.fabric().link_counters(nodes[0].id(), nodes[1].id());
    let back = lab.fabric().link_counters(nodes[1].id(), nodes[0].id());
    assert!(there.packets >= 100 && back.packets >= 100, "{there:?} {back:?}");
    assert!(there.bytes >= there.packets * 40, "{there:?}");
    assert_eq!((there.dropped, there.delayed), (0, 0));
    assert_eq!(lab.fabric().totals().unroutable, 0);
    assert_eq!(nodes[0].device_drops(), Some(0));
}

pub fn a_one_way_drop_cuts_one_direction_only() {
    let (lab, nodes) = lab_of("one-way", 2);
    let (a, b) = (udp(&nodes[0], 9), udp(&nodes[1], 9));
    let there = vec![(nodes[0].id(), nodes[1].id())];
    let guard = lab.fabric().install(rule("cut", there, Action::Drop)).unwrap();
    send_numbered(&a, &b, 10);
    send_numbered(&b, &a, 10);
    assert_eq!(receive_numbers(&a).len(), 10);
    assert_eq!(receive_numbers(&b), []);
    assert_eq!(guard.counters(), RuleCounters { matched: 10, dropped: 10, ..Default::default() });
    assert_eq!(lab.fabric().link_counters(nodes[0].id(), nodes[1].id()).dropped, 10);
    assert_eq!(lab.fabric().link_counters(nodes[1].id(), nodes[0].id()).dropped, 0);
}

pub fn halves_are_apart_and_each_half_is_whole() {
    let (lab, nodes) = lab_of("halves", 4);
    let echoes: Vec<SocketAddr> = nodes.iter().map(|node| serve_echo(node, 7000)).collect();
    let links = [(0, 2), (0, 3), (1, 2), (1, 3)];
    let links = links.iter().flat_map(|&(i, j)| both_ways(&nodes[i], &nodes[j])).collect();
    let guard = lab.fabric().install(rule("halves", links, Action::Drop)).unwrap();
    for (i, node) in nodes.iter().enumerate() {
        for (j, echo) in echoes.iter().enumerate() {
            assert_eq!(reaches(node, *echo), i / 2 == j / 2, "{i} -> {j}");
        }
    }
    assert!(guard.heal().dropped > 0);
    assert!(nodes.iter().all(|node| echoes.iter().all(|echo| reaches(node, *echo))));
}

pub fn a_bridge_node_reaches_both_sides_of_a_cut() {
    let (lab, nodes) = lab_of("bridge", 3);
    let echoes: Vec<SocketAddr> = nodes.iter().map(|node| serve_echo(node, 7000)).collect();
    let links = both_ways(&nodes[0], &nodes[2]);
    let _guard = lab.fabric().install(rule("bridge", links, Action::Drop)).unwrap();
    assert!(reaches(&nodes[1], echoes[0]) && reaches(&nodes[1], echoes[2]));
    assert!(!reaches(&nodes[0], echoes[2]) && !reaches(&nodes[2], echoes[0]));
}

pub fn a_rule_on_a_port_leaves_the_others_alone() {
    let (lab, nodes) = lab_of("port", 2);
    let (cut, open) = (serve_echo(&nodes[1], 6379), serve_echo(&nodes[1], 2181));
    let only_port = rule("port", both_ways(&nodes[0], &nodes[1]), Action::Drop).on_ports(6379);
    let guard = lab.fabric().install(only_port).unwrap();
    assert!(reaches(&nodes[0], open) && !reaches(&nodes[0], cut));
    let counters = guard.heal();
    assert!(counters.matched > 0 && counters.matched == counters.dropped, "{counters:?}");
    assert!(reaches(&nodes[0], cut));
}

pub fn a_healed_rule_lets_packets_pass_again() {
    let (lab, nodes) = lab_of("heal", 2);
    let echo = serve_echo(&nodes[1], 7000);
    let mut stream = connect(&nodes[0], echo, PATIENCE).expect("connect");
    let links = both_ways(&nodes[0], &nodes[1]);
    let guard = lab.fabric().install(rule("cut", links, Action::Drop)).unwrap();
    stream.write_all(b"late").unwrap();
    eventually("a packet meets the cut", || guard.counters().dropped > 0);
    let healed = guard.heal();
    assert_eq!(healed.matched, healed.dropped);
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("TCP sends it again");
    assert_eq!(&answer, b"late");
    assert!(lab.fabric().rules().is_empty());
}

pub fn a_dropped_guard_heals() {
    let (lab, nodes) = lab_of("guard", 2);
    let echo = serve_echo(&nodes[1], 7000);
    {
        let links = both_ways(&nodes[0], &nodes[1]);
        let _guard = lab.fabric().install(rule("cut", links, Action::Drop)).unwrap();
        assert_eq!(lab.fabric().rules().len(), 1);
        assert!(!reaches(&nodes[0], echo));
    }
    assert!(lab.fabric().rules().is_empty());
    assert!(reaches(&nodes[0], echo));
}

pub fn a_delay_shifts_the_round_trip_and_keeps_order() {
    let (lab, nodes) = lab_of("delay", 2);
    let echo = serve_echo(&nodes[1], 7000);
    let mut stream = connect(&nodes[0], echo, PATIENCE).expect("connect");
    let delay = Action::Delay { base: MS(40), jitter: MS(20) };
    let guard = lab.fabric().install(rule("slow", vec![(nodes[0].id(), nodes[1].id())], delay)).unwrap();
    for _ in 0..5 {
        let took = round_trip(&mut stream).expect("an echo");
        assert!((MS(40)..MS(2_000)).contains(&took), "{took:?}");
    }
    assert!(guard.counters().delayed >= 5);
    let (a, b) = (udp(&nodes[0], 9), udp(&nodes[1], 9));
    send_numbered(&a, &b, 200);
    assert_eq!(receive_numbers(&b), (0..200).collect::<Vec<_>>());
    let link = lab.fabric().link_counters(nodes[0].id(), nodes[1].id());
    assert_eq!(link.delayed, guard.counters().delayed);
}

pub fn healing_a_delay_releases_what_it_holds() {
    let (lab, nodes) = lab_of("release", 2);
    let (a, b) = (udp(&nodes[0], 9), udp(&nodes[1], 9));
    let delay = Action::Delay { base: Duration::from_secs(600), jitter: Duration::ZERO };
    let link = vec![(nodes[0].id(), nodes[1].id())];
    let guard = lab.fabric().install(rule("frozen", link, delay)).unwrap();
    send_numbered(&a, &b, 50);
    eventually("all are held", || guard.counters().delayed == 50);
    assert_eq!(receive_numbers(&b), []);
    guard.heal();
    assert_eq!(receive_numbers(&b), (0..50).collect::<Vec<_>>());
}

pub fn a_cut_takes_packets_that_are_being_held() {
    let (lab, nodes) = lab_of("cut-held", 2);
    let (a, b) = (udp(&nodes[0], 9), udp(&nodes[1], 9));
    let link = vec![(nodes[0].id(), nodes[1].id())];
    let delay = Action::Delay { base: MS(500), jitter: Duration::ZERO };
    let slow = lab.fabric().install(rule("slow", link.clone(), delay)).unwrap();
    send_numbered(&a, &b, 10);
    eventually("all are held", || slow.counters().delayed == 10);
    let cut = lab.fabric().install(rule("cut", link, Action::Drop)).unwrap();
    eventually("all are dropped", || cut.counters().dropped == 10);
    cut.heal();
    assert_eq!(receive_numbers(&b), []);
}

pub fn loss_drops_its_share_and_the_counters_agree_with_the_receiver() {
    let (lab, nodes) = lab_of("loss", 2);
    let (a, b) = (udp(&nodes[0], 9), udp(&nodes[1], 9));
    let link = vec![(nodes[0].id(), nodes[1].id())];
    let guard = lab.fabric().install(rule("loss", link, Action::Loss { probability: 0.25 })).unwrap();
    let mut received = 0;
    for _ in 0..20 {
        send_numbered(&a, &b, 100);
        received += receive_numbers_quickly(&b, 100);
    }
    let counters = guard.heal();
    assert_eq!(counters.matched, 2_000);
    assert_eq!(counters.dropped + received, 2_000, "what is not dropped arrives");
    // Five standard deviations of a binomial(2000, 0.25) are 97.
    assert!((403..=597).contains(&counters.dropped), "{counters:?}");
}

/// Counts datagrams until none has come for a while.
fn receive_numbers_quickly(socket: &std::net::UdpSocket, at_most: usize) -> u64 {
    let numbers = receive_numbers(socket);
    assert!(numbers.len() <= at_most && numbers.is_sorted());
    numbers.len() as u64
}

pub fn the_same_seed_loses_the_same_packets() {
    let survivors = |seed: u64| {
        let (lab, nodes) = lab_of("seed", 2);
        let (a, b) = (udp(&nodes[0], 9), udp(&nodes[1], 9));
        let link = vec![(nodes[0].id(), nodes[1].id())];
        let mut loss = rule("loss", link, Action::Loss { probability: 0.5 });
        loss.seed = seed;
        let _guard = lab.fabric().install(loss).unwrap();
        send_numbered(&a, &b, 200);
        receive_numbers(&b)
    };
    let first = survivors(1);
    assert_eq!(first, survivors(1));
    assert_ne!(first, survivors(2));
}

pub fn a_bulk_transfer_arrives_whole_under_loss_delay_and_jitter() {
    const BYTES: usize = 2_000_000;
    let (lab, nodes) = lab_of("bulk", 2);
    let links = both_ways(&nodes[0], &nodes[1]);
    let delay = Action::Delay { base: MS(1), jitter: MS(1) };
    let slow = lab.fabric().install(rule("slow", links.clone(), delay)).unwrap();
    let loss = lab.fabric().install(rule("loss", links, Action::Loss { probability: 0.01 })).unwrap();
    let addr = SocketAddr::from((nodes[1].addr(), 7001));
    let listener = inside(&nodes[1], move || TcpListener::bind(addr).unwrap());
    let receiver = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut bytes).unwrap();
        bytes
    });
    let sent: Vec<u8> = (0..BYTES).map(|i| (i * 7 % 251) as u8).collect();
    let mut stream = connect(&nodes[0], addr, PATIENCE).expect("connect");
    stream.write_all(&sent).unwrap();
    drop(stream);
    assert!(receiver.join().unwrap() == sent, "the bytes differ");
    assert!(slow.heal().delayed > 1_000 && loss.heal().dropped > 0);
}

pub fn packets_to_nowhere_are_counted() {
    let (lab, nodes) = lab_of("nowhere", 1);
    let socket = udp(&nodes[0], 9);
    for _ in 0..5 {
        socket.send_to(b"hello", "10.77.0.200:9").unwrap();
    }
    eventually("all are counted", || lab.fabric().totals().unroutable == 5);
    assert!(socket.send_to(b"hello", "192.0.2.1:9").is_err(), "there is no way out of the lab");
}

pub fn bad_rules_are_refused_with_a_reason() {
    let (lab, nodes) = lab_of("bad-rules", 1);
    let refused = |links, action| match lab.fabric().install(rule("bad", links, action)) {
        Ok(_) => panic!("it was installed"),
        Err(e) => e.to_string(),
    };
    let (here, nowhere) = (nodes[0].id(), NodeId(7));
    assert!(refused(vec![(here, nowhere)], Action::Drop).contains("does not exist"));
    assert!(refused(vec![], Action::Drop).contains("no link"));
    assert!(lab.fabric().rules().is_empty());
    assert_eq!(lab.fabric().link_counters(here, nowhere), Default::default());
}

pub fn two_labs_with_the_same_addresses_do_not_meet() {
    let (one, ones) = lab_of("one", 2);
    let (two, twos) = lab_of("two", 2);
    assert_eq!(ones[1].addr(), twos[1].addr());
    let echo = serve_echo(&ones[1], 7000);
    assert!(reaches(&ones[0], echo));
    let started = Instant::now();
    assert!(!reaches(&twos[0], echo), "nobody listens in lab two");
    assert!(started.elapsed() < PATIENCE);
    let before = two.fabric().link_counters(twos[0].id(), twos[1].id());
    assert!(reaches(&ones[0], echo));
    assert_eq!(before, two.fabric().link_counters(twos[0].id(), twos[1].id()));
    drop(one);
    let echo = serve_echo(&twos[1], 7001);
    assert!(reaches(&twos[0], echo), "one lab's end is not the other's");
    drop(Lab::up(LabOptions::named("three")).expect("a third lab beside them"));
}

pub fn twins_answer_at_one_address_each_to_its_own() {
    let (lab, nodes) = lab_of("twins", 4);
    let [first, other, near, far] = nodes.as_slice() else { panic!() };
    let serve = |node: &Node, say: &'static [u8]| {
        let addr = SocketAddr::from((node.addr(), 7000));
        let listener = inside(node, move || TcpListener::bind(addr).unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let from = stream.peer_addr().unwrap().ip().to_string();
                let _ = stream.write_all(&[say, b" hears ", from.as_bytes()].concat());
            }
        });
        addr
    };
    let addr = serve(first, b"first");
    let own = serve(other, b"other");
    let hears = |node: &Node, addr: SocketAddr| {
        let mut said = String::new();
        connect(node, addr, PATIENCE).unwrap().read_to_string(&mut said).unwrap();
        said
    };
    let says = |who: &str, to: &Node| format!("{who} hears {}", to.addr());
    let twin = lab::Twin { name: "t".into(), of: first.id(), other: other.id(), shown_to: vec![far.id()] };
    let twins = lab.fabric().twin(twin.clone()).unwrap();
    assert_eq!(hears(near, addr), says("first", near));
    assert_eq!(hears(far, addr), says("other", far), "the same address, another server");
    assert_eq!(hears(near, own), says("other", near), "to the others it is a node like any other");
    let counters = twins.counters();
    assert!(counters.led >= 3 && counters.posed >= 3, "{counters:?}");
    drop(twins);
    assert_eq!(hears(far, addr), says("first", far), "healed");
    let own_twin = lab::Twin { other: first.id(), ..twin.clone() };
    assert!(lab.fabric().twin(own_twin).err().unwrap().to_string().contains("cannot be its own twin"));
    let shown_to_itself = lab::Twin { shown_to: vec![other.id()], ..twin };
    assert!(lab.fabric().twin(shown_to_itself).err().unwrap().to_string().contains("other than the two"));
}
