//! What is left to do, from the plan and the lines of the runs that have ended: the same for a campaign that goes on
//! after a pause of a second or of a week.

use std::collections::HashMap;
use std::fs;

use anyhow::{Context, Result};
use results::campaign::{CampaignFolder, CampaignPlan, Cell, Outcome, RunLine};
use results::layout;

/// What is done and what is under way.
pub struct Book<'a> {
    plan: &'a CampaignPlan,
    /// Lines by cell, in order of the attempt.
    lines: HashMap<u32, Vec<RunLine>>,
    under_way: Vec<(u32, u32)>,
}

/// The next run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Next<'a> {
    /// What to run.
    pub cell: &'a Cell,
    /// Which run of it, from 1.
    pub attempt: u32,
}

impl<'a> Book<'a> {
    /// With what has been so far. A run that has two lines counts once, by the first.
    pub fn new(plan: &'a CampaignPlan, lines: Vec<RunLine>) -> Self {
        let mut book = Book { plan, lines: HashMap::new(), under_way: Vec::new() };
        lines.into_iter().for_each(|line| book.add(line));
        book
    }

    /// A run begins.
    pub fn begin(&mut self, next: &Next<'_>) {
        self.under_way.push((next.cell.index, next.attempt));
    }

    /// A run is over, and has not been.
    pub fn forget(&mut self, index: u32, attempt: u32) {
        self.under_way.retain(|run| *run != (index, attempt));
    }

    /// A run has ended.
    pub fn add(&mut self, line: RunLine) {
        self.forget(line.index, line.attempt);
        let lines = self.lines.entry(line.index).or_default();
        if !lines.iter().any(|known| known.attempt == line.attempt) {
            lines.push(line);
            lines.sort_by_key(|line| line.attempt);
        }
    }

    /// All lines, by cell.
    pub fn lines(&self) -> &HashMap<u32, Vec<RunLine>> {
        &self.lines
    }

    /// The next run: first those that tell a flake from a bug, then cells in order, if `more` are wanted.
    pub fn next(&self, more: bool) -> Option<Next<'a>> {
        let again = self.plan.own().find_map(|cell| {
            let lines = self.lines.get(&cell.index)?;
            let first = lines.iter().find(|line| line.attempt == 1)?;
            if first.outcome != Outcome::Unexpected {
                return None;
            }
            let attempt = (2..=1 + cell.rerun).find(|attempt| !self.is_taken(cell.index, *attempt))?;
            Some(Next { cell, attempt })
        });
        let fresh = || {
            let cell = self.plan.own().find(|cell| !self.is_taken(cell.index, 1))?;
            Some(Next { cell, attempt: 1 })
        };
        again.or_else(|| if more { fresh() } else { None })
    }

    fn is_taken(&self, index: u32, attempt: u32) -> bool {
        let has_line =
            self.lines.get(&index).is_some_and(|lines| lines.iter().any(|line| line.attempt == attempt));
        has_line || self.under_way.contains(&(index, attempt))
    }

    /// Cells that have not been run, in order; those under way are not among them.
    pub fn waiting(&self) -> impl Iterator<Item = &'a Cell> {
        self.plan.own().filter(|cell| !self.is_taken(cell.index, 1))
    }

    /// Cells whose first run has ended.
    pub fn done(&self) -> usize {
        self.plan.own().filter(|cell| self.lines.contains_key(&cell.index)).count()
    }
}

