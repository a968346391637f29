//! A cluster by hand, on loopback and without a harness: see `cluster/README.md`.

mod reshard;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use cluster::{
    agent::{AgentConfig, Timing},
    bootstrap::{ShardMap, bootstrap},
    client::{Client, ClientOptions, ClusterState, ClusterView},
    credentials::Secret,
    defence::Without,
    provision::{self, Launch, agent::Agent, certificates::Authority},
    rescue,
    reshard::Goal,
    security::{Security, TlsFlags, Transport},
    status,
    store::{Reply, Store},
    znodes::{Paths, RedisNode},
};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(20);

/// A cluster by hand, on loopback
#[derive(Parser)]
#[command(name = "shardctl")]
struct Cli {
    /// ZooKeeper servers [default: those of the ports that `prepare` uses by default]
    #[arg(long, global = true, default_value = "127.0.0.1:21811,127.0.0.1:21812,127.0.0.1:21813")]
    zookeeper: String,
    /// File with the cluster's secret: `prepare` writes it to `secret` in its directory
    #[arg(long, global = true, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Clients and Redis prove their requests and replies: give it to `prepare`, and to all that follows
    #[arg(long, global = true)]
    authenticated: bool,
    #[command(flatten)]
    tls: TlsFlags,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write the files of three ZooKeeper servers and the Redis servers and agents of the shards, each with
    /// a `start` script
    Prepare {
        /// Directory to write to
        dir: PathBuf,
        /// Number of shards
        #[arg(long, default_value_t = 1)]
        shards: u32,
        /// Number of shards more whose servers are prepared, but which own nothing: for `add-shard`
        #[arg(long, default_value_t = 0)]
        spares: u32,
        /// Redis servers of each shard
        #[arg(long, default_value_t = 3)]
        replicas: u32,
        /// First port; the cluster uses up to a hundred from there
        #[arg(long, default_value_t = 21800)]
        port: u16,
        /// The agent's program [default: shard-agent beside this one]
        #[arg(long)]
        agent: Option<PathBuf>,
        /// TLS on every link: makes certificates for all servers and agents, and one for clients
        #[arg(long)]
        tls: bool,
    },
    /// Write the first records of the cluster that was prepared in a directory
    Bootstrap {
        /// The directory given to `prepare`
        dir: PathBuf,
    },
    /// Show masters, epochs and members, again at every change with --watch
    Status {
        /// Go on until interrupted
        #[arg(long)]
        watch: bool,
    },
    /// Let a shard own its share of the keys, and move them there while the cluster serves
    AddShard {
        /// Number of the shard
        shard: u32,
        /// Its servers, which run already: NAME=ADDRESS:PORT,… [default: as ZooKeeper knows them]
        #[arg(long, value_delimiter = ',', value_parser = reshard::node)]
        nodes: Vec<RedisNode>,
        #[command(flatten)]
        moves: Moves,
    },
    /// Take all its keys from a shard, and move them to the others while the cluster serves
    RemoveShard {
        /// Number of the shard
        shard: u32,
        #[command(flatten)]
        moves: Moves,
    },
    /// Go on with a change of the shards that was broken off
    Resume {
        #[command(flatten)]
        moves: Moves,
    },
    /// Let a shard that has lost too many memories go on with what is left: acknowledged writes may be gone
    ForceReset {
        /// Number of the shard
        shard: u32,
    },
    /// Read a key
    Get {
        /// The key
        key: String,
    },
    /// Write for some seconds, one write after the other, and tell of every gap of more than 100 ms
    /// between two acknowledged ones
    Load {
        /// For how long
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// Deadline of a write, milliseconds
        #[arg(long, default_value_t = 300)]
        deadline_ms: u64,
    },
    /// Write a key, acknowledged by one replica
    Set {
        /// The key
        key: String,
        /// Its new value
        value: String,
    },
}

