//! The failover protocol: who becomes master, and when a Redis must stop.
//!
//! Pure decisions: [`Protocol::step`] is told what the agent knows and answers with what to do now. Nothing
//! here waits, reads a clock or talks to a server, so every rule is tested without one.
//!
//! # The protocol
//! Redis replication carries the log, ZooKeeper hands out epochs by compare-and-set (Lamport, Malkhi and Zhou,
//! *Vertical Paxos*, 2009; the order of votes is Raft's). One change of epoch:
//!
//! 1. **Propose.** Whoever has reason to doubt the master turns the config into an election of the next
//!    epoch. If the reason is silence, the same transaction checks that the lease was not renewed since.
//! 2. **Fence.** Each agent that sees the election makes its own Redis follow nobody and serve nobody, *promises*
//!    not to follow a master of an older epoch, and publishes where the data of its Redis stands: its vote.
//! 3. **Decide.** As soon as the votes must include a node that holds every acknowledged write (all but as many
//!    as an acknowledgement can miss, or the server that served last), the one with the latest position is
//!    made master, by a transaction that checks the votes it was based on.
//! 4. **Promote.** The chosen agent stamps the epoch into the data and opens its Redis for clients and replicas
//!    of this epoch; the others attach theirs.
//!
//! A restarted Redis is empty and has no vote. It attaches, and when it holds what the master held at that
//! moment its agent registers the new server run as a voter.
//!
//! # What it promises
//! An operation that was acknowledged, reads included, is in the data of every later master; no two masters
//! acknowledge at the same time. No clock and no lease is needed for that: the lease only tells when to
//! propose. `docs/fault-model.md` has what is covered and what is not; [`Defence`] names the parts of the protocol
//! that can be left out to see what they are good for.

use std::time::{Duration, Instant};

use super::{
    config::Timing,
    health::RedisSight,
    observation::{Observation, Seen},
};
use crate::{
    defence::{Defence, Without},
    event::Step,
    znodes::{RedisNode, Role, ShardConfig, Vote},
};

/// How long a quorum without the suspect is waited for.
const SPARE_SUSPECT: Duration = Duration::from_millis(200);
/// How long the proposer is given to count the votes before another agent does.
const SPARE_PROPOSER: Duration = Duration::from_millis(150);
/// How much longer a lease may stay unrenewed while replicas still hear the master.
const AGENTLESS: u32 = 10;
/// A Redis that was silent for so long is not given an order that others would wait for.
const ANSWERS: Duration = Duration::from_millis(120);
/// Between two attempts of the same thing.
const RETRY: Duration = Duration::from_millis(60);
/// How long a link may be down before it is made anew.
const STUCK_LINK: Duration = Duration::from_millis(400);
/// How much later a replica is re-pointed where [`Defence::Park`] is left out.
const LATE_FOLLOW: Duration = Duration::from_millis(1500);

/// Something to do now. What comes of it is seen in the next observation, or told by [`Protocol::done`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Write an event line.
    Note {
        /// What happened.
        step: Step,
        /// Epoch it belongs to.
        epoch: u64,
        /// Why or how.
        detail: String,
    },
    /// Cut off what a predecessor of this agent may still have sent, say which server run this agent looks
    /// after, and only then read the config.
    Greet {
        /// The server run.
        run_id: String,
    },
    /// Turn the config into this election.
    Propose {
        /// Version of the config this was decided on.
        config_version: i32,
        /// Version of the lease that was found unrenewed; none if the reason is another.
        lease_version: Option<i32>,
        /// The election.
        next: ShardConfig,
        /// Why.
        why: String,
    },
    /// Stop the own Redis for the sake of an epoch; publish its vote if it has one.
    Fence {
        /// The epoch.
        epoch: u64,
        /// Server run this was decided for.
        run_id: String,
        /// Whether to publish a vote.
        vote: bool,
    },
    /// Name the master of the epoch.
    Decide {
        /// Version of the config this was decided on.
        config_version: i32,
        /// The votes it was based on: node and version.
        votes: Vec<(String, i32)>,
        /// The config with a master.
        next: ShardConfig,
        /// The votes, for people.
        detail: String,
    },
    /// Make the own Redis master of an epoch.
    Promote {
        /// The epoch.
        epoch: u64,
        /// Server run that was chosen.
        run_id: String,
        /// Slots that an empty dataset owns.
        slots: String,
    },
    /// Make the own Redis a replica of the epoch's master.
    Attach {
        /// The master.
        master: RedisNode,
        /// The epoch.
        epoch: u64,
        /// Server run this was decided for.
        run_id: String,
    },
    /// Break the replication link and make it anew.
    Relink {
        /// The master.
        master: RedisNode,
        /// The epoch.
        epoch: u64,
        /// Server run this was decided for.
        run_id: String,
    },
    /// Once the own Redis holds what the master holds now, register it as a voter.
    Admit {
        /// Version of the config this was decided on.
        config_version: i32,
        /// The config with the voter.
        next: ShardConfig,
        /// The master to compare with.
        master: RedisNode,
        /// Server run to register.
        run_id: String,
    },
}

