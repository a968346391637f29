//! How a run stands, from its journal and from what the agents write: counts, rates, faults in force, roles.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};

use checker::{Event, EventKind, FaultRecord, Process};
use cluster::event::{AgentEvent, Step};
use nix::time::{ClockId, clock_gettime};
use results::layout;
use results::summary::NodeEvent;
use serde::Serialize;

use super::follow::Follow;
use crate::serve::line::Line;
use crate::serve::store::Entry;

/// Seconds of rates that are shown.
const SECONDS_SHOWN: usize = 300;
/// Seconds over which the rate now is taken.
const RATE_OVER: usize = 3;
/// Steps and faults that are shown.
const STEPS_SHOWN: usize = 40;
const FAULTS_SHOWN: usize = 40;

/// Who leads a shard, by whose word.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Role {
    shard: u32,
    master: String,
    epoch: u64,
    /// `agents`: their step `promoted`; `clients`: it acknowledged a write.
    source: &'static str,
    /// Seconds of the run clock at which that was first seen.
    since_s: f64,
}

#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Counts {
    invoked: u64,
    ok: u64,
    fail: u64,
    info: u64,
    /// Called and not back.
    open: u64,
}

/// Completions of each second by how they ended.
#[derive(Debug, Clone, Default, Serialize)]
struct Rates {
    /// The second that the first numbers are of.
    from_s: usize,
    ok: Vec<u32>,
    fail: Vec<u32>,
    info: Vec<u32>,
}

/// How a run stands; `/api/live/…`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Snapshot {
    schema: u32,
    /// Path below the store.
    pub(super) path: String,
    /// As in the index.
    state: String,
    mood: &'static str,
    sentence: String,
    workload: String,
    variant: String,
    target: String,
    /// `raise`, `load`, `settle`, `final-reads`, `end`.
    phase: String,
    /// Seconds of load that are planned.
    time_limit_s: f64,
    /// Time of the last line, seconds of the run clock.
    elapsed_s: f64,
    counts: Counts,
    /// Completions a second, over the last few.
    rate: f64,
    rates: Rates,
    /// In order of their start; those without `stop_ns` are in force.
    faults: Vec<FaultRecord>,
    in_force: usize,
    roles: Vec<Role>,
    zookeeper_leader: Option<String>,
    steps: Vec<NodeEvent>,
    /// There is more to read: the next look shows more.
    behind: bool,
    /// What cannot be known from the files, each a sentence.
    notes: Vec<String>,
}

/// What a ZooKeeper server has said last of its role.
#[derive(Debug, Clone, PartialEq)]
struct Leads {
    leads: bool,
    /// Sorts as time does.
    since: String,
}

/// A run as it is being read.
pub(super) struct Tail {
    folder: PathBuf,
    history: Follow,
    /// Steps on the run clock, once the run has written them: when it ends.
    told: Option<Follow>,
    /// The agents' own files, and ZooKeeper's logs, by node.
    agents: HashMap<String, Follow>,
    zookeepers: BTreeMap<String, (Follow, Option<Leads>)>,
    counts: Counts,
    bins: Vec<[u32; 3]>,
    faults: BTreeMap<u64, FaultRecord>,
    phase: String,
    last_ns: u64,
    roles: BTreeMap<u32, Role>,
    steps: VecDeque<NodeEvent>,
    /// The machine's monotonic clock when the run's read 0, at the latest.
    origin_mono_ns: Option<i64>,
    behind: bool,
}

impl Tail {
    pub(super) fn new(folder: &Path) -> Tail {
        Tail {
            folder: folder.to_owned(),
            history: Follow::new(folder.join(layout::HISTORY)),
            told: None,
            agents: HashMap::new(),
            zookeepers: BTreeMap::new(),
            counts: Counts::default(),
            bins: Vec::new(),
            faults: BTreeMap::new(),
            phase: "raise".into(),
            last_ns: 0,
            roles: BTreeMap::new(),
            steps: VecDeque::new(),
            origin_mono_ns: None,
            behind: false,
        }
    }

    /// Reads on.
    pub(super) fn catch_up(&mut self) {
        let mut history = std::mem::replace(&mut self.history, Follow::new(PathBuf::new()));
        self.behind = history.catch_up(|line| self.journal_line(line));
        self.history = history;
        self.set_clock();
        self.find_nodes();
        self.follow_agents();
        for (follow, leads) in self.zookeepers.values_mut() {
            follow.catch_up(|line| *leads = leads_after(line).or_else(|| leads.take()));
        }
    }

