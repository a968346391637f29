//! Plausible mistakes: each leaves out a defence, or two where one would mask the other.

use crate::defence::{Defence, Without};

/// A mistake a real engineer makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Weakness {
    /// Its name on the command line.
    pub name: &'static str,
    /// What is different.
    pub about: &'static str,
    /// The defences it leaves out.
    pub without: &'static [Defence],
    /// The fault that exposes it.
    pub fault: &'static str,
    /// What a checker then finds.
    pub anomaly: &'static str,
}

/// Every weakness.
pub const WEAKNESSES: &[Weakness] = &[
    Weakness {
        name: "no-wait",
        about: "a write is acknowledged without WAIT",
        without: &[Defence::Wait],
        fault: "the master is isolated together with some of the clients, then healed",
        anomaly: "lost update",
    },
    Weakness {
        name: "wait-ignored",
        about: "WAIT is sent, but the number it returns is not looked at",
        without: &[Defence::WaitCount],
        fault: "the master is isolated together with some of the clients, then healed",
        anomaly: "lost update",
    },
    Weakness {
        name: "local-reads",
        about: "a read is a GET at the master: it appends nothing and waits for nobody",
        without: &[Defence::ReadBarrier],
        fault: "the master is isolated together with some of the clients",
        anomaly: "stale read",
    },
    Weakness {
        name: "promote-without-votes",
        about: "whoever proposes an election makes itself master, with no vote but its own",
        without: &[Defence::Votes],
        fault: "a replica lags; then the master is killed while the other replica is stopped",
        anomaly: "lost update",
    },
    Weakness {
        name: "restarted-votes",
        about: "the vote of a server that was restarted, and is empty, counts",
        without: &[Defence::RunIds],
        fault: "a replica lags, the other is killed and comes back empty, and the master is cut off",
        anomaly: "lost update",
    },
    Weakness {
        name: "no-fence",
        about: "a deposed master is not stopped on its own node; reads are local",
        without: &[Defence::Fence, Defence::ReadBarrier, Defence::FollowMaster, Defence::EpochCheck],
        fault: "the master is cut off from its replicas, not from ZooKeeper, not from the clients",
        anomaly: "stale read",
    },
    Weakness {
        name: "own-clock-lease",
        about: "local reads, safe as long as the master's agent stops it when its own clock says the lease is over",
        without: &[Defence::NoOwnClock, Defence::ReadBarrier, Defence::FollowMaster],
        fault: "the master's agent is stopped while its Redis is cut off from the other servers",
        anomaly: "stale read",
    },
    Weakness {
        name: "old-view",
        about: "an agent that was stopped goes on by what it knew before; local reads",
        without: &[Defence::Recheck, Defence::ReadBarrier, Defence::FollowMaster],
        fault: "the master's Redis and agent are stopped together for longer than a lease",
        anomaly: "stale read",
    },
    Weakness {
        name: "vote-by-offset",
        about: "votes compare replication offsets, whatever history they belong to",
        without: &[Defence::Positions],
        fault: "the master is isolated with many clients that fill its stream; then its successor is lost",
        anomaly: "lost update",
    },
    Weakness {
        name: "late-follow",
        about: "replicas are re-pointed after the new master serves, not before it is chosen",
        without: &[Defence::Park, Defence::FollowMaster],
        fault: "the master's agent is stopped for longer than the others tolerate",
        anomaly: "lost update",
    },
    Weakness {
        name: "early-admission",
        about: "a restarted server counts as a voter as soon as its link was ordered",
        without: &[Defence::Admission, Defence::Park],
        fault: "a replica is restarted while it cannot reach the master, the other lags, the master is lost",
        anomaly: "lost update",
    },
    Weakness {
        name: "blind-retry",
        about: "the client sends a write again when no answer came in time",
        without: &[Defence::SingleAttempt],
        fault: "packets to and from the master are delayed",
        anomaly: "an old value comes back",
    },
    Weakness {
        name: "stale-ring",
        about: "a client keeps the ring it saw first, and servers do not check who owns a key",
        without: &[Defence::RingRefresh, Defence::OwnershipCheck],
        fault: "a shard is added under load",
        anomaly: "lost update, stale read",
    },
    Weakness {
        name: "lock-without-token",
        about: "what a lock guards does not look at the fencing token",
        without: &[Defence::FencingToken],
        fault: "a lock's holder is cut off from ZooKeeper, not from Redis",
        anomaly: "lost update under the lock",
    },
    Weakness {
        name: "lock-sequence-token",
        about: "the fencing token is the number of the lock's znode, which starts anew with its parent",
        without: &[Defence::TransactionToken],
        fault: "the parent of the lock is deleted while nobody waits",
        anomaly: "a token goes back",
    },
    Weakness {
        name: "cached-members",
        about: "get_members answers from what a watch has seen",
        without: &[Defence::FreshMembers],
        fault: "clients are cut off from ZooKeeper",
        anomaly: "a member is missing, a departed one is shown",
    },
    Weakness {
        name: "members-sync-read",
        about: "get_members reads after `sync`, not after a write",
        without: &[Defence::WriteBeforeRead],
        fault: "the ZooKeeper leader is stopped for longer than its followers wait, and goes on",
        anomaly: "a member is missing",
    },
    Weakness {
        name: "member-exists-ok",
        about: "a member's znode that is there already counts as joined, whoever owns it",
        without: &[Defence::OwnedMembership],
        fault: "a member comes back before its old session has expired",
        anomaly: "a live member vanishes",
    },
    Weakness {
        name: "member-close-race",
        about: "leaving does not wait for a rejoin that is under way",
        without: &[Defence::JoinedClose],
        fault: "a member's session is lost just before it leaves",
        anomaly: "a ghost stays",
    },
];

