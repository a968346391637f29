//! Every workload on the in-memory cluster: clean where it is sound, and with a canary that must be found.

use std::collections::BTreeSet;
use std::thread;

use crate::tool::{Store, anomalies, shardstorm, summary};

/// A workload, a bug of the fake, the flags that show it, and what may be found.
struct Canary {
    workload: &'static str,
    bug: &'static str,
    flags: &'static [&'static str],
    anomalies: &'static [&'static str],
}

const CANARIES: &[Canary] = &[
    Canary {
        workload: "set",
        bug: "lost-write",
        flags: &[],
        anomalies: &["lost-element", "stale-read", "incomparable-reads"],
    },
    Canary {
        workload: "append",
        bug: "split-brain",
        flags: &[],
        anomalies: &["lost-element", "stale-read", "reordered-elements"],
    },
    Canary {
        workload: "counter",
        bug: "duplicate-apply",
        flags: &[],
        anomalies: &["fabricated-value", "went-back", "lost-update", "duplicated-count"],
    },
    Canary {
        workload: "queue",
        bug: "duplicate-apply",
        flags: &[],
        anomalies: &["duplicated-value", "lost-value", "reordered-values", "false-empty"],
    },
    Canary {
        workload: "bank",
        bug: "lost-write",
        flags: &[],
        // A bank whose opening was lost has no accounts.
        anomalies: &["non-linearizable", "missing-account", "wrong-total"],
    },
    Canary {
        workload: "replica-reads",
        bug: "stale-read",
        flags: &["--staleness-s", "0.05"],
        anomalies: &["stale-read"],
    },
];

const SEEDS: [&str; 4] = ["1", "2", "3", "4"];

impl Canary {
    /// A few seeds each, since a bug needs its moment; the first usually does. Without the bug the same seed is
    /// clean, and so is its folder when it is judged again.
    fn sing(&self) {
        let store = Store::new();
        let flags = ["--target", "fake", "--time-limit", "5", "--rate", "600", "--workload", self.workload];
        for seed in SEEDS {
            let with_bug = [&flags[..], self.flags, &["--seed", seed, "--bug", self.bug]].concat();
            let done = store.run(&with_bug);
            if done.code != 1 {
                continue;
            }
            let found: BTreeSet<String> = anomalies(&summary(&store.latest()).verdict).into_iter().collect();
            let known: BTreeSet<String> = self.anomalies.iter().map(ToString::to_string).collect();
            assert!(!found.is_empty() && found.is_subset(&known), "{}: {found:?}", self.workload);

            let clean = store.run(&[&flags[..], &["--seed", seed]].concat());
            assert_eq!(clean.code, 0, "{} without {}: {}", self.workload, self.bug, clean.said());
            let folder = store.latest();
            let summary = summary(&folder);
            assert!(summary.counts.ok > 1_000, "{:?}", summary.counts);
            assert!(
                !summary.failovers.is_empty() && summary.failovers.iter().any(|f| f.first_ack_ns.is_some())
            );
            assert_eq!(shardstorm(&["check", folder.path().to_str().unwrap()]).code, 0);
            self.judge_beginnings(&std::fs::read_to_string(folder.history()).unwrap());
            return;
        }
        panic!("{}: {} was not found with any seed", self.workload, self.bug);
    }

    /// Every beginning of a history that keeps a promise keeps it: `--stop-at-first` judges beginnings.
    fn judge_beginnings(&self, history: &str) {
        let lines: Vec<&str> = history.split_inclusive('\n').collect();
        let store = Store::new();
        let path = store.path().join("beginning.jsonl");
        for tenths in [1, 3, 5, 7, 9] {
            std::fs::write(&path, lines[..lines.len() * tenths / 10].concat()).unwrap();
            let judged = shardstorm(&["check", path.to_str().unwrap(), "--workload", self.workload]);
            assert_eq!(judged.code, 0, "{} at {tenths}/10: {}", self.workload, judged.said());
        }
    }
}

