//! Locks with tokens and group membership: drawings, and groups that follow the rules or break one.

use checker::object::fence::FencedLock;
use checker::object::guarded::GuardedCounter;
use checker::object::membership::Membership;
use checker::object::mutex::Mutex;
use checker::{Budget, Checker, Event, EventKind, History, Process, Verdict, history::sketch};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// `valid`, `unknown`, or the name of the first anomaly. Lines may be indented.
fn answer(checker: &dyn Checker, drawing: &str) -> String {
    let lines: Vec<&str> = drawing.lines().map(str::trim_start).collect();
    let history = sketch::history(&lines.join("\n")).expect("well drawn");
    named(checker.check(&history, &Budget::default()))
}

fn named(verdict: Verdict) -> String {
    match verdict {
        Verdict::Invalid { anomalies } => anomalies[0].name.clone(),
        other => other.word().to_owned(),
    }
}

#[test]
fn a_claim_is_a_use_of_its_token() {
    let late = "p0 |-acquire()=1-|                                        |-claim(1)=_-|
                p1                  |-acquire()=2-|  |-guarded([2,1])-|";
    assert_eq!(answer(&FencedLock, late), "stale-token-accepted");
    let refused = late.replace("|-claim(1)=_-|", "|-claim(1)-x");
    assert_eq!(answer(&FencedLock, &refused), "valid");
    assert_eq!(
        answer(&FencedLock, "p0 |-acquire()=1-| |-read()=4-| |-guarded([1,5])-| |-release(1)-|"),
        "valid"
    );
}

#[test]
fn a_token_says_which_hold_a_release_ends() {
    // The process was retired in between: another one gives back what it held.
    let handed_over = "p0 |-acquire()=1-| |-guarded([1,1])-?
                       p1                                      |-release(1)-|
                       p2                                                      |-acquire()=2-|";
    assert_eq!(answer(&Mutex, handed_over), "valid");
    let other = handed_over.replace("release(1)", "release(3)");
    assert_eq!(answer(&Mutex, &other), "release-without-hold");
    let both = "p0 |-acquire()=1-|                  |-release(1)-|
                p1                 |-acquire()=2-|";
    assert_eq!(answer(&Mutex, both), "two-holders");
}

#[test]
fn every_accepted_write_counts_once() {
    let good = "p0 |-claim(1)=_-|  |-guarded([1,1])-|
                p1                                     |-claim(2)=1-|  |-guarded([2,2])-|  |-read()=2-|";
    assert_eq!(answer(&GuardedCounter, good), "valid");
    assert_eq!(answer(&GuardedCounter, &good.replace("read()=2", "read()=1")), "lost-update");
    assert_eq!(answer(&GuardedCounter, &good.replace("read()=2", "read()=3")), "phantom-update");
    assert_eq!(answer(&GuardedCounter, &good.replace("claim(2)=1", "claim(2)=_")), "lost-update");
    let same = "p0 |-claim(1)=_-|                 |-guarded([1,1])-|
                p1                |-claim(2)=_-|  |-guarded([2,1])-|";
    assert_eq!(answer(&GuardedCounter, same), "lost-update");
    let refused = "p0 |-claim(1)=_-|                 |-guarded([1,1])-x
                   p1                |-claim(2)=_-|  |-guarded([2,1])-|  |-read()=1-|";
    assert_eq!(answer(&GuardedCounter, refused), "valid");
}

#[test]
fn a_write_of_which_nothing_is_known_may_count_or_not() {
    let maybe = "p0 |-claim(1)=_-|  |-guarded([1,1])-?
                 p1                                     |-claim(2)=1-|  |-guarded([2,2])-|";
    assert_eq!(answer(&GuardedCounter, maybe), "valid");
    let not = maybe.replace("claim(2)=1", "claim(2)=_").replace("[2,2]", "[2,1]");
    assert_eq!(answer(&GuardedCounter, &not), "valid");
    assert_eq!(answer(&GuardedCounter, "p0 |-guarded([1,x])-|"), "unknown");
    assert_eq!(answer(&GuardedCounter, "p0 |-sing()=1-|"), "unknown");
}

#[test]
fn whoever_is_certain_to_be_in_the_group_is_shown() {
    let stay = "p0 |-join(a)=7-|                          |-join(a)=7-|
                p1                 |-members()=[[a,7]]-|";
    assert_eq!(answer(&Membership, stay), "valid");
    assert_eq!(answer(&Membership, &stay.replace("[[a,7]]", "[[b,9]]")), "member-missing");
    assert_eq!(answer(&Membership, &stay.replace("[[a,7]]", "[]")), "member-missing");
    // It had lost its session meanwhile, and said so.
    assert_eq!(answer(&Membership, &stay.replace("[[a,7]]", "[]").replace("=7-|\n", "=9-|\n")), "valid");
    // Nothing is known after the last answer, nor before the first.
    assert_eq!(answer(&Membership, "p0 |-join(a)=7-|\np1                  |-members()=[]-|"), "valid");
    assert_eq!(answer(&Membership, "p0     |-join(a)=7-|   |-join(a)=7-|\np1  |-members()=[]-|"), "valid");
}

