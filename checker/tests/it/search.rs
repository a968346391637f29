//! The searches: every way of asking against exhaustive search, and what is said when the budget ends.

use checker::forward::{self, Forward, Mode};
use checker::general::{self, Answer};
use checker::history::sketch;
use checker::linear::local;
use checker::model::register::{NULL, Register, RegisterCall, RegisterPart};
use checker::model::{Entry, Model};
use checker::plan::{self, Decision};
use checker::{Budget, EndedBy, History, Stop, Undecided, replay};

use crate::oracle;
use crate::random::{Shape, count, history, small};

fn part(history: &History) -> RegisterPart<'_> {
    let places: Vec<usize> = (0..history.ops.len()).collect();
    RegisterPart::new(history, &places).expect("a register")
}

fn picture(history: &History) -> String {
    checker::history::draw(&history.ops.iter().collect::<Vec<_>>())
}

/// By trying everything, from a given state; shares nothing with the engines but the model.
fn possible(entries: &[Entry<RegisterCall>], done: u32, state: u32) -> bool {
    let left = |i: usize| done & (1 << i) == 0;
    if (0..entries.len()).all(|i| !left(i) || entries[i].is_optional()) {
        return true;
    }
    (0..entries.len()).filter(|&i| left(i)).any(|i| {
        let in_time = (0..entries.len()).all(|j| !left(j) || entries[j].ret > entries[i].inv);
        in_time
            && Register
                .step(&state, &entries[i].call)
                .is_some_and(|next| possible(entries, done | 1 << i, next))
    })
}

#[test]
fn following_all_configurations_is_exact_and_tells_an_order() {
    let mut legal = 0;
    for seed in 0..count() {
        let history = history(small(seed, seed % 5 == 0), seed);
        let part = part(&history);
        let expected = oracle::linearizable(&history);
        let report = forward::pass_with_order(&part.entries, Mode::Exact, &Budget::default());
        assert_eq!(report.legal(), Some(expected), "seed {seed}\n{}", picture(&history));
        match (report.order, report.at) {
            (Some(order), None) => {
                let replayed = replay(&Register, &part.entries, &order);
                assert!(replayed.is_ok(), "seed {seed}: {replayed:?} {order:?}\n{}", picture(&history));
            }
            (None, Some(at)) => {
                // At the earliest possible return: before it there was an order.
                let until = |end: u64| possible(&until(&part.entries, end), 0, NULL);
                assert!(!until(part.entries[at].ret + 1), "seed {seed}: too early\n{}", picture(&history));
                assert!(until(part.entries[at].ret), "seed {seed}: too late\n{}", picture(&history));
            }
            other => panic!("seed {seed}: {other:?}"),
        }
        legal += u64::from(expected);
    }
    assert!(legal > count() / 4 && legal < count() * 4 / 5, "{legal} legal of {}", count());
}

/// What had happened before the position.
fn until(entries: &[Entry<RegisterCall>], end: u64) -> Vec<Entry<RegisterCall>> {
    let begun = entries.iter().filter(|entry| entry.inv < end);
    let told = begun.filter(|entry| entry.ret < end || entry.call.writes().is_some());
    told.map(|entry| if entry.ret < end { *entry } else { Entry { ret: u64::MAX, ..*entry } }).collect()
}

#[test]
fn counting_late_is_between_relaxed_and_exact() {
    let (mut relaxed, mut late, mut illegal) = (0, 0, 0);
    for seed in 0..count() {
        let history = history(small(seed, false), seed);
        let part = part(&history);
        let expected = oracle::linearizable(&history);
        let says_no = |mode| {
            let report = forward::pass(&part.entries, mode, &Budget::default());
            let no = matches!(report.found, Forward::Impossible { .. });
            assert!(!no || !expected, "{mode:?}, seed {seed}\n{}", picture(&history));
            assert!(report.legal() != Some(true) || expected, "{mode:?}, seed {seed}");
            u64::from(no)
        };
        relaxed += says_no(Mode::Relaxed);
        late += says_no(Mode::Late(seed % 12));
        illegal += u64::from(!expected);
    }
    println!("{relaxed} by relaxing, {late} by relaxing for some time, of {illegal}");
    assert!(relaxed < late && late <= illegal, "{relaxed}, {late}, {illegal}");
}