    fn journal_line(&mut self, raw: &[u8]) {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(raw) else { return };
        self.last_ns = self.last_ns.max(line.time);
        if line.process == Process::Nemesis {
            return self.nemesis_line(raw);
        }
        let column = match line.kind {
            EventKind::Invoke => {
                self.counts.invoked += 1;
                return;
            }
            EventKind::Ok => 0,
            EventKind::Fail => 1,
            EventKind::Info => 2,
        };
        *[&mut self.counts.ok, &mut self.counts.fail, &mut self.counts.info][column] += 1;
        let second = (line.time / 1_000_000_000) as usize;
        if second < 10_000_000 {
            if self.bins.len() <= second {
                self.bins.resize(second + 1, [0; 3]);
            }
            self.bins[second][column] += 1;
        }
        if let (0, false, Some(shard), Some(epoch), Some(node)) =
            (column, line.f == "read", line.shard, line.epoch, line.node)
        {
            self.leads(shard, epoch, &node, "clients", line.time as f64 / 1e9);
        }
    }

    fn nemesis_line(&mut self, raw: &[u8]) {
        let Ok(event) = serde_json::from_slice::<Event>(raw) else { return };
        match &*event.f {
            "phase" => self.phase = event.value.as_str().unwrap_or_default().to_owned(),
            "fault-start" | "fault-stop" => {
                if let Ok(fault) = serde_json::from_value::<FaultRecord>(event.value) {
                    self.faults.insert(fault.id, fault);
                }
            }
            _ => {}
        }
    }

    fn leads(&mut self, shard: u32, epoch: u64, node: &str, source: &'static str, since_s: f64) {
        let known = self.roles.get(&shard);
        // Of one epoch the agents know more: clients hear of it later.
        let is_news = |role: &Role| {
            epoch > role.epoch || (epoch == role.epoch && role.source == "clients" && source == "agents")
        };
        if known.is_none_or(|role| is_news(role) || (epoch == role.epoch && role.master != node)) {
            let role = Role { shard, master: node.to_owned(), epoch, source, since_s };
            self.roles.insert(shard, role);
        }
    }

    /// A line is read after it was written: the run's clock was 0 no later than that tells.
    fn set_clock(&mut self) {
        let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) else { return };
        let latest = now.tv_sec() * 1_000_000_000 + now.tv_nsec() - i64::try_from(self.last_ns).unwrap_or(0);
        if self.last_ns > 0 && self.origin_mono_ns.is_none_or(|origin| latest < origin) {
            self.origin_mono_ns = Some(latest);
        }
    }

    fn find_nodes(&mut self) {
        let nodes = std::fs::read_dir(self.folder.join(layout::NODES)).into_iter().flatten().flatten();
        for node in nodes {
            let Ok(name) = node.file_name().into_string() else { continue };
            let (events, log) = (node.path().join(layout::EVENTS), node.path().join("zookeeper.log"));
            if !self.agents.contains_key(&name) && events.is_file() {
                self.agents.insert(name, Follow::new(events));
            } else if !self.zookeepers.contains_key(&name) && log.is_file() {
                self.zookeepers.insert(name, (Follow::new(log), None));
            }
        }
    }

    fn follow_agents(&mut self) {
        let told = self.folder.join(layout::EVENTS);
        if self.told.is_none() && told.is_file() {
            self.told = Some(Follow::new(told));
            self.steps.clear();
        }
        let mut fresh: Vec<NodeEvent> = Vec::new();
        if let Some(told) = &mut self.told {
            told.catch_up(|line| fresh.extend(serde_json::from_slice::<NodeEvent>(line).ok()));
        } else {
            for follow in self.agents.values_mut() {
                follow.catch_up(|line| fresh.extend(serde_json::from_slice(line).ok().map(step)));
            }
        }
        fresh.sort_by_key(|event| event.time_ns);
        for event in &fresh {
            if event.step == Step::Promoted.name() {
                let since_s = self.on_run_clock(event.time_ns) as f64 / 1e9;
                self.leads(event.shard, event.epoch, &event.node, "agents", since_s);
            }
        }
        self.steps.extend(fresh);
        let over = self.steps.len().saturating_sub(STEPS_SHOWN);
        self.steps.drain(..over);
    }

    /// What stands in `steps` as it is on the run clock: agents write readings of the machine's clock.
    fn on_run_clock(&self, time_ns: i64) -> i64 {
        match (&self.told, self.origin_mono_ns) {
            (Some(_), _) => time_ns,
            (None, Some(origin)) => time_ns - origin,
            (None, None) => -1, // before the load began
        }
    }

    /// As it stands, beside what the index knows.
    pub(super) fn snapshot(&self, schema: u32, entry: &Entry) -> Snapshot {
        let spec = entry.spec.as_ref();
        let from = self.bins.len().saturating_sub(SECONDS_SHOWN);
        let column = |column: usize| self.bins[from..].iter().map(|bin| bin[column]).collect();
        // The second that has just begun would look like a drop.
        let whole = &self.bins[..self.bins.len().saturating_sub(1)];
        let last = &whole[whole.len().saturating_sub(RATE_OVER)..];
        let completed: u32 = last.iter().flatten().sum();
        let done = self.counts.ok + self.counts.fail + self.counts.info;
        // One that was killed says nothing more: who came last leads.
        let leaders = self.zookeepers.iter().filter_map(|(name, (_, says))| Some((says.as_ref()?, name)));
        let leaders = leaders.filter(|(says, _)| says.leads);
        let zookeeper_leader = leaders.max_by(|a, b| a.0.since.cmp(&b.0.since)).map(|(_, name)| name.clone());
        let mut notes = Vec::new();
        if self.agents.is_empty() && self.steps.is_empty() {
            let words = "This target's agents tell their steps when the run ends: masters are those that acknowledged writes.";
            notes.push(words.to_owned());
        }
        if zookeeper_leader.is_none() && !self.zookeepers.is_empty() {
            notes.push("Which ZooKeeper server leads cannot be told from the files.".to_owned());
        }
        let shifted =
            |step: &NodeEvent| NodeEvent { time_ns: self.on_run_clock(step.time_ns), ..step.clone() };
        let skipped = self.faults.len().saturating_sub(FAULTS_SHOWN);
        let is_shown = |(place, fault): &(usize, &FaultRecord)| *place >= skipped || fault.stop_ns.is_none();
        Snapshot {
            schema,
            path: entry.path.clone(),
            state: entry.state.clone(),
            mood: entry.mood,
            sentence: entry.sentence.clone(),
            workload: spec.map(|spec| spec.workload.clone()).unwrap_or_default(),
            variant: entry.variant(),
            target: spec.map(|spec| spec.target.clone()).unwrap_or_default(),
            phase: self.phase.clone(),
            time_limit_s: spec.map_or(0.0, |spec| spec.time_limit_s),
            elapsed_s: self.last_ns as f64 / 1e9,
            counts: Counts { open: self.counts.invoked.saturating_sub(done), ..self.counts },
            rate: if last.is_empty() { 0.0 } else { f64::from(completed) / last.len() as f64 },
            rates: Rates { from_s: from, ok: column(0), fail: column(1), info: column(2) },
            faults: self
                .faults
                .values()
                .enumerate()
                .filter(is_shown)
                .map(|(_, fault)| fault.clone())
                .collect(),
            in_force: self.faults.values().filter(|fault| fault.stop_ns.is_none()).count(),
            roles: self.roles.values().cloned().collect(),
            zookeeper_leader,
            steps: self.steps.iter().rev().map(shifted).collect(),
            behind: self.behind,
            notes,
        }
    }
}

