//! What shows that a message was altered, and what servers write into their logs when one makes no sense to them. Read off
//! Redis 7.0 and ZooKeeper 3.8. In 123 runs in which processes were killed and halted, links were cut and slow, clocks wrong and
//! disks failing, none of these lines was written but one: a ZooKeeper server that had been killed in a loop found digests that
//! did not match while it replayed its log.

use crate::arena::Part;

/// Of the evidence of a fault: how many messages it meant.
pub const MEANT: &str = "messages meant";
/// Of the evidence of a fault: how many it altered.
pub const ALTERED: &str = "messages altered";
/// Of the evidence of a fault: of how many altered ones the receiver has acknowledged what came in their place; those that were
/// kept from it count.
pub const ARRIVED: &str = "of these arrived";
/// Of the evidence of a fault: that a process ended which nobody had killed, and how.
pub const ENDED: &str = "ended by itself";
/// Of the evidence of a fault: what a process wrote.
pub const SAID: &str = "said";

/// Lines that are told of one process; more would say the same.
const LINES_MAX: usize = 3;

const REDIS: [&str; 9] = [
    "rotocol error",
    "== CRITICAL ==",
    "master stream corruption",
    "Bad protocol from MASTER",
    "Wrong RDB checksum",
    "Internal error in RDB",
    "Unexpected EOF reading RDB",
    "corruption detected",
    "Bad data format",
];
const ZOOKEEPER: [&str; 12] = [
    "but next pending txn",
    "without seeing txn",
    "not first!",
    "Trying to commit future proposal",
    "First digest mismatch",
    "Digests are not matching",
    "CRC check failed",
    "CRC corruption",
    "Len error",
    "Unreasonable",
    "Received packet with invalid packet",
    "Invalid configLength",
];

/// The lines of a log in which a process of this kind complains of a message: the first of each kind.
pub fn complaints(part: Part, log: &str) -> Vec<&str> {
    let words: &[&str] = match part {
        Part::Redis => &REDIS,
        Part::ZooKeeper => &ZOOKEEPER,
        Part::Agent | Part::Client => &[],
    };
    let mut found: Vec<(usize, &str)> = words
        .iter()
        .filter_map(|word| log.lines().enumerate().find(|(_, line)| line.contains(word)))
        .map(|(at, line)| (at, line.trim()))
        .collect();
    found.sort_unstable();
    found.dedup();
    found.truncate(LINES_MAX);
    found.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_each_kind_is_told_in_order() {
        let log = "1:S 28 Nov 2026 10:31:14.120 * MASTER <-> REPLICA sync started\n\
                   1:S 28 Nov 2026 10:31:14.123 # Protocol error (unauthenticated bulk length) from client: …\n\
                   1:S 28 Nov 2026 10:31:14.124 # Protocol error (invalid bulk length) from client: …\n\
                   1:S 28 Nov 2026 10:31:14.125 # Wrong RDB checksum expected: (1) but got (2). Aborting now.\n";
        let told = complaints(Part::Redis, log);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].contains("unauthenticated") && told[1].contains("Aborting"), "{told:?}");
        assert!(complaints(Part::ZooKeeper, log).is_empty());
        assert!(complaints(Part::Client, log).is_empty());
    }
}
