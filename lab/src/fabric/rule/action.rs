//! Everything a rule can do to a packet, as a value.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::delay::Latency;
use super::effect::Effect;
use super::reset::End;
use super::{Ports, copies, corrupt, delay, ends, loss, rate, reset, stall};

/// What a rule does to each packet it matches. Probabilities are from 0 to 1.
///
/// None of them lets a link's packets overtake each other but [`Action::Reorder`] (and what [`Action::SlowClose`] holds
/// back). Healing releases what is held at once, in order.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Every packet vanishes, as on a cut wire: no reset, no ICMP message. Packets that another rule
    /// is holding at that moment are cut as well.
    Drop,
    /// Every packet is held for `base` plus a uniform draw from `0..=jitter`, and never overtakes an
    /// earlier packet of the same link under the same rule: a link is a queue, as a wire is (netem,
    /// without a rate, reorders under jitter).
    Delay {
        /// The least a packet is held.
        base: Duration,
        /// The most that is added to it.
        jitter: Duration,
    },
    /// The same with any distribution, and with correlated draws.
    Latency(Latency),
    /// Each packet vanishes with this probability, drawn independently.
    Loss {
        /// Of each packet.
        probability: f64,
    },
    /// As many packets vanish, but in runs: the fates of neighbours are correlated.
    CorrelatedLoss {
        /// Of each packet, over all.
        probability: f64,
        /// Of the normal deviates behind two neighbours' fates, from 0 (as [`Action::Loss`]) to below 1.
        correlation: f64,
    },
    /// The link is good or bad (Gilbert and Elliott), and loses packets accordingly. It starts good, may change before
    /// each packet, and is bad for `to_bad / (to_bad + to_good)` of the packets in the long run.
    Bursts {
        /// Probability that a good link turns bad.
        to_bad: f64,
        /// Probability that a bad link turns good; a burst lasts 1 / `to_good` packets on average.
        to_good: f64,
        /// Loss while it is good.
        loss_good: f64,
        /// Loss while it is bad.
        loss_bad: f64,
    },
    /// Packets arrive twice, one right after the other.
    Duplicate {
        /// Of each packet.
        probability: f64,
    },
    /// Packets are held for a while, and those behind them overtake them.
    Reorder {
        /// Of each packet.
        probability: f64,
        /// How long one is held.
        by: Duration,
    },
    /// The link carries so much and no more. Packets wait in a queue for their turn; a packet for which there is no
    /// more room vanishes.
    Rate {
        /// Bytes per second, IP headers included.
        bytes_per_s: u64,
        /// How many bytes an idle link takes at once; 0 makes every packet last as long as its bytes take.
        burst_bytes: u64,
        /// How many bytes may wait.
        queue_bytes: u64,
    },
    /// One bit of a packet is turned over.
    Corrupt {
        /// Of each packet.
        probability: f64,
        /// False: any bit behind the first byte, so that a checksum is wrong and the receiver drops the packet (TCP
        /// sends it again). True: a bit of what the application sent, and the checksums are made right, so that nobody
        /// below the application can tell; packets without payload and fragments pass.
        repair: bool,
    },
    /// Packets of more bytes than this vanish, IP header included, and no ICMP message says so: path MTU discovery
    /// finds nothing.
    BlackHole {
        /// The longest packet that passes.
        mtu: u16,
    },
    /// TCP connections are reset: both ends get a RST that they believe, with sequence numbers from the packets seen.
    /// A coin says whether the packet that draws the reset still arrives. Connections that are being opened are left
    /// alone until they are open. List the links of both directions.
    Reset {
        /// For each segment of an open connection.
        probability: f64,
    },
    /// One end of a TCP connection loses it (a RST from its peer, as it believes), the other one is not told: from then
    /// on nothing of this connection passes in either direction, but more resets to the end that has lost it. List the
    /// links of both directions. After healing, the other end finds out with the next segment it sends.
    HalfOpen {
        /// The end that loses the connection.
        loser: End,
        /// For each segment of an open connection.
        probability: f64,
    },
    /// Segments that close a TCP connection (FIN) are held back; all others pass.
    SlowClose {
        /// How long; `None` until the rule is healed.
        hold: Option<Duration>,
    },
    /// Nobody is told that a TCP connection has ended: a RST vanishes, and a FIN arrives as a segment without one. Who is
    /// left behind goes on believing in its connection. After healing it finds out with the next segment it sends, or as
    /// the FIN is sent again.
    HideClose,
    /// After so many bytes nothing more passes.
    Stall {
        /// How many bytes pass at most; they are counted from the first packet that the rule sees.
        after_bytes: u64,
        /// Of what.
        per: CountedPer,
    },
}

