//! One member: joins, stays, leaves.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{sleep, timeout},
};
use zookeeper_client::{Acls, CreateMode, CreateOptions, Error, SessionState};

use super::{
    AGAIN, Group, GroupError, GroupWeakness, Record, check_name,
    stay::{Journal, Stay, StayEvent},
};
use crate::{
    zk::{Live, barrier, existing, is_passing, make_dirs, nonce},
    znodes::encode,
};

const EPHEMERAL: CreateOptions<'static> = CreateMode::Ephemeral.with_acls(Acls::anyone_all());

/// One stay in the group, as its member knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Present {
    incarnation: String,
    czxid: i64,
    /// Session of the znode.
    serial: u64,
    /// [`Live::certain`] when it joined: the stay is in doubt when it is anything else.
    lapses: u64,
}

/// A member of a group, until it is closed or dropped. A dropped member leaves in the background.
#[derive(Debug)]
pub struct GroupMember {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    group: Arc<Group>,
    id: String,
    path: String,
    payload: String,
    /// Begins all incarnations of this member, and of no other.
    nonce: String,
    count: AtomicU64,
    /// Held by whoever creates or deletes the znode, for as long as that takes. True once the
    /// member has left.
    door: AsyncMutex<bool>,
    closed: watch::Sender<bool>,
    present: watch::Sender<Option<Present>>,
    /// Why the znode could not be created, the last time it could not.
    trouble: Mutex<Option<GroupError>>,
    journal: Journal,
}

impl GroupMember {
    /// Joins `group` as `id`, and comes back when it is in it: when everybody's next list shows it. An id that
    /// an earlier process has left behind is waited for; one that is still taken after `patience` is an error.
    pub async fn start(
        group: Arc<Group>,
        id: &str,
        payload: &str,
        patience: Duration,
    ) -> Result<Self, GroupError> {
        check_name(id)?;
        let shared = Arc::new(Shared {
            path: format!("{}/{id}", group.dir),
            group,
            id: id.to_owned(),
            payload: payload.to_owned(),
            nonce: nonce(),
            count: AtomicU64::new(0),
            door: AsyncMutex::new(false),
            closed: watch::Sender::new(false),
            present: watch::Sender::new(None),
            trouble: Mutex::new(None),
            journal: Journal::default(),
        });
        tokio::spawn(shared.clone().stay());
        // From here on a failed or dropped start is undone by its drop.
        let member = GroupMember { shared };
        let mut present = member.shared.present.subscribe();
        let joined = timeout(patience, present.wait_for(Option::is_some)).await.is_ok();
        if joined {
            return Ok(member);
        }
        Err(member.shared.trouble().take().unwrap_or_else(|| GroupError::Unreachable {
            definite: member.shared.count.load(Ordering::SeqCst) == 0,
        }))
    }

    /// The name it has in the group.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The incarnation under which it certainly is in the group, here and now, and the transaction that
    /// began it; none while it may not be. Two equal answers mean that it was in the group all the time between.
    pub fn present(&self) -> Option<(String, i64)> {
        let present = self.shared.present.borrow().clone()?;
        let live = self.shared.group.session.live().filter(|live| live.serial() == present.serial)?;
        (live.certain() == Some(present.lapses)).then_some((present.incarnation, present.czxid))
    }

    /// Waits until it certainly is in the group; see [`GroupMember::present`].
    pub async fn until_present(&self) -> (String, i64) {
        let mut changes = self.shared.present.subscribe();
        loop {
            if let Some(present) = self.present() {
                return present;
            }
            // The sender is ours.
            let _ = timeout(AGAIN, changes.changed()).await;
        }
    }

    /// Who is in the group; see [`Group::members`].
    pub async fn get_members(&self) -> Result<Vec<super::Member>, GroupError> {
        self.shared.group.members().await
    }

    /// Everything that has happened to it so far, in order.
    pub fn history(&self) -> Vec<StayEvent> {
        self.shared.journal.read()
    }

    /// Leaves, and comes back when it was seen to be gone. Waits no longer than a session lasts; if it fails, or
    /// is dropped, leaving goes on in the background.
    pub async fn close(&self) -> Result<(), GroupError> {
        self.shared.closed.send_replace(true);
        let shared = self.shared.clone();
        let left = tokio::spawn(async move { shared.leave().await });
        match timeout(self.shared.group.session.options().session_timeout, left).await {
            Ok(Ok(outcome)) => outcome.map_err(GroupError::Refused),
            Ok(Err(_)) | Err(_) => Err(GroupError::Unreachable { definite: false }),
        }
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        self.shared.closed.send_replace(true);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let shared = self.shared.clone();
            runtime.spawn(async move { shared.leave().await });
        }
    }
}

impl Shared {
    /// Keeps the member in the group until it is closed, or the session is gone for good.
    async fn stay(self: Arc<Self>) {
        let mut lives = self.group.session.lives();
        let mut closed = self.closed.subscribe();
        loop {
            let Some(live) = lives.next().await else { return };
            let Some(lapses) = live.until_certain().await else { continue };
            let Some((incarnation, czxid)) = self.enter(&live).await else { return };
            let Some(czxid) = czxid else { continue };
            self.journal.note(Stay::Joined { incarnation: incarnation.clone(), czxid });
            let serial = live.serial();
            self.present.send_replace(Some(Present { incarnation, czxid, serial, lapses }));
            tokio::select! {
                () = live.lapsed(lapses) => {}
                () = self.note_disconnections(&live) => {}
                _ = closed.wait_for(|closed| *closed) => return,
            }
            self.present.send_replace(None);
            self.journal.note(Stay::Doubtful);
        }
    }