/// The lease that is to be renewed, and the config that must still hold for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// Epoch of the own Redis as master.
    pub epoch: u64,
    /// Version of the config that says so.
    pub config_version: i32,
}

/// The decisions of one agent.
#[derive(Debug)]
pub struct Protocol {
    node: String,
    timing: Timing,
    without: Without,
    jitter_state: u64,
    /// Epoch and server run that were fenced by this agent.
    fenced: Option<(u64, String)>,
    /// Epoch and server run that were promoted by this agent.
    promoted: Option<(u64, String)>,
    /// Epoch whose master is doubted.
    suspected: Option<u64>,
    /// Last epoch in which the own Redis was seen to follow.
    followed: u64,
    /// How long the present election may take before the next proposal.
    patience: Duration,
    retry_after: Option<Instant>,
    /// Version of the config when something was last tried: a new one is a new chance.
    tried_at: i32,
    relink_after: Option<Instant>,
    stepped_at: Option<Instant>,
    /// Before this moment what is known may be from before a pause of this agent.
    blind_until: Option<Instant>,
    /// When the own lease was last renewed, by the own clock.
    renewed_at: Option<Instant>,
}

impl Protocol {
    /// Decisions for `node`; `seed` feeds the jitter of retries.
    pub fn new(node: impl Into<String>, timing: Timing, without: Without, seed: u64) -> Self {
        let mut protocol = Protocol {
            node: node.into(),
            timing,
            without,
            jitter_state: seed | 1,
            fenced: None,
            promoted: None,
            suspected: None,
            followed: 0,
            patience: Duration::ZERO,
            retry_after: None,
            tried_at: -1,
            relink_after: None,
            stepped_at: None,
            blind_until: None,
            renewed_at: None,
        };
        protocol.patience = protocol.jittered();
        protocol
    }

    fn defends(&self, defence: Defence) -> bool {
        self.without.defends(defence)
    }

    /// What to do, given what is known.
    pub fn step(&mut self, o: &Observation) -> Vec<Action> {
        self.notice_own_pause(o.now);
        let mut actions = Vec::new();
        if let Some(action) = self.stop_by_own_clock(o) {
            return vec![action];
        }
        // Without ZooKeeper nothing can be decided, and a master goes on serving.
        let Some(config) = o.config.as_ref().filter(|_| o.connected) else { return actions };
        if self.tried_at != config.version {
            (self.tried_at, self.retry_after) = (config.version, None);
        }
        if let RedisSight::Up { run_id, .. } = &o.own
            && o.greeted.as_ref() != Some(run_id)
        {
            if self.may_retry(o.now) {
                actions.push(Action::Greet { run_id: run_id.clone() });
            }
            return actions;
        }
        if let Some((why, suspect)) = self.trouble(o, config) {
            self.suspect(o, config, &why, &mut actions);
            actions.extend(self.propose(o, config, why, suspect));
        } else {
            self.suspected = None;
        }
        match (config.value.serving, config.value.epoch) {
            (_, 0) => {}
            (false, _) => self.elect(o, config, &mut actions),
            (true, _) if self.is_master(config) => self.rule(o, config, &mut actions),
            (true, _) => self.obey(o, config, &mut actions),
        }
        actions
    }

    /// Tells that an action was performed and has succeeded.
    pub fn done(&mut self, action: &Action, now: Instant) {
        match action {
            Action::Fence { epoch, run_id, .. } => self.fenced = Some((*epoch, run_id.clone())),
            Action::Promote { epoch, run_id, .. } => {
                self.promoted = Some((*epoch, run_id.clone()));
                self.renewed_at = Some(now);
            }
            _ => {}
        }
        if !matches!(action, Action::Note { .. }) {
            self.retry_after = None;
        }
    }

