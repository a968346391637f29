//! The order of versions, as far as it is known.

use rustc_hash::FxHashMap;

use super::super::findings::Findings;
use super::super::graph::{Hop, View};
use super::super::read_in::Txns;
use super::super::scc::components;
use super::super::{KeyOrder, Trouble};
use super::edges::{INITIAL, Registers, links_by_read};
use crate::{OpEnd, Process};

/// Of two versions of a key the first comes before the second. Versions are places among the writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) key: u32,
    pub(super) from: u32,
    pub(super) to: u32,
    /// Because the writer of the second had read the first?
    pub(super) by_read: bool,
}

/// A transaction's meeting with a version: it read it, or it wrote it.
struct Meeting {
    key: u32,
    version: u32,
    txn: u32,
}

/// All links that are known or taken for granted, in order.
pub(super) fn links(txns: &Txns<'_>, registers: &Registers, keys: KeyOrder) -> Vec<Link> {
    let mut links = links_by_read(registers);
    match keys {
        KeyOrder::Inferred => {}
        KeyOrder::Sequential => by_process(txns, registers, &mut links),
        KeyOrder::Linearizable => by_time(txns, registers, &mut links),
    }
    // A link by a read says more than the same one otherwise.
    links.sort_unstable_by_key(|link| (link.key, link.from, link.to, !link.by_read));
    links.dedup_by_key(|link| (link.key, link.from, link.to));
    links
}

/// Every acknowledged meeting with a version that was written, in order of key and call.
fn meetings(txns: &Txns<'_>, registers: &Registers) -> Vec<Meeting> {
    let read = registers.reads.iter().filter(|read| read.version != INITIAL);
    let read = read.map(|read| Meeting { key: read.key, version: read.version, txn: read.txn });
    let keys = (0..txns.keys.len() as u32).filter(|&key| registers.writes.is_clear(key));
    let written = keys.flat_map(|key| registers.writes.range(key).map(move |version| (key, version)));
    let written = written.filter_map(|(key, version)| {
        let write = registers.writes.all[version];
        let counts = write.is_last && txns.end(write.txn) == OpEnd::Ok;
        counts.then_some(Meeting { key, version: version as u32, txn: write.txn })
    });
    let mut all: Vec<Meeting> = read.chain(written).collect();
    // Within a transaction what it read comes before what it made.
    all.sort_by_key(|meeting| {
        let makes = registers.txn(meeting.version) == meeting.txn;
        (meeting.key, meeting.txn, makes)
    });
    all
}

/// What a process met of a key earlier comes before what it met later.
fn by_process(txns: &Txns<'_>, registers: &Registers, links: &mut Vec<Link>) {
    let mut latest: FxHashMap<(Process, u32), u32> = FxHashMap::default();
    for Meeting { key, version, txn } in meetings(txns, registers) {
        let process = txns.history.ops[txn as usize].process;
        if let Some(from) = latest.insert((process, key), version)
            && from != version
        {
            links.push(Link { key, from, to: version, by_read: false });
        }
    }
}

/// The time in which a version was met.
struct Zone {
    version: u32,
    /// The first return of a transaction that met it, and the last call of one.
    first_return: u64,
    last_call: u64,
}

/// What was met by someone who had returned comes before what was met by someone called later. The links among the
/// zones of one key are thinned out: each version is linked to those before it that none between separates.
fn by_time(txns: &Txns<'_>, registers: &Registers, links: &mut Vec<Link>) {
    let meetings = meetings(txns, registers);
    for of_key in meetings.chunk_by(|one, other| one.key == other.key) {
        let mut zones: FxHashMap<u32, Zone> = FxHashMap::default();
        for meeting in of_key {
            let (call, ret) = txns.spans[meeting.txn as usize];
            let zone = Zone { version: meeting.version, first_return: ret, last_call: call };
            let zone_of = zones.entry(meeting.version).or_insert(zone);
            zone_of.first_return = zone_of.first_return.min(ret);
            zone_of.last_call = zone_of.last_call.max(call);
        }
        let mut zones: Vec<Zone> = zones.into_values().collect();
        zones.sort_unstable_by_key(|zone| zone.first_return);
        link_zones(of_key[0].key, &zones, links);
    }
}

