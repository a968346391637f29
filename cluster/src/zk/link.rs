//! The session and the watch behind a mirror.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use zookeeper_client::{AddWatchMode, Client, Error, EventType, PersistentWatcher, SessionState, Stat};

use super::{AbortOnDrop, Snapshot, Znode, write::existing};
use crate::security::Transport;

/// How long a session may be disconnected before it is given up.
const REJOIN: Duration = Duration::from_millis(400);

/// How to reach ZooKeeper and what to mirror.
#[derive(Debug, Clone)]
pub struct LinkOptions {
    /// `host:port,host:port,…`
    pub connect: String,
    /// Subtree to mirror.
    pub root: String,
    /// Time without a sign of life after which the server ends the session.
    pub session_timeout: Duration,
    /// Time without an answer after which another server is tried.
    pub connection_timeout: Duration,
    /// Whether leases, which change ten times a second, are of interest.
    pub leases: bool,
    /// How connections are opened.
    pub transport: Transport,
}

impl LinkOptions {
    /// Options for agents and clients: sessions of 1.5 s, another server after 250 ms of silence.
    pub fn new(connect: impl Into<String>, root: impl Into<String>) -> Self {
        LinkOptions {
            connect: connect.into(),
            root: root.into(),
            session_timeout: Duration::from_millis(1500),
            connection_timeout: Duration::from_millis(250),
            leases: true,
            transport: Transport::plain(),
        }
    }

    fn wants(&self, path: &str) -> bool {
        self.leases || !path.ends_with("/lease")
    }
}

/// A session kept for ever and the subtree seen through it. Dropping it ends both.
#[derive(Debug)]
pub struct Link {
    client: watch::Receiver<Option<Client>>,
    snapshot: watch::Receiver<Snapshot>,
    _task: AbortOnDrop,
}

impl Link {
    /// Opens the link on the current Tokio runtime; sockets are opened on its thread. Returns at once:
    /// wait for `snapshot().connected` where that matters.
    pub fn open(options: LinkOptions) -> Self {
        let (client_tx, client) = watch::channel(None);
        let (snapshot_tx, snapshot) = watch::channel(Snapshot::empty(Instant::now()));
        let mirror = Mirror { options, client: client_tx, snapshot: snapshot_tx };
        let task = AbortOnDrop(tokio::spawn(mirror.run()));
        Link { client, snapshot, _task: task }
    }

    /// The session in use, none while there is none.
    pub fn client(&self) -> Option<Client> {
        self.client.borrow().clone()
    }

    /// The feed of sessions, for tasks of their own.
    pub fn clients(&self) -> watch::Receiver<Option<Client>> {
        self.client.clone()
    }

    /// The subtree as last seen. Hold the guard only shortly: it blocks the mirror.
    pub fn snapshot(&self) -> watch::Ref<'_, Snapshot> {
        self.snapshot.borrow()
    }

    /// The feed of snapshots.
    pub fn snapshots(&self) -> watch::Receiver<Snapshot> {
        self.snapshot.clone()
    }
}

struct Mirror {
    options: LinkOptions,
    client: watch::Sender<Option<Client>>,
    snapshot: watch::Sender<Snapshot>,
}

