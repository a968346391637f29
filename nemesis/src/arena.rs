//! What the nemesis may see of a system and do to it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use lab::{Action, DiskCounters, DiskRule, Flap, Lost, PowerCut, RuleCounters, Skew, Told};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::byzantine::{MessageFault, Strike, Tally, Trigger};
use crate::files::{Damage, Damaged};
use crate::harm::DataFile;

/// The nodes of a system, by what they carry. Names are unique.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// One ZooKeeper server each.
    pub zookeepers: Vec<String>,
    /// For each shard, its nodes: one Redis and one agent each.
    pub shards: Vec<Vec<String>>,
    /// Nodes the clients call from.
    pub clients: Vec<String>,
}

impl Topology {
    /// All nodes that serve: ZooKeeper first, then shard by shard.
    pub fn servers(&self) -> Vec<String> {
        self.zookeepers.iter().chain(self.shards.iter().flatten()).cloned().collect()
    }

    /// Shard that `node` belongs to, if it carries one.
    pub fn shard_of(&self, node: &str) -> Option<usize> {
        self.shards.iter().position(|nodes| nodes.iter().any(|n| n == node))
    }
}

/// Who holds which role at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// For each shard its master and that master's epoch, if it has one.
    pub masters: Vec<Option<(String, u64)>>,
    /// The ZooKeeper leader, if there is one.
    pub zookeeper_leader: Option<String>,
}

impl View {
    /// The role `node` holds, in words: `master of shard 0 (epoch 3)`.
    pub fn role_of(&self, topology: &Topology, node: &str) -> String {
        if let Some(shard) = topology.shard_of(node) {
            return match self.masters.get(shard).and_then(Option::as_ref) {
                Some((master, epoch)) if master == node => format!("master of shard {shard} (epoch {epoch})"),
                _ => format!("replica of shard {shard}"),
            };
        }
        if topology.zookeepers.iter().any(|n| n == node) {
            let leads = self.zookeeper_leader.as_deref() == Some(node);
            return if leads { "ZooKeeper leader".into() } else { "ZooKeeper follower".into() };
        }
        "client".into()
    }
}

/// A part of a node that can be struck on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Its Redis server.
    Redis,
    /// The agent beside its Redis.
    Agent,
    /// Its ZooKeeper server.
    ZooKeeper,
    /// A client: all that calls from its node.
    Client,
}

impl Part {
    /// As people say it.
    pub fn word(self) -> &'static str {
        match self {
            Part::Redis => "Redis",
            Part::Agent => "agent",
            Part::ZooKeeper => "ZooKeeper",
            Part::Client => "client",
        }
    }
}

/// One process on one node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Victim {
    /// Name of the node.
    pub node: String,
    /// Which of its processes.
    pub part: Part,
}

impl fmt::Display for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.part.word(), self.node)
    }
}

/// What connections lead to: the kind of server, as the system at hand places it, or a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Service {
    /// Redis: of clients, of agents, of replicas.
    Redis,
    /// ZooKeeper: of its clients, and of its servers among each other.
    ZooKeeper,
    /// Whatever listens at this port.
    Port(u16),
}

impl TryFrom<Value> for Service {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let port = value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        match (value.as_str(), port) {
            (Some("redis"), _) => Ok(Service::Redis),
            (Some("zookeeper"), _) => Ok(Service::ZooKeeper),
            (_, Some(port)) => Ok(Service::Port(port)),
            _ => Err(format!("`to` cannot be {value}: use \"redis\", \"zookeeper\" or a port number")),
        }
    }
}

impl From<Service> for Value {
    fn from(service: Service) -> Self {
        match service {
            Service::Redis => "redis".into(),
            Service::ZooKeeper => "zookeeper".into(),
            Service::Port(port) => port.into(),
        }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Service::Redis => f.write_str("Redis"),
            Service::ZooKeeper => f.write_str("ZooKeeper"),
            Service::Port(port) => write!(f, "port {port}"),
        }
    }
}

/// A rule on directed links between named nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct NetRule {
    /// For logs and captures: `window 3: partition`.
    pub name: String,
    /// `(from, to)`; everything that flows from the first to the second.
    pub links: Vec<(String, String)>,
    /// Only packets of connections with these servers.
    pub service: Option<Service>,
    /// What happens to it.
    pub action: Action,
    /// Fixes the rule's own dice.
    pub seed: u64,
    /// On and off by turns.
    pub flap: Option<Flap>,
    /// When it heals by itself, if nobody does it before.
    pub expires: Option<Duration>,
}

/// A network rule in force; removed when dropped.
pub trait RuleInForce: Send {
    /// What it has done so far.
    fn counters(&self) -> RuleCounters;
}

/// A wrong clock in force; right again when dropped.
pub trait SkewInForce: Send {
    /// What the process was told since the clock was last changed.
    fn told(&self) -> Told;

    /// Makes the clock right now; what is told from then on can still be seen.
    fn straighten(&mut self);
}

impl SkewInForce for lab::SkewGuard {
    fn told(&self) -> Told {
        lab::SkewGuard::told(self)
    }

