//! Small histories as people draw them, each a rule.

use checker::history::sketch;
use checker::{Anomaly, Budget, Checker, Linearizable, Verdict};

pub fn judge(drawing: &str) -> Verdict {
    let history = sketch::history(drawing).unwrap_or_else(|error| panic!("{error}\n{drawing}"));
    Linearizable.check(&history, &Budget::default())
}

/// The drawing's verdict is `valid`, or it is invalid for the named anomaly.
fn check(drawing: &str, verdict: &str) {
    match judge(drawing) {
        Verdict::Valid => assert_eq!(verdict, "valid", "judged valid:\n{drawing}"),
        Verdict::Unknown { why } => panic!("undecided: {why:?}\n{drawing}"),
        Verdict::Invalid { anomalies } => {
            let names: Vec<&str> = anomalies.iter().map(|anomaly| anomaly.name.as_str()).collect();
            assert_eq!(names, [verdict], "{anomalies:#?}\n{drawing}");
            anomalies.iter().for_each(shown_well);
        }
    }
}

/// An anomaly's own drawing is a history that is invalid, too.
fn shown_well(anomaly: &Anomaly) {
    println!("{}: {}\n{}", anomaly.name, anomaly.reason, anomaly.drawing);
    assert!(anomaly.ops.len() <= 24, "{anomaly:?}");
    assert!(anomaly.ops.is_sorted());
    if !anomaly.drawing.contains('@') {
        assert_eq!(judge(&anomaly.drawing).word(), "invalid", "{}", anomaly.drawing);
    }
}

macro_rules! drawings {
    ($($name:ident: $verdict:literal, $drawing:literal;)*) => {
        $(#[test]
        fn $name() {
            check($drawing, $verdict);
        })*
    };
}

