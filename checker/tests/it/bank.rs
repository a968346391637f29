//! A bank as a whole: orders of transfers, refusals and reads.

use checker::object::bank::LinearizableBank;
use checker::{Budget, Checker, Verdict, history::sketch};

fn verdict(drawing: &str) -> Verdict {
    LinearizableBank.check(&sketch::history(drawing).expect("well drawn"), &Budget::default())
}

fn is_valid(drawing: &str) {
    assert_eq!(verdict(drawing), Verdict::Valid, "{drawing}");
}

fn is_invalid(drawing: &str) {
    let Verdict::Invalid { anomalies } = verdict(drawing) else { panic!("not invalid: {drawing}") };
    assert!(!anomalies[0].ops.is_empty() && anomalies[0].name == "non-linearizable");
}

#[test]
fn a_transfer_that_vanishes_as_a_whole_is_found() {
    let begun = "p0 |-open([9,9])-| |-transfer([0,1,5])-|";
    is_valid(&format!("{begun} |-read()=[4,14]-|"));
    is_invalid(&format!("{begun} |-read()=[9,9]-|"));
    is_invalid(&format!("{begun} |-read()=[4,14]-| |-read()=[9,9]-|"));
    is_invalid(&format!("{begun} |-read()=[14,4]-|"));
}

#[test]
fn a_transfer_that_happens_twice_is_found() {
    is_invalid("p0 |-open([9,9])-| |-transfer([0,1,3])-| |-read()=[3,15]-|");
}

#[test]
fn an_indefinite_transfer_may_happen_late_or_never_but_once() {
    let begun = "p0 |-open([9,9])-| |-transfer([0,1,3])-?\np1                   ";
    is_valid(&format!("{begun}                     |-read()=[9,9]-| |-read()=[6,12]-|"));
    is_valid(&format!("{begun}                     |-read()=[9,9]-| |-read()=[9,9]-|"));
    is_invalid(&format!("{begun}                     |-read()=[6,12]-| |-read()=[9,9]-|"));
    is_invalid(&format!("{begun}                     |-read()=[6,12]-| |-read()=[3,15]-|"));
}

#[test]
fn a_refusal_says_that_the_money_was_not_there() {
    is_valid("p0 |-open([9,9])-| |-transfer([0,1,10])-#");
    is_invalid("p0 |-open([9,9])-| |-transfer([0,1,9])-#");
    is_valid("p0 |-open([9,9])-| |-transfer([0,7,1])-# |-read()=[9,9]-|");
    is_invalid("p0 |-open([9,9])-| |-transfer([0,1,10])-|");
    // Whoever failed for another reason saw nothing.
    is_valid("p0 |-open([9,9])-| |-transfer([0,1,9])-x |-read()=[9,9]-|");
}

#[test]
fn a_bank_is_opened_once_and_is_not_there_before() {
    is_valid("p0 |-open([9,9])-| |-transfer([0,1,3])-| |-open([9,9])-| |-read()=[6,12]-|");
    is_invalid("p0 |-open([9,9])-| |-transfer([0,1,3])-| |-open([9,9])-| |-read()=[9,9]-|");
    is_valid("p0 |-read()=[]-| |-transfer([0,1,3])-# |-open([9,9])-?");
    is_invalid("p0 |-open([9,9])-| |-read()=[]-|");
    is_invalid("p0 |-read()=[9,9]-| |-open([9,9])-|");
}

#[test]
fn what_is_no_bank_is_not_judged() {
    for drawing in ["p0 |-sing()=x-|", "p0 |-transfer(3)-|", "p0 |-read()=3-|", "p0 |-open([x])-|"] {
        assert_eq!(verdict(drawing).word(), "unknown", "{drawing}");
    }
}