    fn straighten(&mut self) {
        lab::SkewGuard::straighten(self);
    }
}

/// A rule on a process's data directory in force; removed when dropped.
pub trait DiskRuleInForce: Send {
    /// What it has done so far.
    fn counters(&self) -> DiskCounters;
}

/// A fault on messages in force; it ends when dropped.
pub trait FaultOnMessages: Send {
    /// How far it has come.
    fn tally(&self) -> Tally;

    /// The first message it altered.
    fn first(&self) -> Option<Strike>;
}

/// A point in a conversation that is waited for; what is held there goes on when this is dropped.
pub trait PointOfMessages: Send {
    /// Which message it was, once it has come.
    fn reached(&mut self) -> Option<String>;
}

/// How far the logs of all processes were at one moment, and who had ended by then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks(pub BTreeMap<Victim, Mark>);

/// One process at that moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Bytes of its log.
    pub log: u64,
    /// It had ended by itself.
    pub is_ended: bool,
}

/// What processes have given away of themselves since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signs {
    /// Who has ended without having been killed, and how.
    pub ended: Vec<(Victim, String)>,
    /// What was added to each log.
    pub logs: Vec<(Victim, String)>,
}

/// A system that can be harmed, in the ways that it does not leave out. Every call is synchronous and short (milliseconds); what it returns is what
/// was *seen*, as evidence: a process state read back from the kernel, not the fact that a signal was sent.
/// An `Err` is one sentence: the harm did not take effect, and why.
pub trait Arena: Sync {
    /// Which nodes there are.
    fn topology(&self) -> &Topology;

    /// Who holds which role now.
    fn view(&self) -> View;

    /// Kills a process at once (SIGKILL); returns the state seen afterwards. Refuses where that would lose more memories
    /// than the system is made to survive.
    fn kill(&self, victim: &Victim) -> Result<String, String> {
        Err(format!("the {victim} cannot be killed here"))
    }

    /// The same, whatever is lost.
    fn lose(&self, victim: &Victim) -> Result<String, String> {
        self.kill(victim)
    }

    /// Starts a killed process again.
    fn restart(&self, victim: &Victim) -> Result<String, String> {
        Err(format!("the {victim} cannot be started again here"))
    }

    /// Stops a process without killing it (SIGSTOP).
    fn pause(&self, victim: &Victim) -> Result<String, String> {
        Err(format!("the {victim} cannot be paused here"))
    }

    /// Lets it go on (SIGCONT).
    fn resume(&self, victim: &Victim) -> Result<String, String> {
        Err(format!("the {victim} cannot be resumed here"))
    }

    /// Puts a network rule in force.
    fn install(&self, _rule: &NetRule) -> Result<Box<dyn RuleInForce>, String> {
        Err("this system has no links that could be struck".into())
    }

    /// Makes the clock of a process wrong, from now on and across its restarts.
    fn skew(&self, victim: &Victim, _skew: &Skew) -> Result<Box<dyn SkewInForce>, String> {
        Err(format!("the {victim} has no clock of its own"))
    }

    /// Puts a fault on messages in force, for this window.
    fn interfere(&self, _window: u64, fault: &MessageFault) -> Result<Box<dyn FaultOnMessages>, String> {
        Err(format!("nobody reads the {} links of this system", fault.pattern.link))
    }

    /// Waits for a point in a conversation.
    fn watch(&self, trigger: &Trigger) -> Result<Box<dyn PointOfMessages>, String> {
        Err(format!("nobody reads the {} links of this system", trigger.at.link))
    }

    /// How far all logs are, and who has ended by itself; nothing where nobody can tell.
    fn marks(&self) -> Marks {
        Marks::default()
    }

    /// What processes have given away of themselves since then.
    fn signs(&self, _since: &Marks) -> Signs {
        Signs::default()
    }

    /// True if a process has ended, be it by itself.
    fn is_ended(&self, victim: &Victim) -> Result<bool, String> {
        Err(format!("nobody can tell whether the {victim} has ended"))
    }

    /// Starts a process again if it has ended by itself; says how it had ended, `None` if it runs.
    fn revive(&self, victim: &Victim) -> Result<Option<String>, String> {
        Err(format!("the {victim} cannot be revived here"))
    }

    /// Puts a rule in force on a process's data directory.
    fn install_on_disk(&self, victim: &Victim, _rule: &DiskRule) -> Result<Box<dyn DiskRuleInForce>, String> {
        Err(no_disk(victim))
    }

    /// Leaves in the data directory of a process that was killed what a power cut would have left.
    fn cut_power(&self, victim: &Victim, _cut: &PowerCut) -> Result<Lost, String> {
        Err(no_disk(victim))
    }

    /// Damages a file in the data directory of a process that was killed.
    fn damage(
        &self,
        victim: &Victim,
        _file: DataFile,
        _damage: Damage,
        _seed: u64,
    ) -> Result<Damaged, String> {
        Err(no_disk(victim))
    }
}

fn no_disk(victim: &Victim) -> String {
    format!("the {victim} has no data directory that can be harmed")
}
