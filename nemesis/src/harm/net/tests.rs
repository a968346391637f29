//! Faults of the network as they are written, drawn, done and shown.

use std::sync::Mutex;

use lab::{Action, RuleCounters};
use proptest::prelude::*;
use rand::SeedableRng;

use super::*;
use crate::arena::{Part, Topology, Victim, View};
use crate::harm::Harm;

const LIMITS: Limits = Limits { time_limit_ms: 30_000, shards: 2, replicas: 3, zookeepers: 3 };

fn families() -> Vec<Family> {
    Family::ALL.into_iter().filter(|family| family.is_network()).collect()
}

/// Reads a fault as a file has it.
fn read(toml: &str) -> Result<NetHarm, String> {
    let values: serde_json::Map<String, serde_json::Value> =
        toml::from_str(toml).map_err(|e| e.to_string())?;
    let harm = Harm::of_values(values)?;
    harm.check(Target::Master { shard: 0 }, &LIMITS)?;
    match harm {
        Harm::Net(net) => Ok(net),
        other => panic!("{other:?} is not done to links"),
    }
}

/// An arena that writes down the rules it is asked for.
struct Notebook {
    topology: Topology,
    rules: Mutex<Vec<NetRule>>,
    counters: RuleCounters,
}

struct InForceHere(RuleCounters);

impl RuleInForce for InForceHere {
    fn counters(&self) -> RuleCounters {
        self.0
    }
}

impl Notebook {
    fn showing(counters: RuleCounters) -> Notebook {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let topology = Topology {
            zookeepers: names(&["zk0", "zk1", "zk2"]),
            shards: vec![names(&["s0r0", "s0r1", "s0r2"])],
            clients: names(&["c0"]),
        };
        Notebook { topology, rules: Mutex::default(), counters }
    }

    /// Strikes s0r0 for three seconds and heals.
    fn strike(&self, harm: &NetHarm) -> (NetRule, Healed) {
        let strike = Strike {
            window: 3,
            name: "window 3: test".into(),
            victims: vec![Victim { node: "s0r0".into(), part: Part::Redis }],
            seed: 9,
            lasts: Some(Duration::from_secs(3)),
        };
        let healed = harm.inject(&strike, self).undo();
        (self.rules.lock().unwrap().pop().expect("a rule"), healed)
    }
}

impl Arena for Notebook {
    fn topology(&self) -> &Topology {
        &self.topology
    }
    fn view(&self) -> View {
        View::default()
    }
    fn install(&self, rule: &NetRule) -> Result<Box<dyn RuleInForce>, String> {
        self.rules.lock().unwrap().push(rule.clone());
        Ok(Box::new(InForceHere(self.counters)))
    }
}

