//! Who carries a change of the ring out.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use tokio::time::sleep;

use super::{
    Goal, Moved, Options, Progress, Report, ReshardError, Stage, Watcher,
    keeper::{Keeper, Seen},
    plan,
    steps::{Item, Page, Steps, fatal},
    target,
};
use crate::{
    client::{Client, ClientOptions, ClusterView},
    defence::Without,
    ring::Ring,
    store::CallError,
    znodes::{Move, RingChange, RingRecord},
};

/// Changes the ring, from the beginning or from where another driver has left off, and comes back when the
/// change is complete. `watch` is told of every step.
pub async fn run(options: &Options, goal: Goal, watch: &mut Watcher<'_>) -> Result<Report, ReshardError> {
    let mut driver = Driver::open(options, watch).await?;
    let started = Instant::now();
    let resumed = driver.take_up(goal).await?;
    if let Some(moving) = resumed {
        driver.carry_out(moving).await?;
    }
    while let Some(moving) = driver.announce().await? {
        driver.carry_out(moving).await?;
    }
    driver.report.duration = started.elapsed();
    driver.finish().await?;
    Ok(driver.report)
}

struct Driver<'a, 'w> {
    options: &'a Options,
    watch: &'a mut Watcher<'w>,
    name: String,
    keeper: Keeper,
    view: ClusterView,
    /// One connection reads while the other writes.
    reader: Client,
    writer: Client,
    seen: Seen,
    report: Report,
}

/// The ring that a change is to lead to.
fn goal_of(record: &RingRecord) -> Ring {
    let to = record.change.as_ref().map_or(&record.shards, |change| &change.to);
    Ring::new(to, record.vnodes)
}

impl<'a, 'w> Driver<'a, 'w> {
    async fn open(options: &'a Options, watch: &'a mut Watcher<'w>) -> Result<Self, ReshardError> {
        let keeper = Keeper::open(options);
        let view =
            ClusterView::with_paths(&options.zookeeper, &options.transport, options.paths.clone(), false);
        let client = ClientOptions { without: Without::nothing(), ..options.client.clone() };
        let seen = keeper.read().await?;
        // Nothing more than different from those of other drivers.
        let name = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let (reader, writer) = (Client::new(view.clone(), client.clone()), Client::new(view.clone(), client));
        Ok(Driver { options, watch, name, keeper, view, reader, writer, seen, report: Report::default() })
    }

    fn tell(&mut self, stage: Stage, moving: Option<&Move>) -> Result<(), ReshardError> {
        let record = &self.seen.record;
        let left = plan(&Ring::from(record), &goal_of(record), usize::MAX);
        let slots_left = left.iter().map(|transfer| transfer.slots.len()).sum();
        let progress = Progress { stage, moving, slots_left, report: &self.report };
        if (self.watch)(progress).is_break() { Err(ReshardError::Stopped) } else { Ok(()) }
    }

    async fn swap(&mut self, record: RingRecord) -> Result<(), ReshardError> {
        self.seen = self.keeper.swap(&self.seen, record).await?;
        Ok(())
    }

    /// Makes the change this driver's own; comes back with the move that was under way, if any.
    async fn take_up(&mut self, goal: Goal) -> Result<Option<Move>, ReshardError> {
        let record = self.seen.record.clone();
        let (to, moving) = match &record.change {
            None => (target(&record.shards, goal).map_err(ReshardError::Goal)?, None),
            Some(change)
                if goal == Goal::Resume || target(&record.shards, goal).as_ref() == Ok(&change.to) =>
            {
                (change.to.clone(), change.moving.clone())
            }
            Some(change) => {
                let busy =
                    format!("the ring is changing to shards {:?} already: resume that first", change.to);
                return Err(ReshardError::Goal(busy));
            }
        };
        let involved: BTreeSet<u32> = record.shards.iter().chain(&to).copied().collect();
        self.require_masters(&involved).await?;
        for &shard in &involved {
            self.keeper.forget_first_slots(shard).await?;
        }
        let epoch = record.epoch + 1;
        let moving = moving.map(|moving| Move { id: epoch, ..moving });
        let change = RingChange { to, driver: self.name.clone(), moving: moving.clone() };
        let owners = Some(Ring::from(&record));
        self.swap(RingRecord { epoch, owners, change: Some(change), ..record }).await?;
        self.tell(Stage::Taken, moving.as_ref())?;
        Ok(moving)
    }

