//! Every server process of a run: where it runs, where its files are, how it is started again.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cluster::agent::{AgentConfig, Timing};
use cluster::credentials::Secret;
use cluster::defence::Without;
use cluster::event::AgentEvent;
use cluster::provision::{self, Launch, redis, zookeeper};
use cluster::security::Transport;
use lab::{Clock, Disk, DiskOptions, Node, Process, ProcessState, Program};
use nemesis::wire::Protocol;
use nemesis::{DataFile, Mark, Marks, Part, Service, Signs, Topology, Victim, View, files};
use results::RunFolder;
use results::spec::RunSpec;

use super::certificates::Certificates;

const REDIS_PORT: u16 = 6379;
const ZOOKEEPER_PORT: u16 = 2181;
/// Where the servers of an ensemble meet, as `zookeeper::Peer` places them.
const QUORUM_PORT: u16 = 2888;
const ELECTION_PORT: u16 = 3888;
/// What is spoken at which port, among servers and with clients.
pub const PROTOCOLS: [(u16, Protocol); 4] = [
    (REDIS_PORT, Protocol::Redis),
    (ZOOKEEPER_PORT, Protocol::ZkClient),
    (QUORUM_PORT, Protocol::Quorum),
    (ELECTION_PORT, Protocol::Election),
];
/// Steps of an agent that are worth showing.
const STEPS_SHOWN: usize = 4;
/// Bytes of a log that are searched for signs of trouble.
const LOG_READ_MAX: u64 = 8 << 20;
/// Lines of a dead server's log that are worth showing.
const LOG_TAIL: usize = 8;

/// What is installed on this machine.
pub struct Installations {
    redis: redis::Installation,
    zookeeper: zookeeper::Installation,
}

impl Installations {
    /// Finds them; an error names the missing package.
    pub fn find() -> Result<Self> {
        Ok(Installations { redis: redis::find()?, zookeeper: zookeeper::find()? })
    }

    /// For the run's manifest.
    pub fn versions(&self) -> Vec<(String, String)> {
        let (redis, zookeeper) = (&self.redis, &self.zookeeper);
        vec![
            ("redis".into(), redis.version.clone()),
            ("zookeeper".into(), zookeeper.version.clone()),
            ("java".into(), zookeeper.java_version.clone()),
        ]
    }
}

/// Where a node's Redis listens.
pub fn redis_addr(node: &Node) -> SocketAddr {
    (node.addr(), REDIS_PORT).into()
}

/// The ports that servers of this kind listen at.
pub fn ports(service: Service) -> lab::Ports {
    match service {
        Service::Redis => REDIS_PORT.into(),
        Service::ZooKeeper => vec![ZOOKEEPER_PORT, QUORUM_PORT, ELECTION_PORT].into(),
        Service::Port(port) => port.into(),
    }
}

/// Where a node's ZooKeeper serves clients.
pub fn zookeeper_addr(node: &Node) -> SocketAddr {
    (node.addr(), ZOOKEEPER_PORT).into()
}

/// All server processes, and how to start each.
pub struct Servers {
    ensemble: Vec<(Node, zookeeper::Server)>,
    redis: Vec<(Node, redis::Server)>,
    agents: Vec<(Node, provision::agent::Agent)>,
    processes: HashMap<Victim, Process>,
    /// Each process's own clock; None where all have the machine's, since no fault asks for more.
    clocks: Option<HashMap<Victim, Clock>>,
    /// Faulty disks under the data of ZooKeeper servers, by node; none where no fault asks for them.
    disks: HashMap<String, Disk>,
    logs: PathBuf,
    certificates: Certificates,
}

