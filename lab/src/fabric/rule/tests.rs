//! Rules before packets of our own making: what they do, how often, and that nothing upsets them.

use proptest::prelude::*;

use super::*;
use crate::fabric::packet::checksum;
use crate::fabric::packet::samples::{end, tcp, udp};
use crate::fabric::packet::tcp;

const LINK: Link = (NodeId(0), NodeId(1));
const BACK: Link = (NodeId(1), NodeId(0));
const MS: fn(u64) -> Duration = Duration::from_millis;

pub(super) fn state(action: Action, seed: u64) -> RuleState {
    RuleState::new(1, Rule::new("r", vec![LINK, BACK], action, seed))
}

fn datagram(len: usize) -> Vec<u8> {
    udp(end(0, 9), end(1, 9), &vec![7; len - 28])
}

fn fates(rule: &RuleState, link: Link, count: u64) -> Vec<Fate> {
    let packet = datagram(100);
    (0..count).map(|i| rule.judge(link, &packet, i * 1_000)).collect()
}

/// How long each of so many packets is held, far apart from each other, in milliseconds.
fn holds_ms(rule: &RuleState, count: u64) -> Vec<f64> {
    let packet = datagram(100);
    let hold = |i: u64| {
        let now_ns = i * 3_600_000_000_000;
        match rule.judge(LINK, &packet, now_ns) {
            Fate::HoldUntil(due_ns) => (due_ns - now_ns) as f64 / 1e6,
            other => panic!("not held: {other:?}"),
        }
    };
    (0..count).map(hold).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// The correlation of neighbours.
fn correlation(values: &[f64]) -> f64 {
    let (mean, deviation) = (mean(values), deviation(values));
    let products: Vec<f64> = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).collect();
    self::mean(&products) / deviation.powi(2)
}

fn lost(fates: &[Fate]) -> Vec<f64> {
    fates.iter().map(|fate| f64::from(u8::from(*fate == Fate::Drop))).collect()
}

/// Every kind of action, with values that do something.
pub(super) fn every_action() -> Vec<Action> {
    let spreads = [Spread::Uniform, Spread::Normal, Spread::Exponential, Spread::Pareto];
    let latency = |spread| Action::Latency(Latency { base: MS(5), jitter: MS(5), spread, correlation: 0.3 });
    let mut actions = vec![
        Action::Drop,
        Action::Delay { base: MS(1), jitter: MS(1) },
        Action::Loss { probability: 0.5 },
        Action::CorrelatedLoss { probability: 0.5, correlation: 0.5 },
        Action::Bursts { to_bad: 0.2, to_good: 0.2, loss_good: 0.0, loss_bad: 1.0 },
        Action::Duplicate { probability: 0.5 },
        Action::Reorder { probability: 0.5, by: MS(5) },
        Action::Rate { bytes_per_s: 10_000, burst_bytes: 1_000, queue_bytes: 10_000 },
        Action::Corrupt { probability: 0.5, repair: false },
        Action::Corrupt { probability: 0.5, repair: true },
        Action::BlackHole { mtu: 60 },
        Action::Reset { probability: 0.5 },
        Action::HalfOpen { loser: End::Client, probability: 0.5 },
        Action::HalfOpen { loser: End::Server, probability: 0.5 },
        Action::SlowClose { hold: None },
        Action::HideClose,
        Action::Stall { after_bytes: 500, per: CountedPer::Connection },
        Action::Stall { after_bytes: 500, per: CountedPer::Link },
    ];
    actions.extend(spreads.map(latency));
    actions
}

#[test]
fn the_same_seed_draws_the_same_fates_whatever_other_links_carry() {
    let loss = Action::Loss { probability: 0.3 };
    let (alone, shared) = (state(loss, 7), state(loss, 7));
    fates(&shared, BACK, 17);
    assert_eq!(fates(&alone, LINK, 500), fates(&shared, LINK, 500));
    assert_ne!(fates(&state(loss, 8), LINK, 500), fates(&state(loss, 7), LINK, 500));
}