/// How keys move.
#[derive(clap::Args)]
struct Moves {
    /// Slots that move at once: more make it faster, but each is away for longer
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=1024))]
    batch_slots: u16,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return if e.use_stderr() { ExitCode::from(254) } else { ExitCode::SUCCESS };
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("shardctl: {e:#}");
            ExitCode::from(254)
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let transport = cli.tls.over(Security::Plain)?.load()?;
    let cluster = Access {
        zookeeper: cli.zookeeper,
        secret_file: cli.secret_file,
        authenticated: cli.authenticated,
        transport,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match cli.command {
        Verb::Prepare { dir, shards, spares, replicas, port, agent, tls } => {
            let plan = Plan::new(&dir, shards + spares, replicas, port, agent, tls)?;
            Plan { authenticated: cli.authenticated, spares, ..plan }.write()
        }
        Verb::AddShard { shard, nodes, moves } => {
            runtime.block_on(reshard::change(&cluster, Goal::Add(shard), &nodes, moves.batch_slots))
        }
        Verb::RemoveShard { shard, moves } => {
            runtime.block_on(reshard::change(&cluster, Goal::Remove(shard), &[], moves.batch_slots))
        }
        Verb::Resume { moves } => {
            runtime.block_on(reshard::change(&cluster, Goal::Resume, &[], moves.batch_slots))
        }
        Verb::ForceReset { shard } => runtime.block_on(async {
            let paths = Paths::default();
            let (node, epoch) =
                rescue::force_reset(&cluster.zookeeper, &cluster.transport, &paths, shard).await?;
            println!(
                "shard {shard}: {node} has the latest data that is left, and is elected in epoch {epoch}"
            );
            Ok(())
        }),
        Verb::Bootstrap { dir } => runtime.block_on(write_records(&cluster, &dir)),
        Verb::Status { watch } => runtime.block_on(show_status(&cluster, watch)),
        Verb::Load { seconds, deadline_ms } => {
            runtime.block_on(load(&cluster, Duration::from_secs(seconds), Duration::from_millis(deadline_ms)))
        }
        Verb::Get { key } => runtime.block_on(async {
            let reply = connect(&cluster).await?.read(&key).await;
            show(reply, |value| value.unwrap_or_else(|| "(never written)".into()))
        }),
        Verb::Set { key, value } => runtime.block_on(async {
            let reply = connect(&cluster).await?.write(&key, &value).await;
            show(reply, |()| "written".into())
        }),
    }
}

/// Where a cluster is and how it is reached.
struct Access {
    zookeeper: String,
    secret_file: Option<PathBuf>,
    authenticated: bool,
    transport: Transport,
}

/// The files of a cluster to be.
struct Plan {
    dir: PathBuf,
    /// Spares included.
    shards: u32,
    spares: u32,
    replicas: u32,
    port: u16,
    agent: PathBuf,
    redis: provision::redis::Installation,
    zookeeper: provision::zookeeper::Installation,
    /// None without TLS.
    authority: Option<Authority>,
    secret: Secret,
    authenticated: bool,
}

impl Plan {
    fn new(
        dir: &Path,
        shards: u32,
        replicas: u32,
        port: u16,
        agent: Option<PathBuf>,
        tls: bool,
    ) -> Result<Self> {
        let redis_count = shards.saturating_mul(replicas);
        if redis_count == 0 || redis_count > 10 {
            bail!("{shards} shards of {replicas} servers: give 1 to 10 servers in all");
        }
        if port > u16::MAX - 100 {
            bail!("--port {port} leaves no room for a hundred ports");
        }
        let zookeeper = provision::zookeeper::find()?;
        let redis = provision::redis::find()?;
        let agent = match agent {
            Some(agent) => agent,
            None => std::env::current_exe()?.with_file_name("shard-agent"),
        };
        let agent = fs::canonicalize(&agent).with_context(|| format!("no agent at {}", agent.display()))?;
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let authority = tls.then(|| Authority::new(&dir.to_string_lossy())).transpose()?;
        let dir = fs::canonicalize(dir)?;
        let secret = Secret::random().context("cannot draw a secret")?;
        Ok(Plan {
            dir,
            shards,
            spares: 0,
            replicas,
            port,
            agent,
            redis,
            zookeeper,
            authority,
            secret,
            authenticated: false,
        })
    }

    fn write(&self) -> Result<()> {
        write_secret(&self.dir.join("secret"), &self.secret)?;
        let connect = self.write_zookeeper()?;
        let mut map = Vec::new();
        for shard in 0..self.shards {
            let nodes = (0..self.replicas).map(|i| self.write_node(shard, i, &connect));
            map.push((shard, nodes.collect::<Result<Vec<_>>>()?));
        }
        let spares = map.split_off((self.shards - self.spares) as usize);
        fs::write(self.dir.join("shards.json"), serde_json::to_vec_pretty(&map)?)?;
        println!(
            "prepared in {}: Redis {}, ZooKeeper {} on Java {}",
            self.dir.display(),
            self.redis.version,
            self.zookeeper.version,
            self.zookeeper.java_version
        );
        println!("zookeeper: {connect}");
        for (shard, nodes) in &spares {
            let nodes: Vec<String> = nodes.iter().map(|n| format!("{}={}", n.node, n.addr)).collect();
            println!("spare: add-shard {shard} --nodes {}", nodes.join(","));
        }
        if let Some(authority) = &self.authority {
            let files = authority.issue(&self.dir.join("client"), "client", &[])?;
            println!(
                "tls: give clients --tls-ca {} --tls-cert {} --tls-key {}",
                files.ca.display(),
                files.cert.display(),
                files.key.display()
            );
        }
        Ok(())
    }

