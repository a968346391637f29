//! Families of faults: what the command line names, and what a schedule is drawn from.

use std::str::FromStr;

/// A family of faults, as named on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// SIGKILL, restart at the window's end.
    Kill,
    /// SIGSTOP, SIGCONT at the window's end.
    Pause,
    /// Links cut, in one of the [`Shape`](crate::Shape)s.
    Partition,
    /// Links cut and whole by turns.
    Flap,
    /// Packets held back.
    Delay,
    /// Packets lost.
    Loss,
    /// Packets that arrive twice.
    Duplicate,
    /// Packets overtaken.
    Reorder,
    /// Links that are slow.
    Rate,
    /// Bits turned over.
    Corrupt,
    /// Long packets lost.
    BlackHole,
    /// Connections reset.
    Reset,
    /// Connections lost at one end.
    HalfOpen,
    /// Closes held back.
    SlowClose,
    /// Nobody is told that a TCP connection has ended.
    HiddenClose,
    /// Nothing more after so many bytes.
    Stall,
    /// Processes told a wrong time.
    Clock,
    /// A data directory that fails, loses what was not synced, or is damaged.
    Disk,
    /// Messages altered on their way.
    Message,
}

/// A means of harm. Windows of different groups may strike one process at once; a drawn schedule has a lane for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// What is done to processes.
    Process,
    /// What is done to links.
    Net,
    /// What is done to clocks.
    Clock,
    /// What is done to data directories.
    Disk,
    /// What is done to messages.
    Message,
}

impl Family {
    /// Every family.
    pub const ALL: [Family; 19] = [
        Family::Kill,
        Family::Pause,
        Family::Partition,
        Family::Flap,
        Family::Delay,
        Family::Loss,
        Family::Duplicate,
        Family::Reorder,
        Family::Rate,
        Family::Corrupt,
        Family::BlackHole,
        Family::Reset,
        Family::HalfOpen,
        Family::SlowClose,
        Family::HiddenClose,
        Family::Stall,
        Family::Clock,
        Family::Disk,
        Family::Message,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Family::Kill => "kill",
            Family::Pause => "pause",
            Family::Partition => "partition",
            Family::Flap => "flap",
            Family::Delay => "delay",
            Family::Loss => "loss",
            Family::Duplicate => "duplicate",
            Family::Reorder => "reorder",
            Family::Rate => "rate",
            Family::Corrupt => "corrupt",
            Family::BlackHole => "black-hole",
            Family::Reset => "reset",
            Family::HalfOpen => "half-open",
            Family::SlowClose => "slow-close",
            Family::HiddenClose => "hidden-close",
            Family::Stall => "stall",
            Family::Clock => "clock",
            Family::Disk => "disk",
            Family::Message => "message",
        }
    }

    /// One line for `list`.
    pub fn about(self) -> &'static str {
        match self {
            Family::Kill => {
                "SIGKILL a Redis, an agent, a ZooKeeper server or a client, once or in a loop; started again when the window ends"
            }
            Family::Pause => "SIGSTOP it; SIGCONT when the window ends",
            Family::Partition => {
                "cut links: isolate one, halves, majorities ring, bridge, one-way, role from role"
            }
            Family::Flap => "the same, cut and whole by turns (in a file: a partition with on_ms and off_ms)",
            Family::Delay => {
                "hold back every packet to and from the target: uniform, normal, exponential or Pareto jitter"
            }
            Family::Loss => "lose a share of the packets to and from the target, each for itself or in runs",
            Family::Duplicate => "deliver a share of the packets twice",
            Family::Reorder => "hold a share of the packets until later ones have passed them",
            Family::Rate => "links of so many bytes per second, with a queue that drops its tail",
            Family::Corrupt => {
                "turn over a bit in a share of the packets; checksums catch it (in a file: or are repaired)"
            }
            Family::BlackHole => "packets above some length vanish, and no ICMP message says so",
            Family::Reset => "inject TCP resets that both ends believe",
            Family::HalfOpen => "one end of a TCP connection loses it, the other goes on believing in it",
            Family::SlowClose => {
                "hold back the FIN of TCP connections, for a while or until healed; seen where some close"
            }
            Family::HiddenClose => {
                "no FIN and no RST arrives: the other end goes on believing; seen where some connection ends"
            }
            Family::Stall => "let so many bytes of a connection or of a link pass, and nothing more",
            Family::Clock => {
                "tell a Redis, an agent or a ZooKeeper server a wrong time: a jump, a strobe, a drift"
            }
            Family::Disk => {
                "make a ZooKeeper server's disk fail: errors, no space, slow or stuck fsync, power cut, damaged files"
            }
            Family::Message => {
                "alter, swallow, double, delay, forge messages by what they say, on links of Redis and ZooKeeper"
            }
        }
    }

    /// The means it is done with.
    pub fn group(self) -> Group {
        match self {
            Family::Kill | Family::Pause => Group::Process,
            Family::Partition
            | Family::Flap
            | Family::Delay
            | Family::Loss
            | Family::Duplicate
            | Family::Reorder
            | Family::Rate
            | Family::Corrupt
            | Family::BlackHole
            | Family::Reset
            | Family::HalfOpen
            | Family::SlowClose
            | Family::HiddenClose
            | Family::Stall => Group::Net,
            Family::Clock => Group::Clock,
            Family::Disk => Group::Disk,
            Family::Message => Group::Message,
        }
    }

    /// True when it strikes links.
    pub fn is_network(self) -> bool {
        self.group() == Group::Net
    }

    /// True when clients can be its target, and something comes of it.
    pub fn strikes_clients(self) -> bool {
        matches!(self.group(), Group::Net | Group::Process)
    }
}

impl FromStr for Family {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Family::ALL.into_iter().find(|family| family.name() == text).ok_or_else(|| {
            let names: Vec<_> = Family::ALL.iter().map(|family| family.name()).collect();
            format!("unknown fault `{text}`: use any of {}, or the path of a TOML file", names.join(", "))
        })
    }
}