#[test]
fn every_action_has_an_effect_and_leaves_evidence() {
    let (client, server) = (end(0, 40_000), end(1, 6379));
    for action in every_action() {
        assert_eq!(action.problem(), None, "{action:?}");
        let rule = state(action, 5);
        let mut others = 0;
        for i in 0..60u32 {
            let flags = if i % 9 == 8 { tcp::FIN | tcp::ACK } else { tcp::ACK };
            let packet = tcp(client, server, 1 + 50 * i, 1, flags, &[1; 50]);
            others += u32::from(rule.judge(LINK, &packet, u64::from(i) * 1_000) != Fate::Pass);
        }
        assert!(others > 0, "{action:?} does nothing");
        let shown = rule.counters();
        assert_eq!(shown.matched, 60);
        let effects =
            shown.dropped + shown.delayed + shown.duplicated + shown.corrupted + shown.hidden + shown.reset;
        assert!(effects > 0, "{action:?} leaves no evidence: {shown:?}");
    }
}

#[test]
fn loss_drops_about_its_share_and_counts_each() {
    let rule = state(Action::Loss { probability: 0.2 }, 1);
    let dropped = fates(&rule, LINK, 10_000).iter().filter(|f| **f == Fate::Drop).count() as u64;
    assert!((1_800..2_200).contains(&dropped), "{dropped}");
    assert_eq!(rule.counters(), RuleCounters { matched: 10_000, dropped, ..Default::default() });
}

#[test]
fn correlated_loss_drops_the_same_share_in_runs() {
    let rule = state(Action::CorrelatedLoss { probability: 0.2, correlation: 0.9 }, 1);
    let lost = lost(&fates(&rule, LINK, 100_000));
    assert!((mean(&lost) - 0.2).abs() < 0.02, "{}", mean(&lost));
    assert!(correlation(&lost) > 0.5, "{}", correlation(&lost));
    let alone = self::lost(&fates(&state(Action::Loss { probability: 0.2 }, 1), LINK, 100_000));
    assert!(correlation(&alone).abs() < 0.02, "{}", correlation(&alone));
}

#[test]
fn bursts_are_as_long_and_as_frequent_as_gilbert_and_elliott_have_them() {
    let rule = state(Action::Bursts { to_bad: 0.01, to_good: 0.1, loss_good: 0.0, loss_bad: 1.0 }, 1);
    let lost = lost(&fates(&rule, LINK, 200_000));
    let expected = 0.01 / 0.11;
    assert!((mean(&lost) - expected).abs() < 0.01, "{} beside {expected}", mean(&lost));
    let bursts = lost.windows(2).filter(|pair| pair[0] == 0.0 && pair[1] == 1.0).count();
    let length = lost.iter().sum::<f64>() / bursts as f64;
    assert!((length - 10.0).abs() < 0.7, "mean burst {length}");
}

#[test]
fn jitter_stays_in_range_and_never_reorders_a_link() {
    let packet = datagram(100);
    let rule = state(Action::Delay { base: MS(10), jitter: MS(5) }, 3);
    let mut last = 0;
    for i in 0..1_000u64 {
        let now = i * 1_000_000;
        let Fate::HoldUntil(due) = rule.judge(LINK, &packet, now) else { panic!("not held") };
        assert!(due >= last && (now + 10_000_000..=now + 15_000_000).contains(&due));
        last = due;
    }
    assert_eq!(rule.counters().delayed, 1_000);
}

#[test]
fn latencies_have_the_moments_of_their_distribution() {
    let holds = |spread, correlation| {
        let latency = Latency { base: MS(50), jitter: MS(10), spread, correlation };
        holds_ms(&state(Action::Latency(latency), 11), 100_000)
    };
    // Mean and standard deviation, for a base of 50 and a jitter of 10.
    let expected = [
        (Spread::Uniform, 55.0, 10.0 / 12.0_f64.sqrt(), 0.1),
        (Spread::Normal, 50.0, 10.0, 0.15),
        (Spread::Exponential, 60.0, 10.0, 0.3),
        (Spread::Pareto, 60.0, 10.0 * 3.0_f64.sqrt(), 3.0),
    ];
    for (spread, middle, width, leeway) in expected {
        for rho in [0.0, 0.8] {
            let seen = holds(spread, rho);
            let found = (mean(&seen), deviation(&seen), correlation(&seen));
            let leeway = leeway * if rho > 0.0 { 3.0 } else { 1.0 };
            assert!((found.0 - middle).abs() < leeway, "{spread:?} {rho} {found:?}");
            assert!((found.1 - width).abs() < leeway, "{spread:?} {rho} {found:?}");
            let (low, high) = if rho == 0.0 { (-0.02, 0.02) } else { (0.4, 0.85) };
            assert!((low..high).contains(&found.2), "{spread:?} {rho} {found:?}");
        }
    }
    let sorted = |spread| {
        let mut holds = holds(spread, 0.0);
        holds.sort_by(f64::total_cmp);
        holds
    };
    let (thin, fat) = (sorted(Spread::Exponential), sorted(Spread::Pareto));
    assert!(thin[0] >= 50.0 && fat[0] >= 50.0 && fat[50_000] < thin[50_000] && fat[99_900] > thin[99_900]);
}

