//! The steps of a move at a shard: each a script, carried out as an operation like any other and repeated until
//! it is known to have happened.

use std::time::{Duration, Instant};

use redis::Value;
use tokio::time::{sleep, timeout};

use super::ReshardError;
use crate::{client::Client, store::CallError, znodes::Move};

const SCRIPT: &str = include_str!("steps.lua");
/// Longest wait for one attempt.
const LIMIT: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(10);

/// A key on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The key.
    pub key: Vec<u8>,
    /// When it expires, milliseconds since 1970 in decimal; `0` for never.
    expires_ms: Vec<u8>,
    /// Its value as `DUMP` gives it; empty if only the key was asked for.
    value: Vec<u8>,
}

/// A page of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Where to go on; none after the last page.
    pub next: Option<Vec<u8>>,
    /// Keys that are to move.
    pub items: Vec<Item>,
}

/// The steps of one move, at one of its shards, over one client.
pub struct Steps<'a> {
    client: &'a mut Client,
    shard: u32,
    id: u64,
    slots: Vec<Vec<u8>>,
    patience: Duration,
}

impl<'a> Steps<'a> {
    /// Steps of `moving` at `shard`; each gives up when it was not done within `patience`.
    pub fn new(client: &'a mut Client, shard: u32, moving: &Move, patience: Duration) -> Self {
        let slots = moving.slots.iter().map(|slot| slot.to_string().into_bytes()).collect();
        Steps { client, shard, id: moving.id, slots, patience }
    }

    /// The shard they are carried out at.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// Destination: lets the slots be filled; true if it owns them already, because this move came so far before.
    pub async fn prepare(&mut self) -> Result<bool, ReshardError> {
        Ok(self.of_slots("prepare").await? == Value::Int(1))
    }

    /// Source: stops serving the slots; what is in them does not change any more.
    pub async fn freeze(&mut self) -> Result<(), ReshardError> {
        self.of_slots("freeze").await.map(drop)
    }

    /// Source, when the slots are another's already: takes the move up.
    pub async fn claim(&mut self) -> Result<(), ReshardError> {
        self.insist("claim", &[]).await.map(drop)
    }

    /// Source: a page of what is in frozen slots, beginning at `cursor`, out of `count` keys that are looked at.
    /// Tried once, for a cursor means something to one server only: after an error begin anew. Nobody needs to
    /// acknowledge it: what it reads, a majority had before the freeze was acknowledged.
    pub async fn export(&mut self, cursor: &[u8], count: u32, values: bool) -> Result<Page, CallError> {
        let count = count.to_string().into_bytes();
        let args = self.args("export", &[cursor.to_vec(), count, vec![b'0' + u8::from(values)]]);
        let reply = timeout(LIMIT, self.client.run_script(self.shard, SCRIPT, &args, false)).await;
        page(reply.map_err(|_| CallError::indefinite("timeout"))??).ok_or_else(CallError::unexpected)
    }

    /// Destination: puts keys into slots that were prepared.
    pub async fn import(&mut self, items: &[Item]) -> Result<(), ReshardError> {
        let words = items.iter().flat_map(|i| [i.key.clone(), i.expires_ms.clone(), i.value.clone()]);
        self.insist("import", &words.collect::<Vec<_>>()).await.map(drop)
    }

    /// Destination: serves the slots.
    pub async fn own(&mut self) -> Result<(), ReshardError> {
        self.of_slots("own").await.map(drop)
    }

    /// Source: deletes keys of frozen slots.
    pub async fn drop(&mut self, keys: &[Vec<u8>]) -> Result<(), ReshardError> {
        self.insist("drop", keys).await.map(drop)
    }

    /// Source: has nothing to do with the slots any more.
    pub async fn release(&mut self) -> Result<(), ReshardError> {
        self.of_slots("release").await.map(drop)
    }

    async fn of_slots(&mut self, step: &str) -> Result<Value, ReshardError> {
        let slots = self.slots.clone();
        self.insist(step, &slots).await
    }

    fn args(&self, step: &str, args: &[Vec<u8>]) -> Vec<Vec<u8>> {
        [&[self.id.to_string().into_bytes(), step.into()], args].concat()
    }

    async fn insist(&mut self, step: &str, args: &[Vec<u8>]) -> Result<Value, ReshardError> {
        let args = self.args(step, args);
        let started = Instant::now();
        loop {
            let attempt = self.client.run_script(self.shard, SCRIPT, &args, true);
            let error = match timeout(LIMIT, attempt).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error,
                Err(_) => CallError::indefinite("timeout"),
            };
            if let Some(end) = fatal(self.shard, step, &error) {
                return Err(end);
            }
            if started.elapsed() >= self.patience {
                let (what, waited_ms) =
                    (format!("{step} at shard {}", self.shard), self.patience.as_millis());
                return Err(ReshardError::Stuck { what, waited_ms, why: error.reason });
            }
            sleep(PAUSE).await;
        }
    }
}

/// An error that will not go away by itself.
pub fn fatal(shard: u32, step: &str, error: &CallError) -> Option<ReshardError> {
    match error.reason.as_str() {
        "SUPERSEDED" => Some(ReshardError::Superseded),
        "WRONGSTATE" | "ERR" | "WRONGTYPE" | "OOM" => {
            Some(ReshardError::Refused { shard, step: step.into(), why: error.reason.clone() })
        }
        _ => None,
    }
}

fn page(reply: Value) -> Option<Page> {
    let Value::Array(values) = reply else { return None };
    let words: Option<Vec<Vec<u8>>> = values
        .into_iter()
        .map(|value| match value {
            Value::BulkString(bytes) => Some(bytes),
            _ => None,
        })
        .collect();
    let mut words = words?.into_iter();
    let next = words.next()?;
    let mut items = Vec::new();
    while let Some(key) = words.next() {
        items.push(Item { key, expires_ms: words.next()?, value: words.next()? });
    }
    Some(Page { next: (next != b"0").then_some(next), items })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn a_page_is_a_cursor_and_triples() {
        let item = Item { key: b"k".into(), expires_ms: b"0".into(), value: b"v".into() };
        let reply = |cursor| Value::Array(vec![bulk(cursor), bulk("k"), bulk("0"), bulk("v")]);
        assert_eq!(page(reply("0")), Some(Page { next: None, items: vec![item.clone()] }));
        assert_eq!(page(reply("17")), Some(Page { next: Some(b"17".into()), items: vec![item] }));
        assert_eq!(page(Value::Array(vec![])), None);
        assert_eq!(page(Value::Array(vec![bulk("0"), bulk("k")])), None);
        assert_eq!(page(Value::Nil), None);
    }

    #[test]
    fn only_what_will_not_go_away_ends_a_step() {
        let ends = |code: &str| fatal(0, "own", &CallError::definite(code)).is_some();
        assert!(ends("SUPERSEDED") && ends("WRONGSTATE") && ends("OOM"));
        for code in ["FENCED", "READONLY", "LOADING", "no master", "connection refused", "wait 0 of 1"] {
            assert!(!ends(code), "{code}");
        }
    }
}