#[test]
fn a_beam_of_one_finds_orders_that_hold_and_comes_again_when_it_dies() {
    let mut found = 0;
    for seed in 0..count() / 20 {
        let ops = 20 + (seed % 60) as usize;
        let shape = Shape { ops, concurrency: 6, wrong: 0, ..small(seed, false) };
        let history = history(shape, seed);
        let part = part(&history);
        let report = forward::pass_with_order(&part.entries, Mode::Beam(1), &Budget::of_states(200_000));
        let Some(order) = report.order else { continue };
        let replayed = replay(&Register, &part.entries, &order);
        assert!(replayed.is_ok(), "seed {seed}: {replayed:?} {order:?}\n{}", picture(&history));
        found += 1;
    }
    assert!(found > count() / 20 * 9 / 10, "{found} of {}", count() / 20);
}

#[test]
fn the_passes_for_any_model_are_exact() {
    for seed in 0..count() {
        let history = history(small(seed, seed % 5 == 0), seed);
        let part = part(&history);
        let expected = oracle::linearizable(&history);
        let report = local::pass(&Register, &part.entries, &[NULL], &Budget::default());
        assert_eq!(report.legal(), Some(expected), "seed {seed}\n{}", picture(&history));
        let answer = general::judge(&Register, &part.entries, &Budget::default());
        let word = if expected { Answer::Legal } else { Answer::Illegal };
        assert_eq!(answer, word, "seed {seed}\n{}", picture(&history));
    }
}

#[test]
fn the_core_of_any_model_is_illegal_from_every_start_and_has_no_read_too_many() {
    let (mut cores, mut cut) = (0, 0);
    for seed in 0..count() / 10 {
        let shape =
            Shape { ops: 12 + 2 * (seed % 8) as usize, concurrency: 2, info: 3, ..small(seed, false) };
        let history = history(shape, seed);
        let part = part(&history);
        let Some(core) = general::core(&Register, &part.entries, &Budget::default()) else { continue };
        if core.entries.len() > 14 {
            continue;
        }
        let illegal =
            |entries: &[Entry<RegisterCall>]| core.starts.iter().all(|&start| !possible(entries, 0, start));
        assert!(illegal(&core.entries), "seed {seed}: {core:?}\n{}", picture(&history));
        for i in (0..core.entries.len()).filter(|&i| Register.is_pure(&core.entries[i].call)) {
            let mut rest = core.entries.clone();
            rest.remove(i);
            assert!(!illegal(&rest), "seed {seed}: {i} is too many of {core:?}\n{}", picture(&history));
        }
        cores += 1;
        cut += u64::from(core.from.is_some());
    }
    assert!(cores > count() / 100 && cut > 5, "{cores} cores, {cut} without their beginning");
}

/// A legal prefix, as it claims to be.
fn holds(undecided: &Undecided, entries: &[Entry<RegisterCall>]) -> bool {
    let end = undecided.proven_until.map_or(0, |position| position + 1);
    let returned = entries.iter().filter(|entry| entry.ret < end).count();
    assert_eq!(returned, undecided.proven_ops, "{undecided:?}");
    assert!(undecided.window.0 <= undecided.window.1, "{undecided:?}");
    assert!(!undecided.to_string().is_empty());
    possible(&until(entries, end), 0, NULL)
}

#[test]
fn whatever_the_budget_no_answer_is_wrong_and_what_is_proven_holds() {
    let (mut answered, mut ended) = (0, 0);
    for seed in 0..count() / 2 {
        let history = history(small(seed, seed % 5 == 0), seed);
        let part = part(&history);
        let expected = oracle::linearizable(&history);
        let budget = match seed % 4 {
            0 => Budget::of_states(1 + seed % 23),
            1 => Budget::of_bytes(600 + 37 * (seed % 101)),
            2 => Budget { bytes_max: 2_000, ..Budget::of_states(1 + seed % 17) },
            _ => Budget::default(),
        };
        if seed % 4 == 3 {
            budget.stop.raise();
        }
        let unknown = |undecided: &Undecided| {
            assert!(holds(undecided, &part.entries), "seed {seed}: {undecided}\n{}", picture(&history));
        };
        match plan::by_search(&part, &budget) {
            Decision::Legal => assert!(expected, "seed {seed}\n{}", picture(&history)),
            Decision::Illegal(_) | Decision::Exhausted(_) => {
                assert!(!expected, "seed {seed}\n{}", picture(&history));
            }
            Decision::Unknown(undecided) => {
                unknown(&undecided);
                ended += 1;
            }
        }
        match general::judge(&Register, &part.entries, &budget) {
            Answer::Legal => assert!(expected, "seed {seed}\n{}", picture(&history)),
            Answer::Illegal => assert!(!expected, "seed {seed}\n{}", picture(&history)),
            Answer::Unknown(undecided) => unknown(&undecided),
        }
        answered += 1;
    }
    assert!(ended > answered / 20 && ended < answered, "{ended} of {answered} ended early");
}