    fn security(&self, node: &str) -> Result<Security> {
        let Some(authority) = &self.authority else { return Ok(Security::Plain) };
        Ok(Security::Tls(authority.issue(&self.dir.join(node).join("tls"), node, &[LOOPBACK])?))
    }

    fn write_node(&self, shard: u32, i: u32, connect: &str) -> Result<RedisNode> {
        let node = format!("r{shard}{}", char::from(b'a' + i as u8));
        let addr = SocketAddr::new(LOOPBACK, self.port + 1 + (shard * self.replicas + i) as u16);
        let dir = self.dir.join(&node);
        let security = self.security(&node)?;
        let server = provision::redis::Server {
            bind: LOOPBACK,
            port: addr.port(),
            dir: dir.join("redis"),
            secret: self.secret.clone(),
            security: security.clone(),
        };
        write_script(&dir, "start-redis", &server.prepare(&self.redis)?)?;
        let config = AgentConfig {
            shard,
            node: node.clone(),
            redis: addr,
            zookeeper: connect.to_owned(),
            events: dir.join("events.jsonl"),
            secret: self.secret.clone(),
            without: Without::nothing(),
            root: Paths::default().root().to_owned(),
            timing: Timing { wait_replicas: self.replicas / 2, ..Timing::default() },
            authenticated: self.authenticated,
            security,
        };
        let spec = Agent { program: vec![self.agent.clone()], config, dir: dir.clone() };
        write_script(&dir, "start-agent", &spec.prepare()?)?;
        Ok(RedisNode { node, addr })
    }

    /// Writes the files of the ensemble; returns its connect string.
    fn write_zookeeper(&self) -> Result<String> {
        use provision::zookeeper::{Peer, Server};
        let peers: Vec<Peer> = (1..=3)
            .map(|id| Peer {
                id,
                addr: LOOPBACK,
                quorum_port: self.port + 20 + u16::from(id),
                election_port: self.port + 30 + u16::from(id),
            })
            .collect();
        let mut addrs = Vec::new();
        for id in 1..=3u8 {
            let name = format!("zk{id}");
            let mut server = Server::new(id, peers.clone(), self.dir.join(&name));
            server.client_port = self.port + 10 + u16::from(id);
            server.security = self.security(&name)?;
            write_script(&server.dir, "start-zookeeper", &server.prepare(&self.zookeeper)?)?;
            addrs.push(format!("{LOOPBACK}:{}", server.client_port));
        }
        Ok(addrs.join(","))
    }
}

/// Only its owner may read it: whoever has it may do everything to the cluster.
fn write_secret(path: &Path, secret: &Secret) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(secret.text().as_bytes()));
    written.with_context(|| format!("cannot write {}", path.display()))
}

/// Writes an executable script that becomes the server, its output in a log file beside the script.
fn write_script(dir: &Path, name: &str, launch: &Launch) -> Result<()> {
    let quote = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy().replace('\'', r"'\''"));
    let argv: Vec<String> = launch.argv.iter().map(|part| quote(part)).collect();
    // A restarted Redis must find no dump of its former life.
    let wipe = if name == "start-redis" { "rm -f *.rdb\n" } else { "" };
    let log = quote(dir.join(format!("{name}.log")).as_os_str());
    let script = format!(
        "#!/bin/sh\ncd {} || exit 1\n{wipe}exec {} >>{log} 2>&1\n",
        quote(launch.cwd.as_os_str()),
        argv.join(" ")
    );
    let path = dir.join(name);
    fs::write(&path, script).with_context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

async fn write_records(cluster: &Access, dir: &Path) -> Result<()> {
    let path = dir.join("shards.json");
    let text =
        fs::read(&path).with_context(|| format!("cannot read {}: run prepare first", path.display()))?;
    let shards: Vec<(u32, Vec<RedisNode>)> =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", path.display()))?;
    bootstrap(&cluster.zookeeper, &cluster.transport, &Paths::default(), &ShardMap::new(shards), PATIENCE)
        .await?;
    println!("records written");
    Ok(())
}

async fn connected(view: &ClusterView, cluster: &Access) -> Result<()> {
    if !view.wait_until(PATIENCE, |state| state.connected).await {
        bail!("no answer from zookeeper at {} within {} s", cluster.zookeeper, PATIENCE.as_secs());
    }
    if view.state().shards.is_empty() {
        bail!("zookeeper at {} holds no cluster: run bootstrap first", cluster.zookeeper);
    }
    Ok(())
}

