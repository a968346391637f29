//! ZooKeeper alone: three servers on loopback.

use std::{
    net::SocketAddr,
    sync::{Arc, MutexGuard, PoisonError},
    time::Duration,
};

use cluster::{
    provision,
    security::Transport,
    status,
    zk::{Session, SessionOptions},
};
use zookeeper_client::Client;

use crate::rig::{Dir, Issuer, Process, TURN, free_ports, start_zookeeper};

/// Three servers. Everything dies with it.
pub struct Ensemble {
    // Dropped in this order: processes before their directory.
    pub servers: Vec<Process>,
    pub addrs: Vec<SocketAddr>,
    pub connect: String,
    _dir: Dir,
    _turn: MutexGuard<'static, ()>,
}

impl Ensemble {
    /// Starts the servers; none, with the reason printed, where the machine lacks them.
    pub async fn start() -> Option<Ensemble> {
        let zk = provision::zookeeper::find().map_err(|e| println!("skipped: {e}")).ok()?;
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::Builder::new().prefix("shardstorm-zk-").tempdir().expect("a temporary directory");
        let ports: [u16; 9] = free_ports();
        let (servers, addrs) = start_zookeeper(&zk, dir.path(), &ports, &Issuer::new(dir.path(), false));
        let connect = addrs.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",");
        let ensemble = Ensemble { servers, addrs, connect, _dir: Dir(Some(dir)), _turn: turn };
        status::zk_ready(&ensemble.addrs, Duration::from_secs(30), &Transport::plain())
            .await
            .expect("zookeeper is up");
        Some(ensemble)
    }

    /// Which of the servers leads.
    pub async fn leader(&self) -> usize {
        for (i, addr) in self.addrs.iter().enumerate() {
            let server = status::zk_server(*addr, Duration::from_secs(2), &Transport::plain())
                .await
                .expect("it answers");
            if server.mode == Some(status::ZkMode::Leader) {
                return i;
            }
        }
        panic!("nobody leads");
    }

    /// A session to all servers.
    pub fn session(&self) -> Arc<Session> {
        Arc::new(Session::open(SessionOptions::new(&self.connect)))
    }

    /// A client for looking at what is there.
    pub async fn client(&self) -> Client {
        Client::connector()
            .with_session_timeout(Duration::from_secs(20))
            .connect(&self.connect)
            .await
            .expect("a session")
    }
}

/// Sessions that outlast a pause of a server: nobody gives up, neither client nor server.
pub fn patient(connect: impl Into<String>) -> SessionOptions {
    SessionOptions {
        session_timeout: Duration::from_secs(12),
        connection_timeout: Duration::from_secs(6),
        ..SessionOptions::new(connect)
    }
}

/// Runs `work` in a thread of its own that then ends without a word to anybody, as if its process had died.
pub fn and_die<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(work)
        });
        thread.join().expect("the work is done")
    })
}