#[test]
fn each_workload_finds_its_canary_and_is_clean_without_it() {
    // They mostly wait: all at once.
    thread::scope(|scope| {
        let songs: Vec<_> = CANARIES.iter().map(|canary| scope.spawn(|| canary.sing())).collect();
        let failed: Vec<_> = songs.into_iter().filter_map(|song| song.join().err()).collect();
        assert!(failed.is_empty(), "{} canaries were silent or wrong", failed.len());
    });
}

#[test]
fn each_workload_has_a_plan_that_its_seed_fixes() {
    let mut plans = BTreeSet::new();
    for workload in
        ["register", "set", "append", "counter", "queue", "bank", "replica-reads", "lock", "members"]
    {
        let plan = |seed| {
            let done = shardstorm(&["plan", "--target", "fake", "--workload", workload, "--seed", seed]);
            assert_eq!(done.code, 0, "{}", done.said());
            done.stdout
        };
        assert!(plan("7") == plan("7") && plan("7") != plan("8"), "{workload}");
        plans.insert(plan("7"));
    }
    assert_eq!(plans.len(), 9);
}

#[test]
fn a_bare_history_is_judged_by_the_workload_it_is_said_to_be_of() {
    let store = Store::new();
    let file = store.path().join("queue.edn");
    let overtaken = "{:process 0, :type :invoke, :f :enqueue, :value 1}\n{:process 0, :type :ok, :f :enqueue, :value 1}\n\
                     {:process 0, :type :invoke, :f :enqueue, :value 2}\n{:process 0, :type :ok, :f :enqueue, :value 2}\n\
                     {:process 1, :type :invoke, :f :dequeue, :value nil}\n{:process 1, :type :ok, :f :dequeue, :value 2}\n";
    std::fs::write(&file, overtaken).unwrap();
    let path = file.to_str().unwrap();
    let done = shardstorm(&["check", "--workload", "queue", path]);
    assert!(done.code == 1 && done.stdout.contains("lost-value"), "{}", done.said());
    let found = shardstorm(&["check", path]);
    assert!(found.code == 1 && found.stdout.contains("judged as queue"), "{}", found.said());
    let register = shardstorm(&["check", "--model", "register", path]);
    assert!(register.code == 2 && register.stdout.contains("enqueue"), "{}", register.said());
    let unknown = shardstorm(&["check", "--workload", "song", path]);
    assert!(unknown.code == 254 && unknown.stderr.contains("replica-reads"), "{}", unknown.said());
}

#[test]
fn reads_go_where_the_workload_wants_them_unless_the_user_says_otherwise() {
    let reads = |flags: &[&str]| {
        let plan = shardstorm(&[&["plan", "--target", "fake"], flags].concat()).stdout;
        plan.lines().find_map(|line| line.strip_prefix("reads = ").map(str::to_owned)).unwrap()
    };
    assert_eq!(reads(&[]), "\"master\"");
    assert_eq!(reads(&["--workload", "replica-reads"]), "\"replica\"");
    assert_eq!(reads(&["--workload", "replica-reads", "--reads", "master"]), "\"master\"");
    let odd = shardstorm(&["plan", "--target", "fake", "--staleness-s", "-1"]);
    assert!(odd.code == 254 && odd.stderr.contains("--staleness-s"), "{}", odd.said());
}

#[test]
fn locks_and_groups_keep_their_word_on_the_fake() {
    for workload in ["lock", "members"] {
        // Turns that linger take seconds: time enough for some to be written.
        let flags = [
            "--target",
            "fake",
            "--time-limit",
            "14",
            "--rate",
            "400",
            "--seed",
            "5",
            "--workload",
            workload,
        ];
        let done = Store::new().run(&flags);
        assert_eq!(done.code, 0, "{workload}: {}", done.said());
    }
}