    /// The lease this agent should renew now.
    pub fn duty(&self, o: &Observation) -> Option<Duty> {
        let config = o.config.as_ref()?;
        let RedisSight::Up { run_id, .. } = &o.own else { return None };
        let mine = config.value.serving && self.is_master(config) && self.reigns(config, run_id, o);
        mine.then_some(Duty { epoch: config.value.epoch, config_version: config.version })
    }

    /// Tells that the lease was renewed at `now`, by the own clock.
    pub fn renewed(&mut self, now: Instant) {
        self.renewed_at = Some(now);
    }

    /// Whether this agent's Redis hears the shard's master, for the others to know.
    pub fn sees_master(&self, o: &Observation) -> bool {
        let Some(master) = o.config.as_ref().and_then(|c| c.value.master.as_ref()) else { return true };
        if master.node == self.node {
            return matches!(o.own, RedisSight::Up { .. });
        }
        let RedisSight::Up { replication, .. } = &o.own else { return false };
        let answered = o.probe.target == Some(master.addr)
            && o.now.duration_since(o.probe.answered_at) < self.timing.lease();
        replication.linked && replication.of == Some(master.addr) && answered
    }

    /// A stopped agent wakes up with a picture of long ago: it must look again before it judges.
    fn notice_own_pause(&mut self, now: Instant) {
        let d = self.timing.lease();
        if self.stepped_at.is_some_and(|at| now.duration_since(at) >= d) && self.defends(Defence::Recheck) {
            self.blind_until = Some(now + d);
        }
        self.stepped_at = Some(now);
    }

    fn blind(&self, now: Instant) -> bool {
        self.blind_until.is_some_and(|until| now < until)
    }

    fn is_master(&self, config: &Seen<ShardConfig>) -> bool {
        config.value.master.as_ref().is_some_and(|master| master.node == self.node)
    }

    /// Whether the own Redis is the chosen server run and was promoted, by this agent or a predecessor.
    fn reigns(&self, config: &Seen<ShardConfig>, run_id: &str, o: &Observation) -> bool {
        let epoch = config.value.epoch;
        let RedisSight::Up { replication, position, .. } = &o.own else { return false };
        let stamped = replication.master && position.is_some_and(|position| position.epoch == epoch);
        let by_me = self.promoted.as_ref().is_some_and(|(e, run)| *e == epoch && run == run_id);
        config.value.run_id.as_deref() == Some(run_id) && (by_me || stamped)
    }

    /// Keeps attempts of the same thing apart.
    fn may_retry(&mut self, now: Instant) -> bool {
        let may = self.retry_after.is_none_or(|after| now >= after);
        if may {
            self.retry_after = Some(now + RETRY);
        }
        may
    }

    // ---- doubt ----

    /// Why there should be another epoch, and which node should rather not be its master.
    fn trouble(&self, o: &Observation, config: &Seen<ShardConfig>) -> Option<(String, Option<String>)> {
        let master = config.value.master.as_ref().map(|master| master.node.clone());
        if config.value.epoch == 0 {
            let all_here = !o.nodes.is_empty() && o.nodes.iter().all(|n| o.hellos.contains_key(&n.node));
            return all_here.then(|| ("no master yet".into(), None));
        }
        if self.blind(o.now) {
            return None;
        }
        if !config.value.serving {
            let waited = o.now.duration_since(config.seen_at.max(o.connected_since));
            let stuck = waited >= self.patience;
            let why = || format!("no decision within {} ms", waited.as_millis());
            return stuck.then(|| (why(), config.value.suspect.clone()));
        }
        if self.is_master(config) {
            return self.trouble_of_mine(o, config).map(|why| (why, master));
        }
        self.trouble_of_another(o, config).map(|why| (why, master))
    }

    /// What is wrong with the own Redis as master.
    fn trouble_of_mine(&self, o: &Observation, config: &Seen<ShardConfig>) -> Option<String> {
        let d = self.timing.lease();
        match &o.own {
            RedisSight::Unknown => return None,
            RedisSight::Down { refused: true, .. } => return Some("redis refused the connection".into()),
            RedisSight::Down { since, why, .. } => {
                let silent = o.now.duration_since(*since);
                return (silent >= d).then(|| format!("redis silent for {} ms: {why}", silent.as_millis()));
            }
            RedisSight::Up { run_id, .. } if config.value.run_id.as_ref() != Some(run_id) => {
                return Some("redis restarted and is empty".into());
            }
            RedisSight::Up { run_id, .. } if !self.reigns(config, run_id, o) => {
                let waiting = o.now.duration_since(config.seen_at);
                return (waiting >= d * 4).then(|| format!("not promoted within {} ms", waiting.as_millis()));
            }
            RedisSight::Up { replication, seen_at, .. } => {
                if !replication.master && *seen_at > config.seen_at + d {
                    return Some("redis is no longer master".into());
                }
            }
        }
        if self.timing.wait_replicas == 0 {
            return None;
        }
        // Replicas need a moment to attach, up to a full copy; one that has acknowledged is attached.
        let acked_at = o.heartbeat.acked_at.filter(|at| *at >= config.seen_at);
        let unacked = o.now.saturating_duration_since(acked_at.unwrap_or(config.seen_at + d * 4));
        (unacked >= d && self.others_could(o, config)).then(|| {
            let (got, need) = (o.heartbeat.replicas, self.timing.wait_replicas);
            format!("wait {got} of {need} for {} ms", unacked.as_millis())
        })
    }

