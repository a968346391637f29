//! The main loop of an agent: look, decide, act.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use zookeeper_client::{Client, Error, MultiWriteError};

use super::{
    config::AgentConfig,
    health::{self, HeartbeatSight, ProbeSight, RedisSight},
    journal::{Journal, log},
    keeper,
    observation::{Observation, Seen},
    orders::Orders,
    protocol::{Action, Duty, Protocol, role_of},
};
use crate::{
    defence::Defence,
    event::Step,
    security::Transport,
    zk::{AbortOnDrop, Link, LinkOptions, put},
    znodes::{Hello, Member, Paths, RedisNode, ShardConfig, ShardPaths, Vote, decode, encode},
};

/// Longest wait for ZooKeeper in one action: longer, and the picture is too old to act on.
const ZK_LIMIT: Duration = Duration::from_millis(1000);
/// How long a restarted Redis is watched for having caught up before its agent looks at the world again.
const CATCH_UP: Duration = Duration::from_millis(300);
/// Where [`Defence::Recheck`] is left out: how long after a pause the agent goes by what it knew.
const OLD_VIEW: Duration = Duration::from_millis(2500);

/// An agent at work.
pub struct Runner {
    me: RedisNode,
    paths: ShardPaths,
    journal: Journal,
    protocol: Protocol,
    orders: Orders,
    config: AgentConfig,
    link: Link,
    own: watch::Receiver<RedisSight>,
    heartbeat: watch::Receiver<HeartbeatSight>,
    probe: watch::Receiver<ProbeSight>,
    renewed: watch::Receiver<Option<Instant>>,
    target: watch::Sender<Option<SocketAddr>>,
    duty: watch::Sender<Option<Duty>>,
    member: watch::Sender<Option<Member>>,
    /// Newest config known, also from own writes that the mirror has not shown yet.
    newest: Option<Seen<ShardConfig>>,
    /// The shard's servers and first slots as last read whole.
    servers: (Vec<RedisNode>, String),
    greeted: Option<String>,
    /// Where [`Defence::Recheck`] is left out: what was known before a pause, and until when it is believed.
    old_view: Option<(Instant, Observation)>,
    last: Option<Observation>,
    _tasks: Vec<AbortOnDrop>,
}

impl Runner {
    /// Starts the tasks of an agent on the current runtime.
    pub fn start(config: AgentConfig, journal: Journal, transport: Transport) -> Self {
        let paths = Paths::new(&config.root).shard(config.shard);
        let timing = config.timing;
        let mut options = LinkOptions::new(&config.zookeeper, paths.dir());
        options.session_timeout = Duration::from_millis(timing.session_ms);
        options.transport = transport.clone();
        let link = Link::open(options);
        let now = Instant::now();
        let (own_tx, own) = watch::channel(RedisSight::Unknown);
        let (heartbeat_tx, heartbeat) = watch::channel(HeartbeatSight { acked_at: None, replicas: 0 });
        let (probe_tx, probe) = watch::channel(ProbeSight { target: None, answered_at: now });
        let (renewed_tx, renewed) = watch::channel(None);
        let (target, target_rx) = watch::channel(None);
        let (duty, duty_rx) = watch::channel(None);
        let (member, member_rx) = watch::channel(None);
        let period = Duration::from_millis(timing.renew_ms);
        let (node, clients) = (config.node.clone(), link.clients());
        let tasks = vec![
            tokio::spawn(health::watch_own(config.clone(), transport.clone(), own_tx)),
            tokio::spawn(health::beat(config.clone(), transport.clone(), own.clone(), heartbeat_tx)),
            tokio::spawn(health::probe(
                period,
                config.secret.agent(),
                transport.clone(),
                target_rx,
                probe_tx,
            )),
            tokio::spawn(keeper::keep_lease(
                period,
                node.clone(),
                paths.clone(),
                clients.clone(),
                duty_rx,
                renewed_tx,
            )),
            tokio::spawn(keeper::publish_member(paths.clone(), node.clone(), clients, member_rx)),
        ];
        Runner {
            me: RedisNode { node: node.clone(), addr: config.redis },
            protocol: Protocol::new(node, timing, config.without.clone(), entropy()),
            orders: Orders::new(&config, transport),
            paths,
            journal,
            config,
            link,
            own,
            heartbeat,
            probe,
            renewed,
            target,
            duty,
            member,
            newest: None,
            servers: Default::default(),
            greeted: None,
            old_view: None,
            last: None,
            _tasks: tasks.into_iter().map(AbortOnDrop).collect(),
        }
    }

    /// Leads the Redis until the process ends.
    pub async fn run(mut self) {
        let mut snapshots = self.link.snapshots();
        let mut started = false;
        loop {
            let o = self.observe();
            if o.connected && !started {
                started = true;
                self.journal.note(Step::Started, o.config.as_ref().map_or(0, |c| c.value.epoch), "");
            }
            self.publish(&o);
            let actions = self.protocol.step(&o);
            let duty = self.protocol.duty(&o);
            self.duty.send_if_modified(|d| std::mem::replace(d, duty.clone()) != duty);
            let acted = self.perform_all(actions).await;
            if acted {
                tokio::task::yield_now().await;
            }
            tokio::select! {
                _ = snapshots.changed() => {}
                _ = self.own.changed() => {}
                _ = self.heartbeat.changed() => {}
                _ = self.renewed.changed() => {}
                () = sleep(Duration::from_millis(if acted { 2 } else { 25 })) => {}
            }
        }
    }

