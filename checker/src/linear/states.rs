//! Every state once, by number, and every step that was taken.

use rustc_hash::FxHashMap;

use crate::model::Model;

/// No state.
pub(super) const NONE: u32 = u32::MAX;

/// States by number, with their steps.
pub(super) struct States<M: Model> {
    numbers: FxHashMap<M::State, u32>,
    all: Vec<M::State>,
    steps: FxHashMap<u64, u32>,
    /// Bytes of the states themselves.
    heavy: u64,
}

impl<M: Model> States<M> {
    /// With `init` as number 0.
    pub(super) fn new(model: &M, init: M::State) -> Self {
        let mut states =
            States { numbers: FxHashMap::default(), all: Vec::new(), steps: FxHashMap::default(), heavy: 0 };
        states.number(model, init);
        states
    }

    /// The number of the state after `call`, whose class is `class`; none where it is not possible.
    pub(super) fn step(&mut self, model: &M, state: u32, class: u32, call: &M::Call) -> Option<u32> {
        let key = u64::from(state) << 32 | u64::from(class);
        let next = match self.steps.get(&key) {
            Some(&next) => next,
            None => {
                let next = match model.step(&self.all[state as usize], call) {
                    Some(next) => self.number(model, next),
                    None => NONE,
                };
                self.steps.insert(key, next);
                next
            }
        };
        (next != NONE).then_some(next)
    }

    /// The number of a state.
    pub(super) fn number(&mut self, model: &M, state: M::State) -> u32 {
        if let Some(&number) = self.numbers.get(&state) {
            return number;
        }
        let number = self.all.len() as u32;
        // It is held twice: as a key and by number.
        self.heavy += 2 * (model.state_bytes(&state) + 8) as u64;
        self.numbers.insert(state.clone(), number);
        self.all.push(state);
        number
    }

    /// A state by number.
    pub(super) fn get(&self, number: u32) -> Option<&M::State> {
        self.all.get(number as usize)
    }

    /// Bytes held, at most.
    pub(super) fn bytes(&self) -> u64 {
        self.heavy * 2 + self.steps.capacity() as u64 * 24
    }
}
