//! The names of everything that can be wrong, each with what it means.
//!
//! Every checker of this crate names its findings from this table, whatever the object; `docs/anomalies.md` has a
//! drawn example of each.

/// Name and meaning of every anomaly.
pub const ALL: &[(&str, &str)] = &[
    ("fabricated-value", "a value was seen that nobody put there"),
    ("aborted-read", "the value of an operation that had failed was seen"),
    ("value-of-another-key", "a value was seen that was only ever put to another key"),
    (
        "stale-read",
        "something was seen that was certainly out of date, or was not seen although it was certainly there",
    ),
    ("future-read", "something was seen before anybody had begun to put it there"),
    ("lost-update", "an acknowledged change left no trace where it had to"),
    ("lost-element", "an acknowledged element is missing from everything that was seen later"),
    ("lost-value", "an acknowledged value never came out of its queue"),
    ("resurrected-element", "an element that had been removed was back, and nobody had added it again"),
    ("duplicated-element", "an element was seen more often than it was put in"),
    ("duplicated-value", "a value came out of a queue more often than it was put in"),
    ("duplicated-count", "two changes of a counter found, or made, one and the same count"),
    ("reordered-elements", "two views disagree on what came first, or one contradicts the order of calls"),
    ("reordered-values", "a queue gave out what came later before what came earlier"),
    ("incomparable-reads", "of two views of a set each lacked something that the other one had"),
    ("false-empty", "a queue was said to be empty while something was in it"),
    ("split-cas", "two compare-and-sets replaced one and the same value"),
    ("cas-cycle", "compare-and-sets each built on another one's value, with no beginning"),
    ("false-mismatch", "a compare-and-set was refused though its expected value was there all the while"),
    ("went-back", "a counter that only goes up was seen to go down"),
    ("two-holders", "a mutex was granted while another process held it"),
    ("release-without-hold", "a mutex was given back by a process that did not hold it"),
    ("token-reused", "a fencing token was granted twice"),
    ("token-went-back", "a fencing token was granted after a greater one"),
    ("token-never-granted", "a store accepted a fencing token that nobody had been granted"),
    ("stale-token-accepted", "a store accepted a fencing token after a greater one"),
    ("phantom-update", "a guarded counter had a value that no write can have made by then"),
    ("two-leaders", "two leaders were told of in one epoch"),
    ("epoch-went-back", "an epoch was told of after a later one was known"),
    ("resigned-leader", "a leader was told of after it had resigned"),
    ("overlapping-leases", "another leader was told of before a lease ran out that nobody gave back"),
    ("member-missing", "a member was not listed in the middle of an unbroken stay"),
    ("ghost-member", "somebody was listed who had left, or had never joined"),
    ("member-resurrected", "a stay that was over was listed again"),
    ("member-twice", "one member was listed twice"),
    ("wrong-total", "money was made or lost"),
    ("negative-balance", "an account was overdrawn"),
    ("missing-account", "an account was not in every view of the bank"),
    ("read-your-writes", "a client did not see what it had written itself"),
    ("monotonic-reads", "a client saw something older than it had seen before"),
    ("monotonic-writes", "one client's writes were made, or seen, in another order than it called them"),
    ("writes-follow-reads", "a write was made, or seen, before what its client had read by then"),
    ("non-linearizable", "none of these, and yet no order of the operations explains what they saw"),
];

/// What a name means; none for one that this crate does not give.
pub fn meaning(name: &str) -> Option<&'static str> {
    ALL.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}
