//! Runs side by side until the plan is done, the budget is spent, or the user has had enough.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use results::campaign::folder::Lines;
use results::campaign::{CampaignFolder, CampaignPlan, Expectation, Expected, Outcome, RunLine};
use results::units;

use super::child::{Look, Running};
use super::estimate::Estimates;
use super::progress::Progress;
use super::resume::{Book, put_aside};
use super::room::Room;
use crate::exit::UsageError;
use crate::signals::Interrupt;

/// Between two looks at the runs under way.
const LOOK: Duration = Duration::from_millis(20);

/// How long the lock may take to be free.
const LOCK_BOUND: Duration = Duration::from_secs(1);

/// Why a campaign has started no more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Stop {
    /// Everything has been run.
    Done,
    /// The user wanted it to.
    Interrupted,
    /// What is left would not have ended in time.
    TimeUp(f64),
    /// Something else than a run failed.
    Broken,
    /// So many cells ended otherwise than expected.
    Failures(u32),
}

impl Stop {
    /// For people; empty when all is done.
    pub fn words(&self) -> String {
        match self {
            Stop::Done => String::new(),
            Stop::Broken => "the campaign could not go on".into(),
            Stop::Interrupted => "interrupted by the user".into(),
            Stop::TimeUp(seconds) => format!("the budget of {} is spent", units::seconds(*seconds)),
            Stop::Failures(n) => {
                format!(
                    "{} ended otherwise than expected, as many as the budget allows",
                    units::plural((*n).into(), "cell")
                )
            }
        }
    }
}

/// One sitting of a campaign.
pub struct Session<'a> {
    folder: &'a CampaignFolder,
    plan: &'a CampaignPlan,
    book: Book<'a>,
    lines: Flock<Held>,
    room: Room,
    estimates: Estimates,
    progress: Progress,
    began: Instant,
    failures: u32,
}

/// The lines, held by one process.
struct Held(Lines);

impl std::os::fd::AsRawFd for Held {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.0.file().as_raw_fd()
    }
}

/// Takes the lock. A process that was killed may leave it for a moment to a run it was about to start.
fn hold(lines: Lines) -> Option<Flock<Held>> {
    let asked = Instant::now();
    let mut lines = Held(lines);
    loop {
        match Flock::lock(lines, FlockArg::LockExclusiveNonblock) {
            Ok(held) => return Some(held),
            Err(_) if asked.elapsed() > LOCK_BOUND => return None,
            Err((back, _)) => lines = back,
        }
        std::thread::sleep(LOOK);
    }
}

// SAFETY: the file stays open as long as the lines live, and nobody else unlocks it.
unsafe impl nix::fcntl::Flockable for Held {}