impl Servers {
    /// Plans them; nothing is started yet. Data lies below the run folder until the run is over, logs stay.
    pub fn new(
        topology: &Topology,
        nodes: &HashMap<String, Node>,
        folder: &RunFolder,
        spec: &RunSpec,
        secret: &Secret,
        without: &Without,
    ) -> Result<Self> {
        let logs = folder.path().join(results::layout::NODES);
        let certificates = Certificates::issue(&logs, &topology.servers(), nodes, spec.tls)?;
        let peers: Vec<zookeeper::Peer> = (1..)
            .zip(&topology.zookeepers)
            .map(|(id, name)| zookeeper::Peer::at(id, IpAddr::V4(nodes[name].addr())))
            .collect();
        let ensemble = (1..).zip(&topology.zookeepers).map(|(id, name)| {
            let server = zookeeper::Server::new(id, peers.clone(), data_dir(&logs, name, "zookeeper"));
            (nodes[name].clone(), zookeeper::Server { security: certificates.of(name), ..server })
        });
        let of_shards = || {
            let shards = topology.shards.iter().enumerate();
            shards.flat_map(|(shard, names)| names.iter().map(move |name| (shard as u32, name)))
        };
        let redis = of_shards().map(|(_, name)| {
            let (bind, port) = (IpAddr::V4(Ipv4Addr::UNSPECIFIED), REDIS_PORT);
            let dir = data_dir(&logs, name, "redis");
            (
                nodes[name].clone(),
                redis::Server { bind, port, dir, secret: secret.clone(), security: certificates.of(name) },
            )
        });
        let connect: Vec<String> =
            topology.zookeepers.iter().map(|name| zookeeper_addr(&nodes[name]).to_string()).collect();
        let agents = of_shards().map(|(shard, name)| {
            let config = AgentConfig {
                shard,
                node: name.clone(),
                redis: redis_addr(&nodes[name]),
                zookeeper: connect.join(","),
                events: logs.join(name).join("events.jsonl"),
                secret: secret.clone(),
                without: without.clone(),
                root: cluster::znodes::ROOT.into(),
                timing: Timing {
                    lease_ms: spec.lease_ms,
                    wait_replicas: spec.wait.min(spec.replicas / 2),
                    ..Timing::default()
                },
                authenticated: spec.authenticated,
                security: certificates.of(name),
            };
            let dir = data_dir(&logs, name, "agent");
            // We are our own agent: one binary, nothing else to install or to find.
            let program = vec![PathBuf::from("/proc/self/exe"), PathBuf::from("shard-agent")];
            (nodes[name].clone(), provision::agent::Agent { program, config, dir })
        });
        let (ensemble, redis, agents) = (ensemble.collect(), redis.collect(), agents.collect());
        let (processes, disks) = (HashMap::new(), HashMap::new());
        Ok(Servers { ensemble, redis, agents, processes, clocks: None, disks, logs, certificates })
    }

    /// How clients and observers connect.
    pub fn transport(&self) -> &Transport {
        self.certificates.transport()
    }

    /// The ensemble's connect string.
    pub fn zookeeper(&self) -> String {
        let each = self.ensemble.iter().map(|(node, _)| zookeeper_addr(node).to_string());
        each.collect::<Vec<_>>().join(",")
    }

    /// Where each agent writes its event lines.
    pub fn event_files(&self) -> Vec<PathBuf> {
        self.agents.iter().map(|(_, agent)| agent.config.events.clone()).collect()
    }

    /// From now on whatever is started has a clock of its own.
    pub fn have_clocks(&mut self) {
        self.clocks = Some(HashMap::new());
    }

    /// Starts the ensemble first: Java takes longest. With `faulty_disks` its data lie on file systems that can
    /// be made to fail.
    pub fn start_zookeeper_and_redis(&mut self, installed: &Installations, faulty_disks: bool) -> Result<()> {
        for (node, server) in self.ensemble.clone() {
            let launch = server.prepare(&installed.zookeeper)?;
            if faulty_disks {
                let data = server.data();
                let disk = Disk::mount(&node, &data, &data, DiskOptions::default())?;
                self.disks.insert(node.name().to_owned(), disk);
            }
            self.start(&node, Part::ZooKeeper, "zookeeper", launch)?;
        }
        for (node, server) in self.redis.clone() {
            let launch = server.prepare(&installed.redis)?;
            self.start(&node, Part::Redis, "redis", launch)?;
        }
        Ok(())
    }

