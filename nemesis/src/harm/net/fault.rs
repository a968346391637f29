//! What happens to packets, as people write it.

use std::fmt;
use std::time::Duration;

use lab::{Action, CountedPer, End, Latency, RuleCounters, Spread};
use serde::{Deserialize, Serialize};

use crate::family::Family;
use crate::shape::Shape;

/// What happens to packets. Probabilities are from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "kebab-case")]
pub enum NetFault {
    /// Links cut.
    Partition {
        /// Which links.
        shape: Shape,
        /// Cut for so long and whole for so long, by turns; both or none. Milliseconds.
        #[serde(default)]
        on_ms: Option<u64>,
        /// See `on_ms`.
        #[serde(default)]
        off_ms: Option<u64>,
    },
    /// Every packet is held back, none overtakes another.
    Delay {
        /// At least so long, milliseconds.
        base_ms: u64,
        /// And so much longer, as `spread` has it, milliseconds.
        #[serde(default)]
        jitter_ms: u64,
        /// `uniform` (up to the jitter), `normal` (the jitter is the deviation, around the base), `exponential` or
        /// `pareto` (the jitter is the mean).
        #[serde(default)]
        spread: Spread,
        /// How much neighbours resemble each other, from 0 to below 1.
        #[serde(default)]
        correlation: f64,
    },
    /// Packets are lost.
    Loss {
        /// Per packet, over all.
        probability: f64,
        /// How much the fates of neighbours resemble each other, from 0 to below 1.
        #[serde(default)]
        correlation: f64,
        /// Instead: packets lost in a row, on average (Gilbert's model).
        #[serde(default)]
        burst: Option<f64>,
    },
    /// Packets arrive twice.
    Duplicate {
        /// Per packet.
        probability: f64,
    },
    /// Packets are overtaken by later ones.
    Reorder {
        /// Per packet.
        probability: f64,
        /// How long one is held, milliseconds.
        by_ms: u64,
    },
    /// Links are slow.
    Rate {
        /// Of each link and direction, IP headers included.
        bytes_per_s: u64,
        /// What an idle link takes at once.
        #[serde(default)]
        burst_bytes: u64,
        /// What may wait; what comes beyond that is lost.
        #[serde(default = "queue_bytes")]
        queue_bytes: u64,
    },
    /// A bit is turned over.
    Corrupt {
        /// Per packet.
        probability: f64,
        /// False: checksums catch it. True: they are made right, and the application gets what nobody sent.
        #[serde(default)]
        repair: bool,
    },
    /// Long packets vanish.
    BlackHole {
        /// The longest that pass, IP header included.
        mtu: u16,
    },
    /// Connections are reset at both ends.
    Reset {
        /// Per segment of an open connection.
        probability: f64,
    },
    /// Connections are reset at one end, the other believes in them.
    HalfOpen {
        /// The end that loses the connection.
        loser: End,
        /// Per segment of an open connection.
        #[serde(default = "always")]
        probability: f64,
    },
    /// The closing of connections is held back.
    SlowClose {
        /// How long, milliseconds; until healed if it is not given.
        #[serde(default)]
        hold_ms: Option<u64>,
    },
    /// Nobody is told that a connection has ended.
    HiddenClose,
    /// Nothing more passes after so many bytes.
    Stall {
        /// How many, from the first packet seen.
        after_bytes: u64,
        /// Of each direction of each `connection`, or of each `link`.
        #[serde(default = "connection")]
        per: CountedPer,
    },
}

fn queue_bytes() -> u64 {
    65_536
}

fn always() -> f64 {
    1.0
}

fn connection() -> CountedPer {
    CountedPer::Connection
}

const MS: fn(u64) -> Duration = Duration::from_millis;

