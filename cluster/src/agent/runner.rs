//! The main loop of an agent: look, decide, act.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use redis::{cmd, pipe};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::{
    config::{AgentConfig, Variant},
    course::{Action, Course},
    health::{self, HeartbeatSight, ProbeSight, RedisSight},
    journal::{Journal, log},
    keeper::{self, LeaseDuty, LeaseSight},
    observation::{Observation, Seen},
};
use crate::{
    event::Step,
    provision::redis::PARKED,
    redis_link::{LinkError, RedisLink},
    security::Transport,
    zk::{AbortOnDrop, Link, LinkOptions, put_ephemeral},
    znodes::{LeaseRecord, Member, Paths, RedisNode, Role, ShardConfig, ShardPaths, encode},
};

/// Longest wait for ZooKeeper in one action: longer, and the picture is too old to act on.
const ZK_LIMIT: Duration = Duration::from_millis(1000);
/// Longest wait for the own Redis in one action.
const REDIS_LIMIT: Duration = Duration::from_millis(500);

/// An agent at work.
pub struct Runner {
    config: AgentConfig,
    transport: Transport,
    me: RedisNode,
    paths: ShardPaths,
    journal: Journal,
    course: Course,
    link: Link,
    own: watch::Receiver<RedisSight>,
    heartbeat: watch::Receiver<HeartbeatSight>,
    probe: watch::Receiver<ProbeSight>,
    lease: watch::Receiver<LeaseSight>,
    target: watch::Sender<Option<SocketAddr>>,
    duty: watch::Sender<Option<LeaseDuty>>,
    member: watch::Sender<Option<Member>>,
    /// Newest config known, also from own writes that the mirror has not shown yet.
    newest: Option<Seen<ShardConfig>>,
    serial: u64,
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
        let (lease_tx, lease) = watch::channel(LeaseSight::default());
        let (target, target_rx) = watch::channel(None);
        let (duty, duty_rx) = watch::channel(None);
        let (member, member_rx) = watch::channel(None);
        let period = Duration::from_millis(timing.renew_ms);
        let node = config.node.clone();
        let tasks = vec![
            tokio::spawn(health::watch_own(config.clone(), transport.clone(), own_tx)),
            tokio::spawn(health::beat(config.clone(), transport.clone(), own.clone(), heartbeat_tx)),
            tokio::spawn(health::probe(period, transport.clone(), target_rx, probe_tx)),
            tokio::spawn(keeper::keep_lease(
                period,
                node.clone(),
                paths.clone(),
                link.clients(),
                duty_rx,
                lease_tx,
            )),
            tokio::spawn(keeper::publish_member(paths.clone(), node.clone(), link.clients(), member_rx)),
        ];
        let course = match config.variant {
            Variant::Course => Course::new(&node, timing, entropy()),
        };
        let me = RedisNode { node, addr: config.redis };
        Runner {
            config,
            transport,
            me,
            paths,
            journal,
            course,
            link,
            own,
            heartbeat,
            probe,
            lease,
            target,
            duty,
            member,
            newest: None,
            serial: 0,
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
            let actions = self.course.step(&o);
            let mut acted = false;
            for action in actions {
                match self.perform(&action).await {
                    Ok(()) => acted = true,
                    Err(why) => {
                        log(&format!("{action:?}: {why}"));
                        acted = false;
                        // What follows was decided on the assumption that this would work.
                        sleep(Duration::from_millis(20)).await;
                        break;
                    }
                }
            }
            if acted {
                tokio::task::yield_now().await;
            }
            tokio::select! {
                _ = snapshots.changed() => {}
                _ = self.own.changed() => {}
                _ = self.heartbeat.changed() => {}
                _ = self.lease.changed() => {}
                () = sleep(Duration::from_millis(if acted { 2 } else { 25 })) => {}
            }
        }
    }

    fn observe(&mut self) -> Observation {
        let mut o = Observation::from_snapshot(&self.link.snapshot(), &self.paths, Instant::now());
        // An own write is known before the mirror shows it; and what was seen once is never unseen.
        match (&o.config, &self.newest) {
            (Some(seen), Some(newest)) if seen.version < newest.version => o.config = Some(newest.clone()),
            (Some(seen), _) => self.newest = Some(seen.clone()),
            (None, _) => o.config = self.newest.clone(),
        }
        let master = o.config.as_ref().and_then(|c| c.value.master.clone());
        let target = master.as_ref().filter(|master| master.node != self.me.node).map(|master| master.addr);
        self.target.send_if_modified(|t| std::mem::replace(t, target) != target);
        let epoch = o.config.as_ref().map_or(0, |c| c.value.epoch);
        o.lease_held = self.lease.borrow_and_update().held.as_ref().is_some_and(|duty| duty.epoch == epoch)
            && self.duty.borrow().as_ref().is_some_and(|duty| duty.epoch == epoch);
        o.own = self.own.borrow_and_update().clone();
        o.heartbeat = *self.heartbeat.borrow_and_update();
        o.probe = *self.probe.borrow();
        o
    }

    /// Tells the others what this agent sees.
    fn publish(&self, o: &Observation) {
        let config = o.config.as_ref().map(|c| &c.value);
        let epoch = config.map_or(0, |c| c.epoch);
        let master_addr = config.and_then(|c| c.master.as_ref()).map(|m| m.addr);
        let (role, fit, linked) = match &o.own {
            RedisSight::Up { replication: r, .. } => {
                let role = if r.master { Role::Master } else { Role::Replica };
                (role, !r.syncing && r.offset > 0, r.linked && r.of == master_addr)
            }
            _ => (Role::Down, false, false),
        };
        let sees_master = self.course.sees_master(o);
        let member = Member { role, epoch, addr: self.me.addr, fit, linked, sees_master };
        self.member.send_if_modified(|m| m.replace(member.clone()) != Some(member));
    }

    async fn perform(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Note { step, epoch, detail } => {
                self.journal.note(*step, *epoch, detail);
                self.course.noted(*step, *epoch);
                Ok(())
            }
            Action::HoldLease { config_version, epoch, replace } => {
                self.hold_lease(*config_version, *epoch, *replace).await
            }
            Action::GiveUpLease { config_version } => {
                self.duty.send_replace(None);
                self.delete_lease(*config_version, None).await
            }
            Action::DropLease { config_version, lease_version } => {
                self.delete_lease(*config_version, Some(*lease_version)).await
            }
            Action::Bid(candidate) => {
                let client = self.client()?;
                let path = self.paths.candidate(&self.me.node);
                within(ZK_LIMIT, put_ephemeral(&client, &path, &encode(candidate))).await
            }
            Action::Claim { config_version, epoch, detail } => {
                self.claim(*config_version, *epoch, detail).await
            }
            Action::TakeOffice { config_version, epoch, predecessor, run_id } => {
                self.take_office(*config_version, *epoch, predecessor.as_ref(), run_id).await
            }
            Action::Demote(to) => self.replicaof(to.as_ref().map(|node| node.addr), true).await,
            Action::Follow(master) => self.replicaof(Some(master.addr), false).await,
            Action::Relink(master) => {
                log(&format!("link to {} is stuck: making it anew", master.node));
                self.replicaof(None, false).await?;
                self.replicaof(Some(master.addr), false).await
            }
        }
    }

    fn client(&self) -> Result<Client, String> {
        self.link.client().ok_or_else(|| "no zookeeper session".to_owned())
    }

    fn set_duty(&mut self, epoch: u64, session: i64) {
        self.serial += 1;
        self.duty.send_replace(Some(LeaseDuty { epoch, session, serial: self.serial }));
    }

    fn lease_record(&self, epoch: u64) -> Vec<u8> {
        encode(&LeaseRecord { epoch, node: self.me.node.clone(), n: 0 })
    }

    async fn hold_lease(
        &mut self,
        config_version: i32,
        epoch: u64,
        replace: Option<i32>,
    ) -> Result<(), String> {
        let client = self.client()?;
        let path = self.paths.lease();
        let mut multi = client.new_multi_writer();
        multi.add_check_version(&self.paths.config(), config_version).map_err(text)?;
        if let Some(version) = replace {
            multi.add_delete(&path, Some(version)).map_err(text)?;
        }
        multi.add_create(&path, &self.lease_record(epoch), &ephemeral()).map_err(text)?;
        within(ZK_LIMIT, multi.commit()).await?;
        self.set_duty(epoch, client.session_id().0);
        Ok(())
    }

    /// Deletes the lease; with no version given, whatever version it has under this config.
    async fn delete_lease(&self, config_version: i32, lease_version: Option<i32>) -> Result<(), String> {
        let client = self.client()?;
        let mut multi = client.new_multi_writer();
        multi.add_check_version(&self.paths.config(), config_version).map_err(text)?;
        multi.add_delete(&self.paths.lease(), lease_version).map_err(text)?;
        match timeout(ZK_LIMIT, multi.commit()).await {
            Err(_) => Err("zookeeper did not answer".into()),
            Ok(Err(e)) => match Error::from(e) {
                Error::NoNode => Ok(()),
                e => Err(e.to_string()),
            },
            Ok(Ok(_)) => Ok(()),
        }
    }

    async fn claim(&mut self, config_version: i32, epoch: u64, detail: &str) -> Result<(), String> {
        let client = self.client()?;
        let config = ShardConfig { epoch, master: Some(self.me.clone()), serving: false };
        let mut multi = client.new_multi_writer();
        multi.add_set_data(&self.paths.config(), &encode(&config), Some(config_version)).map_err(text)?;
        multi.add_create(&self.paths.lease(), &self.lease_record(epoch), &ephemeral()).map_err(text)?;
        within(ZK_LIMIT, multi.commit()).await?;
        self.set_duty(epoch, client.session_id().0);
        self.journal.note_once(Step::Elected, epoch, detail);
        self.learn(config, config_version + 1);
        Ok(())
    }

    fn learn(&mut self, value: ShardConfig, version: i32) {
        self.newest = Some(Seen { value, version, seen_at: Instant::now() });
    }

    async fn take_office(
        &mut self,
        config_version: i32,
        epoch: u64,
        predecessor: Option<&RedisNode>,
        run_id: &str,
    ) -> Result<(), String> {
        self.journal.note_once(Step::Elected, epoch, "");
        let mut stopped = None;
        let fenced = match predecessor {
            None => "no predecessor".to_owned(),
            Some(node) if node.node == self.me.node => "predecessor is this node".to_owned(),
            Some(node) => {
                let limit = Duration::from_millis(self.config.timing.fence_ms);
                match fence(node.addr, limit, &self.transport).await {
                    Ok(()) => {
                        stopped = Some(node.addr);
                        format!("{} stopped", node.node)
                    }
                    Err(e) => format!("{} not reached: {e}", node.node),
                }
            }
        };
        self.journal.note_once(Step::Fenced, epoch, &fenced);
        promote(self.me.addr, run_id, &self.transport).await?;
        let client = self.client()?;
        let config = ShardConfig { epoch, master: Some(self.me.clone()), serving: true };
        let path = self.paths.config();
        within(ZK_LIMIT, client.set_data(&path, &encode(&config), Some(config_version))).await?;
        self.journal.note_once(Step::Promoted, epoch, "");
        self.learn(config, config_version + 1);
        if let Some(old) = stopped {
            // Its own agent may be dead or cut off; if it is not, it says the same.
            let (me, transport) = (self.me.addr, self.transport.clone());
            tokio::spawn(async move { attach(old, me, &transport).await });
        }
        Ok(())
    }

    /// Makes the own Redis a replica of `of`, or parks it. When it was a master its clients are cut off, so
    /// that a `WAIT` sent in its time is not answered by acknowledgements of another history.
    async fn replicaof(&self, of: Option<SocketAddr>, cut_clients: bool) -> Result<(), String> {
        let mut link = RedisLink::connect(self.me.addr, REDIS_LIMIT, &self.transport).await.map_err(text)?;
        link.command(&replicaof_command(of), REDIS_LIMIT).await.map_err(text)?;
        if cut_clients {
            link.command(&cut_clients_command(), REDIS_LIMIT).await.map_err(text)?;
        }
        Ok(())
    }
}

