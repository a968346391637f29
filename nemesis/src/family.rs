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
    /// Packets held back.
    Delay,
    /// Packets lost.
    Loss,
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
    pub const ALL: [Family; 8] = [
        Family::Kill,
        Family::Pause,
        Family::Partition,
        Family::Delay,
        Family::Loss,
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
            Family::Delay => "delay",
            Family::Loss => "loss",
            Family::Clock => "clock",
            Family::Disk => "disk",
            Family::Message => "message",
        }
    }

    /// One line for `list`.
    pub fn about(self) -> &'static str {
        match self {
            Family::Kill => {
                "SIGKILL a Redis, an agent or a ZooKeeper server, once or in a loop; started again when the window ends"
            }
            Family::Pause => "SIGSTOP it; SIGCONT when the window ends",
            Family::Partition => {
                "cut links: isolate one, halves, majorities ring, bridge, one-way, client from server"
            }
            Family::Delay => "hold back every packet to and from the target, with jitter",
            Family::Loss => "lose a share of the packets to and from the target",
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
            Family::Partition | Family::Delay | Family::Loss => Group::Net,
            Family::Clock => Group::Clock,
            Family::Disk => Group::Disk,
            Family::Message => Group::Message,
        }
    }

    /// True when it strikes links, so that clients can be its target.
    pub fn is_network(self) -> bool {
        self.group() == Group::Net
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
