//! Which values are worth writing.
//!
//! A blind write can always be put off until somebody needs what it leaves behind, or until it returns: nothing
//! that happens meanwhile takes the chance away, because a later blind write makes it *either*. So it is used
//! only
//! - if it is the operation that returns;
//! - if an open operation that is not done needs its value, directly or by way of an indefinite
//!   compare-and-set;
//! - if an open mismatch needs any other value than the present one;
//! - if it leads back to the present value while other writes are owed: those then went unseen on the way.

use super::config::Config;
use super::infos::{Infos, Kind};
use super::open::{Open, Slots};
use crate::model::register::{RegisterCall, ValueId};

/// What is worth writing in one configuration.
pub(super) struct Wants<'p> {
    open: &'p Open,
    state: ValueId,
    undone: Slots,
    /// Definite writes that have not been used and are not *either*.
    pub(super) owed: bool,
    any_other: bool,
    /// Values from which an indefinite compare-and-set leads to a wanted one.
    steps: Vec<ValueId>,
}

impl<'p> Wants<'p> {
    pub(super) fn new(open: &'p Open, infos: &Infos, config: &Config) -> Self {
        let undone = !config.done;
        let mut wants = Wants {
            open,
            state: config.state,
            undone,
            owed: open.writes & undone & !config.either != 0,
            any_other: open.of(config.state).differs & undone != 0,
            steps: Vec::new(),
        };
        wants.close(infos, config);
        wants
    }

    /// Goes back over indefinite compare-and-sets until nothing changes.
    fn close(&mut self, infos: &Infos, config: &Config) {
        loop {
            let before = self.steps.len();
            for (place, kind) in infos.kinds().iter().enumerate() {
                if let RegisterCall::Cas(from, to) = kind.call
                    && is_left(infos, config, place, kind)
                    && !self.steps.contains(&from)
                    && self.includes(to)
                {
                    self.steps.push(from);
                }
            }
            if self.steps.len() == before {
                return;
            }
        }
    }

    /// Is it worth having `value`?
    pub(super) fn includes(&self, value: ValueId) -> bool {
        let named = self.open.of(value);
        (named.reads | named.expects) & self.undone != 0
            || self.any_other && value != self.state
            || self.owed && value == self.state
            || self.steps.contains(&value)
    }
}

/// Is an indefinite operation of this kind left?
pub(super) fn is_left(infos: &Infos, config: &Config, place: usize, kind: &Kind) -> bool {
    kind.count > 0 && (infos.unlimited || config.used(place) < kind.count)
}
