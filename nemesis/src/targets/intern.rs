//! Names and lists that live as long as the process, each once: a target stays a small value to be copied. There are
//! as many as files of faults name, so that what is never freed stays small.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::Target;

static NAMES: LazyLock<Mutex<HashSet<&'static str>>> = LazyLock::new(Mutex::default);
static LISTS: LazyLock<Mutex<HashSet<&'static [Target]>>> = LazyLock::new(Mutex::default);

pub(super) fn name(name: &str) -> &'static str {
    once(&NAMES, name, || Box::leak(name.into()))
}

pub(super) fn list(list: &[Target]) -> &'static [Target] {
    once(&LISTS, list, || Box::leak(list.into()))
}

fn once<T: ?Sized + Eq + Hash>(
    known: &Mutex<HashSet<&'static T>>,
    wanted: &T,
    make: impl FnOnce() -> &'static T,
) -> &'static T {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(wanted) {
        return found;
    }
    let made = make();
    known.insert(made);
    made
}
