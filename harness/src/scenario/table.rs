//! All scenarios, as the catalogue of message faults numbers them.

use nemesis::byzantine::score::Outcome;

use super::{Scenario, quorum, replication, session};

/// In the order in which they are listed and played.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "R1",
        title: "one value altered on the replication link, length kept",
        lies: r#"[[lie]]
link = "replication"
message = "SET"
when = { key = "k" }
do = "set"
field = "value"
value = "BBBB"
count = 1
"#,
        expected: Outcome::Silent,
        play: replication::value_edited,
    },
    Scenario {
        id: "R2",
        title: "one value made longer: the replica acknowledges bytes that were never sent",
        lies: r#"[[lie]]
link = "replication"
message = "SET"
when = { key = "k" }
do = "set"
field = "value"
value = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
count = 1
"#,
        expected: Outcome::Silent,
        play: replication::stream_grown,
    },
    Scenario {
        id: "R3",
        title: "one command doubled, then a reconnection: the next command of that length is skipped",
        lies: r#"[[lie]]
link = "replication"
message = "SET"
when = { key = "k1" }
do = "duplicate"
count = 1
"#,
        expected: Outcome::Silent,
        play: replication::command_doubled,
    },
    Scenario {
        id: "R6",
        title: "one acknowledgement inflated: WAIT counts a replica that is cut off",
        lies: r#"[[lie]]
link = "replication"
message = "REPLCONF ACK"
do = "add"
field = "offset"
by = 1_000_000_000
count = 1
"#,
        expected: Outcome::Silent,
        play: replication::ack_inflated,
    },
    Scenario {
        id: "R8",
        title: "one command replaced by a PING of its length",
        lies: r#"[[lie]]
link = "replication"
message = "SET"
when = { key = "k" }
do = "idle"
count = 1
"#,
        expected: Outcome::Silent,
        play: replication::command_omitted,
    },
    Scenario {
        id: "R11",
        title: "one bit of the data set flipped during a full synchronisation",
        lies: r#"[[lie]]
link = "replication"
message = "RDB"
do = "flip"
field = "payload"
count = 1
"#,
        expected: Outcome::RejectedCrash,
        play: replication::dump_flipped,
    },
    Scenario {
        id: "Z1",
        title: "the client is told a longer session than the server keeps, and not that it has ended",
        lies: r#"[[lie]]
link = "zk-client"
message = "ConnectResponse"
to = ["c1"]
do = "set"
field = "timeOut"
value = 60_000
"#,
        expected: Outcome::Silent,
        play: session::timeout_raised,
    },
    Scenario {
        id: "Z3",
        title: "a closeSession that the client never sent",
        lies: r#"[[lie]]
link = "zk-client"
message = "getData"
from = ["c1"]
do = "insert"
# A length of eight bytes, xid 0, type -11.
text = "hex:00000008 00000000 fffffff5"
count = 1
"#,
        expected: Outcome::RejectedClean,
        play: session::session_closed,
    },
    Scenario {
        id: "Z5",
        title: "\"the node exists\" turned into \"created\"",
        lies: r#"[[lie]]
link = "zk-client"
message = "reply create2"
when = { err = -110 }
to = ["c1"]
do = "set"
field = "err"
value = 0
# The path that was asked for, its length before it, and a stat of nothing but zeros.
append = "hex:00000006 2f6c65617365 0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000"
"#,
        expected: Outcome::Silent,
        play: session::create_forged,
    },
    Scenario {
        id: "Z9",
        title: "the version of a conditional write turned into \"any\"",
        lies: r#"[[lie]]
link = "zk-client"
message = "setData"
from = ["c1"]
do = "set"
field = "version"
value = -1
"#,
        expected: Outcome::Silent,
        play: session::version_ignored,
    },
    Scenario {
        id: "Q2",
        title: "a COMMIT of the next transaction, to one follower",
        lies: r#"[[lie]]
link = "quorum"
message = "COMMIT"
to = ["<follower>"]
do = "add"
field = "zxid"
by = 1
count = 1
"#,
        expected: Outcome::RejectedCrash,
        play: quorum::commit_shifted,
    },
    Scenario {
        id: "Q4",
        title: "PROPOSAL and COMMIT swallowed, ACKs forged, then the leader killed",
        lies: r#"[[lie]]
link = "quorum"
message = "PROPOSAL"
do = "answer"
# An ACK of that zxid, without data and ids.
text = "hex:00000003{zxid}ffffffffffffffff"

[[lie]]
link = "quorum"
message = "COMMIT"
do = "omit"
"#,
        expected: Outcome::Silent,
        play: quorum::proposals_swallowed,
    },
    Scenario {
        id: "Q9",
        title: "a lagging server elected by a forged zxid, a forged epoch: the others cut their logs",
        lies: r#"[[lie]]
link = "election"
message = "notification"
from = ["<laggard>"]
do = "set"
field = "zxid"
# Of a later epoch by far: the peer takes the laggard for the one that knows most.
value = 0x7f_0000_0000

[[lie]]
link = "election"
message = "notification"
from = ["<peer>"]
to = ["<laggard>"]
do = "set"
field = "zxid"
# What the laggard has itself: it sees no reason to vote for another.
value = <last seen>

[[lie]]
link = "quorum"
message = "ACKEPOCH"
from = ["<peer>"]
do = "set"
field = "currentEpoch"
value = 0
"#,
        expected: Outcome::Silent,
        play: quorum::laggard_elected,
    },
];
