//! What is done to links: packets lost, held, doubled, altered; connections reset, halved, stalled.

mod draw;
mod fault;

use std::fmt;
use std::time::Duration;

use lab::Flap;
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

pub use self::fault::NetFault;
use super::{Evidence, Healed, InForce, Means, Strike};
use crate::arena::{Arena, NetRule, RuleInForce, Service};
use crate::family::Family;
use crate::schedule::Limits;
use crate::shape::{self, Link, Shape};
use crate::targets::Target;

/// How much longer than its window a rule may stay when nobody heals it.
const GRACE: Duration = Duration::from_secs(5);

/// A harm to links: what happens to packets, and to which.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NetHarm {
    /// What happens to them.
    #[serde(flatten)]
    pub fault: NetFault,
    /// Only to the packets of connections with servers of this kind, both ways; `None` means all.
    #[serde(default)]
    pub to: Option<Service>,
    /// Only to packets that leave the target, or that come to it.
    #[serde(default)]
    pub way: Course,
}

/// Packets that leave the target, those that come to it, or all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Course {
    /// Both ways.
    #[default]
    Both,
    /// From others to the target.
    In,
    /// From the target to others.
    Out,
}

impl Course {
    /// True if a link lies on this way, as seen from the targets.
    fn has(self, (from, to): &Link, targets: &[String]) -> bool {
        match self {
            Course::Both => true,
            Course::In => targets.contains(to),
            Course::Out => targets.contains(from),
        }
    }
}

impl From<NetFault> for NetHarm {
    fn from(fault: NetFault) -> Self {
        NetHarm { fault, to: None, way: Course::Both }
    }
}

impl NetHarm {
    /// Links cut in this shape, all the time.
    pub fn partition(shape: Shape) -> NetHarm {
        NetFault::Partition { shape, on_ms: None, off_ms: None }.into()
    }

    /// True when links between nodes other than the targets are struck as well.
    pub fn is_wide(&self) -> bool {
        matches!(self.fault, NetFault::Partition { shape, .. } if shape.is_wide())
    }

    /// True when it takes a network of packets and ports: a model of one that passes whole messages will not do.
    pub fn needs_packets(&self) -> bool {
        self.to.is_some() || self.fault.needs_packets()
    }

    /// The links it strikes around these nodes.
    fn links(&self, nodes: &[String], arena: &dyn Arena, seed: u64) -> Vec<Link> {
        let topology = arena.topology();
        let mut links = match self.fault {
            NetFault::Partition { shape: Shape::OneWay, .. } if self.way != Course::Both => {
                shape::cut(Shape::IsolateOne, nodes, topology, seed)
            }
            NetFault::Partition { shape, .. } => shape::cut(shape, nodes, topology, seed),
            _ => shape::around(nodes, topology),
        };
        links.retain(|link| self.way.has(link, nodes));
        links
    }
}

impl Means for NetHarm {
    const FAULTS: &'static [&'static str] = NetFault::NAMES;

    fn family(&self) -> Family {
        self.fault.family()
    }

    fn check(&self, target: Target, _: &Limits) -> Result<(), String> {
        self.fault.check()?;
        if self.way != Course::Both && self.fault.needs_both_ways() {
            let family = self.family().name();
            return Err(format!("{family} must see both directions of a connection: leave `way` out"));
        }
        if self.way != Course::Both && self.is_wide() {
            return Err(
                "this shape cuts links between other nodes too: leave `way` out, or use isolate-one".into()
            );
        }
        let NetFault::Partition { shape, .. } = self.fault else { return Ok(()) };
        if target == Target::Client && !matches!(shape, Shape::ClientFromServer | Shape::FromZookeeper) {
            return Err("a client can only be cut from the servers: use shape = \"client-from-server\" or \
                        \"from-zookeeper\""
                .into());
        }
        Ok(())
    }

    fn draw(family: Family, first: bool, target: Target, rng: &mut ChaCha8Rng) -> Self {
        draw::fault(family, first, target, rng).into()
    }

    fn inject<'a>(&self, strike: &Strike, arena: &'a dyn Arena) -> Box<dyn InForce + 'a> {
        let links = self.links(&strike.nodes(), arena, strike.seed);
        let mut evidence = vec![("links struck".into(), links.len().to_string())];
        let rule = arena.install(&NetRule {
            name: strike.name.clone(),
            links,
            service: self.to,
            action: self.fault.action(),
            seed: strike.seed,
            flap: self.fault.flap().map(|(on, off)| Flap { on, off }),
            expires: strike.lasts.map(|lasts| lasts + GRACE),
        });
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
        let counters = rule.counters();
        drop(rule);
        let shown = self.harm.fault.shown_by(&counters);
        let installed = shown.iter().any(|(_, hit)| *hit > 0);
        evidence.extend(shown.into_iter().map(|(what, hit)| (what.into(), hit.to_string())));
        if counters.expired {
            evidence.push(("healed".into(), "by itself, when its time was up: the harness was late".into()));
        }
        Healed { installed, evidence }
    }
}

impl fmt::Display for NetHarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)?;
        if let Some(service) = self.to {
            write!(f, ", {service} only")?;
        }
        match self.way {
            Course::Both => Ok(()),
            Course::In => f.write_str(", inbound"),
            Course::Out => f.write_str(", outbound"),
        }
    }
}

#[cfg(test)]
mod tests;