    /// Giving up a master helps only if the others can elect one: otherwise it could at least be followed
    /// again by those who come back.
    fn others_could(&self, o: &Observation, config: &Seen<ShardConfig>) -> bool {
        let voters = o.members.iter().filter(|(node, member)| {
            **node != self.node && member.fit && config.value.is_voter(node, &member.run_id)
        });
        voters.count() >= config.value.quorum()
    }

    /// What is wrong with a master on another node.
    fn trouble_of_another(&self, o: &Observation, config: &Seen<ShardConfig>) -> Option<String> {
        let d = self.timing.lease();
        let epoch = config.value.epoch;
        let renewed = o.lease.as_ref().filter(|l| l.value.as_ref().is_some_and(|l| l.epoch == epoch));
        // A new master gets time to be promoted. After a reconnect everybody gets time to find their way back.
        let since = renewed.map_or(config.seen_at + d * 2, |lease| lease.seen_at);
        let silent = o.now.saturating_duration_since(since);
        if silent < d || o.now.saturating_duration_since(o.connected_since) < d * 2 {
            return None;
        }
        // A master without an agent still serves: whoever hears it says so.
        let master = config.value.master.as_ref().map(|master| master.node.as_str());
        let heard = self.sees_master(o)
            || o.members.iter().any(|(node, m)| {
                Some(node.as_str()) != master && *node != self.node && m.sees_master && m.fit
            });
        let limit = if heard && renewed.is_some() { d * AGENTLESS } else { d };
        (silent >= limit).then(|| format!("lease not renewed for {} ms", silent.as_millis()))
    }

    fn suspect(&mut self, o: &Observation, config: &Seen<ShardConfig>, why: &str, actions: &mut Vec<Action>) {
        let epoch = config.value.epoch;
        if epoch > 0 && config.value.serving && self.suspected != Some(epoch) && o.connected {
            self.suspected = Some(epoch);
            actions.push(note(Step::Suspected, epoch, why));
        }
    }

    fn propose(
        &mut self,
        o: &Observation,
        config: &Seen<ShardConfig>,
        why: String,
        suspect: Option<String>,
    ) -> Option<Action> {
        if !self.may_retry(o.now) {
            return None;
        }
        let before = &config.value;
        let silence = before.serving && before.epoch > 0 && !self.is_master(config);
        let lease_version = o.lease.as_ref().filter(|_| silence).map(|lease| lease.version);
        let voters = if before.epoch == 0 {
            o.hellos.iter().map(|(node, hello)| (node.clone(), hello.run_id.clone())).collect()
        } else {
            before.voters.clone()
        };
        let next = ShardConfig {
            epoch: before.epoch + 1,
            serving: false,
            proposer: Some(self.node.clone()),
            suspect,
            voters,
            ..before.clone()
        };
        self.patience = self.jittered();
        Some(Action::Propose { config_version: config.version, lease_version, next, why })
    }

    // ---- election ----

    fn elect(&mut self, o: &Observation, config: &Seen<ShardConfig>, actions: &mut Vec<Action>) {
        let epoch = config.value.epoch;
        if let RedisSight::Up { run_id, promise, position, seen_at, .. } = &o.own {
            let answers = o.now.duration_since(*seen_at) < ANSWERS;
            let fenced = self.fenced.as_ref().is_some_and(|(e, run)| *e == epoch && run == run_id);
            // Without a position the server is loading: it cannot stop now, and has nothing to say.
            if !fenced && answers && *promise <= epoch && position.is_some() && self.may_retry(o.now) {
                let vote = config.value.is_voter(&self.node, run_id) || !self.defends(Defence::RunIds);
                actions.push(Action::Fence { epoch, run_id: run_id.clone(), vote });
            }
        }
        if let Some(decision) = self.decide(o, config) {
            actions.push(decision);
        }
    }