    /// Performs actions in order until one fails: what follows was decided on the assumption that it would
    /// work. True if all did, and there were any.
    async fn perform_all(&mut self, actions: Vec<Action>) -> bool {
        let mut acted = false;
        for action in actions {
            match self.perform(&action).await {
                Ok(()) => {
                    self.protocol.done(&action, Instant::now());
                    acted = true;
                }
                Err(why) => {
                    log(&format!("{action:?}: {why}"));
                    return false;
                }
            }
        }
        acted
    }

    fn observe(&mut self) -> Observation {
        let now = Instant::now();
        let mut o = Observation::from_snapshot(&self.link.snapshot(), &self.paths, now);
        // An own write is known before the mirror shows it; and what was seen once is never unseen.
        match (&o.config, &self.newest) {
            (Some(seen), Some(newest)) if seen.version < newest.version => o.config = Some(newest.clone()),
            (Some(seen), _) => self.newest = Some(seen.clone()),
            (None, _) => o.config = self.newest.clone(),
        }
        if o.nodes.is_empty() {
            (o.nodes, o.slots) = self.servers.clone();
        } else {
            self.servers = (o.nodes.clone(), o.slots.clone());
        }
        let master = o.config.as_ref().and_then(|c| c.value.master.clone());
        let target = master.as_ref().filter(|master| master.node != self.me.node).map(|master| master.addr);
        self.target.send_if_modified(|t| std::mem::replace(t, target) != target);
        if let Some(renewed) = *self.renewed.borrow_and_update() {
            self.protocol.renewed(renewed);
        }
        o.own = self.own.borrow_and_update().clone();
        o.greeted = self.greeted.clone();
        o.heartbeat = *self.heartbeat.borrow_and_update();
        o.probe = *self.probe.borrow();
        if !self.config.without.defends(Defence::Recheck) {
            self.believe_what_was(&mut o);
        }
        o
    }

    /// The mistake of an agent that caches: after a pause it goes by what it knew before.
    fn believe_what_was(&mut self, o: &mut Observation) {
        let lease = self.config.timing.lease();
        if let Some(last) = self.last.take().filter(|last| o.now.duration_since(last.now) >= lease) {
            self.old_view = Some((o.now + OLD_VIEW, last));
        }
        match &self.old_view {
            Some((until, old)) if o.now < *until => {
                *o = Observation { now: o.now, own: o.own.clone(), ..old.clone() };
            }
            _ => self.old_view = None,
        }
        self.last = Some(o.clone());
    }

    /// Tells the others what this agent sees.
    fn publish(&self, o: &Observation) {
        let config = o.config.as_ref().map(|c| &c.value);
        let epoch = config.map_or(0, |c| c.epoch);
        let master_addr = config.and_then(|c| c.master.as_ref()).map(|m| m.addr);
        let (fit, linked, run_id) = match &o.own {
            RedisSight::Up { replication: r, run_id, position, .. } => {
                (position.is_some() && !r.syncing, r.linked && r.of == master_addr, run_id.clone())
            }
            _ => (false, false, String::new()),
        };
        let (role, sees_master) = (role_of(&o.own), self.protocol.sees_master(o));
        let member = Member { role, epoch, addr: self.me.addr, run_id, fit, linked, sees_master };
        self.member.send_if_modified(|m| m.replace(member.clone()) != Some(member));
    }