#[test]
fn whoever_has_left_or_never_joined_is_not_shown() {
    let left = "p0 |-join(a)=7-|  |-leave(a)-|
                p1                              |-members()=[[a,7]]-|";
    assert_eq!(answer(&Membership, left), "ghost-member");
    assert_eq!(answer(&Membership, &left.replace("leave(a)-|", "leave(a)-?")), "valid");
    let again = left.replace("leave(a)-|", "leave(a)-|  |-join(a)-?");
    assert_eq!(answer(&Membership, &again), "valid", "the second join may have done it");
    assert_eq!(answer(&Membership, "p1 |-members()=[[a,7]]-|"), "ghost-member");
    assert_eq!(answer(&Membership, "p0 |-join(a)-?\np1 |-members()=[[a,7]]-|"), "valid");
}

#[test]
fn a_stay_that_is_over_never_comes_back() {
    let replaced = "p0 |-join(a)=7-|  |-join(a)=9-|
                    p1                               |-members()=[[a,7]]-|";
    assert_eq!(answer(&Membership, replaced), "member-resurrected");
    let gap = "p0 |-join(a)=7-|
               p1                |-members()=[]-|
               p2                                 |-members()=[[a,7]]-|";
    assert_eq!(answer(&Membership, gap), "member-resurrected");
    let overlapping = "p0 |-join(a)=7-|
                       p1                |-members()=[]-----------|
                       p2                                 |-members()=[[a,7]]-|";
    assert_eq!(answer(&Membership, overlapping), "valid");
    assert_eq!(answer(&Membership, "p0 |-join(a)=7-|\np1 |-members()=[[a,7],[a,8]]-|"), "member-twice");
    assert_eq!(answer(&Membership, "p1 |-members()=x-|"), "unknown");
}

/// What is wrong with a group.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Flaw {
    Lists,
    Leaves,
    Sessions,
}

/// Three members and some lists, at random, in a group that is atomic but for its flaw; sessions end now and then.
fn drawn(seed: u64, flaw: Option<Flaw>) -> History {
    const IDS: [&str; 3] = ["a", "b", "c"];
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut group: Vec<Option<i64>> = vec![None; IDS.len()];
    // What each member takes itself for, while it has joined.
    let mut believed: Vec<Option<i64>> = vec![None; IDS.len()];
    let mut old: Vec<Vec<Option<i64>>> = Vec::new();
    let (mut events, mut zxid) = (Vec::new(), 0);
    let mut event = |process: u64, kind, f: &'static str, value: Value| {
        let index = events.len() as u64;
        let process = Process::Client(process);
        let (key, error, shard, epoch, node) = (None, None, None, None, None);
        events.push(Event {
            index,
            time_ns: index,
            process,
            kind,
            f: f.into(),
            key,
            value,
            error,
            shard,
            epoch,
            node,
        });
    };
    for _ in 0..40 {
        old.push(group.clone());
        zxid += 1;
        let who = rng.random_range(0..IDS.len());
        if rng.random_ratio(1, 8) && group[who].is_some() {
            // Its session ends. It notices: the next join puts it in again, or it has put itself in already.
            let unnoticed = flaw == Some(Flaw::Sessions);
            group[who] = if rng.random_ratio(1, 2) || unnoticed { None } else { Some(zxid) };
            zxid += 1;
        }
        // A list overlaps what another process does.
        let lists = rng.random_ratio(1, 2);
        if lists {
            event(9, EventKind::Invoke, "members", Value::Null);
        }
        let before = rng.random_ratio(1, 2).then(|| group.clone());
        let leaves = believed[who].is_some() && rng.random_ratio(1, 4);
        let (f, id) = (if leaves { "leave" } else { "join" }, json!(IDS[who]));
        event(who as u64, EventKind::Invoke, f, id.clone());
        if leaves {
            believed[who] = None;
            if flaw != Some(Flaw::Leaves) || rng.random_ratio(1, 2) {
                group[who] = None;
            }
            event(who as u64, EventKind::Ok, f, Value::Null);
        } else {
            let unaware = believed[who].filter(|_| flaw == Some(Flaw::Sessions));
            let present = unaware.or(group[who]).unwrap_or(zxid);
            if unaware.is_none() {
                group[who] = Some(present);
            }
            believed[who] = Some(present);
            event(who as u64, EventKind::Ok, f, json!(present));
        }
        if lists {
            let mut seen = before.unwrap_or_else(|| group.clone());
            if flaw == Some(Flaw::Lists) && rng.random_ratio(1, 2) {
                seen = old[old.len().saturating_sub(4)].clone();
            }
            let shown: Vec<Value> =
                IDS.iter().zip(seen).filter_map(|(id, inc)| Some(json!([id, inc?]))).collect();
            event(9, EventKind::Ok, "members", json!(shown));
        }
    }
    History::from_events(events).expect("well formed")
}

#[test]
fn a_group_that_keeps_its_word_is_valid_and_every_flaw_shows() {
    let rounds = 2_000;
    for seed in 0..rounds {
        let history = drawn(seed, None);
        let verdict = Membership.check(&history, &Budget::default());
        let picture = checker::history::draw(&history.ops.iter().collect::<Vec<_>>());
        assert_eq!(verdict.word(), "valid", "seed {seed}: {verdict:#?}\n{picture}");
    }
    for (flaw, expected) in [
        (Flaw::Lists, "member-missing member-resurrected"),
        (Flaw::Leaves, "ghost-member"),
        (Flaw::Sessions, "member-missing"),
    ] {
        let found = (0..rounds).filter(|&seed| {
            let name = named(Membership.check(&drawn(seed, Some(flaw)), &Budget::default()));
            expected.split(' ').any(|expected| expected == name)
        });
        let found = found.count();
        assert!(found as u64 > rounds / 4, "{flaw:?}: {found} of {rounds}");
    }
}