impl NetFault {
    /// As `fault = "…"`.
    pub(super) const NAMES: &'static [&'static str] = &[
        "partition",
        "delay",
        "loss",
        "duplicate",
        "reorder",
        "rate",
        "corrupt",
        "black-hole",
        "reset",
        "half-open",
        "slow-close",
        "hidden-close",
        "stall",
    ];

    /// The family it belongs to.
    pub(super) fn family(&self) -> Family {
        match self {
            NetFault::Partition { .. } if self.flap().is_some() => Family::Flap,
            NetFault::Partition { .. } => Family::Partition,
            NetFault::Delay { .. } => Family::Delay,
            NetFault::Loss { .. } => Family::Loss,
            NetFault::Duplicate { .. } => Family::Duplicate,
            NetFault::Reorder { .. } => Family::Reorder,
            NetFault::Rate { .. } => Family::Rate,
            NetFault::Corrupt { .. } => Family::Corrupt,
            NetFault::BlackHole { .. } => Family::BlackHole,
            NetFault::Reset { .. } => Family::Reset,
            NetFault::HalfOpen { .. } => Family::HalfOpen,
            NetFault::SlowClose { .. } => Family::SlowClose,
            NetFault::HiddenClose => Family::HiddenClose,
            NetFault::Stall { .. } => Family::Stall,
        }
    }

    /// What the fabric does.
    pub(super) fn action(&self) -> Action {
        match *self {
            NetFault::Partition { .. } => Action::Drop,
            NetFault::Delay { base_ms, jitter_ms, spread: Spread::Uniform, correlation: 0.0 } => {
                Action::Delay { base: MS(base_ms), jitter: MS(jitter_ms) }
            }
            NetFault::Delay { base_ms, jitter_ms, spread, correlation } => {
                Action::Latency(Latency { base: MS(base_ms), jitter: MS(jitter_ms), spread, correlation })
            }
            NetFault::Loss { probability, burst: Some(burst), .. } => Action::Bursts {
                // Bad for `probability` of the packets, and for `burst` of them in a row.
                to_bad: (probability / (burst * (1.0 - probability))).min(1.0),
                to_good: 1.0 / burst,
                loss_good: 0.0,
                loss_bad: 1.0,
            },
            NetFault::Loss { probability, correlation: 0.0, .. } => Action::Loss { probability },
            NetFault::Loss { probability, correlation, .. } => {
                Action::CorrelatedLoss { probability, correlation }
            }
            NetFault::Duplicate { probability } => Action::Duplicate { probability },
            NetFault::Reorder { probability, by_ms } => Action::Reorder { probability, by: MS(by_ms) },
            NetFault::Rate { bytes_per_s, burst_bytes, queue_bytes } => {
                Action::Rate { bytes_per_s, burst_bytes, queue_bytes }
            }
            NetFault::Corrupt { probability, repair } => Action::Corrupt { probability, repair },
            NetFault::BlackHole { mtu } => Action::BlackHole { mtu },
            NetFault::Reset { probability } => Action::Reset { probability },
            NetFault::HalfOpen { loser, probability } => Action::HalfOpen { loser, probability },
            NetFault::SlowClose { hold_ms } => Action::SlowClose { hold: hold_ms.map(MS) },
            NetFault::HiddenClose => Action::HideClose,
            NetFault::Stall { after_bytes, per } => Action::Stall { after_bytes, per },
        }
    }

    /// How long it is on and off by turns, if it flaps.
    pub(super) fn flap(&self) -> Option<(Duration, Duration)> {
        match *self {
            NetFault::Partition { on_ms: Some(on), off_ms: Some(off), .. } => Some((MS(on), MS(off))),
            _ => None,
        }
    }

    /// What is wrong with its values, and the mend.
    pub(super) fn check(&self) -> Result<(), String> {
        match *self {
            NetFault::Partition { on_ms, off_ms, .. } => {
                let flaps = (on_ms.is_some_and(|ms| ms > 0), off_ms.is_some_and(|ms| ms > 0));
                if flaps == (true, true) || (on_ms, off_ms) == (None, None) {
                    return Ok(());
                }
                return Err("a partition that flaps needs both `on_ms` and `off_ms`, above 0".into());
            }
            NetFault::Loss { correlation, burst: Some(_), .. } if correlation != 0.0 => {
                return Err("loss takes `correlation` or `burst`, not both".into());
            }
            NetFault::Loss { probability, burst: Some(burst), .. }
                if !(burst >= 1.0 && (0.0..1.0).contains(&probability)) =>
            {
                return Err(
                    "loss in bursts needs `burst` of at least 1 packet and a `probability` between 0 and 1, \
                            without 1"
                        .into(),
                );
            }
            NetFault::BlackHole { mtu } if mtu < 68 => {
                return Err(format!(
                    "an `mtu` of {mtu} lets nothing pass: give at least 68, or use a partition"
                ));
            }
            NetFault::SlowClose { hold_ms: Some(0) } => {
                return Err("`hold_ms` of 0 holds nothing: leave it out to hold until the window ends".into());
            }
            _ => {}
        }
        self.action().problem().map_or(Ok(()), Err)
    }

    /// True when it must see both directions of a connection.
    pub(super) fn needs_both_ways(&self) -> bool {
        matches!(self, NetFault::Reset { .. } | NetFault::HalfOpen { .. })
    }

    /// True when a network that passes whole messages cannot do it.
    pub(super) fn needs_packets(&self) -> bool {
        let plain = matches!(self.action(), Action::Drop | Action::Delay { .. } | Action::Loss { .. });
        !plain || self.flap().is_some()
    }

    /// The counters of which one above zero shows it.
    pub(super) fn shown_by(&self, counters: &RuleCounters) -> Vec<(&'static str, u64)> {
        match self {
            NetFault::Partition { .. }
            | NetFault::Loss { .. }
            | NetFault::BlackHole { .. }
            | NetFault::Stall { .. } => vec![("packets dropped", counters.dropped)],
            NetFault::Delay { .. } => vec![("packets delayed", counters.delayed)],
            NetFault::Duplicate { .. } => vec![("packets duplicated", counters.duplicated)],
            NetFault::Reorder { .. } => vec![("packets overtaken", counters.reordered)],
            NetFault::Rate { .. } => {
                vec![("packets that waited", counters.shaped), ("packets dropped", counters.dropped)]
            }
            NetFault::Corrupt { .. } => vec![("packets corrupted", counters.corrupted)],
            NetFault::Reset { .. } => vec![("connections reset", counters.reset)],
            NetFault::HalfOpen { .. } => vec![("connections lost at one end", counters.reset)],
            NetFault::SlowClose { .. } => vec![("closes held", counters.delayed)],
            NetFault::HiddenClose => vec![("ends hidden", counters.hidden)],
        }
    }
}