#[test]
fn faults_read_as_they_are_written_and_say_what_they_are() {
    let cases = [
        ("fault = 'partition'\nshape = 'halves'", "halves"),
        ("fault = 'partition'\nshape = 'redis-from-redis'", "Redis from Redis"),
        (
            "fault = 'partition'\nshape = 'isolate-one'\non_ms = 50\noff_ms = 200",
            "isolate one, 50 ms cut and 200 ms whole by turns",
        ),
        ("fault = 'delay'\nbase_ms = 20\njitter_ms = 10", "20 to 30 ms"),
        (
            "fault = 'delay'\nbase_ms = 20\njitter_ms = 5\nspread = 'normal'\ncorrelation = 0.5\nway = 'in'",
            "20 ± 5 ms, correlated 0.5, inbound",
        ),
        ("fault = 'loss'\nprobability = 0.1", "10 % of packets"),
        ("fault = 'loss'\nprobability = 0.125\nburst = 8", "12.5 % of packets, 8 in a row"),
        ("fault = 'duplicate'\nprobability = 0.5\nto = 'redis'", "50 % of packets twice, Redis only"),
        (
            "fault = 'reorder'\nprobability = 0.2\nby_ms = 5\nto = 6379",
            "20 % of packets late by 5 ms, port 6379 only",
        ),
        ("fault = 'rate'\nbytes_per_s = 20000", "20 kB/s"),
        (
            "fault = 'corrupt'\nprobability = 0.01\nrepair = true\nto = 'zookeeper'\nway = 'out'",
            "a bit of 1 % of packets, checksums repaired, ZooKeeper only, outbound",
        ),
        ("fault = 'black-hole'\nmtu = 576", "packets longer than 576 bytes vanish"),
        ("fault = 'reset'\nprobability = 0.001", "connections, at 0.1 % of segments"),
        ("fault = 'half-open'\nloser = 'server'", "the server loses the connection, at 100 % of segments"),
        ("fault = 'slow-close'", "FIN held until healed"),
        ("fault = 'hidden-close'", "neither FIN nor RST arrives"),
        ("fault = 'slow-close'\nhold_ms = 500", "FIN held for 500 ms"),
        ("fault = 'stall'\nafter_bytes = 1000", "after 1000 bytes of a connection"),
        ("fault = 'stall'\nafter_bytes = 0\nper = 'link'", "after 0 bytes of a link"),
    ];
    for (toml, said) in cases {
        let harm = read(toml).unwrap_or_else(|e| panic!("{toml}\n=> {e}"));
        assert_eq!(harm.to_string(), said, "{toml}");
        let json = serde_json::to_string(&Harm::Net(harm)).unwrap();
        assert_eq!(serde_json::from_str::<Harm>(&json).unwrap(), Harm::Net(harm), "{json}");
    }
}

#[test]
fn every_mistake_is_named_with_its_mend() {
    let cases = [
        ("fault = 'partition'", "missing field `shape`"),
        ("fault = 'partition'\nshape = 'halves'\non_ms = 5", "needs both `on_ms` and `off_ms`"),
        ("fault = 'partition'\nshape = 'halves'\nway = 'in'", "leave `way` out"),
        ("fault = 'delay'\nbase_ms = 20\nspread = 'odd'", "unknown variant `odd`"),
        ("fault = 'delay'\nbase_ms = 4000000", "longer than an hour"),
        ("fault = 'delay'\nbase_ms = 20\ncorrelation = 1", "without 1"),
        ("fault = 'loss'\nprobability = 1.5", "between 0 and 1"),
        ("fault = 'loss'\nprobability = 0.5\nburst = 0.5", "at least 1 packet"),
        ("fault = 'loss'\nprobability = 0.5\nburst = 5\ncorrelation = 0.5", "not both"),
        ("fault = 'duplicate'\nprobability = -1", "between 0 and 1"),
        ("fault = 'rate'\nbytes_per_s = 0", "carries nothing"),
        ("fault = 'black-hole'\nmtu = 20", "at least 68"),
        ("fault = 'reset'\nprobability = 0.1\nway = 'out'", "both directions"),
        ("fault = 'half-open'\nloser = 'nobody'", "unknown variant `nobody`"),
        ("fault = 'slow-close'\nhold_ms = 0", "leave it out"),
        (
            "fault = 'stall'\nafter_bytes = 1\nto = 'postgres'",
            "use \"redis\", \"zookeeper\" or a port number",
        ),
        ("fault = 'stall'\nafter_bytes = 1\nto = 70000", "a port number"),
        ("fault = 'stall'\nafter_bytes = 1\nbase_ms = 5", "unknown field `base_ms`"),
    ];
    for (toml, expected) in cases {
        let message = read(toml).expect_err(toml);
        assert!(message.contains(expected), "{toml}\n=> {message}");
    }
}

