//! A cluster on loopback with free ports in a temporary directory. Everything dies with it.

use std::{
    collections::BTreeSet,
    fs::File,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cluster::{
    agent::{AgentConfig, Timing},
    bootstrap::{ShardMap, bootstrap},
    client::{ClientOptions, ClusterView},
    credentials::Secret,
    defence::Without,
    event::AgentEvent,
    provision::{self, Launch, certificates::Authority},
    redis_link::RedisLink,
    security::{Security, TlsFiles, Transport},
    status,
    znodes::{Paths, RedisNode},
};

pub const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The secret of every rig's cluster.
pub fn secret() -> Secret {
    Secret::new("of the rig")
}

/// A client's options in a rig's cluster.
pub fn client_options() -> ClientOptions {
    ClientOptions::new(secret())
}

/// A started server, killed when dropped, and by the kernel when the test's thread ends.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start(launch: &Launch, log: &Path) -> Process {
        let out = File::options().create(true).append(true).open(log).expect("a log file");
        let mut command = Command::new(&launch.argv[0]);
        command.args(&launch.argv[1..]).envs(launch.env.iter().cloned()).current_dir(&launch.cwd);
        command.stdin(Stdio::null()).stdout(out.try_clone().expect("a second handle")).stderr(out);
        // SAFETY: prctl is async-signal-safe and touches no memory of the parent.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        Process { child: command.spawn().expect("the server starts") }
    }

    pub fn signal(&self, signal: i32) {
        // SAFETY: the child has not been waited for, so its pid is still its own.
        assert_eq!(unsafe { libc::kill(self.child.id() as i32, signal) }, 0, "signal {signal}");
    }

    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One Redis with its agent.
pub struct Node {
    pub name: String,
    pub addr: SocketAddr,
    pub redis: Option<Process>,
    pub agent: Option<Process>,
    server: provision::redis::Server,
    agent_spec: provision::agent::Agent,
}

impl Node {
    pub fn start_redis(&mut self, installation: &provision::redis::Installation) {
        let launch = self.server.prepare(installation).expect("redis is prepared");
        self.redis = Some(Process::start(&launch, &self.agent_spec.dir.join("redis.log")));
    }

    pub fn start_agent(&mut self) {
        let launch = self.agent_spec.prepare().expect("the agent is prepared");
        self.agent = Some(Process::start(&launch, &self.agent_spec.dir.join("agent.log")));
    }

    fn shard(&self) -> u32 {
        self.agent_spec.config.shard
    }

    pub fn events(&self) -> Vec<AgentEvent> {
        let text = std::fs::read_to_string(&self.agent_spec.config.events).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("an event line is whole")).collect()
    }
}

/// A Redis without agent or ZooKeeper, master from the start.
pub struct Alone {
    pub addr: SocketAddr,
    pub link: RedisLink,
    _process: Process,
}

impl Alone {
    /// Starts one in `dir`; none, with the reason printed, where the machine lacks it.
    pub async fn start(dir: &Path) -> Option<Alone> {
        let installation = match provision::redis::find() {
            Ok(installation) => installation,
            Err(e) => {
                println!("skipped: {e}");
                return None;
            }
        };
        let [port] = free_ports();
        let home = dir.join(port.to_string());
        let server = provision::redis::Server {
            bind: LOOPBACK,
            port,
            dir: home.clone(),
            secret: secret(),
            security: Security::Plain,
        };
        let launch = server.prepare(&installation).expect("redis is prepared");
        let process = Process::start(&launch, &home.with_extension("log"));
        let addr = SocketAddr::new(LOOPBACK, port);
        let mut link = loop {
            match RedisLink::connect_as(addr, &secret().agent(), Duration::from_secs(1), &Transport::plain())
                .await
            {
                Ok(link) => break link,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        };
        let promote = redis::cmd("REPLICAOF").arg("NO").arg("ONE").to_owned();
        link.command(&promote, Duration::from_secs(5)).await.expect("it is master");
        Some(Alone { addr, link, _process: process })
    }

    /// Sends one command.
    pub async fn ask(&mut self, words: &[&str]) -> redis::Value {
        let mut pipeline = redis::pipe();
        pipeline.cmd(words[0]).arg(&words[1..]);
        self.link.pipeline(&pipeline).await.expect("it answers").remove(0)
    }
}

/// How a rig is protected.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mode {
    pub tls: bool,
    pub authenticated: bool,
}

