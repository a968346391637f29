//! The order in which a failing run is made smaller: whole windows first, then how long and how hard, then the load.

use nemesis::Limits;

use super::candidate::Candidate;
use super::ddmin::{Answer, ddmin};
use super::tries::{Runner, Tries};

/// Halvings of one number, at most.
const HALVINGS: u32 = 3;

/// Told of each candidate that is kept, with what was done to it.
pub type Tell<'a> = &'a mut dyn FnMut(&str, &Candidate);

/// Makes `start`, which fails, smaller as long as it goes on failing and there is time. Returns every candidate that
/// was kept, the smallest last.
///
/// `shown_ms` is when the first contradiction of the original was complete: later windows have no part in it.
pub fn shrink<R: Runner>(
    tries: &mut Tries<R>,
    start: Candidate,
    shown_ms: Option<u64>,
    limits: &Limits,
    tell: Tell<'_>,
) -> Vec<Candidate> {
    let mut steps = Steps { tries, kept: vec![start], over: false, tell };
    if let Some(ms) = shown_ms {
        steps.attempt("without the windows after the first contradiction", |best| Some(best.until(ms)));
    }
    steps.attempt("with the calm between windows cut down", |best| Some(best.with(best.schedule.closer())));
    steps.windows();
    steps.attempt("with the calm between windows cut down", |best| Some(best.with(best.schedule.closer())));
    for position in 0..steps.best().schedule.windows.len() {
        steps.repeat("with a window half as long", |best| {
            Some(best.replacing(position, best.schedule.windows[position].shorter()?))
        });
        let kinds = steps.best().schedule.windows[position].weaker(limits).len();
        for kind in 0..kinds {
            steps.repeat("with a weaker harm", |best| {
                Some(
                    best.replacing(
                        position,
                        best.schedule.windows[position].weaker(limits).get(kind)?.clone(),
                    ),
                )
            });
        }
    }
    for kind in 0..2 {
        steps.repeat("with less load", |best| best.lighter().get(kind).cloned());
    }
    steps.repeat("with a shorter load", Candidate::briefer);
    steps.kept
}

struct Steps<'a, 'b, R> {
    tries: &'a mut Tries<R>,
    kept: Vec<Candidate>,
    over: bool,
    tell: Tell<'b>,
}

impl<R: Runner> Steps<'_, '_, R> {
    fn best(&self) -> &Candidate {
        self.kept.last().expect("the start is kept")
    }

    /// Keeps what `smaller` makes of the best, if it fails as well; false when it does not, or is nothing new.
    fn attempt(&mut self, what: &str, smaller: impl Fn(&Candidate) -> Option<Candidate>) -> bool {
        let Some(candidate) = smaller(self.best()).filter(|candidate| candidate != self.best()) else {
            return false;
        };
        if self.over {
            return false;
        }
        match self.tries.fails(&candidate) {
            Answer::Fails => {
                (self.tell)(what, &candidate);
                self.kept.push(candidate);
                true
            }
            Answer::Passes => false,
            Answer::Over => {
                self.over = true;
                false
            }
        }
    }

    fn repeat(&mut self, what: &str, smaller: impl Fn(&Candidate) -> Option<Candidate>) {
        let _ = (0..HALVINGS).all(|_| self.attempt(what, &smaller));
    }

    /// The fewest windows.
    fn windows(&mut self) {
        if self.over {
            return;
        }
        let whole = self.best().clone();
        let ids: Vec<u64> = whole.schedule.windows.iter().map(|window| window.id).collect();
        let part = |ids: &[u64]| whole.with(whole.schedule.keep(&ids.iter().copied().collect()));
        let (tries, kept, tell) = (&mut *self.tries, &mut self.kept, &mut self.tell);
        ddmin(&ids, |ids| {
            let candidate = part(ids);
            let answer = tries.fails(&candidate);
            if answer == Answer::Fails {
                tell("with fewer windows", &candidate);
                kept.push(candidate);
            }
            self.over |= answer == Answer::Over;
            answer
        });
    }
}
