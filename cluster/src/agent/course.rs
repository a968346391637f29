//! Variant `course`: a lease in ZooKeeper, the biggest offset wins, best-effort fencing.
//!
//! Pure decisions: [`Course::step`] is told what the agent knows and answers with what to do now. Nothing
//! here waits, reads a clock or talks to a server, so every rule is tested without one.
//!
//! # The protocol
//! The master's agent renews a lease. When its Redis fails, or no replica acknowledges its heartbeat for D,
//! it gives the lease up; when the lease is not renewed for D by an observer's own clock, the observer
//! deletes it. Once the lease is gone every agent with a live Redis publishes its replication offset; after
//! a short window the one with the biggest offset (the smaller name on a tie) changes the shard's config by
//! compare-and-set and creates the new lease in the same transaction. It then tells the old master to stop
//! (fence), promotes its Redis and publishes the epoch. The others follow; the old master's agent demotes.
//!
//! # What it cannot promise
//! - *Fresh reads.* A master that is cut off from ZooKeeper and its replicas, but not from a client, keeps
//!   answering reads until somebody reaches it: fencing gives up after `fence_ms`. Reads at replicas lag.
//! - *No lost acknowledged writes.* Offsets are compared, not histories: the offset of a deposed master with
//!   a long unacknowledged tail, or that of another replication history altogether, may beat that of the
//!   replica that holds the acknowledged writes. `WAIT` compares the same plain numbers.
//!   And bids are read while the old master may still be serving: when only its agent or its way to
//!   ZooKeeper has failed, what it acknowledges between the bids and its fencing is lost.
//!   A candidate that is slow to publish its offset (longer than the window) is passed over, and with it
//!   what only it held. A restarted Redis is empty: if all restart, everything is gone.
//! - *No dirty values.* A write is visible at the master before any replica has it; if the master is lost,
//!   readers have seen a value that never was.
//! - *No churn.* A pause of ZooKeeper's server at the master's agent that lasts longer than D costs a
//!   failover although the master is well.
//!
//! The hardened variant (votes by position in the data, a majority fence, epoch tokens) takes its place
//! beside this file.

use std::{cmp::Reverse, time::Duration, time::Instant};

use super::{
    config::Timing,
    health::RedisSight,
    observation::{Observation, Seen},
};
use crate::{
    event::Step,
    redis_link::Replication,
    znodes::{Candidate, RedisNode, ShardConfig},
};

/// Something to do now. What comes of it is seen in the next observation.
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
    /// Create the lease of the present epoch anew, in place of the one with version `replace` if any.
    HoldLease {
        /// Version of the config this was decided on.
        config_version: i32,
        /// Present epoch.
        epoch: u64,
        /// A lease of an older session of ours.
        replace: Option<i32>,
    },
    /// Stop renewing the own lease and delete it.
    GiveUpLease {
        /// Version of the config this was decided on.
        config_version: i32,
    },
    /// Delete a lease that is no longer renewed.
    DropLease {
        /// Version of the config this was decided on.
        config_version: i32,
        /// Version of the lease that was last seen.
        lease_version: i32,
    },
    /// Publish a bid.
    Bid(Candidate),
    /// Become master of the next epoch by compare-and-set, lease included.
    Claim {
        /// Version of the config this was decided on.
        config_version: i32,
        /// Next epoch.
        epoch: u64,
        /// What the bid was, for people.
        detail: String,
    },
    /// Having won: fence the predecessor, promote the own Redis, publish the epoch as serving.
    TakeOffice {
        /// Version of the config that names this node.
        config_version: i32,
        /// Epoch won.
        epoch: u64,
        /// Master of the epoch before.
        predecessor: Option<RedisNode>,
        /// Incarnation that the bid was made for: another one must not be promoted.
        run_id: String,
    },
    /// Make the own Redis, which is a master, a replica of this one, or of nowhere.
    Demote(Option<RedisNode>),
    /// Make the own Redis a replica of this master.
    Follow(RedisNode),
    /// Break the replication link and make it anew.
    Relink(RedisNode),
}

