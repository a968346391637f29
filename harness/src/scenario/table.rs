//! All scenarios, as the catalogue of message faults numbers them.

use nemesis::byzantine::score::Outcome;

use super::{Scenario, quorum, replication, session, twins};

/// In the order in which they are listed and played.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "R1",
        title: "one value altered on the replication link, length kept",
        lies: r#"[[lie]]
link = "replication"
way = "to-client"
message = "set"
where = [{ field = "key", is = "k" }]
op.set = { field = "value", to.literal = "BBBB" }
"#,
        expected: Outcome::Silent,
        play: replication::value_edited,
    },
    Scenario {
        id: "R2",
        title: "one value made longer: the replica acknowledges bytes that were never sent",
        lies: r#"[[lie]]
link = "replication"
way = "to-client"
message = "set"
where = [{ field = "key", is = "k" }]
# Longer than the write that comes next, so that the acknowledgement covers that one, too.
op.set = { field = "value", to.literal = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" }
"#,
        expected: Outcome::Silent,
        play: replication::stream_grown,
    },
    Scenario {
        id: "R3",
        title: "one command doubled, then a reconnection: the next command of that length is skipped",
        lies: r#"[[lie]]
link = "replication"
way = "to-client"
message = "set"
where = [{ field = "key", is = "k1" }]
op = "dup"
"#,
        expected: Outcome::Silent,
        play: replication::command_doubled,
    },
    Scenario {
        id: "R6",
        title: "one acknowledgement inflated: WAIT counts a replica that is cut off",
        lies: r#"[[lie]]
link = "replication"
way = "to-server"
message = "replconf-ack"
op.set = { field = "offset", to.add = 1_000_000_000 }
"#,
        expected: Outcome::Silent,
        play: replication::ack_inflated,
    },
    Scenario {
        id: "R8",
        title: "one command replaced by a PING of its length",
        lies: r#"[[lie]]
link = "replication"
way = "to-client"
message = "set"
where = [{ field = "key", is = "k" }]
op = "blank"
"#,
        expected: Outcome::Silent,
        play: replication::command_omitted,
    },
    Scenario {
        id: "R11",
        title: "one bit of the data set flipped during a full synchronisation",
        lies: r#"[[lie]]
link = "replication"
way = "to-client"
message = "rdb-chunk"
op.flip-bit = {}
"#,
        expected: Outcome::RejectedCrash,
        play: replication::dump_flipped,
    },
    Scenario {
        id: "Z1",
        title: "the client is told a longer session than the server keeps, and not that it has ended",
        lies: r#"[[lie]]
link = "zk-client"
way = "to-client"
message = "connect.reply"
receivers = ["c1"]
count = 0
op.set = { field = "timeOut", to.literal = 60_000 }
"#,
        expected: Outcome::Silent,
        play: session::timeout_raised,
    },
    Scenario {
        id: "Z3",
        title: "a closeSession that the client never sent",
        lies: r#"[[lie]]
link = "zk-client"
way = "to-server"
message = "getData"
senders = ["c1"]
# A frame of eight bytes: xid 100, type -11.
op.insert = { bytes = "hex:0000000800000064fffffff5" }
"#,
        expected: Outcome::RejectedClean,
        play: session::session_closed,
    },
    Scenario {
        id: "Z5",
        title: "\"the node exists\" turned into \"created\"",
        lies: r#"[[lie]]
link = "zk-client"
way = "to-client"
message = "create2.reply"
receivers = ["c1"]
where = [{ field = "err", is = -110 }]
op.forge.answer = "success"
"#,
        expected: Outcome::Silent,
        play: session::create_forged,
    },
    Scenario {
        id: "Z9",
        title: "the version of a conditional write turned into \"any\"",
        lies: r#"[[lie]]
link = "zk-client"
way = "to-server"
message = "setData"
senders = ["c1"]
op.set = { field = "version", to = "minus-one" }
"#,
        expected: Outcome::Silent,
        play: session::version_ignored,
    },
    Scenario {
        id: "Q2",
        title: "a COMMIT of the next transaction, to one follower",
        lies: r#"[[lie]]
link = "quorum"
way = "to-client"
message = "COMMIT"
receivers = ["<follower>"]
op.set = { field = "zxid", to.add = 1 }
"#,
        expected: Outcome::RejectedCrash,
        play: quorum::commit_shifted,
    },
    Scenario {
        id: "Q4",
        title: "PROPOSAL and COMMIT swallowed, ACKs forged, then the leader killed",
        lies: r#"[[lie]]
link = "quorum"
way = "to-client"
message = "PROPOSAL"
count = 0
op.forge.answer = "success"

[[lie]]
link = "quorum"
way = "to-client"
message = "COMMIT"
count = 0
op = "omit"
"#,
        expected: Outcome::Silent,
        play: quorum::proposals_swallowed,
    },
    Scenario {
        id: "Q9",
        title: "a lagging server elected by a forged zxid, a forged epoch: the others cut their logs",
        lies: r#"[[lie]]
link = "election"
way = "to-server"
message = "notification"
senders = ["<laggard>"]
count = 0
# Of a later epoch by far: the peer takes the laggard for the one that knows most.
op.set = { field = "zxid", to.literal = 0x7f_0000_0000 }

[[lie]]
link = "election"
way = "to-server"
message = "notification"
senders = ["<peer>"]
receivers = ["<laggard>"]
count = 0
# What the laggard has itself: it sees no reason to vote for another.
op.set = { field = "zxid", to.literal = <last seen> }

[[lie]]
link = "election"
way = "to-client"
message = "notification"
senders = ["<laggard>"]
count = 0
# Of a later epoch by far: the peer takes the laggard for the one that knows most.
op.set = { field = "zxid", to.literal = 0x7f_0000_0000 }

[[lie]]
link = "election"
way = "to-client"
message = "notification"
senders = ["<peer>"]
receivers = ["<laggard>"]
count = 0
# What the laggard has itself: it sees no reason to vote for another.
op.set = { field = "zxid", to.literal = <last seen> }

[[lie]]
link = "quorum"
way = "to-server"
message = "ACKEPOCH"
senders = ["<peer>"]
count = 0
op.set = { field = "currentEpoch", to = "zero" }
"#,
        expected: Outcome::Silent,
        play: quorum::laggard_elected,
    },
    Scenario {
        id: "T1",
        title: "twins: two servers at one address, each met by some of the clients",
        lies: "",
        expected: Outcome::Silent,
        play: twins::at_one_address,
    },
];
