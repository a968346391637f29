//! Until when a session certainly lives, by its owner's clock alone.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The evidence that a session lives, and what it is worth.
///
/// The leader ends a session `T` after it last *heard* of it. Replies to pings are no evidence of that: a
/// server that was cut off from the leader goes on answering them. A quorum write that was answered is
/// better, but proves only that the session had not ended when it was committed: a follower reports whom it
/// heard of when the leader asks, every half tick, not with the write. So it takes two:
///
/// ```text
/// client    first sent     first answered            second sent      second answered
/// follower       heard of the session ───── reports it ─────→ passes the write on
///                                 └── at most touch_delay_max ──┘
/// ```
///
/// Leader and follower talk over one ordered connection, so if the second write was sent at least
/// `touch_delay_max` after the first was answered, its commit proves that the leader had heard of the session
/// at some time after the first was sent, and will not end it before `T` after that. A new leader gives
/// every session a fresh `T`. What is assumed: a leader that commits also asks its followers at least every
/// `touch_delay_max`, and clocks run at the same speed to within three percent.
#[derive(Debug)]
pub(super) struct Lease {
    /// `T` less the allowance for clocks that run at different speeds.
    timeout: Duration,
    touch_delay_max: Duration,
    /// Answered writes that are no evidence yet: when sent, when answered.
    recent: VecDeque<(Instant, Instant)>,
    /// The leader has heard of the session at this time or later.
    heard: Instant,
    lapsed: bool,
    lapses: u64,
}

impl Lease {
    /// A lease of a session that was asked for at `asked` and granted for `timeout`. The leader itself grants
    /// sessions, so this is evidence.
    pub fn new(timeout: Duration, touch_delay_max: Duration, asked: Instant) -> Self {
        let timeout = timeout - timeout / 32;
        Lease { timeout, touch_delay_max, recent: VecDeque::new(), heard: asked, lapsed: false, lapses: 0 }
    }

    /// From then on the session may have ended.
    pub fn until(&self) -> Instant {
        self.heard + self.timeout
    }

    /// How often certainty was lost so far, while the session is certain at `now`; none while it is not.
    /// Equal answers at two times mean that it was certain all the time between.
    pub fn certain(&mut self, now: Instant) -> Option<u64> {
        if now >= self.until() && !self.lapsed {
            self.lapsed = true;
            self.lapses += 1;
        }
        (!self.lapsed).then_some(self.lapses)
    }

    /// Notes that a quorum write sent at `sent` was answered at `now`.
    pub fn answered(&mut self, sent: Instant, now: Instant) {
        // Evidence that comes too late restores certainty, but does not undo its loss.
        self.certain(now);
        while let Some((earlier, _)) =
            self.recent.pop_front_if(|(_, answered)| *answered + self.touch_delay_max <= sent)
        {
            self.heard = self.heard.max(earlier);
        }
        self.recent.push_back((sent, now));
        if now < self.until() {
            self.lapsed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn lease() -> (Instant, Lease) {
        let asked = Instant::now();
        (asked, Lease::new(3200 * MS, 100 * MS, asked))
    }

    #[test]
    fn a_new_session_is_certain_until_it_could_have_ended() {
        let (asked, mut lease) = lease();
        assert_eq!(lease.certain(asked + 3099 * MS), Some(0));
        assert_eq!(lease.certain(asked + 3100 * MS), None);
    }

    #[test]
    fn one_answer_is_no_evidence_and_two_in_quick_succession_are_not_either() {
        let (asked, mut lease) = lease();
        lease.answered(asked + 1000 * MS, asked + 1010 * MS);
        lease.answered(asked + 1050 * MS, asked + 1060 * MS);
        assert_eq!(lease.until(), asked + 3100 * MS);
    }

    #[test]
    fn a_later_answer_proves_that_the_earlier_one_was_heard_of() {
        let (asked, mut lease) = lease();
        lease.answered(asked + 1000 * MS, asked + 1010 * MS);
        lease.answered(asked + 1050 * MS, asked + 1060 * MS);
        lease.answered(asked + 1110 * MS, asked + 1120 * MS);
        assert_eq!(lease.until(), asked + 4100 * MS);
        // Sent, not answered, is what counts of the second: it may have been under way for long.
        lease.answered(asked + 1159 * MS, asked + 4000 * MS);
        assert_eq!(lease.until(), asked + 4100 * MS);
        lease.answered(asked + 1160 * MS, asked + 4000 * MS);
        assert_eq!(lease.until(), asked + 4150 * MS);
    }

    #[test]
    fn certainty_that_was_lost_is_another_one_when_it_comes_back() {
        let (asked, mut lease) = lease();
        lease.answered(asked + 3000 * MS, asked + 3010 * MS);
        // Nobody looked in between, and still the loss counts.
        lease.answered(asked + 3200 * MS, asked + 3210 * MS);
        assert_eq!(lease.certain(asked + 3220 * MS), Some(1));
        assert_eq!(lease.certain(asked + 6100 * MS), None);
        assert_eq!(lease.certain(asked + 6200 * MS), None);
        lease.answered(asked + 6200 * MS, asked + 6210 * MS);
        assert_eq!(lease.certain(asked + 6210 * MS), Some(2));
    }

    #[test]
    fn late_evidence_of_a_time_too_long_ago_restores_nothing() {
        let (asked, mut lease) = lease();
        lease.answered(asked + 1000 * MS, asked + 1010 * MS);
        lease.answered(asked + 1200 * MS, asked + 9000 * MS);
        assert_eq!(lease.certain(asked + 9000 * MS), None);
    }
}
