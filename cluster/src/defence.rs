//! The defences of the cluster, each of which can be left out: what a real engineer might forget, and what a
//! harness must notice.
//!
//! A cluster with all of them is *hardened*. Leaving one out is a weakness; where a second defence would mask
//! it, a weakness leaves out both. `docs/weaknesses.md` has the faults that expose each.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One defence. The documentation of each says what happens *with* it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Defence {
    /// Client: a write is sent with `WAIT`.
    Wait,
    /// Client: the number that `WAIT` returns is looked at.
    WaitCount,
    /// Client: a read appends to the replication stream and waits for a replica, as a write does.
    ReadBarrier,
    /// Client and server: an operation checks the epoch of the data it touches, before and after.
    EpochCheck,
    /// Client: a call is tried once; what is indefinite stays so.
    SingleAttempt,
    /// Client: a call goes to the owner that the present ring names.
    RingRefresh,
    /// Server: an operation on a key that the shard does not own is refused.
    OwnershipCheck,
    /// Client: a new epoch ends every call to the master of the old one.
    FollowMaster,
    /// Agent: a new master needs the votes of as many nodes as every acknowledged write must meet.
    Votes,
    /// Agent: a vote counts only from the server run that was registered.
    RunIds,
    /// Agent: votes compare epoch and sequence number of the data, not byte offsets.
    Positions,
    /// Agent: a master of an older epoch is stopped on its own node before it votes.
    Fence,
    /// Agent: a replica leaves the old master before it votes.
    Park,
    /// Agent: a restarted Redis counts again only when it holds what the master held.
    Admission,
    /// Agent: after a pause it looks again before it acts.
    Recheck,
    /// Agent: that a master may serve is settled by its voters, not by a clock of its agent.
    NoOwnClock,
    /// Lock: what a lock guards refuses tokens older than one it has seen.
    FencingToken,
    /// Lock: a token is a transaction id, which never goes back.
    TransactionToken,
    /// Group: members are read from ZooKeeper at every call.
    FreshMembers,
    /// Group: a read of the members comes after a write on the same session.
    WriteBeforeRead,
    /// Group: a member counts as joined when its znode belongs to the present session.
    OwnedMembership,
    /// Group: leaving waits for a rejoin that is under way.
    JoinedClose,
}

impl Defence {
    /// Every defence.
    pub const ALL: [Defence; 22] = [
        Defence::Wait,
        Defence::WaitCount,
        Defence::ReadBarrier,
        Defence::EpochCheck,
        Defence::SingleAttempt,
        Defence::RingRefresh,
        Defence::OwnershipCheck,
        Defence::FollowMaster,
        Defence::Votes,
        Defence::RunIds,
        Defence::Positions,
        Defence::Fence,
        Defence::Park,
        Defence::Admission,
        Defence::Recheck,
        Defence::NoOwnClock,
        Defence::FencingToken,
        Defence::TransactionToken,
        Defence::FreshMembers,
        Defence::WriteBeforeRead,
        Defence::OwnedMembership,
        Defence::JoinedClose,
    ];

    /// Its name in settings.
    pub fn name(self) -> &'static str {
        match self {
            Defence::Wait => "wait",
            Defence::WaitCount => "wait-count",
            Defence::ReadBarrier => "read-barrier",
            Defence::EpochCheck => "epoch-check",
            Defence::SingleAttempt => "single-attempt",
            Defence::RingRefresh => "ring-refresh",
            Defence::OwnershipCheck => "ownership-check",
            Defence::FollowMaster => "follow-master",
            Defence::Votes => "votes",
            Defence::RunIds => "run-ids",
            Defence::Positions => "positions",
            Defence::Fence => "fence",
            Defence::Park => "park",
            Defence::Admission => "admission",
            Defence::Recheck => "recheck",
            Defence::NoOwnClock => "no-own-clock",
            Defence::FencingToken => "fencing-token",
            Defence::TransactionToken => "transaction-token",
            Defence::FreshMembers => "fresh-members",
            Defence::WriteBeforeRead => "write-before-read",
            Defence::OwnedMembership => "owned-membership",
            Defence::JoinedClose => "joined-close",
        }
    }
}

impl fmt::Display for Defence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Defence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Defence::ALL.into_iter().find(|defence| defence.name() == text).ok_or_else(|| {
            let names: Vec<_> = Defence::ALL.iter().map(|defence| defence.name()).collect();
            format!("unknown defence `{text}`: use any of {}", names.join(", "))
        })
    }
}

impl From<Defence> for String {
    fn from(defence: Defence) -> Self {
        defence.name().to_owned()
    }
}

impl TryFrom<String> for Defence {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The defences that are left out; none by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Without(BTreeSet<Defence>);

impl Without {
    /// Nothing is left out: hardened.
    pub fn nothing() -> Self {
        Without::default()
    }

    /// Whether a defence is in place.
    pub fn defends(&self, defence: Defence) -> bool {
        !self.0.contains(&defence)
    }

    /// Whether all are in place.
    pub fn is_hardened(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Defence> for Without {
    fn from_iter<T: IntoIterator<Item = Defence>>(defences: T) -> Self {
        Without(defences.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_defence_reads_back_from_its_name() {
        for defence in Defence::ALL {
            assert_eq!(defence.name().parse::<Defence>(), Ok(defence));
        }
        let message = "moat".parse::<Defence>().unwrap_err();
        assert!(message.contains("unknown defence `moat`: use any of wait, "), "{message}");
    }

    #[test]
    fn what_is_left_out_is_a_list_of_names() {
        let without: Without = [Defence::Votes, Defence::Wait].into_iter().collect();
        assert_eq!(serde_json::to_string(&without).unwrap(), r#"["wait","votes"]"#);
        assert!(!without.defends(Defence::Wait) && without.defends(Defence::Fence));
        assert!(serde_json::from_str::<Without>(r#"["moat"]"#).is_err());
    }
}