    /// Starts an agent beside each Redis.
    pub fn start_agents(&mut self) -> Result<()> {
        for (node, agent) in self.agents.clone() {
            let launch = agent.prepare()?;
            self.start(&node, Part::Agent, "agent", launch)?;
        }
        Ok(())
    }

    fn start(&mut self, node: &Node, part: Part, name: &str, launch: Launch) -> Result<()> {
        let folder = self.logs.join(node.name());
        std::fs::create_dir_all(&folder).with_context(|| format!("failed to make {}", folder.display()))?;
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        let victim = Victim { node: node.name().into(), part };
        let mut env: Vec<_> = launch.env.into_iter().map(|(name, value)| (text(name), text(value))).collect();
        if let Some(clocks) = &mut self.clocks {
            let clock = Clock::create(node, name)?;
            env.extend_from_slice(clock.env());
            clocks.insert(victim.clone(), clock);
        }
        let program = Program {
            name: name.into(),
            argv: launch.argv,
            env,
            cwd: launch.cwd,
            log: folder.join(format!("{name}.log")),
        };
        let process = node.spawn(&program)?;
        self.processes.insert(victim, process);
        Ok(())
    }

    /// The process meant; an error in words when there is none.
    pub fn process(&self, victim: &Victim) -> Result<&Process, String> {
        let missing = || format!("{} has no {}", victim.node, victim.part.word());
        self.processes.get(victim).ok_or_else(missing)
    }

    /// How far all logs are, and who has ended by itself.
    pub fn marks(&self) -> Marks {
        let mark = |process: &Process| Mark {
            log: std::fs::metadata(&process.program().log).map_or(0, |log| log.len()),
            is_ended: process.ended_by_itself().is_some(),
        };
        Marks(self.processes.iter().map(|(victim, process)| (victim.clone(), mark(process))).collect())
    }

    /// Who has ended by itself since then, and what all logs say since.
    pub fn signs(&self, since: &Marks) -> Signs {
        let mut signs = Signs::default();
        for (victim, before) in &since.0 {
            let Some(process) = self.processes.get(victim) else { continue };
            if let (Some(exit), false) = (process.ended_by_itself(), before.is_ended) {
                signs.ended.push((victim.clone(), ProcessState::Exited(exit).to_string()));
            }
            signs
                .logs
                .push((victim.clone(), log_from(&process.program().log, before.log).unwrap_or_default()));
        }
        signs
    }

    /// The clock of a process; an error in words when it has none of its own.
    pub fn clock(&self, victim: &Victim) -> Result<&Clock, String> {
        let clock = self.clocks.as_ref().and_then(|clocks| clocks.get(victim));
        clock.ok_or_else(|| format!("the {victim} has no clock of its own"))
    }

    /// Takes what was written while the cluster was raised as written back: ZooKeeper does not sync its snapshots,
    /// and a server that loses its first to a power cut does not start again (the log alone is refused). That it
    /// has been up for a while is the fairer beginning.
    pub fn settle_disks(&self) {
        self.disks.values().for_each(Disk::settle);
    }

    /// The faulty disk under a process's data; an error in words when there is none.
    pub fn disk(&self, victim: &Victim) -> Result<&Disk, String> {
        let disk = self.disks.get(&victim.node).filter(|_| victim.part == Part::ZooKeeper);
        disk.ok_or_else(|| format!("the {victim} has no disk that can fail"))
    }