/// Why the master is thought to be lost, from first sign to the next epoch.
#[derive(Debug, Clone)]
struct Suspicion {
    epoch: u64,
    lease_lost: bool,
}

/// An open bid.
#[derive(Debug, Clone)]
struct Bid {
    candidate: Candidate,
    opened_at: Instant,
    /// When to bid again if nobody has won.
    retry_at: Instant,
    /// When the last claim was tried.
    claimed_at: Option<Instant>,
}

/// The own Redis as master of an epoch.
#[derive(Debug, Clone)]
struct Reign {
    epoch: u64,
    run_id: Option<String>,
    /// When it began, or was resumed.
    since: Instant,
}

/// The decisions of one agent.
#[derive(Debug)]
pub struct Course {
    node: String,
    timing: Timing,
    jitter_state: u64,
    suspicion: Option<Suspicion>,
    bid: Option<Bid>,
    reign: Option<Reign>,
    standdown_until: Option<Instant>,
    /// Master of an older epoch, to be fenced.
    predecessor: Option<(u64, Option<RedisNode>)>,
    /// Epoch in which the own Redis was last master, until demotion is noted.
    mastered: Option<u64>,
    followed: u64,
    /// Last epoch whose lease was seen.
    leased: u64,
    stepped_at: Option<Instant>,
    /// Before this moment what is known may be from before a pause of this agent.
    blind_until: Option<Instant>,
    replicaof_after: Option<Instant>,
}

impl Course {
    /// Decisions for `node`; `seed` feeds the jitter of retries.
    pub fn new(node: impl Into<String>, timing: Timing, seed: u64) -> Self {
        Course {
            node: node.into(),
            timing,
            jitter_state: seed | 1,
            suspicion: None,
            bid: None,
            reign: None,
            standdown_until: None,
            predecessor: None,
            mastered: None,
            followed: 0,
            leased: 0,
            stepped_at: None,
            blind_until: None,
            replicaof_after: None,
        }
    }

    /// What to do, given what is known.
    pub fn step(&mut self, o: &Observation) -> Vec<Action> {
        self.notice_own_pause(o.now);
        // Without ZooKeeper nothing can be decided, and a master goes on serving.
        let Some(config) = o.config.as_ref().filter(|_| o.connected) else { return Vec::new() };
        if o.lease.as_ref().and_then(|l| l.value.as_ref()).is_some_and(|l| l.epoch == config.value.epoch) {
            self.leased = config.value.epoch;
        }
        let mut actions = Vec::new();
        match &config.value.master {
            Some(master) if master.node == self.node => self.rule(o, config, &mut actions),
            _ => self.obey(o, config, &mut actions),
        }
        actions
    }

    /// Tells that a [`Action::Note`] was performed.
    pub fn noted(&mut self, step: Step, epoch: u64) {
        if let (Step::LeaseLost, Some(suspicion)) = (step, &mut self.suspicion) {
            suspicion.lease_lost |= suspicion.epoch == epoch;
        }
    }

    /// Whether this agent has lost sight of the shard's master, for the others to know.
    pub fn sees_master(&self, o: &Observation) -> bool {
        let Some(master) = o.config.as_ref().and_then(|c| c.value.master.as_ref()) else { return true };
        if master.node == self.node {
            return true;
        }
        let RedisSight::Up { replication, link_since, .. } = &o.own else { return true };
        let d = self.timing.lease();
        let linked = replication.linked && replication.of == Some(master.addr);
        let silent = o.probe.target == Some(master.addr) && o.now.duration_since(o.probe.answered_at) >= d;
        linked || o.now.duration_since(*link_since) < d || !silent
    }