    fn decide(&self, o: &Observation, config: &Seen<ShardConfig>) -> Option<Action> {
        if !self.defends(Defence::Votes) {
            return self.decide_alone(o, config);
        }
        let votes = self.valid_votes(o, config);
        let waited = o.now.duration_since(config.seen_at);
        let proposer = config.value.proposer.as_deref() == Some(self.node.as_str());
        let newest = votes.iter().map(|(_, vote)| vote.seen_at).max()?;
        if !proposer && o.now.duration_since(newest) < SPARE_PROPOSER {
            return None;
        }
        let enough = |votes: &[(&String, &Seen<Vote>)]| {
            let served_last = |(node, vote): &(&String, &Seen<Vote>)| {
                config.value.served_last(node, &vote.value.run_id) && self.defends(Defence::RunIds)
            };
            votes.len() >= config.value.quorum() || votes.iter().any(served_last)
        };
        let spared: Vec<_> =
            votes.iter().filter(|(node, _)| Some(*node) != config.value.suspect.as_ref()).copied().collect();
        let chosen_from = if enough(&spared) {
            spared
        } else if enough(&votes) && waited >= SPARE_SUSPECT {
            votes
        } else {
            return None;
        };
        let (best, vote) = chosen_from.iter().max_by(|a, b| self.rank(a).cmp(&self.rank(b)))?;
        self.decision(o, config, best, &vote.value.run_id, &chosen_from)
    }