/// Puts aside what runs have left that did not end: folders no line speaks of, and their output. Returns their names.
pub fn put_aside(folder: &CampaignFolder, lines: &[RunLine]) -> Result<Vec<String>> {
    let counted: Vec<&str> = lines.iter().filter_map(|line| line.folder.as_deref()).collect();
    let mut aside = Vec::new();
    for store in [folder.runs(), folder.join(layout::OUTPUT)] {
        let entries = fs::read_dir(&store).with_context(|| format!("failed to list {}", store.display()))?;
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_symlink() {
                // A run that was killed while it pointed `latest` at itself would be in the way of its successor.
                if name != layout::LATEST {
                    let _ = fs::remove_file(&path);
                }
                continue;
            }
            let below = format!("{}/{name}", layout::RUNS);
            if path.is_dir() && counted.contains(&below.as_str()) {
                continue;
            }
            // What a run without a folder said is all there is of it.
            let of_line = lines.iter().any(|line| name == format!("{:05}-{}.log", line.index, line.attempt));
            if path.is_file() && of_line {
                continue;
            }
            let is_run = path.is_dir();
            let mut to = folder.unfinished(&name);
            let mut n = 1;
            while to.exists() {
                n += 1;
                to = folder.unfinished(&format!("{name}-{n}"));
            }
            fs::create_dir_all(folder.join(layout::UNFINISHED))
                .context("failed to make the folder unfinished")?;
            match fs::rename(&path, &to) {
                Ok(()) => {}
                // A process that is just dying has taken it away itself.
                Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    return Err(error).with_context(|| format!("failed to move {} aside", path.display()));
                }
            }
            if is_run {
                aside.push(name);
            }
        }
    }
    aside.sort();
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use results::campaign::{Ended, Expectation, Expected};

    fn plan(cells: u32, rerun: u32) -> CampaignPlan {
        let cell = |index| Cell {
            index,
            target: "fake".into(),
            variant: "hardened".into(),
            workload: "register".into(),
            faults: "none".into(),
            duration_s: 1.0,
            seed: index.into(),
            turn: 1,
            label: String::new(),
            flags: Vec::new(),
            faults_file: None,
            expectation: 0,
            rerun,
            estimate_s: 1.0,
            shard: 1 + index % 2,
        };
        CampaignPlan {
            schema_version: 1,
            name: "c".into(),
            about: String::new(),
            id: "0".into(),
            file: "c.toml".into(),
            planned_at: String::new(),
            shard: None,
            limits: Default::default(),
            expectations: vec![Expectation {
                verdict: Expected::Valid,
                anomalies: Vec::new(),
                at_least: 1.0,
            }],
            cells: (0..cells).map(cell).collect(),
        }
    }

    fn line(index: u32, attempt: u32, outcome: Outcome) -> RunLine {
        RunLine {
            index,
            attempt,
            folder: None,
            exit_code: Some(0),
            verdict: Ended::Valid,
            anomalies: Vec::new(),
            reason: String::new(),
            wall_s: 1.0,
            ended_at: String::new(),
            outcome,
            why: String::new(),
        }
    }

    fn order(book: &mut Book<'_>, more: bool) -> Vec<(u32, u32)> {
        let mut all = Vec::new();
        while let Some(next) = book.next(more) {
            book.begin(&next);
            all.push((next.cell.index, next.attempt));
        }
        all
    }

    #[test]
    fn what_has_a_line_is_not_run_again_and_what_failed_is() {
        let plan = plan(4, 2);
        let lines = vec![
            line(0, 1, Outcome::AsExpected),
            line(2, 1, Outcome::Unexpected),
            line(2, 3, Outcome::AsExpected),
        ];
        assert_eq!(order(&mut Book::new(&plan, lines.clone()), true), [(2, 2), (1, 1), (3, 1)]);
        assert_eq!(order(&mut Book::new(&plan, lines), false), [(2, 2)]);
    }

    #[test]
    fn a_run_that_has_not_been_is_run_again() {
        let plan = plan(2, 2);
        let mut book = Book::new(&plan, Vec::new());
        assert_eq!(order(&mut book, true), [(0, 1), (1, 1)]);
        book.forget(1, 1);
        assert_eq!(order(&mut book, true), [(1, 1)]);
    }

    #[test]
    fn a_shard_runs_its_own_cells_only() {
        let plan = CampaignPlan { shard: Some(results::campaign::Shard { index: 2, of: 2 }), ..plan(4, 0) };
        assert_eq!(order(&mut Book::new(&plan, Vec::new()), true), [(1, 1), (3, 1)]);
    }
}
