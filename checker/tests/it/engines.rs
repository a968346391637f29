//! The engines against each other and against exhaustive search.

use checker::forward::{self, Forward};
use checker::model::register::{Register, RegisterPart};
use checker::plan::{self, Decision};
use checker::replay;
use checker::unique::{self, Unique};
use checker::{Budget, History};

use crate::oracle;
use crate::random::{Shape, count, history, small};

fn budget() -> Budget {
    Budget::of_states(1_000_000)
}

fn part(history: &History) -> RegisterPart<'_> {
    let places: Vec<usize> = (0..history.ops.len()).collect();
    RegisterPart::new(history, &places).expect("a register")
}

fn explains(part: &RegisterPart<'_>, order: &[usize], what: &str) {
    if let Err(why) = replay(&Register, &part.entries, order) {
        panic!("{what}: the witness is no witness: {why}\n{:?}\n{order:?}", part.entries);
    }
}

/// The answer, its witness looked at.
fn yes(part: &RegisterPart<'_>, decision: Decision, witness: Option<Vec<usize>>, what: &str) -> bool {
    match decision {
        Decision::Legal => {
            explains(part, &witness.expect("a yes has a witness"), what);
            true
        }
        Decision::Illegal(_) | Decision::Exhausted(_) => false,
        Decision::Unknown(deepest) => panic!("{what}: small, and yet undecided: {deepest:?}"),
    }
}

/// Compares everything with everything on `count` random histories; returns how many were legal, and how
/// many had unique values that could not be decided by the fast road.
fn compare(count: u64, shapes: impl Fn(u64) -> Shape) -> (u64, u64) {
    let (mut legal, mut undecided) = (0, 0);
    for seed in 0..count {
        let shape = shapes(seed);
        let history = history(shape, seed);
        let part = part(&history);
        let expected = oracle::linearizable(&history);
        let what = format!("seed {seed}, {shape:?}");
        let picture = || checker::history::draw(&history.ops.iter().collect::<Vec<_>>());
        assert_eq!(
            yes(&part, plan::by_search(&part, &budget()), plan::witness_by_search(&part, &budget()), &what),
            expected,
            "search, {what}\n{}",
            picture()
        );
        match unique::check(&part.entries, part.values_len()) {
            Unique::Legal => {
                let order = unique::witness(&part.entries, part.values_len()).expect("a yes has a witness");
                assert!(expected, "unique says yes, {what}\n{}", picture());
                explains(&part, &order, &what);
            }
            Unique::Illegal(proof) => assert!(!expected, "unique says no, {what}: {proof:?}\n{}", picture()),
            Unique::NotUnique => assert!(!shape.unique, "{what}"),
            Unique::Undecided => undecided += 1,
        }
        legal += u64::from(expected);
    }
    (legal, undecided)
}

#[test]
fn unique_values_are_judged_as_by_exhaustive_search() {
    let (legal, undecided) = compare(count(), |seed| small(seed, true));
    println!("{legal} legal, {undecided} undecided of {}", count());
    assert!(legal > count() / 4 && legal < count() * 4 / 5, "{legal} legal of {}", count());
    assert!(undecided < count() / 20, "{undecided} undecided of {}", count());
}

#[test]
fn repeated_values_are_judged_as_by_exhaustive_search() {
    let (legal, _) = compare(count(), |seed| small(seed, false));
    assert!(legal > count() / 4 && legal < count() * 4 / 5, "{legal} legal of {}", count());
}

#[test]
fn the_forward_passes_are_never_wrong_and_seldom_at_a_loss() {
    let (mut missed, mut found, mut proven, mut survived) = (0, 0, 0, 0);
    for seed in 0..count() {
        let shape = small(seed, seed % 4 == 0);
        let history = history(shape, seed);
        let part = part(&history);
        let picture = || checker::history::draw(&history.ops.iter().collect::<Vec<_>>());
        if forward::beam(&part.entries, 16, 100_000).0 {
            assert!(oracle::linearizable(&history), "a wrong yes, seed {seed}, {shape:?}\n{}", picture());
            survived += 1;
        }
        match (forward::relaxed(&part.entries, 100_000).0, oracle::linearizable(&history)) {
            (Forward::Impossible { .. }, true) => panic!("a wrong no, seed {seed}, {shape:?}\n{}", picture()),
            (Forward::Possible { exact: true }, false) => panic!("a wrong yes, seed {seed}\n{}", picture()),
            (Forward::TooLarge, _) => panic!("too large, seed {seed}, {shape:?}"),
            (Forward::Impossible { .. }, false) => found += 1,
            (Forward::Possible { exact }, legal) => {
                missed += u64::from(!legal);
                proven += u64::from(exact);
            }
        }
    }
    println!("{found} found, {missed} missed, {proven} proven legal, {survived} survived the beam");
    assert!(found > count() / 10 && missed < found / 10 && proven > count() / 10 && survived > count() / 2);
}

#[test]
fn the_history_of_an_atomic_register_is_legal_at_any_length() {
    for seed in 0..60 {
        let shape = Shape {
            ops: 300,
            concurrency: 2 + (seed % 12) as usize,
            unique: true,
            info: (seed % 4) as u32,
            fail: 5,
            wrong: 0,
            reads: 40,
            cas: 30,
        };
        let history = history(shape, seed);
        let part = part(&history);
        let (decision, witness) = (plan::decide(&part, &budget()), plan::witness(&part, &budget()));
        assert!(yes(&part, decision, witness, &format!("seed {seed}")), "seed {seed}");
    }
}

/// Longer than what the engine looks at together: mismatches are fitted into a line of blocks whose past it forgets.
/// Refused compare-and-sets say in some of these that their value was not there, truly or not.
#[test]
fn what_is_decided_in_windows_is_what_a_whole_order_explains() {
    let (mut legal, mut illegal) = (0, 0);
    for seed in 0..8 {
        let claims = seed % 2 == 1;
        let shape = Shape {
            ops: 50_000,
            concurrency: [3, 5, 50][(seed % 3) as usize],
            unique: true,
            info: [0, 5][(seed / 2 % 2) as usize],
            fail: 1,
            wrong: u32::from(seed % 4 == 3),
            reads: 5,
            cas: 30,
        };
        let mut history = history(shape, seed);
        let refused =
            history.ops.iter_mut().filter(|op| op.f == "cas" && op.error.as_deref() == Some("refused"));
        for op in refused.skip(3).step_by(7).take(if claims { 60 } else { 0 }) {
            op.error = Some("mismatch".into());
        }
        let part = part(&history);
        match unique::check(&part.entries, part.values_len()) {
            Unique::Legal => {
                let order = unique::witness(&part.entries, part.values_len()).expect("a yes has a witness");
                explains(&part, &order, &format!("seed {seed}"));
                legal += 1;
            }
            Unique::Illegal(proof) => {
                assert!(claims, "seed {seed}: {proof:?}");
                assert_eq!(unique::witness(&part.entries, part.values_len()), None, "seed {seed}");
                illegal += 1;
            }
            Unique::NotUnique => panic!("seed {seed}: values are unique"),
            Unique::Undecided => assert!(claims, "seed {seed}"),
        }
    }
    assert!(legal >= 4 && illegal >= 1, "{legal} legal, {illegal} illegal");
}