fn options(cluster: &Access) -> Result<ClientOptions> {
    let path = cluster.secret_file.as_deref();
    let path = path.context("no secret: give --secret-file, the file `secret` that prepare has written")?;
    let secret = Secret::from_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(ClientOptions { authenticated: cluster.authenticated, ..ClientOptions::new(secret) })
}

async fn connect(cluster: &Access) -> Result<Client> {
    let options = options(cluster)?;
    let view = ClusterView::open(&cluster.zookeeper, &cluster.transport);
    connected(&view, cluster).await?;
    Ok(Client::new(view, options))
}

async fn load(cluster: &Access, length: Duration, deadline: Duration) -> Result<()> {
    let mut client = connect(cluster).await?;
    let started = Instant::now();
    let (mut acked_at, mut acked) = (started, 0u64);
    let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
    for n in 0u64.. {
        if started.elapsed() >= length {
            break;
        }
        let (key, value) = (format!("load-{}", n % 100), n.to_string());
        let why = match tokio::time::timeout(deadline, client.write(&key, &value)).await {
            Err(_) => "unknown: deadline".to_owned(),
            Ok(Reply { result: Err(e), .. }) if e.definite => format!("failed: {e}"),
            Ok(Reply { result: Err(e), .. }) => format!("unknown: {e}"),
            Ok(Reply { result: Ok(()), served_by }) => {
                acked += 1;
                let gap = acked_at.elapsed();
                if gap > Duration::from_millis(100) {
                    let epoch = served_by.map_or(0, |by| by.epoch);
                    let counts: Vec<String> = reasons.iter().map(|(why, n)| format!("{n} {why}")).collect();
                    let at = (started.elapsed() - gap).as_millis();
                    println!(
                        "at {at} ms: gap of {} ms, now in epoch {epoch}; {}",
                        gap.as_millis(),
                        counts.join(", ")
                    );
                }
                acked_at = Instant::now();
                reasons.clear();
                continue;
            }
        };
        *reasons.entry(why).or_default() += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    println!("{acked} writes acknowledged in {} s", length.as_secs());
    if acked_at.elapsed() > Duration::from_secs(1) {
        bail!("no write was acknowledged for the last {} ms: {reasons:?}", acked_at.elapsed().as_millis());
    }
    Ok(())
}

fn show<T>(reply: Reply<T>, text: impl FnOnce(T) -> String) -> Result<()> {
    match (reply.result, reply.served_by) {
        (Ok(value), Some(by)) => println!("{} ({} in epoch {})", text(value), by.node, by.epoch),
        (Ok(value), None) => println!("{}", text(value)),
        (Err(e), _) if e.definite => bail!("failed: {e}"),
        (Err(e), _) => bail!("unknown, it may or may not have happened: {e}"),
    }
    Ok(())
}

async fn show_status(cluster: &Access, watch: bool) -> Result<()> {
    for addr in cluster.zookeeper.split(',') {
        let line = match addr.parse::<SocketAddr>() {
            Err(_) => "not an address like 127.0.0.1:2181".to_owned(),
            Ok(addr) => match status::zk_server(addr, Duration::from_secs(1), &cluster.transport).await {
                Ok(server) => server
                    .mode
                    .map_or("looking for a leader".into(), |mode| format!("{mode:?}").to_lowercase()),
                Err(why) => why,
            },
        };
        println!("zookeeper {addr}: {line}");
    }
    let view = status::observe(&cluster.zookeeper, &cluster.transport, Paths::default());
    connected(&view, cluster).await?;
    let mut states = view.states();
    loop {
        let state = states.borrow_and_update().clone();
        print_state(&state);
        if !watch || states.changed().await.is_err() {
            return Ok(());
        }
    }
}

fn print_state(state: &ClusterState) {
    for (id, shard) in &state.shards {
        let master = shard.master.as_ref().map_or("none", |master| master.node.as_str());
        let serving = if shard.serving { "serving" } else { "not serving" };
        let lease = if shard.leased { "leased" } else { "no lease" };
        let members: Vec<String> = shard
            .members
            .iter()
            .map(|(node, m)| {
                format!(
                    "{node} {}{}",
                    format!("{:?}", m.role).to_lowercase(),
                    if m.linked { " linked" } else { "" }
                )
            })
            .collect();
        println!(
            "shard {id}: epoch {}, master {master} ({serving}, {lease}); {}",
            shard.epoch,
            members.join(", ")
        );
    }
}