#[test]
fn an_unknown_says_how_far_it_came_and_what_ended_it() {
    let shape =
        Shape { ops: 400, concurrency: 30, unique: false, info: 10, fail: 0, wrong: 0, reads: 30, cas: 35 };
    let history = history(shape, 5);
    let part = part(&history);
    let stop = Stop::default();
    for (budget, ended_by) in [
        (Budget::of_states(20), EndedBy::States),
        (Budget::of_bytes(17_500), EndedBy::Bytes),
        (Budget { stop: stop.clone(), ..Budget::default() }, EndedBy::Stop),
    ] {
        if ended_by == EndedBy::Stop {
            stop.raise();
        }
        let Decision::Unknown(undecided) = plan::by_search(&part, &budget) else {
            panic!("decided within {budget:?}")
        };
        assert_eq!(undecided.ended_by, ended_by, "{undecided}");
        assert!(undecided.bytes <= budget.bytes_max + budget.bytes_max / 4, "{undecided}");
        if ended_by == EndedBy::States {
            let said = undecided.to_string();
            assert!(said.contains("a legal order exists up to event"), "{said}");
            assert!(said.contains("the search stopped between events"), "{said}");
            assert!(undecided.proven_ops > 0 && !undecided.open.is_empty(), "{undecided:?}");
        }
    }
}

/// Judged by everything there is.
fn all_say(drawing: &str, expected: bool) {
    let history = sketch::history(drawing).expect("well drawn");
    let part = part(&history);
    assert_eq!(oracle::linearizable(&history), expected, "{drawing}");
    for mode in [Mode::Exact, Mode::Beam(1), Mode::Beam(64)] {
        let legal = forward::pass(&part.entries, mode, &Budget::default()).legal();
        assert_eq!(legal, Some(expected), "{mode:?}\n{drawing}");
    }
    for mode in [Mode::Relaxed, Mode::Late(3), Mode::Late(9)] {
        let relaxed = forward::pass(&part.entries, mode, &Budget::default()).found;
        assert!(!expected || matches!(relaxed, Forward::Possible { .. }), "{mode:?}\n{drawing}");
    }
    assert_eq!(plan::by_search(&part, &Budget::default()) == Decision::Legal, expected, "{drawing}");
    assert_eq!(local::pass(&Register, &part.entries, &[NULL], &Budget::default()).legal(), Some(expected));
}

#[test]
fn a_write_of_the_value_that_is_held_may_still_be_needed_later() {
    all_say(
        "p0 |-w1-|             |-r2-| |-r1-|\np1        |----------w1---------|\np2          |-w2-|",
        true,
    );
    all_say("p0 |-w1-|             |-r2-| |-r1-|\np1        |-w1-|\np2               |-w2-|", false);
}

#[test]
fn a_write_of_the_value_that_is_held_hides_others() {
    all_say("p0 |-w1-| |--w1--|\np1        |--w3--|\np2                   |-r1-|", true);
    all_say("p0 |-w1-|\np1        |--w3--|\np2                   |-r1-|", false);
}

#[test]
fn an_indefinite_compare_and_set_leads_back_to_what_was_held() {
    all_say("p0 |-w1-| |--w2--|\np1        |--w3--|\np2 |-c2>1-?\np3                   |-r1-|", true);
    all_say("p0 |-w1-| |--w2--|\np1        |--w3--|\np2 |-c4>1-?\np3                   |-r1-|", false);
}

#[test]
fn indefinite_compare_and_sets_chain_to_what_is_read() {
    all_say("p0 |-w1-|           |-r3-|\np1 |-c1>2-?\np2    |-c2>3-?", true);
    all_say("p0 |-w1-|           |-r3-| |-r3-| |-w1-| |-r3-|\np1 |-c1>2-?\np2    |-c2>3-?", false);
}

#[test]
fn a_hidden_write_explains_a_mismatch_only_in_time() {
    all_say("p0 |-w1-| |-----w1-----|\np1        |---w2---|\np2          |-c1>5-#", true);
    all_say("p0 |-w1-|\np2          |-c1>5-#", false);
}
