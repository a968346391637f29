//! A session kept for ever, and how certain it is that it still lives.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep, sleep_until},
};
use zookeeper_client::{Client, SessionState};

use super::{AbortOnDrop, lease::Lease, write::barrier};
use crate::security::Transport;

/// Longer than any run.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

/// How to reach ZooKeeper, and how long its sessions are.
#[derive(Debug, Clone)]
pub struct SessionOptions {
    /// `host:port,host:port,…`
    pub connect: String,
    /// Time without a sign of life after which the server ends the session.
    pub session_timeout: Duration,
    /// Time without an answer after which another server is tried.
    pub connection_timeout: Duration,
    /// How long a server may take to tell the leader that it has heard of a session: half a tick of the
    /// servers, and an allowance for a busy machine. ZooKeeper's default limits make a quarter of
    /// `session_timeout` long enough whatever the tick.
    pub touch_delay_max: Duration,
    /// Count the session as certain until the library says that it has ended, as most clients do, and write
    /// nothing to find out. Not safe, and off; it is here because those writes hide other mistakes.
    pub trusts_library: bool,
    /// How connections are opened.
    pub transport: Transport,
}

impl SessionOptions {
    /// Sessions of 1.5 s, another server after 250 ms of silence, servers with a tick of up to 200 ms.
    pub fn new(connect: impl Into<String>) -> Self {
        SessionOptions {
            connect: connect.into(),
            session_timeout: Duration::from_millis(1500),
            connection_timeout: Duration::from_millis(250),
            touch_delay_max: Duration::from_millis(150),
            trusts_library: false,
            transport: Transport::plain(),
        }
    }
}

/// A ZooKeeper session that is replaced when it has ended. Dropping it ends it.
///
/// Unlike a [`Link`](super::Link) it outlasts a change of the leader, as long as the servers keep it: what is
/// ephemeral in it is worth more than a quick reconnection.
#[derive(Debug)]
pub struct Session {
    options: SessionOptions,
    live: watch::Receiver<Option<Arc<Live>>>,
    _task: AbortOnDrop,
}

impl Session {
    /// Opens a session on the current Tokio runtime; sockets are opened on its thread. Returns at once.
    pub fn open(options: SessionOptions) -> Self {
        let (out, live) = watch::channel(None);
        let task = AbortOnDrop(tokio::spawn(keep(options.clone(), out)));
        Session { options, live, _task: task }
    }

    /// What it was opened with.
    pub fn options(&self) -> &SessionOptions {
        &self.options
    }

    /// The session in use, none while there is none. Do not keep it: it keeps its session open.
    pub fn live(&self) -> Option<Arc<Live>> {
        self.live.borrow().clone()
    }

    /// The feed of sessions, for tasks of their own. It ends with this.
    pub fn lives(&self) -> Lives {
        Lives(self.live.clone())
    }
}

/// The feed of the sessions of one [`Session`].
#[derive(Debug, Clone)]
pub struct Lives(watch::Receiver<Option<Arc<Live>>>);

impl Lives {
    /// The session in use, none while there is none.
    pub fn now(&self) -> Option<Arc<Live>> {
        self.0.borrow().clone()
    }

    /// Waits for a session; none when there will be no more.
    pub async fn next(&mut self) -> Option<Arc<Live>> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

/// One session, from its first connection to its end.
#[derive(Debug)]
pub struct Live {
    client: Client,
    serial: u64,
    lease: Mutex<Lease>,
    /// Told when there is new evidence; true once the session is no longer in use.
    news: watch::Sender<bool>,
}

impl Live {
    fn new(client: Client, serial: u64, options: &SessionOptions, asked: Instant) -> Self {
        let timeout = client.session_timeout();
        let worth = if options.trusts_library { FOR_EVER } else { timeout };
        let lease = Lease::new(worth, options.touch_delay_max.min(timeout / 4), asked);
        Live { client, serial, lease: Mutex::new(lease), news: watch::Sender::new(false) }
    }

    /// For requests.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The id that ephemeral znodes show as their owner.
    pub fn id(&self) -> i64 {
        self.client.session_id().0
    }

    /// Unique in this process, and growing.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether a server is connected, as far as this side knows.
    pub fn connected(&self) -> bool {
        matches!(self.client.state(), SessionState::SyncConnected)
    }

    /// How often certainty was lost so far, while it is certain that the servers have not ended the session;
    /// none while they may have. Equal answers at two times mean that it was certain all the time between.
    pub fn certain(&self) -> Option<u64> {
        self.lease().certain(Instant::now())
    }

    /// Waits until it is certain that the session lives, see [`Live::certain`]; none when it is given up.
    pub async fn until_certain(&self) -> Option<u64> {
        let mut news = self.news.subscribe();
        loop {
            if *news.borrow_and_update() {
                return None;
            }
            if let Some(lapses) = self.certain() {
                return Some(lapses);
            }
            // The sender is ours.
            let _ = news.changed().await;
        }
    }

    /// Comes back when it was, even for a moment, not certain that the session lives since [`Live::certain`]
    /// said `lapses`, or when the session was given up.
    pub async fn lapsed(&self, lapses: u64) {
        let mut news = self.news.subscribe();
        while self.certain() == Some(lapses) {
            let until = self.lease().until();
            tokio::select! {
                () = sleep_until(until.into()) => {}
                _ = news.wait_for(|over| *over) => return,
            }
        }
    }

    fn lease(&self) -> MutexGuard<'_, Lease> {
        self.lease.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gathers evidence for ever.
    async fn renew(&self) {
        let period = self.client.session_timeout() / 10;
        loop {
            let sent = Instant::now();
            if barrier(&self.client, "/").await.is_ok() {
                self.lease().answered(sent, Instant::now());
                self.news.send_replace(false);
            }
            sleep_until((sent + period).into()).await;
        }
    }

    async fn ended(&self) {
        let mut states = self.client.state_watcher();
        if self.client.state().is_terminated() {
            return;
        }
        while !states.changed().await.is_terminated() {}
    }
}

/// Says that a session is given up when it is, also if its keeper is dropped.
struct InUse(Arc<Live>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.news.send_replace(true);
    }
}

async fn keep(options: SessionOptions, out: watch::Sender<Option<Arc<Live>>>) {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let mut patience = options.connection_timeout;
    loop {
        // Eagerly: the library's own first attempts back off for seconds.
        let connector = Client::connector()
            .with_session_timeout(options.session_timeout)
            .with_connection_timeout(patience)
            .with_fail_eagerly();
        let asked = Instant::now();
        match options.transport.zookeeper(connector, &options.connect).await {
            Ok(client) => {
                patience = options.connection_timeout;
                let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
                let live = Arc::new(Live::new(client, serial, &options, asked));
                out.send_replace(Some(live.clone()));
                let in_use = InUse(live);
                tokio::select! {
                    () = in_use.0.ended() => {}
                    () = in_use.0.renew(), if !options.trusts_library => {}
                }
                out.send_replace(None);
            }
            // On a busy machine a new session may take longer than an established one may be silent.
            Err(_) if asked.elapsed() >= patience => {
                patience = (patience * 3 / 2).min(options.session_timeout / 2);
            }
            Err(_) => {}
        }
        sleep(Duration::from_millis(50)).await;
    }
}