impl fmt::Display for NetFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = |share: f64| format!("{} %", (share * 1_000.0).round() / 10.0);
        match *self {
            NetFault::Partition { shape, on_ms: Some(on), off_ms: Some(off) } => {
                write!(f, "{}, {on} ms cut and {off} ms whole by turns", shape.word())
            }
            NetFault::Partition { shape, .. } => f.write_str(shape.word()),
            NetFault::Delay { base_ms, jitter_ms, spread, correlation } => {
                match (spread, jitter_ms) {
                    (_, 0) => write!(f, "{base_ms} ms")?,
                    (Spread::Uniform, _) => write!(f, "{base_ms} to {} ms", base_ms + jitter_ms)?,
                    (Spread::Normal, _) => write!(f, "{base_ms} ± {jitter_ms} ms")?,
                    (Spread::Exponential, _) => write!(f, "{base_ms} ms and {jitter_ms} more, exponential")?,
                    (Spread::Pareto, _) => write!(f, "{base_ms} ms and {jitter_ms} more, Pareto")?,
                }
                if correlation > 0.0 { write!(f, ", correlated {correlation}") } else { Ok(()) }
            }
            NetFault::Loss { probability, burst: Some(burst), .. } => {
                write!(f, "{} of packets, {burst} in a row", percent(probability))
            }
            NetFault::Loss { probability, correlation: 0.0, .. } => {
                write!(f, "{} of packets", percent(probability))
            }
            NetFault::Loss { probability, correlation, .. } => {
                write!(f, "{} of packets, correlated {correlation}", percent(probability))
            }
            NetFault::Duplicate { probability } => write!(f, "{} of packets twice", percent(probability)),
            NetFault::Reorder { probability, by_ms } => {
                write!(f, "{} of packets late by {by_ms} ms", percent(probability))
            }
            NetFault::Rate { bytes_per_s, .. } => write!(f, "{} kB/s", bytes_per_s as f64 / 1e3),
            NetFault::Corrupt { probability, repair } => {
                let checksums = if repair { "repaired" } else { "left wrong" };
                write!(f, "a bit of {} of packets, checksums {checksums}", percent(probability))
            }
            NetFault::BlackHole { mtu } => write!(f, "packets longer than {mtu} bytes vanish"),
            NetFault::Reset { probability } => {
                write!(f, "connections, at {} of segments", percent(probability))
            }
            NetFault::HalfOpen { loser, probability } => {
                let end = if loser == End::Client { "client" } else { "server" };
                write!(f, "the {end} loses the connection, at {} of segments", percent(probability))
            }
            NetFault::SlowClose { hold_ms: None } => f.write_str("FIN held until healed"),
            NetFault::SlowClose { hold_ms: Some(ms) } => write!(f, "FIN held for {ms} ms"),
            NetFault::HiddenClose => f.write_str("neither FIN nor RST arrives"),
            NetFault::Stall { after_bytes, per } => {
                let whose = if per == CountedPer::Link { "link" } else { "connection" };
                write!(f, "after {after_bytes} bytes of a {whose}")
            }
        }
    }
}