#[test]
fn reordering_counts_those_that_were_overtaken() {
    let rule = state(Action::Reorder { probability: 1.0, by: MS(5) }, 1);
    fates(&rule, LINK, 10);
    assert_eq!((rule.counters().delayed, rule.counters().reordered), (10, 0), "nobody overtook anybody");
    let rule = state(Action::Reorder { probability: 0.3, by: MS(5) }, 1);
    let held = fates(&rule, LINK, 1_000).iter().filter(|fate| **fate != Fate::Pass).count() as u64;
    assert!((250..350).contains(&held), "{held}");
    let counters = rule.counters();
    assert!(counters.delayed == held && held - counters.reordered < 10, "{counters:?}");
}

#[test]
fn duplicates_come_as_often_as_asked() {
    let rule = state(Action::Duplicate { probability: 0.25 }, 1);
    let twice = fates(&rule, LINK, 10_000).iter().filter(|fate| **fate == Fate::Twice).count() as u64;
    assert!((2_300..2_700).contains(&twice) && rule.counters().duplicated == twice, "{twice}");
}

#[test]
fn a_black_hole_swallows_long_packets_only() {
    let rule = state(Action::BlackHole { mtu: 576 }, 1);
    assert_eq!(rule.judge(LINK, &datagram(576), 0), Fate::Pass);
    assert_eq!(rule.judge(LINK, &datagram(577), 0), Fate::Drop);
}

#[test]
fn a_full_queue_drops_its_tail_and_an_idle_link_lets_a_burst_pass() {
    let rule = state(Action::Rate { bytes_per_s: 1_000_000, burst_bytes: 3_000, queue_bytes: 2_000 }, 1);
    let packet = datagram(1_000);
    let fates: Vec<Fate> = (0..7).map(|_| rule.judge(LINK, &packet, 1_000_000_000)).collect();
    assert_eq!(fates[..3], [Fate::Pass, Fate::Pass, Fate::Pass]);
    assert_eq!(fates[3..5], [Fate::HoldUntil(1_001_000_000), Fate::HoldUntil(1_002_000_000)]);
    assert_eq!(fates[5..], [Fate::Drop, Fate::Drop]);
    assert_eq!((rule.counters().shaped, rule.counters().dropped), (2, 2));
    assert_eq!(rule.judge(BACK, &packet, 1_000_000_000), Fate::Pass, "each link has a bucket of its own");
}

#[test]
fn a_stalled_link_carries_no_more_than_it_was_given() {
    let rule = state(Action::Stall { after_bytes: 250, per: CountedPer::Link }, 1);
    let fates = fates(&rule, LINK, 5);
    assert_eq!(fates, [Fate::Pass, Fate::Pass, Fate::Drop, Fate::Drop, Fate::Drop]);
    assert_eq!(rule.judge(LINK, &datagram(30), 0), Fate::Drop, "not even a short one");
}

