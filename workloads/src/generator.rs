//! Seeded building blocks: when (slots), what (a mix), until when.
//!
//! Everything is drawn from the seed slot by slot, whatever the cluster answers. Slot `n` of a worker has the
//! same time and the same input in every run of that seed; only *whether* a slot is used depends on how fast
//! earlier calls came back.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::seed::derive;

/// What a worker is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next<I> {
    /// Call this now.
    Invoke(I),
    /// Nothing is due before then; nanoseconds of the run clock.
    Wait {
        /// When to ask again.
        until_ns: u64,
    },
    /// There is nothing more to do.
    Done,
}

/// Says what a worker does next. Told the time, it never asks for it; it does no IO.
pub trait Generator {
    /// What it yields.
    type Input;

    /// What to do at `now_ns` of the run clock, which never goes back.
    fn next(&mut self, now_ns: u64) -> Next<Self::Input>;
}

/// Turns slots into inputs: one each, in order, none left out.
pub trait Draw {
    /// What it draws.
    type Input;

    /// The input of `slot`.
    fn draw(&mut self, slot: Slot) -> Self::Input;
}

/// One place in a worker's schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Number in this worker's schedule, from 0.
    pub index: u64,
    /// When it is due, nanoseconds of the run clock; none when work goes as fast as it can.
    pub due_ns: Option<u64>,
}

/// How fast, for how long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Operations per second over all workers; 0 = as fast as it goes.
    pub rate: f64,
    /// Number of workers that share the rate.
    pub concurrency: u32,
    /// No input is handed out at or after this time of the run clock, nanoseconds.
    pub time_limit_ns: u64,
}

impl Pace {
    /// Mean time between two slots of one worker, nanoseconds; none when there are no slots to wait for.
    pub fn interval_ns(&self) -> Option<u64> {
        (self.rate > 0.0)
            .then(|| ((f64::from(self.concurrency.max(1)) * 1e9 / self.rate).round() as u64).max(1))
    }

    /// How far overdue a slot may be and still be used, nanoseconds: two intervals, at least 100 ms. A worker
    /// that was stuck longer skips what it missed, so that it does not come back with a burst.
    pub fn overdue_ns_max(&self) -> u64 {
        self.interval_ns().map_or(0, |interval_ns| interval_ns.saturating_mul(2)).max(100_000_000)
    }
}

/// The times of one worker's slots: the gap before each is uniform in 0 to twice the mean, as Jepsen's
/// `stagger` draws it.
#[derive(Debug)]
pub struct Slots {
    rng: ChaCha8Rng,
    interval_ns: Option<u64>,
    next: Slot,
}

impl Slots {
    /// The slots that `seed` fixes.
    pub fn new(seed: u64, pace: &Pace) -> Self {
        let mut slots = Slots {
            rng: ChaCha8Rng::seed_from_u64(seed),
            interval_ns: pace.interval_ns(),
            next: Slot { index: 0, due_ns: None },
        };
        slots.next.due_ns = slots.gap_ns();
        slots
    }

    /// The slot that comes next.
    pub fn peek(&self) -> Slot {
        self.next
    }

    /// Goes on to the one after.
    pub fn advance(&mut self) {
        let gap_ns = self.gap_ns();
        self.next.index += 1;
        self.next.due_ns = self.next.due_ns.zip(gap_ns).map(|(due_ns, gap_ns)| due_ns.saturating_add(gap_ns));
    }

    fn gap_ns(&mut self) -> Option<u64> {
        self.interval_ns.map(|interval_ns| self.rng.random_range(0..=interval_ns.saturating_mul(2)))
    }
}

/// A generator that hands out what `D` draws, slot by slot, at a given pace.
///
/// A worker that asks late gets the next slot at once, unless that is overdue by more than
/// [`Pace::overdue_ns_max`]: such slots are drawn and skipped.
#[derive(Debug)]
pub struct Paced<D> {
    slots: Slots,
    pace: Pace,
    draw: D,
}

impl<D: Draw> Paced<D> {
    /// Slots from `seed`, inputs from `draw`.
    pub fn new(seed: u64, pace: Pace, draw: D) -> Self {
        Paced { slots: Slots::new(derive(seed, "slots", 0), &pace), pace, draw }
    }

    fn take(&mut self, slot: Slot) -> D::Input {
        self.slots.advance();
        self.draw.draw(slot)
    }
}

impl<D: Draw> Generator for Paced<D> {
    type Input = D::Input;

    fn next(&mut self, now_ns: u64) -> Next<D::Input> {
        loop {
            let slot = self.slots.peek();
            let due_ns = slot.due_ns.unwrap_or(now_ns);
            if now_ns.max(due_ns) >= self.pace.time_limit_ns {
                return Next::Done;
            }
            if due_ns > now_ns {
                return Next::Wait { until_ns: due_ns };
            }
            let input = self.take(slot);
            if now_ns - due_ns <= self.pace.overdue_ns_max() {
                return Next::Invoke(input);
            }
        }
    }
}