impl Mirror {
    async fn run(self) {
        let mut patience = self.options.connection_timeout;
        loop {
            // Eagerly: the library's own retries back off for seconds, which a cluster that is just coming
            // up, or back, does not deserve.
            let connector = Client::connector()
                .with_session_timeout(self.options.session_timeout)
                .with_connection_timeout(patience)
                .with_fail_eagerly();
            let started = Instant::now();
            match self.options.transport.zookeeper(connector, &self.options.connect).await {
                Ok(client) => {
                    patience = self.options.connection_timeout;
                    self.serve(client).await;
                    self.client.send_replace(None);
                    self.set_connected(false);
                }
                // On a busy machine a new session may take longer than an established one may be silent. A
                // server that refuses at once is no reason for more patience.
                Err(_) if started.elapsed() >= patience => {
                    patience = (patience * 3 / 2).min(self.options.session_timeout / 2);
                }
                Err(_) => {}
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Mirrors through one session until it is over, or until it is given up for a new one.
    async fn serve(&self, client: Client) {
        self.client.send_replace(Some(client.clone()));
        tokio::select! {
            () = self.follow(&client) => {}
            () = self.mind(&client) => {}
        }
    }

    /// Follows the changes of the subtree; comes back when the session is over.
    async fn follow(&self, client: &Client) {
        let Some(mut watcher) = self.watch(client).await else { return };
        loop {
            let event = watcher.changed().await;
            if event.event_type != EventType::Session {
                if self.options.wants(&event.path) {
                    self.refresh(client, &event.path).await;
                }
                continue;
            }
            match event.session_state {
                state if state.is_terminated() => return,
                SessionState::Disconnected => self.set_connected(false),
                _ => {
                    // zookeeper-client 0.11.2 does not set persistent watches again after a reconnect
                    // (`resend_watches` keeps its index at 0, so SetWatches2 is never used); and changes
                    // made meanwhile are not reported in any case (ZOOKEEPER-4698).
                    match self.watch(client).await {
                        Some(fresh) => watcher = fresh,
                        None => return,
                    }
                }
            }
        }
    }

    /// Comes back when the session has been disconnected for too long. The library would try for longer, with
    /// growing pauses and requests that wait; a new session is quicker, and whatever the old one owns is
    /// replaced by its owner.
    async fn mind(&self, client: &Client) {
        let mut states = client.state_watcher();
        loop {
            let state = states.changed().await;
            if state == SessionState::Disconnected {
                self.set_connected(false);
                if timeout(REJOIN, states.changed()).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Sets the watch, then reads everything, until both have succeeded; none if the session is over.
    async fn watch(&self, client: &Client) -> Option<PersistentWatcher> {
        loop {
            match self.watch_once(client).await {
                Ok(watcher) => return Some(watcher),
                Err(_) if client.state().is_terminated() => return None,
                Err(_) => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn watch_once(&self, client: &Client) -> Result<PersistentWatcher, Error> {
        let watcher = client.watch(&self.options.root, AddWatchMode::PersistentRecursive).await?;
        let found = self.read_all(client).await?;
        let now = Instant::now();
        let session = client.session_id().0;
        self.snapshot.send_modify(|s| {
            s.replace(found, now);
            s.session = session;
            if !s.connected {
                s.connected = true;
                s.since = now;
            }
        });
        Ok(watcher)
    }

    /// Reads the whole subtree, level by level, each level in one flight.
    async fn read_all(&self, client: &Client) -> Result<BTreeMap<String, Znode>, Error> {
        let mut found = BTreeMap::new();
        let mut level = vec![self.options.root.clone()];
        while !level.is_empty() {
            // Both requests of all paths are on their way before the first reply is awaited.
            let flights: Vec<_> =
                level.iter().map(|path| (client.get_data(path), client.get_children(path))).collect();
            let mut next = Vec::new();
            for (path, (data, children)) in level.into_iter().zip(flights) {
                if let Some((data, stat)) = existing(data).await? {
                    found.insert(path.clone(), znode(data, &stat));
                }
                let children = existing(children).await?.map(|(names, _)| names).unwrap_or_default();
                next.extend(
                    children.iter().map(|child| format!("{path}/{child}")).filter(|p| self.options.wants(p)),
                );
            }
            level = next;
        }
        Ok(found)
    }

    async fn refresh(&self, client: &Client, path: &str) {
        match existing(client.get_data(path)).await {
            Ok(Some((data, stat))) => self.snapshot.send_modify(|s| s.put(path, znode(data, &stat))),
            Ok(None) => self.snapshot.send_modify(|s| s.remove(path, Instant::now())),
            // A session event follows, and with it a full read.
            Err(_) => {}
        }
    }

    fn set_connected(&self, connected: bool) {
        self.snapshot.send_if_modified(|s| {
            let changed = s.connected != connected;
            if changed {
                s.connected = connected;
                s.since = Instant::now();
            }
            changed
        });
    }
}

fn znode(data: Vec<u8>, stat: &Stat) -> Znode {
    Znode {
        data: data.into(),
        version: stat.version,
        czxid: stat.czxid,
        owner: stat.ephemeral_owner,
        seen_at: Instant::now(),
    }
}
