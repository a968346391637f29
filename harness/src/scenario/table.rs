//! All scenarios, as the catalogue of message faults numbers them.

use super::seen::Outcome;
use super::{Scenario, quorum, replication, session};

/// In the order in which they are listed and played.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "R1",
        title: "one value altered on the replication link, length kept",
        lies: "",
        expected: Outcome::Silent,
        play: replication::value_edited,
    },
    Scenario {
        id: "R2",
        title: "one value made longer: the replica acknowledges bytes that were never sent",
        lies: "",
        expected: Outcome::Silent,
        play: replication::stream_grown,
    },
    Scenario {
        id: "R3",
        title: "one command doubled, then a reconnection: the next command of that length is skipped",
        lies: "",
        expected: Outcome::Silent,
        play: replication::command_doubled,
    },
    Scenario {
        id: "R6",
        title: "one acknowledgement inflated: WAIT counts a replica that is cut off",
        lies: "",
        expected: Outcome::Silent,
        play: replication::ack_inflated,
    },
    Scenario {
        id: "R8",
        title: "one command replaced by a PING of its length",
        lies: "",
        expected: Outcome::Silent,
        play: replication::command_omitted,
    },
    Scenario {
        id: "R11",
        title: "one bit of the data set flipped during a full synchronisation",
        lies: "",
        expected: Outcome::RejectedCrash,
        play: replication::dump_flipped,
    },
    Scenario {
        id: "Z1",
        title: "the client is told a longer session than the server keeps, and not that it has ended",
        lies: "",
        expected: Outcome::Silent,
        play: session::timeout_raised,
    },
    Scenario {
        id: "Z3",
        title: "a closeSession that the client never sent",
        lies: "",
        expected: Outcome::RejectedClean,
        play: session::session_closed,
    },
    Scenario {
        id: "Z5",
        title: "\"the node exists\" turned into \"created\"",
        lies: "",
        expected: Outcome::Silent,
        play: session::create_forged,
    },
    Scenario {
        id: "Z9",
        title: "the version of a conditional write turned into \"any\"",
        lies: "",
        expected: Outcome::Silent,
        play: session::version_ignored,
    },
    Scenario {
        id: "Q2",
        title: "a COMMIT of the next transaction, to one follower",
        lies: "",
        expected: Outcome::RejectedCrash,
        play: quorum::commit_shifted,
    },
    Scenario {
        id: "Q4",
        title: "PROPOSAL and COMMIT swallowed, ACKs forged, then the leader killed",
        lies: "",
        expected: Outcome::Silent,
        play: quorum::proposals_swallowed,
    },
    Scenario {
        id: "Q9",
        title: "a lagging server elected by a forged zxid, a forged epoch: the others cut their logs",
        lies: "",
        expected: Outcome::Silent,
        play: quorum::laggard_elected,
    },
];