/// A choice among several, each as likely as its weight.
#[derive(Debug, Clone)]
pub struct Mix<T> {
    choices: Vec<(T, u32)>,
    total: u64,
}

impl<T: Copy> Mix<T> {
    /// None when no weight is above 0.
    pub fn new(choices: impl IntoIterator<Item = (T, u32)>) -> Option<Self> {
        let choices: Vec<_> = choices.into_iter().collect();
        let total = choices.iter().map(|&(_, weight)| u64::from(weight)).sum();
        (total > 0).then_some(Mix { choices, total })
    }

    /// One of them.
    pub fn draw(&self, rng: &mut ChaCha8Rng) -> T {
        let mut ticket = rng.random_range(0..self.total);
        for &(choice, weight) in &self.choices {
            match ticket.checked_sub(u64::from(weight)) {
                Some(rest) => ticket = rest,
                None => return choice,
            }
        }
        unreachable!("a ticket is below the sum of all weights")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone)]
    struct Index;
    impl Draw for Index {
        type Input = u64;
        fn draw(&mut self, slot: Slot) -> u64 {
            slot.index
        }
    }

    const S: u64 = 1_000_000_000;

    fn paced(rate: f64, concurrency: u32, limit_ns: u64) -> Paced<Index> {
        Paced::new(1, Pace { rate, concurrency, time_limit_ns: limit_ns }, Index)
    }

    /// Every `(time, input)` a worker issues whose calls take no time.
    fn drain(generator: &mut Paced<Index>) -> Vec<(u64, u64)> {
        let (mut now_ns, mut issued) = (0, Vec::new());
        loop {
            match generator.next(now_ns) {
                Next::Invoke(input) => issued.push((now_ns, input)),
                Next::Wait { until_ns } => now_ns = until_ns,
                Next::Done => return issued,
            }
        }
    }

    #[test]
    fn slots_come_at_the_workers_share_of_the_rate() {
        let issued = drain(&mut paced(1000.0, 4, 100 * S));
        assert!((24_000..26_000).contains(&issued.len()), "{} slots in 100 s", issued.len());
        let gaps: Vec<u64> = issued.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
        assert!(gaps.iter().all(|&gap_ns| gap_ns <= 8_000_000));
        assert!(
            gaps.iter().any(|&gap_ns| gap_ns < 1_000_000) && gaps.iter().any(|&gap_ns| gap_ns > 7_000_000)
        );
    }

    #[test]
    fn a_late_worker_catches_up_slot_by_slot_but_never_bursts() {
        let mut generator = paced(10.0, 1, 100 * S);
        let on_time = drain(&mut paced(10.0, 1, 100 * S));
        // Stuck for ten seconds: what is left are slots that were due in the last 200 ms.
        let (mut now_ns, mut issued) = (10 * S, Vec::new());
        while let Next::Invoke(input) = generator.next(now_ns) {
            issued.push(input);
        }
        let expected: Vec<u64> = on_time
            .iter()
            .filter(|(due_ns, _)| (10 * S - S / 5..=10 * S).contains(due_ns))
            .map(|&(_, input)| input)
            .collect();
        assert_eq!(issued, expected);
        // From then on it is on time again, with the same slots as a worker that never was late.
        let Next::Wait { until_ns } = generator.next(now_ns) else { panic!("the backlog is gone") };
        now_ns = until_ns;
        let Next::Invoke(input) = generator.next(now_ns) else { panic!("the slot is due") };
        assert!(on_time.contains(&(now_ns, input)));
    }

    #[test]
    fn without_a_rate_there_is_always_something_due_until_the_limit() {
        let mut generator = paced(0.0, 4, S);
        for n in 0..1000 {
            assert_eq!(generator.next(n * 1_000_000), Next::Invoke(n));
        }
        assert_eq!(generator.next(S), Next::Done);
    }

    #[test]
    fn nothing_is_handed_out_after_the_time_limit_however_late_it_was_due() {
        let mut generator = paced(1000.0, 1, S);
        assert!(drain(&mut paced(1000.0, 1, S)).iter().all(|&(time_ns, _)| time_ns < S));
        assert_eq!(generator.next(S), Next::Done);
        assert_eq!(generator.next(2 * S), Next::Done);
    }

    #[test]
    fn a_mix_keeps_its_weights_and_never_draws_a_zero() {
        let mix = Mix::new([('a', 50), ('b', 0), ('c', 150)]).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let drawn: Vec<char> = (0..10_000).map(|_| mix.draw(&mut rng)).collect();
        let share = |c| drawn.iter().filter(|&&d| d == c).count();
        assert_eq!(share('b'), 0);
        assert!((2200..2800).contains(&share('a')), "{} of 10000 at weight 1/4", share('a'));
        assert!(Mix::new([('a', 0)]).is_none());
    }
}