#[test]
fn a_stalled_connection_passes_what_is_sent_again_and_acknowledgements() {
    let (client, server) = (end(0, 40_000), end(1, 6379));
    for first in [1_000, u32::MAX - 70] {
        let rule = state(Action::Stall { after_bytes: 100, per: CountedPer::Connection }, 1);
        let send = |offset: u32, payload: &[u8], flags| {
            let packet = tcp(client, server, first.wrapping_add(offset), 1, flags, payload);
            rule.judge(LINK, &packet, 0)
        };
        assert_eq!(send(u32::MAX, &[], tcp::SYN), Fate::Pass);
        assert_eq!(send(0, &[1; 60], tcp::ACK), Fate::Pass);
        assert_eq!(send(0, &[1; 60], tcp::ACK), Fate::Pass, "sent again");
        assert_eq!(send(60, &[1; 60], tcp::ACK), Fate::Drop);
        assert_eq!(send(60, &[1; 40], tcp::ACK), Fate::Pass, "what fits");
        assert_eq!(send(100, &[], tcp::ACK), Fate::Pass, "an acknowledgement");
        assert_eq!(send(100, &[], tcp::ACK | tcp::FIN), Fate::Drop);
        let other = tcp(end(0, 40_001), server, 7, 1, tcp::ACK, &[1; 100]);
        assert_eq!(rule.judge(LINK, &other, 0), Fate::Pass, "another connection has bytes of its own");
        assert_eq!(rule.judge(LINK, &datagram(1_000), 0), Fate::Pass, "what is not TCP");
    }
}

#[test]
fn a_close_is_held_and_nothing_else() {
    let (client, server) = (end(0, 40_000), end(1, 6379));
    let rule = state(Action::SlowClose { hold: Some(MS(7)) }, 1);
    assert_eq!(rule.judge(LINK, &tcp(client, server, 1, 1, tcp::ACK, b"last"), 0), Fate::Pass);
    let fin = tcp(client, server, 5, 1, tcp::ACK | tcp::FIN, &[]);
    assert_eq!(rule.judge(LINK, &fin, 1_000), Fate::HoldUntil(7_001_000));
    let Fate::HoldUntil(due_ns) = state(Action::SlowClose { hold: None }, 1).judge(LINK, &fin, 0) else {
        panic!("not held")
    };
    assert!(due_ns > 365 * 86_400 * 1_000_000_000);
}

#[test]
fn an_end_is_hidden_and_what_came_with_it_arrives() {
    let (client, server) = (end(0, 40_000), end(1, 6379));
    let rule = state(Action::HideClose, 1);
    assert_eq!(rule.judge(LINK, &tcp(client, server, 1, 1, tcp::ACK, b"last"), 0), Fate::Pass);
    let fin = tcp(client, server, 5, 1, tcp::ACK | tcp::FIN, b"words");
    assert_eq!(rule.judge(LINK, &fin, 0), Fate::Become(tcp(client, server, 5, 1, tcp::ACK, b"words")));
    assert_eq!(rule.judge(LINK, &tcp(client, server, 10, 1, tcp::RST, &[]), 0), Fate::Drop);
    let mut damaged = fin.clone();
    damaged[44] ^= 1;
    let Fate::Become(still) = rule.judge(LINK, &damaged, 0) else { panic!("not hidden") };
    assert!(!checksum::hold(&still), "what was corrupted before stays so");
    assert_eq!((rule.counters().hidden, rule.counters().dropped, rule.counters().corrupted), (3, 1, 0));
}

#[test]
fn ports_match_on_the_side_that_was_asked_for() {
    let covers = |ports: Ports, packet| {
        let rule = Rule::new("r", vec![LINK], Action::Drop, 0).on_ports(ports);
        RuleState::new(1, rule).covers(packet, now_ns())
    };
    let (out, back) = (Some((40_000, 6379)), Some((6379, 40_000)));
    assert!(covers(6379.into(), out) && covers(6379.into(), back));
    assert!(covers((6379, Side::Destination).into(), out) && !covers((6379, Side::Destination).into(), back));
    assert!(covers((6379, Side::Source).into(), back) && !covers((6379, Side::Source).into(), out));
    assert!(covers(vec![1, 6379].into(), out) && !covers(vec![1, 2].into(), out));
    assert!(!covers(6379.into(), None) && covers(Ports::default(), None));
}