    async fn perform(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Note { step, epoch, detail } => {
                self.journal.note(*step, *epoch, detail);
                Ok(())
            }
            Action::Greet { run_id } => self.greet(run_id).await,
            Action::Propose { config_version, lease_version, next, why } => {
                self.propose(*config_version, *lease_version, next, why).await
            }
            Action::Fence { epoch, run_id, vote } => self.fence(*epoch, run_id, *vote).await,
            Action::Decide { config_version, votes, next, detail } => {
                self.decide(*config_version, votes, next, detail).await
            }
            Action::Promote { epoch, run_id, slots } => {
                self.orders.promote(*epoch, run_id, slots).await?;
                self.journal.note_once(Step::Promoted, *epoch, "");
                Ok(())
            }
            Action::Attach { master, epoch, run_id } => {
                self.orders.attach(master.addr, *epoch, run_id, false).await
            }
            Action::Relink { master, epoch, run_id } => {
                log(&format!("link to {} is stuck: making it anew", master.node));
                self.orders.attach(master.addr, *epoch, run_id, true).await
            }
            Action::Admit { config_version, next, master, run_id } => {
                self.admit(*config_version, next, master, run_id).await
            }
        }
    }

    fn client(&self) -> Result<Client, String> {
        self.link.client().ok_or_else(|| "no zookeeper session".to_owned())
    }

    fn learn(&mut self, value: ShardConfig, version: i32) {
        if self.newest.as_ref().is_none_or(|newest| newest.version < version) {
            self.newest = Some(Seen { value, version, seen_at: Instant::now() });
        }
    }

    /// A quorum write, then a read on the same session: the config read is not older than the hello.
    async fn greet(&mut self, run_id: &str) -> Result<(), String> {
        self.orders.cut_predecessor(run_id).await?;
        let client = self.client()?;
        let hello = encode(&Hello { run_id: run_id.to_owned() });
        within(ZK_LIMIT, put(&client, &self.paths.hello(&self.me.node), &hello)).await?;
        let path = self.paths.config();
        let (bytes, stat) = within(ZK_LIMIT, client.get_data(&path)).await?;
        self.learn(decode(&path, &bytes)?, stat.version);
        self.greeted = Some(run_id.to_owned());
        Ok(())
    }

    async fn propose(
        &mut self,
        config_version: i32,
        lease_version: Option<i32>,
        next: &ShardConfig,
        why: &str,
    ) -> Result<(), String> {
        let lease = self.paths.lease();
        let based_on: Vec<_> = lease_version.map(|version| (lease, version)).into_iter().collect();
        self.change_config(config_version, &based_on, next).await?;
        if next.epoch > 1 {
            self.journal.note_once(Step::LeaseLost, next.epoch - 1, why);
        }
        self.journal.note(Step::Proposed, next.epoch, why);
        Ok(())
    }

    /// The one way in which the config changes: by compare-and-set, with a check of everything else that the
    /// decision was based on.
    async fn change_config(
        &mut self,
        version: i32,
        based_on: &[(String, i32)],
        next: &ShardConfig,
    ) -> Result<(), String> {
        let client = self.client()?;
        let (path, bytes) = (self.paths.config(), encode(next));
        let mut multi = client.new_multi_writer();
        for (path, version) in based_on {
            multi.add_check_version(path, *version).map_err(text)?;
        }
        multi.add_set_data(&path, &bytes, Some(version)).map_err(text)?;
        match timeout(ZK_LIMIT, multi.commit()).await {
            Ok(Ok(_)) => {
                self.learn(next.clone(), version + 1);
                Ok(())
            }
            Ok(Err(e)) => Err(multi_text(e)),
            Err(_) => Err("zookeeper did not answer".into()),
        }
    }

    async fn fence(&mut self, epoch: u64, run_id: &str, vote: bool) -> Result<(), String> {
        let (look, was_master) = self.orders.fence(epoch, run_id).await?;
        let position = look.position.ok_or("it is loading and does not say where it stands")?;
        let detail = format!("stands at {}.{}", position.epoch, position.seq);
        self.journal.note_once(Step::Fenced, epoch, &detail);
        if was_master {
            self.journal.note_once(Step::Demoted, epoch, "");
        }
        if vote {
            let client = self.client()?;
            let offset = look.replication.offset;
            let vote = encode(&Vote { epoch, run_id: run_id.to_owned(), position, offset });
            within(ZK_LIMIT, put(&client, &self.paths.vote(&self.me.node), &vote)).await?;
            self.journal.note_once(Step::Voted, epoch, &detail);
        }
        Ok(())
    }

    async fn decide(
        &mut self,
        config_version: i32,
        votes: &[(String, i32)],
        next: &ShardConfig,
        detail: &str,
    ) -> Result<(), String> {
        let based_on: Vec<_> =
            votes.iter().map(|(node, version)| (self.paths.vote(node), *version)).collect();
        self.change_config(config_version, &based_on, next).await?;
        self.journal.note_once(Step::Elected, next.epoch, detail);
        Ok(())
    }

    /// The master is asked, not the stream: what it holds now is what may have been acknowledged so far.
    async fn admit(
        &mut self,
        config_version: i32,
        next: &ShardConfig,
        master: &RedisNode,
        run_id: &str,
    ) -> Result<(), String> {
        if self.config.without.defends(Defence::Admission) {
            let goal = self.orders.position_of_master(master.addr).await?;
            if goal.epoch != next.epoch {
                return Err(format!("the master stands in epoch {}", goal.epoch));
            }
            let began = Instant::now();
            loop {
                let own = self.orders.own_position(run_id).await?;
                if own.epoch == goal.epoch && own >= goal {
                    break;
                }
                if began.elapsed() >= CATCH_UP {
                    return Err(format!("has not caught up with {}.{} yet", goal.epoch, goal.seq));
                }
                sleep(Duration::from_millis(2)).await;
            }
        }
        self.change_config(config_version, &[], next).await?;
        self.journal.note(Step::Admitted, next.epoch, &format!("as {run_id}"));
        Ok(())
    }
}

/// A number that differs between agents and starts; nothing depends on its quality.
fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

fn multi_text(e: MultiWriteError) -> String {
    match Error::from(e) {
        Error::BadVersion => "somebody else was first".into(),
        e => e.to_string(),
    }
}

async fn within<T, E: std::fmt::Display>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(limit, call).await {
        Err(_) => Err("zookeeper did not answer".into()),
        Ok(result) => result.map_err(text),
    }
}