/// The cluster under test.
pub struct Rig {
    // Dropped in this order: processes before their directory.
    pub nodes: Vec<Node>,
    pub zookeepers: Vec<Process>,
    pub zk_addrs: Vec<SocketAddr>,
    pub connect: String,
    pub redis: provision::redis::Installation,
    /// How clients and observers connect.
    pub transport: Transport,
    /// The files behind it, if it is TLS.
    pub security: Security,
    _dir: Dir,
    _turn: MutexGuard<'static, ()>,
}

/// One cluster at a time: eight servers are plenty for two cores.
pub static TURN: Mutex<()> = Mutex::new(());

/// The directory: kept if the test fails, for its logs.
pub struct Dir(pub Option<tempfile::TempDir>);

impl Drop for Dir {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(dir) = self.0.take()
        {
            eprintln!("logs are kept in {}", dir.keep().display());
        }
    }
}

/// Ports that were free a moment ago, all different, and below those that the system gives to outgoing
/// connections.
pub fn free_ports<const N: usize>() -> [u16; N] {
    use std::hash::{BuildHasher, Hasher};
    let start = 12_000 + (std::hash::RandomState::new().build_hasher().finish() % 18_000) as u16;
    let listeners: Vec<TcpListener> =
        (start..).filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()).take(N).collect();
    let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().expect("bound").port()).collect();
    assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), N);
    ports.try_into().expect("as many as asked for")
}

impl Rig {
    /// One shard; see [`Rig::of_shards`].
    pub async fn start(shard: u32) -> Option<Rig> {
        Rig::start_with(shard, false).await
    }

    /// The same, with TLS on every link if `secure`.
    pub async fn start_with(shard: u32, secure: bool) -> Option<Rig> {
        Rig::start_as(shard, Mode { tls: secure, authenticated: false }).await
    }

    /// The same, protected as `mode` says.
    pub async fn start_as(shard: u32, mode: Mode) -> Option<Rig> {
        Rig::of_shards(&[shard], &[], mode).await
    }

    /// Starts servers, records and agents of these shards, and of spares that own nothing: three in all at most.
    /// None, with the reason printed, where the machine lacks the servers.
    pub async fn of_shards(shards: &[u32], spares: &[u32], mode: Mode) -> Option<Rig> {
        let (zk, redis) = match (provision::zookeeper::find(), provision::redis::find()) {
            (Ok(zk), Ok(redis)) => (zk, redis),
            (Err(e), _) | (_, Err(e)) => {
                println!("skipped: {e}");
                return None;
            }
        };
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::Builder::new().prefix("shardstorm-it-").tempdir().expect("a temporary directory");
        let ports: [u16; 18] = free_ports();
        let issuer = Issuer::new(dir.path(), mode.tls);
        let (zookeepers, zk_addrs) = start_zookeeper(&zk, dir.path(), &ports[..9], &issuer);
        let connect = zk_addrs.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        let names = shards
            .iter()
            .chain(spares)
            .flat_map(|shard| ["a", "b", "c"].map(|letter| (*shard, format!("r{shard}{letter}"))));
        let nodes: Vec<Node> = names
            .zip(&ports[9..])
            .map(|((shard, name), port)| {
                let mut node = node(dir.path(), shard, &name, *port, &connect, &issuer);
                node.agent_spec.config.authenticated = mode.authenticated;
                node
            })
            .collect();
        let security = issuer.issue("client", &[]);
        let transport = security.load().expect("the client's files are read");
        let mut rig = Rig {
            nodes,
            zookeepers,
            zk_addrs,
            connect,
            redis,
            transport,
            security,
            _dir: Dir(Some(dir)),
            _turn: turn,
        };
        for node in &mut rig.nodes {
            node.start_redis(&rig.redis);
            node.start_agent();
        }
        status::zk_ready(&rig.zk_addrs, Duration::from_secs(30), &rig.transport)
            .await
            .expect("zookeeper is up");
        let of = |ids: &[u32]| ids.iter().map(|&shard| (shard, rig.redis_nodes(shard))).collect();
        let map = ShardMap { spares: of(spares), ..ShardMap::new(of(shards)) };
        bootstrap(&rig.connect, &rig.transport, &Paths::default(), &map, Duration::from_secs(20))
            .await
            .expect("records");
        Some(rig)
    }

