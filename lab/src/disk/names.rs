//! Which names a power cut takes back: creations, removals and renames that no sync has made durable.
//!
//! Pure: the file system itself does what is asked at once; here is kept, for each name whose meaning on
//! the medium differs, what it means there.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};

/// Numbers a directory or a file.
pub(crate) type Id = u64;

/// The names whose durable meaning is another than the current one.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// By directory and name: the file it means on the medium, `None` for no file.
    durable: HashMap<(Id, OsString), Option<Id>>,
    /// When the oldest of them was changed, in nanoseconds of the caller's clock.
    since_ns: u64,
}

/// A name to be put back: in `dir`, `name` shall mean `file`, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Restore {
    pub(crate) dir: Id,
    pub(crate) name: OsString,
    pub(crate) file: Option<Id>,
}

impl Names {
    /// Notes that `name` in `dir`, which meant `before`, means `after` from now on.
    pub(crate) fn changed(
        &mut self,
        at_ns: u64,
        dir: Id,
        name: &OsStr,
        before: Option<Id>,
        after: Option<Id>,
    ) {
        if self.is_clean() {
            self.since_ns = at_ns;
        }
        let key = (dir, name.to_owned());
        let durable = *self.durable.entry(key.clone()).or_insert(before);
        if durable == after {
            self.durable.remove(&key);
        }
    }

    /// True if a change has waited since before `at_ns`.
    pub(crate) fn waits_since(&self, at_ns: u64) -> bool {
        !self.is_clean() && self.since_ns < at_ns
    }

    /// Makes every name durable: a commit of the journal.
    pub(crate) fn all_synced(&mut self) {
        self.durable.clear();
    }

    /// Makes the names in `dir` durable.
    pub(crate) fn dir_synced(&mut self, dir: Id) {
        self.durable.retain(|(of, _), _| *of != dir);
    }

    /// Files that have a name on the medium they may not have now: they must be kept.
    pub(crate) fn needed(&self) -> HashSet<Id> {
        self.durable.values().filter_map(|file| *file).collect()
    }

    /// True if every name is durable.
    pub(crate) fn is_clean(&self) -> bool {
        self.durable.is_empty()
    }

    /// What a power cut puts back, sorted; after it nothing is pending.
    pub(crate) fn cut(&mut self) -> Vec<Restore> {
        let mut restores: Vec<Restore> =
            self.durable.drain().map(|((dir, name), file)| Restore { dir, name, file }).collect();
        restores.sort();
        restores
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Act {
        Create(Id, u8),
        Unlink(Id, u8),
        Rename((Id, u8), (Id, u8)),
        Sync(Id),
        Commit,
    }

    fn place() -> impl Strategy<Value = (Id, u8)> {
        (0u64..2, b'a'..b'd')
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            4 => place().prop_map(|(dir, name)| Act::Create(dir, name)),
            3 => place().prop_map(|(dir, name)| Act::Unlink(dir, name)),
            4 => (place(), place()).prop_map(|(from, to)| Act::Rename(from, to)),
            2 => (0u64..2).prop_map(Act::Sync),
            1 => Just(Act::Commit),
        ]
    }

    type Tree = HashMap<(Id, OsString), Id>;

    proptest! {
        /// The naive book keeps two whole trees, one of which a sync copies.
        #[test]
        fn a_cut_gives_the_durable_tree(acts in proptest::collection::vec(act(), 0..40)) {
            let (mut names, mut now, mut medium) = (Names::default(), Tree::new(), Tree::new());
            let key = |(dir, name): (Id, u8)| (dir, OsString::from(String::from(name as char)));
            let mut next = 100;
            for act in acts {
                match act {
                    Act::Create(dir, name) if !now.contains_key(&key((dir, name))) => {
                        next += 1;
                        names.changed(0, dir, &key((dir, name)).1, None, Some(next));
                        now.insert(key((dir, name)), next);
                    }
                    Act::Unlink(dir, name) => {
                        if let Some(file) = now.remove(&key((dir, name))) {
                            names.changed(0, dir, &key((dir, name)).1, Some(file), None);
                        }
                    }
                    Act::Rename(from, to) if from != to => {
                        if let Some(file) = now.remove(&key(from)) {
                            let replaced = now.insert(key(to), file);
                            names.changed(0, from.0, &key(from).1, Some(file), None);
                            names.changed(0, to.0, &key(to).1, replaced, Some(file));
                        }
                    }
                    Act::Create(..) | Act::Rename(..) => {}
                    Act::Sync(dir) => {
                        names.dir_synced(dir);
                        medium.retain(|(of, _), _| *of != dir);
                        medium.extend(now.clone().into_iter().filter(|((of, _), _)| *of == dir));
                    }
                    Act::Commit => {
                        names.all_synced();
                        medium = now.clone();
                    }
                }
                let lost = medium.iter().filter(|(key, file)| now.get(*key) != Some(*file));
                prop_assert_eq!(names.needed(), lost.map(|(_, file)| *file).collect());
            }
            prop_assert_eq!(names.is_clean(), now == medium);
            for Restore { dir, name, file } in names.cut() {
                match file {
                    Some(file) => drop(now.insert((dir, name), file)),
                    None => drop(now.remove(&(dir, name))),
                }
            }
            prop_assert_eq!(now, medium);
        }
    }
}