    /// A stopped agent wakes up with a picture of long ago: it must look again before it judges.
    fn notice_own_pause(&mut self, now: Instant) {
        let d = self.timing.lease();
        if self.stepped_at.is_some_and(|at| now.duration_since(at) >= d) {
            self.blind_until = Some(now + d);
        }
        self.stepped_at = Some(now);
    }

    fn blind(&self, now: Instant) -> bool {
        self.blind_until.is_some_and(|until| now < until)
    }

    // ---- this node is the master of the config ----

    fn rule(&mut self, o: &Observation, config: &Seen<ShardConfig>, actions: &mut Vec<Action>) {
        let epoch = config.value.epoch;
        self.begin_reign(o, config);
        let Some(trouble) = self.trouble_of_reign(o, config) else {
            self.suspicion = None;
            self.standdown_until = None;
            self.bid = self.bid.take().filter(|bid| bid.candidate.epoch == epoch);
            self.serve(o, config, actions);
            return;
        };
        if self.suspicion.as_ref().is_none_or(|s| s.epoch != epoch) {
            self.suspicion = Some(Suspicion { epoch, lease_lost: false });
            self.standdown_until = Some(o.now + Duration::from_millis(self.timing.standdown_ms));
            actions.push(note(Step::Suspected, epoch, trouble));
        }
        if o.lease.is_some() {
            actions.push(Action::GiveUpLease { config_version: config.version });
        }
        self.note_lease_lost(epoch, "given up", actions);
        if self.standdown_until.is_none_or(|until| o.now >= until) {
            self.return_from_standdown(o, config, actions);
        }
    }

    fn begin_reign(&mut self, o: &Observation, config: &Seen<ShardConfig>) {
        let epoch = config.value.epoch;
        if self.reign.as_ref().is_some_and(|reign| reign.epoch == epoch) {
            return;
        }
        let bid = self.bid.as_ref().filter(|bid| bid.candidate.epoch == epoch);
        let run_id = match (bid, &o.own) {
            (Some(bid), _) => Some(bid.candidate.run_id.clone()),
            // A restarted agent finds its Redis serving: it is the one that was promoted.
            (None, RedisSight::Up { run_id, replication, .. })
                if config.value.serving && replication.master =>
            {
                Some(run_id.clone())
            }
            _ => None,
        };
        self.reign = Some(Reign { epoch, run_id, since: o.now });
        self.mastered = Some(epoch);
        self.suspicion = None;
    }

    fn trouble_of_reign(&self, o: &Observation, config: &Seen<ShardConfig>) -> Option<String> {
        let reign = self.reign.as_ref()?;
        let d = self.timing.lease();
        match &o.own {
            RedisSight::Unknown => return None,
            RedisSight::Down { refused: true, .. } => return Some("redis refused the connection".into()),
            _ if self.blind(o.now) => return None,
            RedisSight::Down { since, why, .. } => {
                let silent = o.now.duration_since(*since);
                return (silent >= d).then(|| format!("redis silent for {} ms: {why}", silent.as_millis()));
            }
            RedisSight::Up { run_id, replication, seen_at, .. } => {
                if reign.run_id.as_ref() != Some(run_id) {
                    return Some("redis restarted and is empty".into());
                }
                if config.value.serving && !replication.master && *seen_at > config.seen_at {
                    return Some("redis is no longer master".into());
                }
            }
        }
        if !config.value.serving {
            let waiting = o.now.duration_since(config.seen_at);
            return (waiting >= d * 4).then(|| format!("not promoted within {} ms", waiting.as_millis()));
        }
        // Replicas need a moment to attach, up to a full copy; one that has acknowledged is attached.
        let acked_at = o.heartbeat.acked_at.filter(|at| *at >= reign.since);
        let unacked = o.now.saturating_duration_since(acked_at.unwrap_or(reign.since + d * 4));
        // Giving up helps only if somebody else could do better.
        let heir = o.members.iter().any(|(node, member)| *node != self.node && member.fit);
        (unacked >= d && heir).then(|| {
            let (got, need) = (o.heartbeat.replicas, self.timing.wait_replicas);
            format!("wait {got} of {need} for {} ms", unacked.as_millis())
        })
    }