    /// Votes of this epoch by server runs that hold one.
    fn valid_votes<'a>(
        &self,
        o: &'a Observation,
        config: &Seen<ShardConfig>,
    ) -> Vec<(&'a String, &'a Seen<Vote>)> {
        let counts = |(node, vote): &(&String, &Seen<Vote>)| {
            vote.value.epoch == config.value.epoch
                && (config.value.is_voter(node, &vote.value.run_id) || !self.defends(Defence::RunIds))
        };
        o.votes.iter().filter(counts).collect()
    }

    /// The latest position wins; among equals the smaller name.
    fn rank<'a>(
        &self,
        (node, vote): &(&'a String, &Seen<Vote>),
    ) -> (u64, u64, std::cmp::Reverse<&'a String>) {
        let (first, second) = if self.defends(Defence::Positions) {
            (vote.value.position.epoch, vote.value.position.seq)
        } else {
            (vote.value.offset, 0)
        };
        (first, second, std::cmp::Reverse(*node))
    }

    /// Where [`Defence::Votes`] is left out: whoever proposed chooses itself.
    fn decide_alone(&self, o: &Observation, config: &Seen<ShardConfig>) -> Option<Action> {
        let (node, vote) = o.votes.get_key_value(&self.node)?;
        let mine = vote.value.epoch == config.value.epoch && Some(node) != config.value.suspect.as_ref();
        mine.then(|| self.decision(o, config, node, &vote.value.run_id, &[(node, vote)]))?
    }

    fn decision(
        &self,
        o: &Observation,
        config: &Seen<ShardConfig>,
        node: &str,
        run_id: &str,
        votes: &[(&String, &Seen<Vote>)],
    ) -> Option<Action> {
        let master = o.nodes.iter().find(|known| known.node == node)?.clone();
        let told: Vec<String> = votes
            .iter()
            .map(|(node, vote)| {
                let position = vote.value.position;
                format!("{node} {}.{}", position.epoch, position.seq)
            })
            .collect();
        Some(Action::Decide {
            config_version: config.version,
            votes: votes.iter().map(|(node, vote)| ((*node).clone(), vote.version)).collect(),
            next: ShardConfig {
                master: Some(master),
                run_id: Some(run_id.to_owned()),
                serving: true,
                ..config.value.clone()
            },
            detail: format!("{node} of {}", told.join(", ")),
        })
    }

    // ---- this node is the master ----

    fn rule(&mut self, o: &Observation, config: &Seen<ShardConfig>, actions: &mut Vec<Action>) {
        let RedisSight::Up { run_id, promise, .. } = &o.own else { return };
        let epoch = config.value.epoch;
        let chosen = config.value.run_id.as_ref() == Some(run_id);
        let promised = *promise == epoch || !self.defends(Defence::Recheck);
        if chosen && promised && !self.reigns(config, run_id, o) && self.may_retry(o.now) {
            actions.push(Action::Promote { epoch, run_id: run_id.clone(), slots: o.slots.clone() });
        }
    }

    // ---- another node is the master ----

    fn obey(&mut self, o: &Observation, config: &Seen<ShardConfig>, actions: &mut Vec<Action>) {
        let RedisSight::Up { run_id, replication, promise, position, .. } = &o.own else { return };
        let (epoch, run_id) = (config.value.epoch, run_id.clone());
        let Some(master) = config.value.master.clone() else { return };
        if *promise > epoch {
            return; // what is known of ZooKeeper is old
        }
        let follows = replication.of == Some(master.addr) && !replication.master;
        if *promise < epoch || replication.master && self.defends(Defence::Fence) {
            if position.is_some() && self.may_retry(o.now) {
                actions.push(Action::Fence { epoch, run_id, vote: false });
            }
            return;
        }
        // The master lets nobody in before it is promoted; its lease shows when that is.
        let open = o.lease.as_ref().and_then(|l| l.value.as_ref()).is_some_and(|l| l.epoch == epoch);
        let late = !self.defends(Defence::Park) && o.now.duration_since(config.seen_at) < LATE_FOLLOW;
        if !follows {
            if open && !late && self.may_retry(o.now) {
                actions.push(Action::Attach { master, epoch, run_id });
            }
            return;
        }
        if self.followed < epoch {
            self.followed = epoch;
            actions.push(note(
                Step::Following,
                epoch,
                format!("{} at offset {}", master.node, replication.offset),
            ));
        }
        let voter = config.value.is_voter(&self.node, &run_id);
        let caught_up = position.is_some_and(|position| position.epoch == epoch);
        let ready = replication.linked && caught_up || !self.defends(Defence::Admission);
        if !voter && ready && self.may_retry(o.now) {
            let mut next = config.value.clone();
            next.voters.insert(self.node.clone(), run_id.clone());
            let config_version = config.version;
            actions.push(Action::Admit {
                config_version,
                next,
                master: master.clone(),
                run_id: run_id.clone(),
            });
        }
        if self.link_is_stuck(o, &master) {
            self.relink_after = Some(o.now + Duration::from_millis(500));
            actions.push(Action::Relink { master, epoch, run_id });
        }
    }

    /// TCP may wait for many seconds before it tries a healed path again; a new connection does not.
    fn link_is_stuck(&self, o: &Observation, master: &RedisNode) -> bool {
        let RedisSight::Up { replication, link_since, .. } = &o.own else { return false };
        let reachable = o.probe.target == Some(master.addr)
            && o.now.duration_since(o.probe.answered_at) < Duration::from_millis(300);
        let down_for = o.now.duration_since(*link_since);
        let stuck = !replication.linked && !replication.syncing && down_for >= STUCK_LINK;
        let silent = replication.linked && replication.silent_s.is_some_and(|s| s > 2);
        reachable && (stuck || silent) && self.relink_after.is_none_or(|after| o.now >= after)
    }

    /// Where [`Defence::NoOwnClock`] is left out, a master's agent stops its Redis when its own clock says that
    /// the lease is over: nobody else makes sure of it.
    fn stop_by_own_clock(&mut self, o: &Observation) -> Option<Action> {
        if self.defends(Defence::NoOwnClock) {
            return None;
        }
        let config = o.config.as_ref()?;
        let RedisSight::Up { run_id, replication, .. } = &o.own else { return None };
        let over = o.now.duration_since(self.renewed_at?) >= self.timing.lease();
        let mine = config.value.serving && self.is_master(config) && replication.master;
        (mine && over && self.may_retry(o.now)).then(|| {
            self.promoted = None;
            Action::Fence { epoch: config.value.epoch, run_id: run_id.clone(), vote: false }
        })
    }

    /// The patience of an election, with up to as much again at random (xorshift), so that two agents do not
    /// overtake each other for ever.
    fn jittered(&mut self) -> Duration {
        let mut x = self.jitter_state;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.jitter_state = x;
        Duration::from_millis(self.timing.patience_ms + x % self.timing.patience_ms.max(1))
    }
}

fn note(step: Step, epoch: u64, detail: impl Into<String>) -> Action {
    Action::Note { step, epoch, detail: detail.into() }
}

/// What an agent tells of its Redis.
pub fn role_of(sight: &RedisSight) -> Role {
    match sight {
        RedisSight::Up { replication, .. } if replication.master => Role::Master,
        RedisSight::Up { .. } => Role::Replica,
        _ => Role::Down,
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
