//! Whether a candidate fails often enough, in as few runs as can tell; counted, and never asked twice.

use std::collections::BTreeMap;

use serde::Serialize;

use super::candidate::Candidate;
use super::ddmin::Answer;

/// How one run of a candidate ended, beside the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It failed in the same way, with these anomalies.
    Same(Vec<String>),
    /// It ended otherwise, in these words.
    Otherwise(String),
    /// There was no time left to run it to its end.
    Over,
}

/// Runs candidates.
pub trait Runner {
    /// Runs one once.
    fn run(&mut self, candidate: &Candidate) -> Seen;
}

/// How often a candidate failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Runs that came to an end.
    pub runs: u32,
    /// Those that failed as the original did.
    pub failed: u32,
    /// How often each anomaly was seen, and each other ending.
    pub seen: BTreeMap<String, u32>,
}

impl Tally {
    /// Counts a run; none when it did not come to an end.
    fn count(&mut self, seen: Seen) -> Option<()> {
        let (is_same, words) = match seen {
            Seen::Same(anomalies) => (true, anomalies),
            Seen::Otherwise(ending) => (false, vec![ending]),
            Seen::Over => return None,
        };
        self.runs += 1;
        self.failed += u32::from(is_same);
        words.into_iter().for_each(|word| *self.seen.entry(word).or_default() += 1);
        Some(())
    }
}

/// What it takes for a candidate to count as failing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Runs of it, at most.
    pub tries: u32,
    /// Share of them that must fail.
    pub at_least: f64,
}

impl Bar {
    /// Failures needed in so many runs: at least one.
    pub fn needed(self, runs: u32) -> u32 {
        // A hair less than the product, so that 0.1 × 10 needs one, whatever the last bit says.
        ((f64::from(runs) * self.at_least - 1e-9).ceil() as u32).max(1)
    }

    /// What can be said for certain after these runs, the rest of the tries being yet to come.
    pub fn decided(self, tally: &Tally, tries: u32) -> Option<Answer> {
        let (needed, left) = (self.needed(tries), tries.saturating_sub(tally.runs));
        if tally.failed >= needed {
            Some(Answer::Fails)
        } else if tally.failed + left < needed {
            Some(Answer::Passes)
        } else {
            None
        }
    }
}

/// Every candidate that was run, with its counts.
pub struct Tries<R> {
    runner: R,
    bar: Bar,
    tallies: BTreeMap<String, Tally>,
    /// In the order in which they came up.
    tried: Vec<Candidate>,
}

impl<R: Runner> Tries<R> {
    /// Nothing is known yet.
    pub fn new(runner: R, bar: Bar) -> Tries<R> {
        Tries { runner, bar, tallies: BTreeMap::new(), tried: Vec::new() }
    }

    /// Does it fail often enough? Runs it only as often as it takes to know.
    pub fn fails(&mut self, candidate: &Candidate) -> Answer {
        self.count(candidate, self.bar.tries)
    }

    /// The same, judged by so many fresh runs: those by which it was chosen speak too well of it. All are run, unless
    /// it cannot fail often enough any more.
    pub fn confirm(&mut self, candidate: &Candidate, runs: u32) -> (Answer, Tally) {
        let mut tally = Tally::default();
        loop {
            match self.bar.decided(&tally, runs) {
                Some(Answer::Fails) if tally.runs < runs => {}
                Some(answer) => return (answer, tally),
                None => {}
            }
            let seen = self.runner.run(candidate);
            if tally.count(seen).is_none() {
                return (Answer::Over, tally);
            }
        }
    }

    fn count(&mut self, candidate: &Candidate, tries: u32) -> Answer {
        loop {
            if let Some(answer) = self.bar.decided(&self.tally(candidate), tries) {
                return answer;
            }
            if self.once_more(candidate).is_none() {
                return Answer::Over;
            }
        }
    }

    /// Runs it once and counts; none when there is no time left.
    fn once_more(&mut self, candidate: &Candidate) -> Option<()> {
        let seen = self.runner.run(candidate);
        let mut tally = self.tally(candidate);
        tally.count(seen)?;
        if self.tallies.insert(candidate.key(), tally).is_none() {
            self.tried.push(candidate.clone());
        }
        Some(())
    }

    /// Counts of a candidate so far.
    pub fn tally(&self, candidate: &Candidate) -> Tally {
        self.tallies.get(&candidate.key()).cloned().unwrap_or_default()
    }

    /// Every candidate that was run, in the order in which they came up.
    pub fn tried(&self) -> impl Iterator<Item = (&Candidate, &Tally)> {
        self.tried.iter().map(|candidate| (candidate, &self.tallies[&candidate.key()]))
    }

    /// Who runs them.
    pub fn runner(&mut self) -> &mut R {
        &mut self.runner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_decided_as_soon_as_it_can_be() {
        let bar = Bar { tries: 3, at_least: 0.6 };
        let tally = |runs, failed| Tally { runs, failed, ..Tally::default() };
        assert_eq!(bar.needed(3), 2);
        assert_eq!(bar.decided(&tally(1, 1), 3), None);
        assert_eq!(bar.decided(&tally(2, 2), 3), Some(Answer::Fails));
        assert_eq!(bar.decided(&tally(2, 1), 3), None);
        assert_eq!(bar.decided(&tally(2, 0), 3), Some(Answer::Passes));
        assert_eq!(bar.decided(&tally(3, 1), 3), Some(Answer::Passes));
        assert_eq!(Bar { tries: 10, at_least: 0.0 }.needed(10), 1, "once, or it does not fail");
        assert_eq!(Bar { tries: 10, at_least: 0.1 }.needed(10), 1);
        assert_eq!(Bar { tries: 1, at_least: 1.0 }.needed(1), 1);
    }
}
