//! The fabric with rules on other links beside the fabric without: the same server, the same client, the same nodes,
//! and the same traffic among the others, by turns.

use std::fmt;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Contest, Ground, Rates, finished_output, median, program, serve};
use crate::error::Result;
use crate::{Action, Fabric, Lab, LabOptions, Latency, Node, Rule, RuleGuard, Spread};

/// Nodes that neither serve nor ask: the rules are on the links between them.
const OTHERS: usize = 4;

/// Rules on those links.
const RULES: usize = 20;

/// A pause between two datagrams from one of them to the next.
const PAUSE: Duration = Duration::from_millis(2);

/// The rate of one kind of operation at one number of connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BesideFigure {
    /// Connections the client held.
    pub connections: u32,
    /// The client's name for the operation.
    pub operation: String,
    /// Operations per second with no rule anywhere; the median of the turns.
    pub bare_per_s: f64,
    /// The same with rules on other links.
    pub ruled_per_s: f64,
    /// With rules over without: the median over pairs of turns that came one right after the other, so that what else
    /// the machine does from minute to minute cancels out.
    pub ratio: f64,
}

/// What rules cost the links that they are not on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BesideFigures {
    /// Rates of the caller's client and server.
    pub rates: Vec<BesideFigure>,
    /// Rules on the other links.
    pub rules: usize,
    /// Packets that the rules judged meanwhile.
    pub judged: u64,
}

impl fmt::Display for BesideFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34} {:>12} {:>12} {:>7}", "rules on other links", "none", self.rules, "ratio")?;
        for figure in &self.rates {
            let name = format!("{} /s, {} connections", figure.operation, figure.connections);
            let (bare, ruled) = (figure.bare_per_s, figure.ruled_per_s);
            writeln!(f, "{name:<34} {bare:>12.0} {ruled:>12.0} {:>7.2}", figure.ratio)?;
        }
        writeln!(f, "packets those rules judged: {}", self.judged)
    }
}

/// Races the contest's client and server over the fabric, with rules on other links and without by turns.
pub fn rules_elsewhere(contest: &Contest<'_>) -> Result<BesideFigures> {
    let mut lab = Lab::up(LabOptions::named("bench-rules"))?;
    let ground = Ground::of(&mut lab)?;
    let names: Vec<String> = (0..OTHERS).map(|i| format!("other{i}")).collect();
    let others = lab.add_nodes(&names)?;
    let running = serve(contest, &ground)?;
    let chatter = Chatter::among(&others)?;
    let mut figures = BesideFigures { rates: Vec::new(), rules: RULES, judged: 0 };
    let mut serial = 0;
    for &connections in &contest.connections {
        let mut turns: [Vec<Rates>; 2] = Default::default();
        for turn in 0..2 * contest.turns {
            serial += 1;
            // Whoever comes second in one pair of turns comes first in the next.
            let ruled = turn.div_ceil(2) % 2 == 1;
            let guards = if ruled { install(lab.fabric(), &others)? } else { Vec::new() };
            let argv = (contest.client)(ground.server.addr(), connections);
            let run =
                ground.client.spawn(&program(contest, &format!("beside-{connections}-{serial}"), argv))?;
            turns[usize::from(ruled)].push((contest.read_rates)(&finished_output(&run)?));
            figures.judged += guards.into_iter().map(|guard| guard.heal().matched).sum::<u64>();
        }
        figures.rates.extend(beside(connections, turns));
    }
    chatter.end();
    running.kill()?;
    Ok(figures)
}

fn beside(connections: u32, [bare, ruled]: [Vec<Rates>; 2]) -> Vec<BesideFigure> {
    let mut names: Vec<&String> = bare.iter().flatten().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    let of = |turns: &[Rates], name: &str| -> Vec<f64> {
        turns.iter().flatten().filter(|(other, _)| other == name).map(|(_, rate)| *rate).collect()
    };
    let figure = |name: &String| {
        let (mut bare, mut ruled) = (of(&bare, name), of(&ruled, name));
        let mut ratios: Vec<f64> = ruled.iter().zip(&bare).map(|(ruled, bare)| ruled / bare).collect();
        BesideFigure {
            connections,
            operation: name.clone(),
            ratio: median(&mut ratios),
            bare_per_s: median(&mut bare),
            ruled_per_s: median(&mut ruled),
        }
    };
    names.into_iter().map(figure).collect()
}

/// Rules of every kind, one after the other, on all links between these nodes.
fn install(fabric: &Fabric, nodes: &[Node]) -> Result<Vec<RuleGuard>> {
    let ms = Duration::from_millis;
    let latency = Latency { base: ms(5), jitter: ms(5), spread: Spread::Pareto, correlation: 0.2 };
    let actions = [
        Action::Delay { base: ms(10), jitter: ms(10) },
        Action::Loss { probability: 0.1 },
        Action::Latency(latency),
        Action::Duplicate { probability: 0.1 },
        Action::Rate { bytes_per_s: 100_000, burst_bytes: 2_000, queue_bytes: 20_000 },
        Action::Reorder { probability: 0.1, by: ms(5) },
        Action::Corrupt { probability: 0.1, repair: true },
    ];
    let links: Vec<_> = nodes
        .iter()
        .flat_map(|from| nodes.iter().map(move |to| (from.id(), to.id())))
        .filter(|(from, to)| from != to)
        .collect();
    let rule = |i: usize| Rule::new(format!("rule {i}"), links.clone(), actions[i % actions.len()], i as u64);
    (0..RULES).map(|i| fabric.install(rule(i))).collect()
}

/// Datagrams from each node to the next, all the time.
struct Chatter {
    done: Arc<AtomicBool>,
    talkers: Vec<JoinHandle<()>>,
}

impl Chatter {
    const PORT: u16 = 9;

    fn among(nodes: &[Node]) -> Result<Chatter> {
        let mut chatter = Chatter { done: Arc::default(), talkers: Vec::new() };
        for (i, node) in nodes.iter().enumerate() {
            let to = (nodes[(i + 1) % nodes.len()].addr(), Chatter::PORT);
            let (addr, done) = (node.addr(), chatter.done.clone());
            let talk = move || {
                let Ok(socket) = UdpSocket::bind((addr, Chatter::PORT)) else { return };
                let _deaf_at_worst = socket.set_nonblocking(true);
                while !done.load(Relaxed) {
                    let _nobody_waits_for_it = socket.send_to(&[0; 64], to);
                    while socket.recv(&mut [0; 64]).is_ok() {}
                    std::thread::sleep(PAUSE);
                }
            };
            chatter.talkers.push(node.enter("bench-chatter", talk)?);
        }
        Ok(chatter)
    }

    fn end(self) {
        drop(self);
    }
}

impl Drop for Chatter {
    fn drop(&mut self) {
        self.done.store(true, Relaxed);
        for talker in self.talkers.drain(..) {
            let _ = talker.join();
        }
    }
}