#[test]
fn a_rule_that_flaps_is_on_for_its_share_of_the_time_from_a_phase_of_its_seed() {
    let on_at = |seed: u64| -> Vec<bool> {
        let rule = RuleState::new(1, Rule::new("r", vec![LINK], Action::Drop, seed).flapping(MS(30), MS(70)));
        (0..1_000).map(|ms| rule.covers(None, rule.installed_ns + ms * 1_000_000)).collect()
    };
    let first = on_at(1);
    assert_eq!(first.iter().filter(|on| **on).count(), 300);
    assert_eq!(first[..900], first[100..], "it repeats");
    assert_eq!(first, on_at(1));
    assert!((2..10).any(|seed| on_at(seed) != first));
}

#[test]
fn a_rule_is_over_when_its_time_is_up_and_says_so() {
    let rule = RuleState::new(1, Rule::new("r", vec![LINK], Action::Drop, 0).expiring(MS(20)));
    assert!(rule.covers(None, rule.installed_ns) && !rule.counters().expired);
    assert!(!rule.covers(None, rule.installed_ns + 20_000_000));
    std::thread::sleep(MS(25));
    assert!(rule.counters().expired);
}

#[test]
fn rules_that_cannot_work_are_told_why() {
    let rule = |links: Vec<Link>, action| Rule::new("r", links, action, 0);
    let far = vec![(NodeId(0), NodeId(2))];
    assert!(rule(vec![], Action::Drop).problem(2).unwrap().contains("no link"));
    assert!(rule(far, Action::Drop).problem(2).unwrap().contains("does not exist"));
    assert!(rule(vec![(NodeId(1), NodeId(1))], Action::Drop).problem(2).unwrap().contains("own node"));
    let bad = [
        (Action::Loss { probability: f64::NAN }, "between 0 and 1"),
        (Action::CorrelatedLoss { probability: 0.1, correlation: 1.0 }, "without 1"),
        (Action::Bursts { to_bad: 2.0, to_good: 0.1, loss_good: 0.0, loss_bad: 1.0 }, "to_bad"),
        (Action::Rate { bytes_per_s: 0, burst_bytes: 1, queue_bytes: 1 }, "use a drop"),
        (Action::Rate { bytes_per_s: 1, burst_bytes: 0, queue_bytes: 0 }, "some bytes of queue"),
        (Action::Delay { base: Duration::MAX, jitter: Duration::MAX }, "longer than an hour"),
        (Action::Reorder { probability: 0.1, by: MS(4_000_000) }, "longer than an hour"),
        (Action::SlowClose { hold: Some(MS(4_000_000)) }, "longer than an hour"),
        (Action::Reset { probability: -0.1 }, "between 0 and 1"),
    ];
    for (action, why) in bad {
        assert!(
            rule(vec![LINK], action).problem(2).is_some_and(|problem| problem.contains(why)),
            "{action:?}"
        );
    }
    let flapping = rule(vec![LINK], Action::Drop).flapping(MS(0), MS(5));
    assert!(flapping.problem(2).unwrap().contains("some time on"));
    assert_eq!(rule(vec![LINK], Action::Drop).problem(2), None);
}

/// Packets that are TCP or UDP with something wrong with them, or nothing at all.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((0usize..80, any::<u8>()), 0..6);
    let damaged = (any::<bool>(), any::<[u8; 3]>(), 0usize..60, edits, 0usize..100).prop_map(
        |(is_tcp, [flags, a, b], len, edits, cut)| {
            let (from, to, payload) = (end(0, u16::from(a)), end(1, u16::from(b)), vec![a; len]);
            let mut packet = if is_tcp {
                tcp(from, to, u32::from(a) << 24, u32::from(b), flags, &payload)
            } else {
                udp(from, to, &payload)
            };
            for (at, value) in edits {
                if let Some(byte) = packet.get_mut(at) {
                    *byte = value;
                }
            }
            packet.truncate(packet.len().saturating_sub(cut.saturating_sub(50)).max(20));
            packet
        },
    );
    prop_oneof![damaged, proptest::collection::vec(any::<u8>(), 0..120)]
}