#[test]
fn a_fault_becomes_a_rule_that_heals_by_itself_if_nobody_does() {
    let arena = Notebook::showing(RuleCounters { corrupted: 3, expired: true, ..Default::default() });
    let harm = read("fault = 'corrupt'\nprobability = 0.5\nto = 'redis'\nway = 'out'").unwrap();
    let (rule, healed) = arena.strike(&harm);
    assert_eq!(rule.action, Action::Corrupt { probability: 0.5, repair: false });
    assert_eq!((rule.service, rule.seed), (Some(Service::Redis), 9));
    assert_eq!(rule.links.len(), 6);
    assert!(rule.links.iter().all(|(from, _)| from == "s0r0"));
    assert_eq!(rule.expires, Some(Duration::from_secs(8)));
    assert!(healed.installed);
    assert!(healed.evidence.contains(&("packets corrupted".into(), "3".into())));
    assert!(healed.evidence.iter().any(|(what, how)| what == "healed" && how.contains("by itself")));
    let flapping = read("fault = 'partition'\nshape = 'one-way'\non_ms = 5\noff_ms = 9\nway = 'in'").unwrap();
    let (rule, healed) = arena.strike(&flapping);
    assert_eq!(
        rule.flap.map(|flap| (flap.on, flap.off)),
        Some((Duration::from_millis(5), Duration::from_millis(9)))
    );
    assert!(rule.links.len() == 5 && rule.links.iter().all(|(_, to)| to == "s0r0"));
    assert!(!healed.installed, "nothing was dropped");
}

#[test]
fn loss_in_bursts_loses_the_share_asked_for() {
    let Action::Bursts { to_bad, to_good, loss_good, loss_bad } =
        read("fault = 'loss'\nprobability = 0.2\nburst = 10").unwrap().fault.action()
    else {
        panic!("no bursts")
    };
    assert!((to_bad / (to_bad + to_good) - 0.2).abs() < 1e-9 && (to_good - 0.1).abs() < 1e-9);
    assert_eq!((loss_good, loss_bad), (0.0, 1.0));
}

#[test]
fn only_cuts_delays_and_losses_of_all_packets_do_without_packets() {
    let needs = |toml: &str| read(toml).unwrap().needs_packets();
    assert!(!needs("fault = 'partition'\nshape = 'one-way'\nway = 'in'"));
    assert!(
        !needs("fault = 'delay'\nbase_ms = 20\njitter_ms = 10")
            && !needs("fault = 'loss'\nprobability = 0.1")
    );
    assert!(needs("fault = 'partition'\nshape = 'one-way'\non_ms = 5\noff_ms = 5"));
    assert!(needs("fault = 'partition'\nshape = 'one-way'\nto = 'redis'"));
    assert!(needs("fault = 'delay'\nbase_ms = 20\njitter_ms = 10\nspread = 'pareto'"));
    assert!(
        needs("fault = 'loss'\nprobability = 0.1\nburst = 5") && needs("fault = 'reset'\nprobability = 0.1")
    );
}

proptest! {
    #[test]
    fn every_drawn_fault_is_sound_and_shown_by_its_own_counter_only(seed: u64, first: bool) {
        let none = RuleCounters::default();
        let all = RuleCounters {
            matched: 9, dropped: 1, delayed: 2, duplicated: 3, reordered: 4, corrupted: 5, hidden: 8, shaped: 6, reset: 7,
            expired: false,
        };
        for family in families() {
            for target in [Target::Master { shard: 0 }, Target::Client, Target::ZooKeeperMinority] {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                let harm = NetHarm::draw(family, first && target != Target::Client, target, &mut rng);
                prop_assert_eq!(harm.family(), family);
                prop_assert_eq!(harm.check(target, &LIMITS), Ok(()), "{}", harm);
                let plain = matches!(family, Family::Partition | Family::Delay | Family::Loss);
                prop_assert_eq!(harm.needs_packets(), !plain, "{}", harm);
                let repaired = matches!(harm.fault, NetFault::Corrupt { repair: true, .. });
                prop_assert!(!repaired, "a sound system cannot be held to that");
                prop_assert!(!Notebook::showing(none).strike(&harm).1.installed);
                prop_assert!(Notebook::showing(all).strike(&harm).1.installed);
                let only_matched = RuleCounters { matched: 9, ..none };
                prop_assert!(!Notebook::showing(only_matched).strike(&harm).1.installed);
            }
        }
    }
}
