//! The task that deletes children: those that are given back, those of calls that failed or were dropped, and
//! those whose holder no longer counts on them.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, oneshot},
    time::{interval, sleep},
};
use zookeeper_client::Error;

use super::{
    AGAIN, LockOptions, Token, dir_of, fence_of,
    holds::Holds,
    queue::{Place, children_now, sequence_of},
};
use crate::zk::{Live, Lives, existing, is_passing};

/// How often holds that were lost without anybody asking are looked for.
const LOST_LOOK: Duration = Duration::from_millis(200);

type Done = oneshot::Sender<Result<(), Error>>;

/// Something to be deleted.
#[derive(Debug)]
pub(super) enum Chore {
    /// A child that is known.
    Leave { place: Place, done: Option<Done> },
    /// Whatever a call has made, if anything.
    Sweep { dir: String, nonce: String, done: Option<Done> },
    /// The child of a token that this service does not know as held.
    Forget { token: Token, done: Done },
}

/// Does one chore after the other, each until it is done. It goes on after its service was dropped until
/// there is nothing left to do, and ends with its session.
pub(super) struct Broom {
    lives: Lives,
    holds: Arc<Holds>,
    options: LockOptions,
}

impl Broom {
    pub fn start(lives: Lives, holds: Arc<Holds>, options: &LockOptions) -> mpsc::UnboundedSender<Chore> {
        let (chores, todo) = mpsc::unbounded_channel();
        tokio::spawn(Broom { lives, holds, options: options.clone() }.sweep(todo));
        chores
    }

    async fn sweep(mut self, mut todo: mpsc::UnboundedReceiver<Chore>) {
        let mut look = interval(LOST_LOOK);
        loop {
            let next = tokio::select! {
                chore = todo.recv() => chore,
                _ = look.tick() => {
                    let lost = self.holds.take_lost(self.lives.now().as_deref());
                    for hold in lost {
                        self.carry_out(Chore::Leave { place: hold.place, done: None }).await;
                    }
                    continue;
                }
            };
            let Some(chore) = next else { return };
            self.carry_out(chore).await;
        }
    }

    async fn carry_out(&mut self, chore: Chore) {
        let outcome = loop {
            let Some(live) = self.lives.next().await else { return };
            match self.attempt(&live, &chore).await {
                Err(e) if is_passing(&e) => sleep(AGAIN).await,
                other => break other,
            }
        };
        let done = match chore {
            Chore::Leave { done, .. } | Chore::Sweep { done, .. } => done,
            Chore::Forget { done, .. } => Some(done),
        };
        if let Some(done) = done {
            let _ = done.send(outcome);
        }
    }

    async fn attempt(&self, live: &Live, chore: &Chore) -> Result<(), Error> {
        match chore {
            Chore::Leave { place, .. } => leave(live, &place.path, &place.dir).await,
            Chore::Sweep { dir, nonce, .. } => {
                let children = children_now(live, dir).await?.unwrap_or_default();
                for child in children.iter().filter(|child| child.starts_with(nonce.as_str())) {
                    leave(live, &format!("{dir}/{child}"), dir).await?;
                }
                tidy(live, dir);
                Ok(())
            }
            Chore::Forget { token, .. } => self.forget(live, token).await,
        }
    }

    /// The token says which child it was, so it never ends a later grant.
    async fn forget(&self, live: &Live, token: &Token) -> Result<(), Error> {
        let dir = dir_of(&self.options.paths, token.lock());
        for child in children_now(live, &dir).await?.unwrap_or_default() {
            let path = format!("{dir}/{child}");
            let (Some(stat), Some(sequence)) = (live.client().check_stat(&path).await?, sequence_of(&child))
            else {
                continue;
            };
            let place = Place { path, dir: dir.clone(), sequence, czxid: stat.czxid };
            if fence_of(&place, self.options.weakness) == token.fence() {
                leave(live, &place.path, &dir).await?;
            }
        }
        Ok(())
    }
}

/// Deletes a child, and the lock's znode with the last of them.
async fn leave(live: &Live, path: &str, dir: &str) -> Result<(), Error> {
    let gone = live.client().delete(path, None);
    // On its way before the first is answered.
    tidy(live, dir);
    existing(gone).await.map(drop)
}

/// Deletes a lock's znode unless somebody holds the lock or waits for it; whether it does is of no interest.
fn tidy(live: &Live, dir: &str) {
    drop(live.client().delete(dir, None));
}