    /// The newest file of this kind among a process's data.
    pub fn data_file(&self, victim: &Victim, file: DataFile) -> Result<PathBuf, String> {
        let missing = || format!("the {victim} has no {}", file.word());
        let is_meant = |node: &Node| victim.part == Part::ZooKeeper && node.name() == victim.node;
        let (_, server) = self.ensemble.iter().find(|(node, _)| is_meant(node)).ok_or_else(missing)?;
        let prefix = match file {
            DataFile::Log => "log.",
            DataFile::Snapshot => "snapshot.",
        };
        files::newest_by_zxid(&server.data().join("version-2"), prefix).ok_or_else(missing)
    }

    /// Does what must be done before a killed process is started again: a Redis loses its memory with the
    /// process, and what lies on its disk must not be taken for data.
    pub fn prepare_restart(&self, victim: &Victim, installed: &Installations) -> Result<()> {
        if victim.part == Part::Redis
            && let Some((_, server)) = self.redis.iter().find(|(node, _)| node.name() == victim.node)
        {
            server.prepare(&installed.redis)?;
        }
        Ok(())
    }

    /// An error with its last words if any server has died.
    pub fn require_running(&self) -> Result<()> {
        let dead = self.processes.values().any(|process| matches!(process.state(), ProcessState::Exited(_)));
        if dead { Err(self.explain(anyhow::anyhow!("a server died at its start"))) } else { Ok(()) }
    }

    /// Adds to an error what the servers' own logs say, if any of them has died.
    pub fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let dead =
            self.processes.iter().filter(|(_, process)| matches!(process.state(), ProcessState::Exited(_)));
        let mut told: Vec<String> = dead
            .map(|(victim, process)| {
                let (part, node) = (victim.part.word(), &victim.node);
                let log = process.log_tail(LOG_TAIL);
                format!("{part} of {node} is not running ({}); its last words:\n{log}", process.state())
            })
            .collect();
        told.sort();
        if told.is_empty() { error } else { error.context(told.join("\n")) }
    }

    /// One line per process that does not run, per node with its role, and per agent with its last steps.
    pub fn diagnose(&self, view: &View, topology: &Topology) -> Vec<String> {
        let idle = self.processes.iter().filter(|(_, process)| process.state() != ProcessState::Running);
        let mut lines: Vec<String> =
            idle.map(|(victim, process)| format!("{victim}: {}", process.state())).collect();
        lines.sort();
        for name in topology.shards.iter().flatten() {
            let events = self.logs.join(name).join("events.jsonl");
            let last = last_steps(&events).unwrap_or_else(|| "nothing yet".into());
            lines.push(format!("{name}: {}; its agent's last steps: {last}", view.role_of(topology, name)));
        }
        lines
    }
}

impl Drop for Servers {
    /// Data was needed as long as the servers ran; logs, configuration and events explain the run.
    fn drop(&mut self) {
        for process in self.processes.values() {
            let _ = process.kill(); // what is dead already is as good
        }
        for name in self.ensemble.iter().map(|(node, _)| node.name()) {
            let folder = data_dir(&self.logs, name, "zookeeper");
            let _ = std::fs::remove_dir_all(folder.join("data"));
            let _ = std::fs::remove_file(folder.join(zookeeper::KEYSTORE));
        }
        self.certificates.remove();
    }
}

/// What a log says from this byte on, as far as that is worth reading.
fn log_from(log: &Path, from: u64) -> std::io::Result<String> {
    let mut file = std::fs::File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LOG_READ_MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last steps of an agent, oldest first.
fn last_steps(events: &Path) -> Option<String> {
    let text = std::fs::read_to_string(events).ok()?;
    let lines: Vec<AgentEvent> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let shown = &lines[lines.len().saturating_sub(STEPS_SHOWN)..];
    let told: Vec<String> = shown
        .iter()
        .map(|event| {
            format!("{} of epoch {} {}", event.step.name(), event.epoch, event.detail).trim_end().to_string()
        })
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

fn data_dir(logs: &Path, node: &str, server: &str) -> PathBuf {
    logs.join(node).join(server)
}