fn replicaof_command(of: Option<SocketAddr>) -> redis::Cmd {
    let (host, port) =
        of.map_or((PARKED.0.to_owned(), PARKED.1), |addr| (addr.ip().to_string(), addr.port()));
    let mut command = cmd("REPLICAOF");
    command.arg(host).arg(port);
    command
}

fn cut_clients_command() -> redis::Cmd {
    let mut command = cmd("CLIENT");
    command.arg("KILL").arg("TYPE").arg("normal").arg("SKIPME").arg("yes");
    command
}

/// Tells a deposed master to stop. A stopped process that is only slow to read gets the order when it wakes
/// up: it is in its socket by then.
async fn fence(addr: SocketAddr, limit: Duration, transport: &Transport) -> Result<(), LinkError> {
    let attempt = async {
        let mut link = RedisLink::connect(addr, limit, transport).await?;
        let mut orders = pipe();
        orders.add_command(replicaof_command(None)).add_command(cut_clients_command());
        let replies = link.pipeline(&orders).await.map_err(|e| LinkError::Lost(e.to_string()))?;
        match replies.into_iter().next() {
            Some(redis::Value::ServerError(e)) => Err(LinkError::Refused(e)),
            _ => Ok(()),
        }
    };
    timeout(limit, attempt).await.unwrap_or(Err(LinkError::Silent(limit.as_millis())))
}