/// An agent's own line, by the machine's clock.
fn step(event: AgentEvent) -> NodeEvent {
    NodeEvent {
        time_ns: i64::try_from(event.mono_ns).unwrap_or(i64::MAX),
        shard: event.shard,
        node: event.node,
        step: event.step.name().into(),
        epoch: event.epoch,
        detail: event.detail,
    }
}

/// Whether a ZooKeeper server leads, where a line of its log says so, and since when: `<time> … - LEADING`.
fn leads_after(line: &[u8]) -> Option<Leads> {
    let line = String::from_utf8_lossy(line);
    let says = |word: &str| line.trim_end().split(" - ").any(|part| part == word);
    let leads = says("LEADING");
    let is_told = leads || says("FOLLOWING") || says("LOOKING");
    is_told.then(|| Leads { leads, since: line.split(' ').next().unwrap_or_default().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_says_who_leads() {
        let log = |text: &str| leads_after(text.as_bytes()).map(|says| says.leads);
        assert_eq!(log("2026 INFO QuorumPeer - LEADING - LEADER ELECTION TOOK - 23 MS\n"), Some(true));
        assert_eq!(log("2026 INFO QuorumPeer - FOLLOWING\n"), Some(false));
        assert_eq!(log("2026 INFO QuorumPeer - LOOKING\n"), Some(false));
        assert_eq!(log("2026 INFO Election - Notification: my state:FOLLOWING; n.state:LEADING\n"), None);
    }

    #[test]
    fn the_later_epoch_leads_whoever_says_so() {
        let mut tail = Tail::new(Path::new("nowhere"));
        tail.leads(0, 2, "s0r1", "clients", 2.0);
        tail.leads(0, 1, "s0r0", "agents", 1.0);
        assert_eq!(tail.roles[&0].master, "s0r1");
        tail.leads(0, 3, "s0r2", "agents", 3.0);
        assert_eq!((tail.roles[&0].master.as_str(), tail.roles[&0].epoch), ("s0r2", 3));
    }
}