/// `zones` are in order of their first returns.
fn link_zones(key: u32, zones: &[Zone], links: &mut Vec<Link>) {
    // The two latest calls among the first i zones, by place.
    let mut latest: Vec<[Option<usize>; 2]> = vec![[None; 2]];
    for (i, zone) in zones.iter().enumerate() {
        let later = |other: Option<usize>| other.is_none_or(|other| zones[other].last_call < zone.last_call);
        let [first, second] = latest[i];
        latest.push(match (later(first), later(second)) {
            (true, _) => [Some(i), first],
            (false, true) => [first, Some(i)],
            (false, false) => [first, second],
        });
    }
    for (i, zone) in zones.iter().enumerate() {
        let before = zones.partition_point(|other| other.first_return < zone.last_call);
        let Some(last) = latest[before].into_iter().flatten().find(|&other| other != i) else { continue };
        let first = zones.partition_point(|other| other.first_return < zones[last].last_call);
        let direct = (first..before).chain([last]).filter(|&other| other != i);
        links.extend(direct.map(|other| Link {
            key,
            from: zones[other].version,
            to: zone.version,
            by_read: false,
        }));
    }
}

/// Versions and the links between them.
struct Versions<'l> {
    links: &'l [Link],
    starts: Vec<u32>,
}

impl View for Versions<'_> {
    fn len(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    fn next(&self, vertex: u32, cursor: &mut u32) -> Option<Hop> {
        let at = self.starts[vertex as usize] + *cursor;
        *cursor += 1;
        (at < self.starts[vertex as usize + 1]).then(|| Hop::along(self.links[at as usize].to))
    }

    fn row(&self, vertex: u32) -> Option<u32> {
        Some(vertex)
    }

    fn plain(&self, vertex: u32) -> u32 {
        vertex
    }
}

/// Tells of versions that come before themselves, and leaves out the links between those.
pub(super) fn drop_circles(
    txns: &Txns<'_>,
    registers: &Registers,
    links: &mut Vec<Link>,
    findings: &mut Findings,
) {
    let mut by_version: Vec<Link> = links.iter().copied().filter(|link| link.from != INITIAL).collect();
    by_version.sort_unstable_by_key(|link| link.from);
    let mut starts = vec![0u32; registers.writes.all.len() + 1];
    for link in &by_version {
        starts[link.from as usize + 1] += 1;
    }
    for i in 1..starts.len() {
        starts[i] += starts[i - 1];
    }
    let view = Versions { links: &by_version, starts };
    let Some(circles) = components(&view, 0..view.len(), |_, _| true, &|| false) else { return };
    let mut circle_of: FxHashMap<u32, usize> = FxHashMap::default();
    for (number, versions) in circles.iter().enumerate() {
        circle_of.extend(versions.iter().map(|&version| (version, number)));
        let key = by_version.iter().find(|link| link.from == versions[0]).map_or(0, |link| link.key);
        let mut who: Vec<u32> = versions.iter().map(|&version| registers.txn(version)).collect();
        who.sort_unstable();
        findings.note(txns, Trouble::CyclicVersions, key, &who, || {
            let values: Vec<String> = versions
                .iter()
                .map(|&version| txns.codes.text(registers.writes.all[version as usize].code))
                .collect();
            let values = values.join(", ");
            format!("of the values {values} of {} each was there before the other ones", txns.key_text(key))
        });
    }
    links.retain(|link| {
        let circle = circle_of.get(&link.from);
        circle.is_none() || circle != circle_of.get(&link.to)
    });
}
