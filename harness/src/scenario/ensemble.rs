//! A plain ZooKeeper ensemble on the fabric, and clients of it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use cluster::provision::zookeeper::{self, Peer, Server};
use tokio::runtime::Runtime;
use zookeeper_client::{Acls, Client, CreateMode, Error, SessionState, Stat};

use super::rig::{Rig, eventually};

/// How long an ensemble may take to elect a leader.
const BOUND: Duration = Duration::from_secs(30);
/// A tick of these servers, milliseconds: sessions of 4 s are 8 of them.
const TICK_MS: u32 = 500;
/// Where clients are served.
pub const CLIENT_PORT: u16 = 2181;
/// Where followers connect to their leader.
pub const QUORUM_PORT: u16 = 2888;
/// Where servers elect one.
pub const ELECTION_PORT: u16 = 3888;

/// Servers `zk1` to `zk3`, or `zk1` alone, and nodes of these names for clients.
pub struct Ensemble {
    pub rig: Rig,
    servers: Vec<String>,
    installed: zookeeper::Installation,
    configs: Vec<Server>,
}

impl Ensemble {
    /// Raises `size` servers; `tap` may lay hands on the fabric before the first packet. Returns when one leads.
    pub fn up(
        folder: &Path,
        size: u8,
        clients: &[&str],
        tap: impl FnOnce(&Rig) -> Result<()>,
    ) -> Result<Ensemble> {
        let installed = zookeeper::find()?;
        let servers: Vec<String> = (1..=size).map(|n| format!("zk{n}")).collect();
        let names: Vec<&str> = servers.iter().map(String::as_str).chain(clients.iter().copied()).collect();
        let rig = Rig::up(folder, &names)?;
        tap(&rig)?;
        let peers: Vec<Peer> =
            (1..).zip(&servers).map(|(id, name)| Peer::at(id, IpAddr::V4(rig.node(name).addr()))).collect();
        let configs = (1..)
            .zip(&servers)
            .map(|(id, name)| {
                let dir = rig.dir(name)?.join("zookeeper");
                Ok(Server { tick_ms: TICK_MS, ..Server::new(id, peers.clone(), dir) })
            })
            .collect::<Result<_>>()?;
        let mut ensemble = Ensemble { rig, servers, installed, configs };
        for name in ensemble.servers.clone() {
            ensemble.start(&name)?;
        }
        ensemble.await_leader(&[])?;
        Ok(ensemble)
    }

    /// Starts a server; its data is kept.
    pub fn start(&mut self, name: &str) -> Result<()> {
        let index = self.servers.iter().position(|server| server == name).context("no such server")?;
        let launch = self.configs[index].prepare(&self.installed)?;
        self.rig.start(name, "zookeeper", launch.argv, launch.cwd)
    }

    /// Names of the servers.
    pub fn servers(&self) -> &[String] {
        &self.servers
    }

