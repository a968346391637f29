//! What this process holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use super::{HoldState, Token, queue::Place};
use crate::zk::Live;

/// One granted lock.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub token: Token,
    pub place: Place,
    /// Session that owns the child.
    pub serial: u64,
    /// [`Live::certain`] at the grant: the hold is lost when it is anything else.
    pub lapses: u64,
}

impl Hold {
    fn is_certain(&self, live: Option<&Live>) -> bool {
        live.is_some_and(|live| live.serial() == self.serial && live.certain() == Some(self.lapses))
    }
}

/// All grants of a service that are neither released nor known to be lost.
#[derive(Debug, Default)]
pub(super) struct Holds {
    by_token: Mutex<HashMap<Token, Hold>>,
    changed: watch::Sender<()>,
}

impl Holds {
    pub fn put(&self, hold: Hold) {
        self.all().insert(hold.token.clone(), hold);
    }

    pub fn take(&self, token: &Token) -> Option<Hold> {
        let hold = self.all().remove(token);
        self.changed.send_replace(());
        hold
    }

    pub fn drain(&self) -> Vec<Hold> {
        self.all().drain().map(|(_, hold)| hold).collect()
    }

    pub fn certainty(&self, token: &Token) -> Option<(u64, u64)> {
        self.all().get(token).map(|hold| (hold.serial, hold.lapses))
    }

    /// Tells when a hold was taken out.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub fn state(&self, token: &Token, live: Option<Arc<Live>>) -> HoldState {
        match self.all().get(token) {
            Some(hold) if hold.is_certain(live.as_deref()) => {
                let connected = live.is_some_and(|live| live.connected());
                if connected { HoldState::Held } else { HoldState::Unknown }
            }
            _ => HoldState::Lost,
        }
    }

    /// Takes out what is lost.
    pub fn take_lost(&self, live: Option<&Live>) -> Vec<Hold> {
        let lost: Vec<Hold> =
            self.all().extract_if(|_, hold| !hold.is_certain(live)).map(|(_, hold)| hold).collect();
        if !lost.is_empty() {
            self.changed.send_replace(());
        }
        lost
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Token, Hold>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