    /// A shard that has never had a master has not learnt yet that it owns nothing.
    async fn require_masters(&self, shards: &BTreeSet<u32>) -> Result<(), ReshardError> {
        let without_master = |shard: &u32| {
            let state = self.view.state();
            let seen = state.shards.get(shard);
            seen.is_none_or(|seen| seen.serving_master().is_none())
        };
        let all = |_: &_| !shards.iter().any(without_master);
        if self.view.wait_until(self.options.patience, all).await {
            return Ok(());
        }
        let missing: Vec<&u32> = shards.iter().filter(|shard| without_master(shard)).collect();
        let why = format!("shards {missing:?} have no master");
        let waited_ms = self.options.patience.as_millis();
        Err(ReshardError::Stuck { what: "the beginning".into(), waited_ms, why })
    }

    /// Writes into the ring what moves next; none if nothing is left to move.
    async fn announce(&mut self) -> Result<Option<Move>, ReshardError> {
        let record = self.seen.record.clone();
        let plan = plan(&Ring::from(&record), &goal_of(&record), self.options.batch_slots);
        let Some(next) = plan.into_iter().next() else { return Ok(None) };
        let epoch = record.epoch + 1;
        let moving = Move { id: epoch, from: next.from, to: next.to, slots: next.slots, switched: false };
        let change = record.change.clone().map(|c| RingChange { moving: Some(moving.clone()), ..c });
        self.swap(RingRecord { epoch, change, ..record }).await?;
        self.tell(Stage::Announced, Some(&moving))?;
        Ok(Some(moving))
    }