proptest! {
    #[test]
    fn no_packet_upsets_a_rule(
        packets in proptest::collection::vec((hostile(), any::<bool>(), 0u64..1_000_000_000_000), 1..30),
        seed: u64,
    ) {
        for action in every_action() {
            let rule = state(action, seed);
            for (packet, back, now_ns) in &packets {
                let link = if *back { BACK } else { LINK };
                match rule.judge(link, packet, *now_ns) {
                    Fate::HoldUntil(due_ns) => prop_assert!(due_ns >= *now_ns, "{:?}", action),
                    Fate::Become(altered) => prop_assert_eq!(altered.len(), packet.len()),
                    Fate::Beside { made, .. } => {
                        prop_assert!(made.iter().all(|made| checksum::hold(&made.packet)));
                        prop_assert!(made.len() <= 4);
                    }
                    Fate::Pass | Fate::Drop | Fate::Twice => {}
                }
            }
            prop_assert_eq!(rule.counters().matched, packets.len() as u64);
        }
    }

    #[test]
    fn a_repaired_packet_is_valid_and_wrong_and_an_unrepaired_one_is_invalid(
        payload in proptest::collection::vec(any::<u8>(), 1..200), is_tcp: bool, seed: u64,
    ) {
        let (from, to) = (end(0, 40_000), end(1, 6379));
        let packet =
            if is_tcp { tcp(from, to, 1, 2, tcp::ACK, &payload) } else { udp(from, to, &payload) };
        prop_assert!(checksum::hold(&packet));
        let corrupt = |repair| match state(Action::Corrupt { probability: 1.0, repair }, seed)
            .judge(LINK, &packet, 0)
        {
            Fate::Become(altered) => altered,
            other => panic!("not corrupted: {other:?}"),
        };
        prop_assert!(!checksum::hold(&corrupt(false)));
        let repaired = corrupt(true);
        prop_assert!(checksum::hold(&repaired));
        let payload_at = packet.len() - payload.len();
        let flipped: u32 = packet[payload_at..]
            .iter().zip(&repaired[payload_at..]).map(|(a, b)| (a ^ b).count_ones()).sum();
        prop_assert_eq!(flipped, 1);
        prop_assert_eq!(&packet[12..16], &repaired[12..16]);
        let bare = tcp(from, to, 1, 2, tcp::ACK, &[]);
        let rule = state(Action::Corrupt { probability: 1.0, repair: true }, seed);
        prop_assert_eq!(rule.judge(LINK, &bare, 0), Fate::Pass);
    }

    #[test]
    fn a_link_of_some_rate_never_carries_more(
        bytes_per_s in 1_000u64..10_000_000, burst_bytes in 0u64..20_000, queue_bytes in 1_500u64..100_000,
        packets in proptest::collection::vec((28usize..1_500, 0u64..3_000_000), 1..200),
    ) {
        let rule = state(Action::Rate { bytes_per_s, burst_bytes, queue_bytes }, 1);
        let (mut now_ns, mut left) = (5_000_000_000, Vec::new());
        for (len, pause_ns) in packets {
            now_ns += pause_ns;
            let due_ns = match rule.judge(LINK, &datagram(len), now_ns) {
                Fate::Pass => now_ns,
                Fate::HoldUntil(due_ns) => due_ns,
                Fate::Drop => continue,
                other => panic!("{other:?}"),
            };
            prop_assert!(left.last().is_none_or(|(before_ns, _)| *before_ns <= due_ns), "in order");
            left.push((due_ns, len as u64));
        }
        for (i, (start_ns, _)) in left.iter().enumerate() {
            let mut bytes = 0;
            for (due_ns, len) in &left[i..] {
                bytes += len;
                let allowed = burst_bytes.max(1_500) as f64
                    + bytes_per_s as f64 * (due_ns - start_ns) as f64 / 1e9;
                prop_assert!(bytes as f64 <= allowed + 1_500.0, "{} of {}", bytes, allowed);
            }
        }
        let packet = datagram(1_000);
        let busy = state(Action::Rate { bytes_per_s, burst_bytes, queue_bytes }, 1);
        let longest = (0..500).filter_map(|_| match busy.judge(LINK, &packet, 7) {
            Fate::HoldUntil(due_ns) => Some(due_ns - 7),
            _ => None,
        }).max().unwrap_or(0);
        prop_assert!(longest as f64 <= queue_bytes as f64 * 1e9 / bytes_per_s as f64 + 2.0, "a bounded queue");
        prop_assert!(busy.counters().dropped > 0);
    }
}
