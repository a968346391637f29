//! The definite operations that are open, as bits.

use crate::model::Entry;
use crate::model::register::{RegisterCall, ValueId};

/// Open definite operations as bits.
pub(super) type Slots = u128;

/// Open operations that name a value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Named {
    pub(super) reads: Slots,
    pub(super) writes: Slots,
    pub(super) differs: Slots,
    /// Compare-and-sets that expect it.
    pub(super) expects: Slots,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    entry: u32,
    call: RegisterCall,
    ret: u64,
    /// Slots of equal calls that return earlier.
    before: Slots,
}

/// What was open at some time.
#[derive(Debug, Clone)]
pub(super) struct OpenPicture {
    slots: Vec<Slot>,
    used: Slots,
}

/// What is open.
pub(super) struct Open {
    slots: Vec<Slot>,
    used: Slots,
    by_value: Vec<Named>,
    pub(super) reads: Slots,
    pub(super) mismatches: Slots,
    pub(super) writes: Slots,
    pub(super) cas: Slots,
}

impl Open {
    pub(super) fn new(entries: &[Entry<RegisterCall>]) -> Self {
        let by_value = vec![Named::default(); super::values_len(entries)];
        Open { slots: Vec::new(), used: 0, by_value, reads: 0, mismatches: 0, writes: 0, cas: 0 }
    }

    /// Bytes that stay the same all the time.
    pub(super) fn bytes(&self) -> u64 {
        (self.by_value.len() * size_of::<Named>() + size_of::<Slot>() * Slots::BITS as usize) as u64
    }

    /// There are these values too.
    pub(super) fn name(&mut self, values: &[ValueId]) {
        let len = values.iter().map(|&value| value as usize + 1).max().unwrap_or(0);
        self.by_value.resize(self.by_value.len().max(len), Named::default());
    }

    /// Opens an entry; none when there is no slot left.
    pub(super) fn call(&mut self, i: usize, entry: &Entry<RegisterCall>) -> Option<()> {
        let slot = (!self.used).trailing_zeros() as usize;
        if slot == Slots::BITS as usize {
            return None;
        }
        let bit: Slots = 1 << slot;
        let mut new = Slot { entry: i as u32, call: entry.call, ret: entry.ret, before: 0 };
        for other in bits(self.used) {
            let there = &mut self.slots[other];
            if there.call == new.call {
                if there.ret < new.ret {
                    new.before |= 1 << other;
                } else {
                    there.before |= bit;
                }
            }
        }
        match self.slots.get_mut(slot) {
            Some(place) => *place = new,
            None => self.slots.push(new),
        }
        self.used |= bit;
        self.masks(entry.call, |mask| *mask |= bit);
        Some(())
    }

    /// The slot of an entry that returns.
    pub(super) fn slot_of(&self, i: usize) -> Option<usize> {
        bits(self.used).find(|&slot| self.slots[slot].entry as usize == i)
    }

    /// Frees the slot of an operation that returned.
    pub(super) fn free(&mut self, slot: usize) {
        let bit: Slots = 1 << slot;
        self.used &= !bit;
        for other in bits(self.used) {
            self.slots[other].before &= !bit;
        }
        self.masks(self.slots[slot].call, |mask| *mask &= !bit);
    }

    fn masks(&mut self, call: RegisterCall, change: impl Fn(&mut Slots)) {
        match call {
            RegisterCall::Read(value) => {
                change(&mut self.reads);
                change(&mut self.by_value[value as usize].reads);
            }
            RegisterCall::Differs(value) => {
                change(&mut self.mismatches);
                change(&mut self.by_value[value as usize].differs);
            }
            RegisterCall::Write(value) => {
                change(&mut self.writes);
                change(&mut self.by_value[value as usize].writes);
            }
            RegisterCall::Cas(expected, _) => {
                change(&mut self.cas);
                change(&mut self.by_value[expected as usize].expects);
            }
        }
    }

    /// What is open now, to come back to.
    pub(super) fn picture(&self) -> OpenPicture {
        OpenPicture { slots: self.slots.clone(), used: self.used }
    }

    /// Goes back.
    pub(super) fn restore(&mut self, picture: OpenPicture) {
        for slot in bits(self.used) {
            self.masks(self.slots[slot].call, |mask| *mask &= !(1 << slot));
        }
        (self.slots, self.used) = (picture.slots, picture.used);
        for slot in bits(self.used) {
            self.masks(self.slots[slot].call, |mask| *mask |= 1 << slot);
        }
    }

    /// What names `value`.
    pub(super) fn of(&self, value: ValueId) -> &Named {
        &self.by_value[value as usize]
    }

    pub(super) fn call_in(&self, slot: usize) -> RegisterCall {
        self.slots[slot].call
    }

    pub(super) fn entry(&self, slot: usize) -> u32 {
        self.slots[slot].entry
    }

    /// Of each different call among `slots` the one that returns first.
    pub(super) fn first_of_each(&self, slots: Slots) -> impl Iterator<Item = usize> {
        bits(slots).filter(move |&slot| self.slots[slot].before & slots == 0)
    }

    /// All entries that are open.
    pub(super) fn entries(&self) -> impl Iterator<Item = usize> {
        bits(self.used).map(|slot| self.slots[slot].entry as usize)
    }
}

/// The values a call names.
pub(super) fn values(call: RegisterCall) -> impl Iterator<Item = ValueId> {
    let differs = match call {
        RegisterCall::Differs(value) => Some(value),
        _ => None,
    };
    call.needs().into_iter().chain(call.writes()).chain(differs)
}

/// The slots in a set, lowest first.
pub(crate) fn bits(mut slots: Slots) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let slot = slots.trailing_zeros() as usize;
        (slots != 0).then(|| {
            slots &= slots - 1;
            slot
        })
    })
}
