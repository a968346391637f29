//! What is done to links: packets lost or held on their way.

use std::fmt;
use std::time::Duration;

use lab::{Action, RuleCounters};
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use super::{Evidence, Healed, InForce, Means, Strike};
use crate::arena::{Arena, NetRule, RuleInForce};
use crate::family::Family;
use crate::schedule::Limits;
use crate::shape::{self, Link, Shape};
use crate::targets::Target;

/// A harm to links.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum NetHarm {
    /// Links cut.
    Partition {
        /// Which links.
        shape: Shape,
    },
    /// Every packet to and from the target is held back.
    Delay {
        /// At least so long, milliseconds.
        base_ms: u64,
        /// And up to so much longer, uniform, milliseconds.
        #[serde(default)]
        jitter_ms: u64,
    },
    /// Packets to and from the target are lost at random.
    Loss {
        /// Probability per packet, 0 to 1.
        probability: f64,
    },
}

impl NetHarm {
    /// True when links between nodes other than the targets are struck as well.
    pub fn is_wide(&self) -> bool {
        matches!(self, NetHarm::Partition { shape: Shape::Halves | Shape::MajoritiesRing | Shape::Bridge })
    }

    /// The links it strikes around these nodes, and what happens to their packets.
    fn effect(&self, nodes: &[String], arena: &dyn Arena, seed: u64) -> (Vec<Link>, Action) {
        let topology = arena.topology();
        match *self {
            NetHarm::Partition { shape } => (shape::cut(shape, nodes, topology, seed), Action::Drop),
            NetHarm::Delay { base_ms, jitter_ms } => {
                let ms = Duration::from_millis;
                let delay = Action::Delay { base: ms(base_ms), jitter: ms(jitter_ms) };
                (shape::around(nodes, topology), delay)
            }
            NetHarm::Loss { probability } => (shape::around(nodes, topology), Action::Loss { probability }),
        }
    }

    /// The counter that shows it.
    fn shown_by(&self, counters: &RuleCounters) -> (&'static str, u64) {
        match self {
            NetHarm::Delay { .. } => ("packets delayed", counters.delayed),
            NetHarm::Partition { .. } | NetHarm::Loss { .. } => ("packets dropped", counters.dropped),
        }
    }
}

impl Means for NetHarm {
    const FAULTS: &'static [&'static str] = &["partition", "delay", "loss"];

    fn family(&self) -> Family {
        match self {
            NetHarm::Partition { .. } => Family::Partition,
            NetHarm::Delay { .. } => Family::Delay,
            NetHarm::Loss { .. } => Family::Loss,
        }
    }

    fn check(&self, target: Target, _: &Limits) -> Result<(), String> {
        match *self {
            NetHarm::Partition { shape } => {
                let for_clients = matches!(shape, Shape::ClientFromServer | Shape::FromZookeeper);
                if target == Target::Client && !for_clients {
                    return Err(
                        "a client can only be cut from the servers: use shape = \"client-from-server\" or \
                                \"from-zookeeper\""
                            .into(),
                    );
                }
                Ok(())
            }
            NetHarm::Delay { .. } => Ok(()),
            NetHarm::Loss { probability } if (0.0..=1.0).contains(&probability) => Ok(()),
            NetHarm::Loss { .. } => Err("loss needs `probability`, between 0 and 1".into()),
        }
    }

    fn draw(family: Family, first: bool, target: Target, rng: &mut ChaCha8Rng) -> Self {
        match family {
            Family::Delay => {
                let base_ms = *[20, 50, 100, 200].choose(rng).expect("not empty");
                NetHarm::Delay { base_ms, jitter_ms: base_ms / 2 }
            }
            Family::Loss => {
                NetHarm::Loss { probability: *[0.05, 0.1, 0.2, 0.4].choose(rng).expect("not empty") }
            }
            _ if first => NetHarm::Partition { shape: Shape::IsolateOne },
            _ if target == Target::Client => NetHarm::Partition { shape: Shape::ClientFromServer },
            _ => NetHarm::Partition { shape: *Shape::ALL.choose(rng).expect("there are shapes") },
        }
    }

    fn inject<'a>(&self, strike: &Strike, arena: &'a dyn Arena) -> Box<dyn InForce + 'a> {
        let (links, action) = self.effect(&strike.nodes(), arena, strike.seed);
        let mut evidence = vec![("links struck".into(), links.len().to_string())];
        let rule = arena.install(&NetRule { name: strike.name.clone(), links, action, seed: strike.seed });
        let rule = rule.map_err(|why| evidence.push(("not installed".into(), why))).ok();
        Box::new(Struck { harm: *self, rule, evidence })
    }
}

/// A rule in force, with what is known of it so far.
struct Struck {
    harm: NetHarm,
    rule: Option<Box<dyn RuleInForce>>,
    evidence: Evidence,
}

impl InForce for Struck {
    fn undo(&mut self) -> Healed {
        let mut evidence = std::mem::take(&mut self.evidence);
        let Some(rule) = self.rule.take() else { return Healed { installed: false, evidence } };
        let (what, hit) = self.harm.shown_by(&rule.counters());
        drop(rule);
        evidence.push((what.into(), hit.to_string()));
        Healed { installed: hit > 0, evidence }
    }
}

impl fmt::Display for NetHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NetHarm::Partition { shape } => f.write_str(shape.word()),
            NetHarm::Delay { base_ms, jitter_ms: 0 } => write!(f, "{base_ms} ms"),
            NetHarm::Delay { base_ms, jitter_ms } => write!(f, "{base_ms} to {} ms", base_ms + jitter_ms),
            NetHarm::Loss { probability } => write!(f, "{:.0} % of packets", probability * 100.0),
        }
    }
}