    fn steps(&mut self, shard: u32, moving: &Move) -> Steps<'_> {
        Steps::new(&mut self.writer, shard, moving, self.options.patience)
    }

    async fn carry_out(&mut self, mut moving: Move) -> Result<(), ReshardError> {
        let keys = if moving.switched {
            self.steps(moving.from, &moving).claim().await?;
            None
        } else {
            let copied = self.hand_over(&mut moving).await?;
            self.tell(Stage::Switched, Some(&moving))?;
            copied
        };
        self.clear(&moving, keys).await
    }

    /// From the first step to the switch of the ring. Returns the keys that were copied; none if another driver
    /// had copied them.
    async fn hand_over(&mut self, moving: &mut Move) -> Result<Option<Vec<Vec<u8>>>, ReshardError> {
        let owned = self.steps(moving.to, moving).prepare().await?;
        self.tell(Stage::Prepared, Some(moving))?;
        let frozen_at = Instant::now();
        self.steps(moving.from, moving).freeze().await?;
        self.tell(Stage::Frozen, Some(moving))?;
        let keys = if owned { None } else { Some(self.copy(moving).await?) };
        self.tell(Stage::Copied, Some(moving))?;
        self.steps(moving.to, moving).own().await?;
        self.tell(Stage::Owned, Some(moving))?;
        moving.switched = true;
        let record = self.seen.record.clone();
        let owners = Some(Ring::from(&record).with(&moving.slots, moving.to));
        let change = record.change.clone().map(|c| RingChange { moving: Some(moving.clone()), ..c });
        self.swap(RingRecord { epoch: record.epoch + 1, owners, change, ..record }).await?;
        self.report.moves.push(Moved {
            from: moving.from,
            to: moving.to,
            slots: moving.slots.len(),
            keys: keys.as_ref().map_or(0, |keys| keys.len() as u64),
            unavailable: frozen_at.elapsed(),
        });
        Ok(keys)
    }

    /// Copies all keys of frozen slots; the next page is read while the last one is written.
    async fn copy(&mut self, moving: &Move) -> Result<Vec<Vec<u8>>, ReshardError> {
        let mut keys = Vec::new();
        let mut scan = Scan::new(self.options.patience);
        let mut unwritten: Vec<Item> = Vec::new();
        loop {
            let mut from = Steps::new(&mut self.reader, moving.from, moving, self.options.patience);
            let mut to = Steps::new(&mut self.writer, moving.to, moving, self.options.patience);
            let write = async { if unwritten.is_empty() { Ok(()) } else { to.import(&unwritten).await } };
            let (page, written) = tokio::join!(scan.page(&mut from, self.options.scan_count, true), write);
            written?;
            unwritten = match page? {
                Read::Items(items) => items,
                Read::Anew => {
                    keys.clear();
                    Vec::new()
                }
                Read::End => return Ok(keys),
            };
            keys.extend(unwritten.iter().map(|item| item.key.clone()));
        }
    }

    /// Deletes at the source what is the destination's.
    async fn clear(&mut self, moving: &Move, keys: Option<Vec<Vec<u8>>>) -> Result<(), ReshardError> {
        let keys = match keys {
            Some(keys) => keys,
            None => self.frozen_keys(moving).await?,
        };
        for some in keys.chunks(self.options.scan_count.max(1) as usize) {
            self.steps(moving.from, moving).drop(some).await?;
        }
        self.tell(Stage::Dropped, Some(moving))?;
        self.steps(moving.from, moving).release().await?;
        self.tell(Stage::Released, Some(moving))
    }

    async fn frozen_keys(&mut self, moving: &Move) -> Result<Vec<Vec<u8>>, ReshardError> {
        let mut keys = Vec::new();
        let mut scan = Scan::new(self.options.patience);
        let mut from = Steps::new(&mut self.reader, moving.from, moving, self.options.patience);
        loop {
            match scan.page(&mut from, self.options.scan_count, false).await? {
                Read::Items(items) => keys.extend(items.into_iter().map(|item| item.key)),
                Read::Anew => keys.clear(),
                Read::End => return Ok(keys),
            }
        }
    }

    async fn finish(&mut self) -> Result<(), ReshardError> {
        let record = self.seen.record.clone();
        let shards = record.change.map_or(record.shards, |change| change.to);
        let record = RingRecord { epoch: record.epoch + 1, shards, owners: None, change: None, ..record };
        self.swap(record).await?;
        self.tell(Stage::Finished, None)
    }
}

/// A scan of a shard's keys, which begins anew whenever its server may have changed.
struct Scan {
    /// None after the last page.
    cursor: Option<Vec<u8>>,
    patience: Duration,
    since: Instant,
}

/// What a step of a scan has brought.
enum Read {
    Items(Vec<Item>),
    /// What was read before does not count.
    Anew,
    End,
}

impl Scan {
    fn new(patience: Duration) -> Self {
        Scan { cursor: Some(b"0".into()), patience, since: Instant::now() }
    }

    async fn page(&mut self, from: &mut Steps<'_>, count: u32, values: bool) -> Result<Read, ReshardError> {
        let Some(cursor) = &self.cursor else { return Ok(Read::End) };
        match from.export(cursor, count, values).await {
            Ok(Page { next, items }) => {
                self.cursor = next;
                self.since = Instant::now();
                Ok(Read::Items(items))
            }
            Err(error) => self.trouble(from.shard(), error).await,
        }
    }

    async fn trouble(&mut self, shard: u32, error: CallError) -> Result<Read, ReshardError> {
        if let Some(end) = fatal(shard, "export", &error) {
            return Err(end);
        }
        if self.since.elapsed() >= self.patience {
            let (what, waited_ms) = (format!("export at shard {shard}"), self.patience.as_millis());
            return Err(ReshardError::Stuck { what, waited_ms, why: error.reason });
        }
        sleep(Duration::from_millis(10)).await;
        self.cursor = Some(b"0".into());
        Ok(Read::Anew)
    }
}