/// Named sets of defences left out, as protocols of the agents and clients.
pub const VARIANTS: &[(&str, &str, &[Defence])] = &[
    (
        "hardened",
        "epochs, votes of a majority, fences, barrier reads: linearizable under every covered fault",
        &[],
    ),
    (
        "course",
        "a lease in ZooKeeper, WAIT on writes, the biggest offset wins; no barrier, no votes by run, no fence",
        &[
            Defence::ReadBarrier,
            Defence::EpochCheck,
            Defence::RunIds,
            Defence::Positions,
            Defence::Fence,
            Defence::Park,
            Defence::Admission,
        ],
    ),
    (
        "naive",
        "no WAIT, local reads, whoever notices first becomes master, nobody is stopped",
        &[
            Defence::Wait,
            Defence::ReadBarrier,
            Defence::EpochCheck,
            Defence::SingleAttempt,
            Defence::OwnershipCheck,
            Defence::Votes,
            Defence::RunIds,
            Defence::Positions,
            Defence::Fence,
            Defence::Park,
            Defence::Admission,
            Defence::FencingToken,
            Defence::OwnedMembership,
        ],
    ),
];

/// The weakness called `name`.
pub fn named(name: &str) -> Result<&'static Weakness, String> {
    WEAKNESSES.iter().find(|weakness| weakness.name == name).ok_or_else(|| {
        let names: Vec<_> = WEAKNESSES.iter().map(|weakness| weakness.name).collect();
        format!("unknown weakness `{name}`: use any of {}", names.join(", "))
    })
}

/// What a variant and some weaknesses leave out together; an unknown variant leaves out nothing.
pub fn without(variant: &str, weaknesses: &[&Weakness]) -> Without {
    let of_variant = VARIANTS.iter().find(|(name, ..)| *name == variant).map_or(&[][..], |(_, _, out)| out);
    of_variant.iter().chain(weaknesses.iter().flat_map(|weakness| weakness.without)).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_read_back() {
        let names: BTreeSet<_> = WEAKNESSES.iter().map(|weakness| weakness.name).collect();
        assert_eq!(names.len(), WEAKNESSES.len());
        assert_eq!(named("no-wait").unwrap().without, [Defence::Wait]);
        assert!(named("moat").unwrap_err().starts_with("unknown weakness `moat`: use any of no-wait, "));
    }

    #[test]
    fn every_defence_is_missed_by_some_weakness() {
        let missed: BTreeSet<_> = WEAKNESSES.iter().flat_map(|weakness| weakness.without).collect();
        let all: BTreeSet<_> = Defence::ALL.iter().collect();
        assert_eq!(missed, all);
    }

    #[test]
    fn hardened_leaves_out_nothing() {
        assert!(without("hardened", &[]).is_hardened());
        let weak = without("hardened", &[named("no-wait").unwrap()]);
        assert!(!weak.defends(Defence::Wait) && weak.defends(Defence::Fence));
        assert!(!without("course", &[]).defends(Defence::Fence));
    }
}
