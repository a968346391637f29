//! One call's place in a lock's queue.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc, time::timeout};
use zookeeper_client::{Acls, CreateMode, Error};

use super::broom::Chore;
use crate::zk::{Live, barrier, existing, make_dirs, nonce};

/// How long a waiter trusts its watch before it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A child in the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Where it is. Unique for ever: its name carries a nonce.
    pub path: String,
    /// The lock's znode.
    pub dir: String,
    /// Its sequence number.
    pub sequence: i64,
    /// Transaction that created it.
    pub czxid: i64,
}

impl Place {
    fn name(&self) -> &str {
        &self.path[self.dir.len() + 1..]
    }
}

/// The sequence number in a child's name: it never says anything about who created it.
pub(super) fn sequence_of(child: &str) -> Option<i64> {
    child.rsplit_once('-')?.1.parse().ok()
}

/// One call of `acquire`, over all sessions that it takes. If it is dropped before it has succeeded, or said
/// what remains of it, that is swept up in the background.
#[derive(Debug)]
pub(super) struct Attempt {
    name: String,
    dir: String,
    nonce: String,
    /// Whether a create was sent: then there may be a child.
    sent: bool,
    /// The place and its session.
    place: Option<(u64, Place)>,
    chores: Option<mpsc::UnboundedSender<Chore>>,
}

impl Attempt {
    pub fn new(name: &str, dir: String, chores: mpsc::UnboundedSender<Chore>) -> Self {
        let name = name.to_owned();
        Attempt { name, dir, nonce: nonce(), sent: false, place: None, chores: Some(chores) }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// It has what it wanted: nothing is to be swept up.
    pub fn succeed(mut self) {
        self.chores = None;
    }

    /// Where to look for what it may have left behind; none if it cannot have left anything.
    pub fn remains(mut self) -> Option<(String, String)> {
        self.chores = None;
        self.sent.then(|| (self.dir.clone(), self.nonce.clone()))
    }

    /// The place in the queue: the one taken before if it is of this session, else a new one.
    pub async fn stand(&mut self, live: &Live) -> Result<Place, Error> {
        if let Some((serial, place)) = &self.place
            && *serial == live.serial()
        {
            return Ok(place.clone());
        }
        let found = if self.sent { self.find(live).await? } else { None };
        let place = match found {
            Some(place) => place,
            None => self.enter(live).await?,
        };
        self.place = Some((live.serial(), place.clone()));
        Ok(place)
    }

    /// What an earlier create, whose reply was lost, has made in this session. What it has made in an earlier
    /// one will vanish with that: it is no place to stand, and in the way.
    async fn find(&self, live: &Live) -> Result<Option<Place>, Error> {
        let Some(children) = children_now(live, &self.dir).await? else { return Ok(None) };
        let mut found = None;
        for child in children.iter().filter(|child| child.starts_with(&self.nonce)) {
            let path = format!("{}/{child}", self.dir);
            let Some(stat) = live.client().check_stat(&path).await? else { continue };
            if stat.ephemeral_owner == live.id() && found.is_none() {
                let sequence = sequence_of(child).unwrap_or_default();
                found = Some(Place { path, dir: self.dir.clone(), sequence, czxid: stat.czxid });
            } else {
                existing(live.client().delete(&path, None)).await?;
            }
        }
        Ok(found)
    }

    async fn enter(&mut self, live: &Live) -> Result<Place, Error> {
        let prefix = format!("{}/{}-", self.dir, self.nonce);
        let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        loop {
            self.sent = true;
            match live.client().create(&prefix, b"", &options).await {
                Ok((stat, sequence)) => {
                    let path = format!("{prefix}{sequence}");
                    let dir = self.dir.clone();
                    return Ok(Place { path, dir, sequence: sequence.into_i64(), czxid: stat.czxid });
                }
                Err(Error::NoNode) => make_dirs(live.client(), &self.dir).await?,
                Err(e) => return Err(e),
            }
        }
    }

    /// Waits until `place` is the first of its queue; false if it is not and must not wait. An error if it is
    /// gone: whoever calls again gets a new one.
    pub async fn until_first(&mut self, live: &Arc<Live>, place: &Place, wait: bool) -> Result<bool, Error> {
        loop {
            let children = existing(live.client().list_children(&place.dir)).await?.unwrap_or_default();
            if !children.iter().any(|child| child == place.name()) {
                self.place = None;
                return Err(Error::NoNode);
            }
            let Some(ahead) = predecessor(&children, place) else { return Ok(true) };
            if !wait {
                return Ok(false);
            }
            let ahead = format!("{}/{ahead}", place.dir);
            // A watch that is set by reading the znode, unlike one by asking whether it exists, leaves nothing
            // at the server when the znode is gone already.
            if let Some((_, _, watcher)) = existing(live.client().get_and_watch_data(&ahead)).await? {
                let _ = timeout(LOOK_AGAIN, watcher.changed()).await;
            }
        }
    }

    /// Asks the whole ensemble whether `place` still exists.
    pub async fn confirm(&mut self, live: &Live, place: &Place) -> Result<(), Error> {
        let confirmed = barrier(live.client(), &place.path).await;
        if confirmed == Err(Error::NoNode) {
            self.place = None;
        }
        confirmed
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(chores) = self.chores.take()
            && self.sent
        {
            let (dir, nonce) = (self.dir.clone(), self.nonce.clone());
            let _ = chores.send(Chore::Sweep { dir, nonce, done: None });
        }
    }
}

/// The child that is next before `place`, none if it is the first.
fn predecessor<'a>(children: &'a [String], place: &Place) -> Option<&'a str> {
    children
        .iter()
        .filter_map(|child| Some((sequence_of(child)?, child.as_str())))
        .filter(|(sequence, _)| *sequence < place.sequence)
        .max()
        .map(|(_, child)| child)
}

/// The children of `dir` as they are after everything that was committed, or was sent on this connection,
/// before this call; none if there is no such znode.
pub(super) async fn children_now(live: &Live, dir: &str) -> Result<Option<Vec<String>>, Error> {
    if existing(barrier(live.client(), dir)).await?.is_none() {
        return Ok(None);
    }
    existing(live.client().list_children(dir)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(child: &str) -> Place {
        Place {
            path: format!("/d/{child}"),
            dir: "/d".into(),
            sequence: sequence_of(child).unwrap(),
            czxid: 1,
        }
    }

    #[test]
    fn the_one_before_is_watched_whatever_the_order_of_the_listing() {
        let children = ["ff-0000000009", "aa-0000000012", "cc-0000000010", "stranger", "bb-0000000011"]
            .map(String::from);
        assert_eq!(predecessor(&children, &place("aa-0000000012")), Some("bb-0000000011"));
        assert_eq!(predecessor(&children, &place("cc-0000000010")), Some("ff-0000000009"));
        assert_eq!(predecessor(&children, &place("ff-0000000009")), None);
        assert_eq!(place("ff-0000000009").name(), "ff-0000000009");
    }
}