    fn serve(&mut self, o: &Observation, config: &Seen<ShardConfig>, actions: &mut Vec<Action>) {
        let epoch = config.value.epoch;
        if !o.lease_held {
            // Only a lease of ours can be here: the config says so. An older session may own it.
            let replace = o.lease.as_ref().map(|lease| lease.version);
            actions.push(Action::HoldLease { config_version: config.version, epoch, replace });
        }
        let run_id = self.reign.as_ref().and_then(|reign| reign.run_id.clone());
        if let (false, Some(run_id)) = (config.value.serving, run_id) {
            let predecessor = self.predecessor.clone().filter(|(e, _)| *e < epoch).and_then(|(_, node)| node);
            actions.push(Action::TakeOffice { config_version: config.version, epoch, predecessor, run_id });
        }
    }

    /// Nobody else has taken over: carry on if the Redis is well, stand for election if it is not.
    fn return_from_standdown(
        &mut self,
        o: &Observation,
        config: &Seen<ShardConfig>,
        actions: &mut Vec<Action>,
    ) {
        let RedisSight::Up { run_id, replication, .. } = &o.own else { return };
        let reign = self.reign.as_mut().expect("a reign has begun");
        if reign.run_id.as_ref() == Some(run_id) && replication.master && config.value.serving {
            reign.since = o.now;
            self.suspicion = None;
            self.standdown_until = None;
        } else if o.lease.is_none() {
            let (run_id, replication) = (run_id.clone(), replication.clone());
            self.campaign(o, config, &run_id, &replication, actions);
        }
    }

    // ---- another node is the master, or nobody yet ----

    fn obey(&mut self, o: &Observation, config: &Seen<ShardConfig>, actions: &mut Vec<Action>) {
        self.reign = None;
        self.standdown_until = None;
        let epoch = config.value.epoch;
        if self.predecessor.as_ref().is_none_or(|(e, _)| *e < epoch) {
            self.predecessor = Some((epoch, config.value.master.clone()));
        }
        self.demote(o, config, actions);
        if let RedisSight::Up { replication, link_since, .. } = &o.own
            && let Some(master) = config.value.master.clone().filter(|_| config.value.serving)
        {
            self.follow(o, master, epoch, replication, *link_since, actions);
        }
        self.watch_master(o, config, actions);
    }

    fn demote(&mut self, o: &Observation, config: &Seen<ShardConfig>, actions: &mut Vec<Action>) {
        let epoch = config.value.epoch;
        let is_master = matches!(&o.own, RedisSight::Up { replication, .. } if replication.master);
        if is_master && epoch > 0 {
            // Also after a restart of this agent, which then does not know the epoch.
            self.mastered = self.mastered.or(Some(epoch - 1));
            if self.may_replicaof(o.now) {
                actions.push(Action::Demote(config.value.master.clone().filter(|_| config.value.serving)));
            }
            return;
        }
        if self.mastered.is_some_and(|mastered| mastered < epoch) {
            let detail = match &o.own {
                RedisSight::Up { .. } => "redis is no longer master",
                RedisSight::Down { .. } => "redis is down",
                RedisSight::Unknown => return,
            };
            actions.push(note(Step::Demoted, epoch, detail));
            self.mastered = None;
        }
    }