/// Makes a stopped predecessor a replica of the new master; best effort.
async fn attach(addr: SocketAddr, master: SocketAddr, transport: &Transport) {
    if let Ok(mut link) = RedisLink::connect(addr, REDIS_LIMIT, transport).await {
        let _ = link.command(&replicaof_command(Some(master)), REDIS_LIMIT).await;
    }
}

/// Makes the own Redis a master, if it still is the incarnation that was elected.
async fn promote(addr: SocketAddr, run_id: &str, transport: &Transport) -> Result<(), String> {
    let mut link = RedisLink::connect(addr, REDIS_LIMIT, transport).await.map_err(text)?;
    let info = link.info("server", REDIS_LIMIT).await.map_err(text)?;
    if info.get("run_id") != Some(run_id) {
        return Err("redis was restarted after the election".into());
    }
    let mut command = cmd("REPLICAOF");
    command.arg("NO").arg("ONE");
    link.command(&command, REDIS_LIMIT).await.map(|_| ()).map_err(text)
}

/// A number that differs between agents and starts; nothing depends on its quality.
fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

fn ephemeral() -> zookeeper_client::CreateOptions<'static> {
    CreateMode::Ephemeral.with_acls(Acls::anyone_all())
}

fn text(e: impl std::fmt::Display) -> String {
    e.to_string()
}

async fn within<T, E: std::fmt::Display>(
    limit: Duration,
    call: impl Future<Output = Result<T, E>>,
) -> Result<(), String> {
    match timeout(limit, call).await {
        Err(_) => Err("zookeeper did not answer".into()),
        Ok(Err(e)) => Err(e.to_string()),
        Ok(Ok(_)) => Ok(()),
    }
}