    /// Puts itself into the group under a new incarnation, however often it must be tried in this session; no
    /// transaction if the session has ended before, and none at all if the member is closed.
    async fn enter(&self, live: &Live) -> Option<(String, Option<i64>)> {
        let incarnation = format!("{}-{}", self.nonce, self.count.fetch_add(1, Ordering::SeqCst) + 1);
        let record = encode(&Record { incarnation: incarnation.clone(), payload: self.payload.clone() });
        loop {
            {
                let _door = self.door.lock().await;
                if *self.closed.borrow() {
                    return None;
                }
                *self.trouble() = match self.put(live, &incarnation, &record).await {
                    Ok(Some(czxid)) => return Some((incarnation, Some(czxid))),
                    Ok(None) => Some(GroupError::Taken(self.id.clone())),
                    Err(e) if is_passing(&e) => None,
                    Err(e) => Some(GroupError::Refused(e)),
                };
            }
            sleep(AGAIN).await;
            if live.client().state().is_terminated() {
                return Some((incarnation, None));
            }
        }
    }

    async fn note_disconnections(&self, live: &Live) {
        let mut states = live.client().state_watcher();
        loop {
            if states.changed().await == SessionState::Disconnected {
                self.journal.note(Stay::Disconnected);
            }
        }
    }

    /// Creates the znode, or replaces one of an earlier incarnation of this member. None if it is somebody
    /// else's.
    async fn put(&self, live: &Live, incarnation: &str, record: &[u8]) -> Result<Option<i64>, Error> {
        let client = live.client();
        match client.create(&self.path, record, &EPHEMERAL).await {
            Ok((stat, _)) => return Ok(Some(stat.czxid)),
            Err(Error::NoNode) => {
                make_dirs(client, &self.group.dir).await?;
                return client.create(&self.path, record, &EPHEMERAL).await.map(|(stat, _)| Some(stat.czxid));
            }
            Err(Error::NodeExists) => {}
            Err(e) => return Err(e),
        }
        let (found, stat) = client.get_data(&self.path).await?;
        let joined = match self.group.options.weakness {
            Some(GroupWeakness::ExistsOk) => true,
            _ => incarnation_of(&found) == incarnation && stat.ephemeral_owner == live.id(),
        };
        if joined {
            return Ok(Some(stat.czxid));
        }
        if !self.is_own(&found) {
            return Ok(None);
        }
        let mut swap = client.new_multi_writer();
        swap.add_delete(&self.path, Some(stat.version))?;
        swap.add_create(&self.path, record, &EPHEMERAL)?;
        swap.commit().await?;
        // Not every server's answer to such a transaction tells who created what; the next try reads it.
        Err(Error::NodeExists)
    }

    fn is_own(&self, record: &[u8]) -> bool {
        incarnation_of(record).starts_with(&self.nonce)
    }

    /// Deletes whatever this member has in the group, however often it must be tried, and sees that it is gone.
    async fn leave(&self) -> Result<(), Error> {
        let mut left = match self.group.options.weakness {
            Some(GroupWeakness::CloseRace) => return self.leave_in_a_hurry().await,
            // Waits for a create that is under way; the next one sees that this is closed.
            _ => self.door.lock().await,
        };
        let mut lives = self.group.session.lives();
        while !*left {
            // Without a session there is nothing that could be seen, and nothing that could last.
            let Some(live) = lives.next().await else { return Ok(()) };
            match self.remove(&live).await {
                Ok(gone) => *left = gone,
                Err(e) if is_passing(&e) => sleep(AGAIN).await,
                Err(e) => return Err(e),
            }
        }
        if self.present.send_replace(None).is_some() {
            self.journal.note(Stay::Closed);
        }
        Ok(())
    }

    /// One step of leaving; true if nothing of this member is left.
    async fn remove(&self, live: &Live) -> Result<bool, Error> {
        // A create that was sent on this session before is either done now or will never be.
        if existing(barrier(live.client(), &self.group.dir)).await?.is_none() {
            return Ok(true);
        }
        match existing(live.client().get_data(&self.path)).await? {
            Some((found, stat)) if self.is_own(&found) => {
                live.client().delete(&self.path, Some(stat.version)).await?;
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    /// The weakness: deletes what is known to be there, and does not know of what is being created.
    async fn leave_in_a_hurry(&self) -> Result<(), Error> {
        if let (Some(_), Some(live)) = (self.present.send_replace(None), self.group.session.live()) {
            existing(live.client().delete(&self.path, None)).await?;
        }
        self.journal.note(Stay::Closed);
        Ok(())
    }

    fn trouble(&self) -> MutexGuard<'_, Option<GroupError>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn incarnation_of(record: &[u8]) -> String {
    serde_json::from_slice::<Record>(record).map(|record| record.incarnation).unwrap_or_default()
}