impl<'a> Session<'a> {
    /// Takes the folder; puts aside what did not end.
    pub fn open(
        folder: &'a CampaignFolder,
        plan: &'a CampaignPlan,
        room: Room,
        estimates: Estimates,
    ) -> Result<Session<'a>> {
        let busy = || {
            UsageError(format!(
                "{}: another process runs this campaign; wait for it, or end it",
                folder.path().display()
            ))
        };
        folder.prepare()?;
        // Taken before it is read: nobody adds a line between.
        let mut held = hold(folder.open_lines()?).ok_or_else(busy)?;
        let lines = held.0.read()?;
        let book = Book::new(plan, lines);
        let progress = Progress::start(plan, &book);
        let session = Session {
            folder,
            plan,
            book,
            lines: held,
            room,
            estimates,
            progress,
            began: Instant::now(),
            failures: 0,
        };
        session.put_aside()?;
        Ok(session)
    }

    /// Puts aside what did not end, and says so.
    fn put_aside(&self) -> Result<()> {
        let lines: Vec<RunLine> = self.book.lines().values().flatten().cloned().collect();
        let aside = put_aside(self.folder, &lines)?;
        if !aside.is_empty() {
            self.progress.say(&format!(
                "shardstorm: {} cut short, to be run again; what is left of that is in {}/unfinished",
                units::plural(aside.len() as u64, "run"),
                self.folder.path().display()
            ));
        }
        Ok(())
    }

    /// All lines so far.
    pub fn book(&self) -> &Book<'a> {
        &self.book
    }

    /// Runs until no more is started and all has ended. `ended` is told of each run.
    pub fn run(&mut self, mut ended: impl FnMut(&Book<'a>)) -> Result<Stop> {
        let interrupt = Interrupt::install();
        let mut running: Vec<Running> = Vec::new();
        loop {
            let mut at = 0;
            while at < running.len() {
                match self.look(&mut running[at])? {
                    Look::UnderWay => at += 1,
                    Look::Ended(line) => {
                        let run = running.swap_remove(at);
                        self.room.give(&run.cell.target);
                        self.note(line)?;
                        ended(&self.book);
                    }
                    Look::Unfinished => {
                        let run = running.swap_remove(at);
                        self.room.give(&run.cell.target);
                        self.book.forget(run.cell.index, run.attempt);
                    }
                    Look::Refused(said) => {
                        let said = said.trim_start_matches("shardstorm: ");
                        return Err(
                            UsageError(format!("{}: the run was refused: {said}", running[at].cell)).into()
                        );
                    }
                }
            }
            if interrupt.asked() {
                if !running.is_empty() {
                    self.progress.say(
                        "shardstorm: interrupted; the runs under way are ended in order (again: at once)",
                    );
                }
                return self.break_off(running);
            }
            let stop = self.start_more(&mut running)?;
            if let (Some(stop), true) = (stop, running.is_empty()) {
                self.progress.end();
                self.put_aside()?;
                return Ok(stop);
            }
            self.progress.tick(&self.book, &running, &self.estimates, &self.room);
            std::thread::sleep(LOOK);
        }
    }

    fn look(&self, run: &mut Running) -> Result<Look> {
        let usual = Expectation { verdict: Expected::Valid, anomalies: Vec::new(), at_least: 1.0 };
        let expectation = self.plan.expectation(&run.cell).cloned().unwrap_or(usual);
        run.look(self.folder, &expectation)
    }

    /// Starts what there is room for; why there is nothing more to start, if there is not.
    fn start_more(&mut self, running: &mut Vec<Running>) -> Result<Option<Stop>> {
        loop {
            let enough = self.plan.limits.failures.filter(|most| self.failures >= *most);
            let Some(next) = self.book.next(enough.is_none()) else {
                let left = self.book.waiting().next().is_some();
                return Ok(Some(if left { Stop::Failures(self.failures) } else { Stop::Done }));
            };
            if let Some(total) = self.plan.limits.total_s
                && self.began.elapsed().as_secs_f64() + self.estimates.seconds(next.cell) > total
            {
                return Ok(Some(Stop::TimeUp(total)));
            }
            if !self.room.fits(&next.cell.target) {
                return Ok(None);
            }
            self.room.take(&next.cell.target);
            running.push(Running::start(self.folder, next.cell, next.attempt)?);
            self.book.begin(&next);
        }
    }

    /// A run has ended: first the disk, then everybody else.
    fn note(&mut self, line: RunLine) -> Result<()> {
        self.lines.0.append(&line).context("failed to note down a run")?;
        if line.attempt == 1 && line.outcome == Outcome::Unexpected {
            self.failures += 1;
        }
        self.progress.ended(self.plan, &line);
        self.book.add(line);
        Ok(())
    }

    /// Ends everything under way, and puts aside what it leaves.
    fn break_off(&mut self, mut running: Vec<Running>) -> Result<Stop> {
        running.iter_mut().for_each(Running::interrupt);
        while !running.is_empty() {
            let mut left = Vec::new();
            for mut run in running {
                match self.look(&mut run)? {
                    Look::UnderWay => left.push(run),
                    _ => self.book.forget(run.cell.index, run.attempt),
                }
            }
            running = left;
            std::thread::sleep(LOOK);
        }
        self.progress.end();
        self.put_aside()?;
        Ok(Stop::Interrupted)
    }
}