drawings! {
    nothing_at_all_is_valid: "valid", "";

    a_read_before_any_write_sees_nothing: "valid", "
p0 |--r_--|
";
    an_unknown_write_may_take_effect_late: "valid", "
p0 |--w1--?
p1           |--r_--|  |--r1--|
";
    an_unknown_write_may_never_take_effect: "valid", "
p0 |--w1--?
p1           |--r_--|  |--r_--|
";
    an_unknown_write_is_not_taken_back: "stale-read", "
p0 |--w1--?
p1           |--r1--|  |--r_--|
";
    the_picture_of_the_house_reads_a_value_nobody_wrote: "fabricated-value", "
p0 |--w1--?
p1           |--r1--|  |--r0--|     invalid: the write was seen, then unseen
";
    a_write_left_open_may_be_seen: "valid", "
p0 |--w1--
p1           |--r1--|
";
    a_read_beside_a_write_may_see_either: "valid", "
p0 |--w1--|  |-----w2-----|
p1             |--r1--|
p2              |--r2--|
";
    two_reads_beside_a_write_may_not_go_back: "stale-read", "
p0 |--w1--|  |---------w2---------|
p1             |--r2--| |--r1--|
";
    a_read_after_a_write_sees_it: "valid", "
p0 |--w1--|
p1           |--r1--|
";
    a_read_of_the_old_value_after_a_write_returned_is_stale: "stale-read", "
p0 |--w1--|  |--w2--|  |--r2--|
p1                       |--r1--|
p2                                |--r1--|
";
    a_write_that_nobody_ever_sees_is_lost: "lost-update", "
p0 |--w1--|  |--w2--|
p1                      |--r1--|
";
    the_first_write_may_be_lost_too: "lost-update", "
p0 |--w1--|
p1           |--r_--|
";
    a_write_that_sticks_out_of_a_hold_has_room: "valid", "
p0 |--w1--|            |--r1--|
p1       |----w2----|
";
    a_write_wholly_inside_a_hold_has_none: "lost-update", "
p0 |--w1--|            |--r1--|
p1           |--w2--|
";
    two_values_may_not_alternate: "stale-read", "
p0 |-----w1-----|
p1 |-----w2-----|
p2                |--r1--| |--r2--| |--r1--|
";
    readers_must_agree_on_the_order: "stale-read", "
p0 |-----w1-----|
p1 |-----w2-----|
p2                |--r1--| |--r2--|
p3                |--r2--| |--r1--|
";
    a_value_from_nowhere_is_fabricated: "fabricated-value", "
p0 |--w1--|
p1           |--r7--|
";
    a_corrupted_value_is_just_another_value: "fabricated-value", "
p0 |--w1--|
p1           |--r\"1\"--|
";
    a_failed_write_has_no_effect: "valid", "
p0 |--w1--|  |--w2--x
p1                      |--r1--|
";
    the_value_of_a_failed_write_is_an_aborted_read: "aborted-read", "
p0 |--w1--|  |--w2--x
p1                      |--r2--|
";
    a_value_of_another_key_is_named: "value-of-another-key", "
p0 |--w1@a--|  |--w2@b--|
p1                         |--r1@b--|
";
    keys_do_not_meet: "valid", "
p0 |--w1@a--|  |--w2@b--|
p1                         |--r1@a--|  |--r2@b--|
";
    a_value_is_not_read_before_it_is_written: "future-read", "
p0             |--w1--|
p1 |--r1--|
";
    a_cas_moves_on_from_the_value_it_expects: "valid", "
p0 |--w1--|  |--c1>2--|
p1                       |--r2--|
";
    a_cas_from_nothing_is_a_first_write: "valid", "
p0 |--c_>1--|
p1             |--r1--|
";
    two_cas_from_nothing_cannot_both_win: "split-cas", "
p0 |--c_>1--|
p1     |--c_>2--|
";
    two_cas_from_one_value_cannot_both_win: "split-cas", "
p0 |--w1--|  |--c1>2--|
p1             |--c1>3--|
";
    two_cas_from_a_value_written_twice_may: "valid", "
p0 |--w1--|  |--c1>2--|  |--w1--|
p1             |----------c1>3------|
";
    the_old_value_after_a_cas_is_stale: "stale-read", "
p0 |--w1--|  |--c1>2--|
p1                       |--r1--|
";
    an_unknown_cas_may_be_seen: "valid", "
p0 |--w1--|  |--c1>2--?
p1                       |--r1--|  |--r2--|
";
    an_unknown_cas_that_was_seen_is_not_taken_back: "stale-read", "
p0 |--w1--|  |--c1>2--?
p1                       |--r2--|  |--r1--|
";
    an_unknown_cas_seen_through_a_chain_of_unknown_ones_counts: "split-cas", "
p0 |--w1--|  |--c1>2--?
p1             |--c2>3--?
p2                       |--r3--|
p3             |--c1>9--|
";
    cas_in_a_circle_cannot_begin: "cas-cycle", "
p0 |--c1>2--|
p1 |--c2>1--|
";
    a_write_between_a_value_and_its_cas_is_lost: "lost-update", "
p0 |--w1--|             |--c1>3--|
p1           |--w2--|
";
    a_cas_may_fail_when_another_value_is_there: "valid", "
p0 |--w1--|
p1           |--c5>2--#
";
    a_cas_may_not_fail_when_its_value_is_there: "false-mismatch", "
p0 |--w1--|
p1           |--c1>2--#
";
    a_refused_cas_says_nothing: "valid", "
p0 |--w1--|
p1           |--c1>2--x
";
    a_write_beside_it_explains_a_mismatch: "valid", "
p0 |--w1--|
p1           |--c1>2--#
p2             |------w3------|
";
    a_write_beside_it_explains_a_mismatch_even_when_it_is_read: "valid", "
p0 |--w1--|
p1           |--c1>2--#
p2             |------w3------|  |--r3--|
";
    an_unknown_write_explains_a_mismatch: "valid", "
p0 |--w1--|
p1             |--c1>2--#
p2   |--w3--?
";
    an_unknown_write_cannot_explain_a_mismatch_when_the_old_value_is_read_after: "false-mismatch", "
p0 |--w1--|              |--r1--|
p1           |--c1>2--#
p2   |--w3--?
";
    two_mismatches_may_share_one_explanation: "valid", "
p0 |--w1--|
p1           |---c1>2---#
p2            |---c1>4---#
p3              |--w3--?
";
    nothing_is_there_before_the_first_write: "valid", "
p0 |--c1>2--#
p1 |---------w1---------|
";
    the_first_value_is_there_from_the_start: "false-mismatch", "
p0 |--c_>2--#
p1              |--w1--|
";
    repeated_values_are_searched: "valid", "
p0 |--w1--|  |--w2--|  |--w1--|
p1                                |--r1--|
";
    repeated_values_do_not_excuse_a_stale_read: "non-linearizable", "
p0 |--w1--|  |--w1--|  |--w2--|
p1                                |--r1--|
";
    a_write_of_nothing_is_a_value_like_others: "valid", "
p0 |--w1--|  |--w_--|
p1                      |--r_--|
";
}

#[test]
fn a_sentence_says_who_saw_what() {
    let Verdict::Invalid { anomalies } = judge(
        "p1 |--w41--|
         p2            |--w42--|
         p3                       |--r42--|
         p7                                  |--r41--|",
    ) else {
        panic!("a stale read")
    };
    assert_eq!(
        anomalies[0].reason,
        "read by process 7 returned 41, although the write of 42 by process 2 had returned before it began, and \
         that write itself began only after the write of 41 by process 1 had returned"
    );
}

#[test]
fn a_value_that_was_returned_before_is_said_so() {
    let Verdict::Invalid { anomalies } = judge(
        "p1 |--w41--|
         p2            |-----------------w42----------------|
         p3                |--r42--|
         p7                            |--r41--|",
    ) else {
        panic!("a stale read")
    };
    assert_eq!(
        anomalies[0].reason,
        "read by process 7 returned 41, although 42 had already been returned to process 3 before it began, and \
         that read itself began only after the write of 41 by process 1 had returned"
    );
}
