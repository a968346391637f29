//! A subtree of ZooKeeper as last seen.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use serde::de::DeserializeOwned;

/// A znode as last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Znode {
    /// Its bytes.
    pub data: Arc<[u8]>,
    /// Version of the data.
    pub version: i32,
    /// Transaction that created it: tells a re-created znode from the one before.
    pub czxid: i64,
    /// Session that owns it, 0 if it is persistent.
    pub owner: i64,
    /// When this version was first seen here.
    pub seen_at: Instant,
}

/// A subtree as last seen, and how fresh that is.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Whether the session is connected and the subtree was read since it was.
    pub connected: bool,
    /// When `connected` last changed.
    pub since: Instant,
    /// Session id, 0 before the first.
    pub session: i64,
    /// Path to znode. A path that is missing does not exist, or was never seen.
    pub nodes: BTreeMap<String, Znode>,
    /// When paths that existed were last seen to vanish.
    pub gone: BTreeMap<String, Instant>,
}

impl Snapshot {
    /// Nothing seen yet.
    pub fn empty(now: Instant) -> Self {
        Snapshot { connected: false, since: now, session: 0, nodes: BTreeMap::new(), gone: BTreeMap::new() }
    }

    /// The record at `path` with its version; none if it is missing or malformed.
    pub fn record<T: DeserializeOwned>(&self, path: &str) -> Option<(T, i32)> {
        let node = self.nodes.get(path)?;
        Some((serde_json::from_slice(&node.data).ok()?, node.version))
    }

    /// Name and record of every direct child of `dir`; malformed ones are left out.
    pub fn children<'a, T: DeserializeOwned>(
        &'a self,
        dir: &'a str,
    ) -> impl Iterator<Item = (&'a str, T, &'a Znode)> {
        let from = format!("{dir}/");
        self.nodes
            .range(from..)
            .map_while(move |(path, node)| Some((path.strip_prefix(dir)?.strip_prefix('/')?, node)))
            .filter(|(name, _)| !name.contains('/'))
            .filter_map(|(name, node)| Some((name, serde_json::from_slice(&node.data).ok()?, node)))
    }

    /// Notes what was read at `path`; a version that is known keeps the time it was first seen.
    pub(super) fn put(&mut self, path: &str, mut node: Znode) {
        if let Some(old) = self.nodes.get(path)
            && old.version == node.version
            && old.czxid == node.czxid
        {
            node.seen_at = old.seen_at;
        }
        self.gone.remove(path);
        self.nodes.insert(path.to_owned(), node);
    }

    /// Notes that `path` is gone.
    pub(super) fn remove(&mut self, path: &str, now: Instant) {
        if self.nodes.remove(path).is_some() {
            self.gone.insert(path.to_owned(), now);
        }
    }

    /// Replaces everything by what a full read has found.
    pub(super) fn replace(&mut self, found: BTreeMap<String, Znode>, now: Instant) {
        let missing: Vec<String> = self.nodes.keys().filter(|p| !found.contains_key(*p)).cloned().collect();
        for path in missing {
            self.remove(&path, now);
        }
        for (path, node) in found {
            self.put(&path, node);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn node(data: &str, version: i32, seen_at: Instant) -> Znode {
        Znode { data: data.as_bytes().into(), version, czxid: 1, owner: 0, seen_at }
    }

    #[test]
    fn a_known_version_keeps_the_time_it_was_first_seen() {
        let start = Instant::now();
        let later = start + Duration::from_millis(300);
        let mut snapshot = Snapshot::empty(start);
        snapshot.put("/a", node("1", 4, start));
        snapshot.put("/a", node("1", 4, later));
        assert_eq!(snapshot.nodes["/a"].seen_at, start);
        snapshot.put("/a", node("2", 5, later));
        assert_eq!(snapshot.nodes["/a"].seen_at, later);
    }

    #[test]
    fn a_full_read_drops_what_it_did_not_find() {
        let start = Instant::now();
        let mut snapshot = Snapshot::empty(start);
        snapshot.put("/a", node("1", 0, start));
        snapshot.put("/b", node("2", 0, start));
        snapshot.replace(BTreeMap::from([("/b".to_owned(), node("2", 0, start))]), start);
        assert!(!snapshot.nodes.contains_key("/a") && snapshot.gone.contains_key("/a"));
        assert!(snapshot.nodes.contains_key("/b"));
    }

    #[test]
    fn children_are_direct_and_well_formed() {
        let now = Instant::now();
        let mut snapshot = Snapshot::empty(now);
        for (path, data) in [("/m", "0"), ("/m/a", "1"), ("/m/b", "x"), ("/m/c/d", "2"), ("/mm/e", "3")] {
            snapshot.put(path, node(data, 0, now));
        }
        let seen: Vec<(&str, u32)> = snapshot.children("/m").map(|(name, n, _)| (name, n)).collect();
        assert_eq!(seen, [("a", 1)]);
    }
}
