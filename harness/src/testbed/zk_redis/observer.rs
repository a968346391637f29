//! Who holds which role: a view of ZooKeeper kept on a node that no fault reaches.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Result;
use cluster::client::ClusterView;
use cluster::security::Transport;
use cluster::status::{ZkMode, zk_server};
use futures_util::future::join_all;
use lab::Node;
use nemesis::View;
use tokio::sync::oneshot;

use crate::sites::runtime;

/// How often the ensemble is asked who leads.
const POLL: Duration = Duration::from_millis(200);
/// How long a ZooKeeper server may take to say its role.
const ROLE_TIMEOUT: Duration = Duration::from_millis(150);

/// A thread that watches; it ends when this is dropped.
pub struct Observer {
    view: Arc<Mutex<View>>,
    voters: Arc<Mutex<Vec<BTreeMap<String, String>>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Observer {
    /// Watches from `node`: masters through ZooKeeper's watches, the leader by asking each of `ensemble`.
    pub fn start(
        node: &Node,
        (zookeeper, transport): (String, Transport),
        ensemble: Vec<(String, SocketAddr)>,
        shards: usize,
    ) -> Result<Observer> {
        let view = Arc::new(Mutex::new(View { masters: vec![None; shards], zookeeper_leader: None }));
        let (stop, stopped) = oneshot::channel();
        let voters = Arc::new(Mutex::new(vec![BTreeMap::new(); shards]));
        let (seen, seen_voters) = (view.clone(), voters.clone());
        let watch = move || {
            runtime()?.block_on(async {
                tokio::select! {
                    () = masters(&zookeeper, &transport, &seen, &seen_voters) => {}
                    () = leader(&ensemble, &transport, &seen) => {}
                    _ = stopped => {}
                }
            });
            Ok(())
        };
        let thread = node.enter("observer", watch)?;
        Ok(Observer { view, voters, stop: Some(stop), thread: Some(thread) })
    }

    /// Who holds which role, as last seen.
    pub fn view(&self) -> View {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server runs of a shard that hold votes, by node, as last seen.
    pub fn voters(&self, shard: usize) -> BTreeMap<String, String> {
        self.voters.lock().unwrap_or_else(PoisonError::into_inner).get(shard).cloned().unwrap_or_default()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn masters(
    zookeeper: &str,
    transport: &Transport,
    view: &Mutex<View>,
    voters: &Mutex<Vec<BTreeMap<String, String>>>,
) {
    let cluster = ClusterView::open(zookeeper, transport);
    let mut states = cluster.states();
    loop {
        let state = states.borrow_and_update().clone();
        for (shard, seen) in
            view.lock().unwrap_or_else(PoisonError::into_inner).masters.iter_mut().enumerate()
        {
            let now = state.shards.get(&(shard as u32));
            *seen = now.and_then(|now| Some((now.serving_master()?.node.clone(), now.epoch)));
        }
        for (shard, seen) in voters.lock().unwrap_or_else(PoisonError::into_inner).iter_mut().enumerate() {
            *seen = state.shards.get(&(shard as u32)).map(|now| now.voters.clone()).unwrap_or_default();
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}

async fn leader(ensemble: &[(String, SocketAddr)], transport: &Transport, view: &Mutex<View>) {
    loop {
        let ask = ensemble.iter().map(|(name, addr)| async move {
            let mode = zk_server(*addr, ROLE_TIMEOUT, transport).await.ok()?.mode?;
            (mode != ZkMode::Follower).then(|| name.clone())
        });
        let leader = join_all(ask).await.into_iter().flatten().next();
        view.lock().unwrap_or_else(PoisonError::into_inner).zookeeper_leader = leader;
        tokio::time::sleep(POLL).await;
    }
}