/// What the bytes of a stall are counted of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CountedPer {
    /// Each direction of each TCP connection for itself, by sequence numbers: what is sent again is not counted twice.
    /// Segments beyond vanish; acknowledgements alone still pass, as does what is not TCP.
    Connection,
    /// Each directed link, headers included; beyond, everything vanishes.
    Link,
}

impl Action {
    /// The working part of it. `ports` are those the rule is meant for.
    pub(super) fn effect(self, ports: &Ports) -> Box<dyn Effect> {
        match self {
            Action::Drop => Box::new(loss::Always),
            Action::Delay { base, jitter } => Box::new(delay::Queue::new(Latency::uniform(base, jitter))),
            Action::Latency(latency) => Box::new(delay::Queue::new(latency)),
            Action::Loss { probability } => Box::new(loss::Share { probability, correlation: 0.0 }),
            Action::CorrelatedLoss { probability, correlation } => {
                Box::new(loss::Share { probability, correlation })
            }
            Action::Bursts { to_bad, to_good, loss_good, loss_bad } => {
                Box::new(loss::Bursts::new(to_bad, to_good, loss_good, loss_bad))
            }
            Action::Duplicate { probability } => Box::new(copies::Duplicate { probability }),
            Action::Reorder { probability, by } => Box::new(copies::Reorder::new(probability, by)),
            Action::Rate { bytes_per_s, burst_bytes, queue_bytes } => {
                Box::new(rate::Bucket::new(bytes_per_s, burst_bytes, queue_bytes))
            }
            Action::Corrupt { probability, repair } => Box::new(corrupt::Flip { probability, repair }),
            Action::BlackHole { mtu } => Box::new(loss::LongerThan { mtu }),
            Action::Reset { probability } => Box::new(reset::Reset::new(probability)),
            Action::HalfOpen { loser, probability } => {
                Box::new(reset::HalfOpen::new(loser, probability, ports))
            }
            Action::SlowClose { hold } => Box::new(delay::Fins { hold }),
            Action::HideClose => Box::new(ends::Hidden),
            Action::Stall { after_bytes, per: CountedPer::Connection } => {
                Box::new(stall::Connections::new(after_bytes))
            }
            Action::Stall { after_bytes, per: CountedPer::Link } => Box::new(stall::Links::new(after_bytes)),
        }
    }

    /// What is wrong with its values, if anything.
    pub fn problem(&self) -> Option<String> {
        const LONGEST: Duration = Duration::from_secs(3600);
        let share = |what: &str, value: f64| {
            (!(0.0..=1.0).contains(&value)).then(|| format!("{what} {value} is not between 0 and 1"))
        };
        let correlated = |value: f64| {
            (!(0.0..1.0).contains(&value))
                .then(|| format!("correlation {value} is not between 0 and 1, without 1"))
        };
        let time = |what: &str, value: Option<Duration>| {
            let long = value.is_none_or(|value| value > LONGEST);
            long.then(|| {
                format!("{what} of up to {:?} is longer than an hour", value.unwrap_or(Duration::MAX))
            })
        };
        match *self {
            Action::Drop | Action::BlackHole { .. } | Action::HideClose | Action::Stall { .. } => None,
            Action::Delay { base, jitter } => time("a delay", base.checked_add(jitter)),
            Action::Latency(Latency { base, jitter, correlation, .. }) => {
                time("a delay", base.checked_add(jitter)).or(correlated(correlation))
            }
            Action::Loss { probability } => share("loss probability", probability),
            Action::CorrelatedLoss { probability, correlation } => {
                share("loss probability", probability).or(correlated(correlation))
            }
            Action::Bursts { to_bad, to_good, loss_good, loss_bad } => share("probability to_bad", to_bad)
                .or(share("probability to_good", to_good))
                .or(share("loss_good", loss_good))
                .or(share("loss_bad", loss_bad)),
            Action::Duplicate { probability }
            | Action::Corrupt { probability, .. }
            | Action::Reset { probability }
            | Action::HalfOpen { probability, .. } => share("probability", probability),
            Action::Reorder { probability, by } => {
                share("probability", probability).or(time("a hold", Some(by)))
            }
            Action::Rate { bytes_per_s: 0, .. } => {
                Some("a rate of 0 bytes per second carries nothing: use a drop".to_owned())
            }
            Action::Rate { queue_bytes: 0, burst_bytes: 0, .. } => Some(
                "a rate without burst and without queue carries nothing: give it some bytes of queue"
                    .to_owned(),
            ),
            Action::Rate { .. } => None,
            Action::SlowClose { hold } => hold.and_then(|hold| time("a hold", Some(hold))),
        }
    }
}