    pub fn redis_nodes(&self, shard: u32) -> Vec<RedisNode> {
        let of_shard = self.nodes.iter().filter(|node| node.shard() == shard);
        of_shard.map(|n| RedisNode { node: n.name.clone(), addr: n.addr }).collect()
    }

    pub fn view(&self) -> ClusterView {
        status::observe(&self.connect, &self.transport, Paths::default())
    }

    pub fn node(&mut self, name: &str) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.name == name).expect("a node of this name")
    }

    /// Events of all agents, in order of time.
    pub fn events(&self) -> Vec<AgentEvent> {
        let mut events: Vec<AgentEvent> = self.nodes.iter().flat_map(Node::events).collect();
        events.sort_by_key(|event| event.mono_ns);
        events
    }
}

/// Gives each process its certificate, or nobody.
pub struct Issuer {
    authority: Option<Authority>,
    dir: PathBuf,
}

impl Issuer {
    pub fn new(dir: &Path, secure: bool) -> Issuer {
        let authority = secure.then(|| Authority::new("rig").expect("an authority"));
        Issuer { authority, dir: dir.join("tls") }
    }

    fn issue(&self, name: &str, addrs: &[IpAddr]) -> Security {
        let files = self.authority.as_ref().map(|authority| -> TlsFiles {
            authority.issue(&self.dir.join(name), name, addrs).expect("a certificate")
        });
        files.into()
    }
}

pub fn start_zookeeper(
    installation: &provision::zookeeper::Installation,
    dir: &Path,
    ports: &[u16],
    issuer: &Issuer,
) -> (Vec<Process>, Vec<SocketAddr>) {
    use provision::zookeeper::{Peer, Server};
    let peer = |i: usize| Peer {
        id: i as u8 + 1,
        addr: LOOPBACK,
        quorum_port: ports[3 * i + 1],
        election_port: ports[3 * i + 2],
    };
    let peers: Vec<Peer> = (0..3).map(peer).collect();
    (0..3)
        .map(|i| {
            let home = dir.join(format!("zk{}", i + 1));
            let mut server = Server::new(i as u8 + 1, peers.clone(), &home);
            server.client_port = ports[3 * i];
            server.security = issuer.issue(&format!("zk{}", i + 1), &[LOOPBACK]);
            let launch = server.prepare(installation).expect("zookeeper is prepared");
            (
                Process::start(&launch, &home.join("zookeeper.log")),
                SocketAddr::new(LOOPBACK, server.client_port),
            )
        })
        .unzip()
}

fn node(dir: &Path, shard: u32, name: &str, port: u16, connect: &str, issuer: &Issuer) -> Node {
    let security = issuer.issue(name, &[LOOPBACK]);
    let home = dir.join(name);
    std::fs::create_dir_all(&home).expect("a directory of its own");
    let addr = SocketAddr::new(LOOPBACK, port);
    let config = AgentConfig {
        shard,
        node: name.to_owned(),
        redis: addr,
        zookeeper: connect.to_owned(),
        events: home.join("events.jsonl"),
        secret: secret(),
        without: Without::nothing(),
        root: Paths::default().root().to_owned(),
        timing: Timing::default(),
        authenticated: false,
        security: security.clone(),
    };
    let program = vec![PathBuf::from(env!("CARGO_BIN_EXE_shard-agent"))];
    Node {
        name: name.to_owned(),
        addr,
        redis: None,
        agent: None,
        server: provision::redis::Server {
            bind: LOOPBACK,
            port,
            dir: home.join("redis"),
            secret: secret(),
            security,
        },
        agent_spec: provision::agent::Agent { program, config, dir: home },
    }
}