    /// What a server says of itself: `leader`, `follower`, `standalone`, or nothing.
    pub fn role(&self, name: &str) -> Option<String> {
        let stats = self.four_letters(name, "srvr").ok()?;
        stats.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_string)
    }

    /// The last transaction that a server has seen.
    pub fn zxid(&self, name: &str) -> Result<i64> {
        let stats = self.four_letters(name, "srvr")?;
        let zxid = stats.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).context("no Zxid in srvr")?;
        i64::from_str_radix(zxid, 16).context("a Zxid that is no number")
    }

    /// Waits until somebody other than these leads and serves.
    pub fn await_leader(&self, not: &[&str]) -> Result<String> {
        eventually("ZooKeeper has a leader", BOUND, || {
            let leads = |name: &&String| {
                !not.contains(&name.as_str())
                    && matches!(self.role(name).as_deref(), Some("leader" | "standalone"))
            };
            Ok(self.servers.iter().find(leads).cloned())
        })
    }

    /// The followers now.
    pub fn followers(&self) -> Vec<String> {
        let follows = |name: &&String| self.role(name).as_deref() == Some("follower");
        self.servers.iter().filter(follows).cloned().collect()
    }

    /// The connect string of one server.
    pub fn address(&self, server: &str) -> String {
        format!("{}:{CLIENT_PORT}", self.rig.node(server).addr())
    }

    /// A client on a node, with a session at one server. On the server's own node its packets never meet the fabric.
    pub fn client(&self, node: &str, server: &str, session: Duration) -> Result<Guest> {
        Guest::connect(&self.rig, node, self.address(server), session)
    }

    /// What a server itself holds at a path, asked behind everybody's back.
    pub fn holds(&self, server: &str, path: &str) -> Result<Option<String>> {
        self.client(server, server, Duration::from_secs(10))?.read(path)
    }

    fn four_letters(&self, name: &str, word: &'static str) -> Result<String> {
        let addr = (self.rig.node(name).addr(), CLIENT_PORT);
        self.rig.inside(name, move || {
            use std::io::{Read, Write};
            let mut stream = std::net::TcpStream::connect_timeout(&addr.into(), Duration::from_secs(1))?;
            stream.set_read_timeout(Some(Duration::from_secs(2)))?;
            stream.write_all(word.as_bytes())?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        })
    }
}

/// A client with a session of its own, asked in plain calls.
pub struct Guest {
    client: Option<Client>,
    runtime: Option<Runtime>,
}

impl Guest {
    fn connect(rig: &Rig, node: &str, address: String, session: Duration) -> Result<Guest> {
        // Threads are born into the network namespace of the thread that makes them.
        let runtime = rig.inside(node, || {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(1).enable_all().build().context("failed to start a runtime")
        })?;
        let mut guest = Guest { client: None, runtime: Some(runtime) };
        let connected = guest.wait(async move {
            let connector = Client::connector().with_session_timeout(session);
            tokio::time::timeout(BOUND, connector.connect(&address)).await
        })?;
        guest.client = Some(connected.map_err(|_| anyhow!("no session within {BOUND:?}"))??);
        Ok(guest)
    }

    /// What the client believes of its session.
    pub fn state(&self) -> SessionState {
        self.client().state()
    }

    /// The timeout it believes to have.
    pub fn session_timeout(&self) -> Duration {
        self.client().session_timeout()
    }

    /// The session's number.
    pub fn session_id(&self) -> i64 {
        self.client().session_id().0
    }

    /// Creates a znode; the answer as the client got it.
    pub fn create(&self, path: &str, data: &str, mode: CreateMode) -> Result<Result<(), Error>> {
        let (client, path, data) = (self.client().clone(), path.to_string(), data.to_string());
        self.wait(async move {
            client.create(&path, data.as_bytes(), &mode.with_acls(Acls::anyone_all())).await.map(drop)
        })
    }

    /// Writes a znode if it has this version; the answer as the client got it.
    pub fn write(&self, path: &str, data: &str, version: Option<i32>) -> Result<Result<Stat, Error>> {
        let (client, path, data) = (self.client().clone(), path.to_string(), data.to_string());
        self.wait(async move { client.set_data(&path, data.as_bytes(), version).await })
    }

    /// Data and stat of a znode, if it is there.
    pub fn look(&self, path: &str) -> Result<Option<(String, Stat)>> {
        let (client, path) = (self.client().clone(), path.to_string());
        match self.wait(async move { client.get_data(&path).await })? {
            Ok((data, stat)) => Ok(Some((String::from_utf8_lossy(&data).into_owned(), stat))),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Data of a znode, if it is there.
    pub fn read(&self, path: &str) -> Result<Option<String>> {
        Ok(self.look(path)?.map(|(data, _)| data))
    }

    /// Runs on the client's own thread, and waits here.
    fn wait<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let runtime = self.runtime.as_ref().context("the client is closed")?;
        let task = runtime.spawn(future);
        runtime.block_on(task).map_err(|_| anyhow!("the client's task has panicked"))
    }

    fn client(&self) -> &Client {
        self.client.as_ref().expect("connected since it was made")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.client.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