    fn follow(
        &mut self,
        o: &Observation,
        master: RedisNode,
        epoch: u64,
        replication: &Replication,
        link_since: Instant,
        actions: &mut Vec<Action>,
    ) {
        if replication.master {
            return; // to be demoted first
        }
        if replication.of != Some(master.addr) {
            if self.may_replicaof(o.now) {
                actions.push(Action::Follow(master));
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
        // TCP may wait for many seconds before it tries a healed path again; a new connection does not.
        let reachable = o.probe.target == Some(master.addr)
            && o.now.duration_since(o.probe.answered_at) < Duration::from_millis(300);
        let down_for = o.now.duration_since(link_since);
        let stuck = !replication.linked && !replication.syncing && down_for >= Duration::from_millis(500);
        let silent = replication.linked && replication.silent_s.is_some_and(|s| s > 2);
        if reachable && (stuck || silent) && self.may_replicaof(o.now) {
            self.replicaof_after = Some(o.now + Duration::from_secs(1));
            actions.push(Action::Relink(master));
        }
    }

    /// Keeps commands to the own Redis apart, so that each can show its effect first.
    fn may_replicaof(&mut self, now: Instant) -> bool {
        let may = self.replicaof_after.is_none_or(|after| now >= after);
        if may {
            self.replicaof_after = Some(now + Duration::from_millis(2 * self.timing.poll_ms));
        }
        may
    }

    fn watch_master(&mut self, o: &Observation, config: &Seen<ShardConfig>, actions: &mut Vec<Action>) {
        let epoch = config.value.epoch;
        let Some(trouble) = self.trouble_with_master(o, config) else {
            self.suspicion = None;
            self.bid = None;
            return;
        };
        // Without a live Redis this agent has nothing to offer; the others see the same.
        let RedisSight::Up { run_id, replication, .. } = &o.own else { return };
        if epoch > 0 {
            if self.suspicion.as_ref().is_none_or(|s| s.epoch != epoch) {
                self.suspicion = Some(Suspicion { epoch, lease_lost: false });
                actions.push(note(Step::Suspected, epoch, trouble.clone()));
            }
            if let Some(lease) = &o.lease {
                let (config_version, lease_version) = (config.version, lease.version);
                actions.push(Action::DropLease { config_version, lease_version });
            }
            self.note_lease_lost(epoch, &trouble, actions);
            if o.lease.is_some() {
                return;
            }
        }
        let (run_id, replication) = (run_id.clone(), replication.clone());
        self.campaign(o, config, &run_id, &replication, actions);
    }

    fn trouble_with_master(&self, o: &Observation, config: &Seen<ShardConfig>) -> Option<String> {
        let d = self.timing.lease();
        if config.value.master.is_none() {
            return Some("no master yet".into());
        }
        if self.blind(o.now) {
            return None;
        }
        let Some(lease) = &o.lease else {
            // A new config may be seen before the lease that came with it.
            let known = o.now.duration_since(config.seen_at.max(o.connected_since));
            return (self.leased == config.value.epoch || known >= d).then(|| "lease gone".into());
        };
        // After a reconnect the master's agent gets time to find its way back too.
        let seen_at = lease.seen_at.max(o.connected_since + d * 2);
        let unrenewed = o.now.saturating_duration_since(seen_at);
        if unrenewed >= d {
            return Some(format!("lease not renewed for {} ms", unrenewed.as_millis()));
        }
        let master = config.value.master.as_ref().map(|master| master.node.as_str());
        let others = o
            .members
            .iter()
            .filter(|(node, m)| Some(node.as_str()) != master && **node != self.node && m.fit);
        let mut others = others.peekable();
        let alone = others.peek().is_none();
        let agreed = !alone && !self.sees_master(o) && others.all(|(_, member)| !member.sees_master);
        agreed.then(|| "master unreachable from every replica".into())
    }

    /// Comes after the action that makes it true: if that fails, it is not performed, and comes again.
    fn note_lease_lost(&self, epoch: u64, why: &str, actions: &mut Vec<Action>) {
        if self.suspicion.as_ref().is_some_and(|suspicion| !suspicion.lease_lost) {
            actions.push(note(Step::LeaseLost, epoch, why));
        }
    }

    // ---- election ----

    fn campaign(
        &mut self,
        o: &Observation,
        config: &Seen<ShardConfig>,
        run_id: &str,
        replication: &Replication,
        actions: &mut Vec<Action>,
    ) {
        let target = config.value.epoch + 1;
        let offset = replication.offset;
        let empty_beside_data = offset == 0 && o.members.iter().any(|(n, m)| *n != self.node && m.fit);
        if replication.syncing || (target > 1 && empty_beside_data) {
            return;
        }
        let open =
            self.bid.as_ref().filter(|bid| bid.candidate.epoch == target && bid.candidate.run_id == run_id);
        let Some(bid) = open.filter(|bid| o.now < bid.retry_at) else {
            // A later bid for the same epoch does not make the others wait again.
            let opened_at =
                self.bid.as_ref().filter(|bid| bid.candidate.epoch == target).map(|bid| bid.opened_at);
            if opened_at.is_none() {
                actions.push(note(Step::Proposed, target, format!("offset {offset}")));
            }
            let candidate = Candidate { epoch: target, offset, run_id: run_id.to_owned() };
            let retry_at = o.now + Duration::from_millis(self.timing.patience_ms) + self.jitter();
            actions.push(Action::Bid(candidate.clone()));
            let opened_at = opened_at.unwrap_or(o.now);
            self.bid = Some(Bid { candidate, opened_at, retry_at, claimed_at: None });
            return;
        };
        let claimable =
            bid.claimed_at.is_none_or(|at| o.now.duration_since(at) >= Duration::from_millis(100));
        if claimable && self.wins(o, config, bid) {
            let detail = format!("offset {} of {}", bid.candidate.offset, offsets(o, target));
            self.bid.as_mut().expect("the bid is open").claimed_at = Some(o.now);
            actions.push(Action::Claim { config_version: config.version, epoch: target, detail });
        }
    }

    /// Whether the own bid is the best, and everybody who might have a better one has spoken or had time to.
    fn wins(&self, o: &Observation, config: &Seen<ShardConfig>, own: &Bid) -> bool {
        let recent = Duration::from_millis(2 * self.timing.patience_ms);
        let bids = o.candidates.iter().filter(|(_, bid)| {
            bid.value.epoch == own.candidate.epoch && o.now.duration_since(bid.seen_at) < recent
        });
        let mut bids: Vec<(u64, Reverse<&str>)> =
            bids.map(|(node, bid)| (bid.value.offset, Reverse(node.as_str()))).collect();
        bids.sort();
        let Some((_, Reverse(best))) = bids.last() else { return false };
        if *best != self.node {
            return false;
        }
        let suspect = config.value.master.as_ref().map(|master| master.node.as_str());
        let spoken = |node: &str| bids.iter().any(|(_, Reverse(bidder))| *bidder == node);
        let silent = o
            .nodes
            .iter()
            .any(|n| n.node != self.node && Some(n.node.as_str()) != suspect && !spoken(&n.node));
        // An empty Redis leaves the others much more time: its win would cost them their data.
        let empty = own.candidate.offset == 0 && own.candidate.epoch > 1;
        let window = Duration::from_millis(self.timing.window_ms) * if empty { 10 } else { 1 };
        !silent || o.now.duration_since(own.opened_at) >= window
    }

    /// 0 up to half of the patience (xorshift).
    fn jitter(&mut self) -> Duration {
        let mut x = self.jitter_state;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.jitter_state = x;
        Duration::from_millis(x % (self.timing.patience_ms / 2).max(1))
    }
}

fn note(step: Step, epoch: u64, detail: impl Into<String>) -> Action {
    Action::Note { step, epoch, detail: detail.into() }
}

/// The bids for an epoch, for people: `r0a 1204, r0b 1190`.
fn offsets(o: &Observation, epoch: u64) -> String {
    let bids = o.candidates.iter().filter(|(_, bid)| bid.value.epoch == epoch);
    let texts: Vec<String> = bids.map(|(node, bid)| format!("{node} {}", bid.value.offset)).collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
