//! Exports of real runs, judged again from what was exported.

use serde_json::Value;

use crate::tool::{Store, shardstorm};

/// The verdict of `check` on a file.
fn verdict(file: &str, more: &[&str]) -> String {
    let done = shardstorm(&[&["check", "--json", file], more].concat());
    let answer: Value =
        serde_json::from_str(done.stdout.trim()).unwrap_or_else(|_| panic!("{}", done.said()));
    assert!(answer["source"]["format"].is_string(), "{answer}");
    answer["verdict"].as_str().expect("a verdict").to_string()
}

/// Runs, exports in all forms that the workload has, and judges what came out.
fn round_trip(workload: &str, more: &[&str], has_elle: bool, expected: &str) {
    let store = Store::new();
    let flags =
        ["--target", "fake", "--workload", workload, "--time-limit", "2", "--rate", "900", "--seed", "3"];
    let done = store.run(&[&flags[..], more].concat());
    assert!(done.code <= 2, "{}", done.said());
    let run = store.latest();
    let (run, history) = (run.path().to_str().unwrap(), run.history().to_str().unwrap().to_string());
    assert_eq!(verdict(&history, &["--model", workload]), expected, "{workload}");
    let out = store.path().join("out.edn");
    let out = out.to_str().unwrap();
    let done = shardstorm(&["export", run, "--to", "edn", "-o", out]);
    assert!(done.code == 0 && done.stderr.contains("operations in"), "{}", done.said());
    assert_eq!(verdict(out, &["--model", workload]), expected, "{workload} as EDN");
    assert!(!store.path().join("out.edn.part").exists());
    let elle = shardstorm(&["export", run, "--to", "elle"]);
    if has_elle {
        let file = store.path().join("elle.edn");
        std::fs::write(&file, &elle.stdout).unwrap();
        assert_eq!(verdict(file.to_str().unwrap(), &[]), expected, "{workload} as transactions");
    } else {
        assert!(elle.code == 254 && elle.stderr.contains("use --to edn"), "{}", elle.said());
    }
    for what in ["operations", "faults", "events"] {
        let file = store.path().join(format!("{what}.parquet"));
        let done =
            shardstorm(&["export", run, "--to", "parquet", "--what", what, "-o", file.to_str().unwrap()]);
        assert_eq!(done.code, 0, "{}", done.said());
        let bytes = std::fs::read(&file).unwrap();
        assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
        let lines = shardstorm(&["export", run, "--to", "jsonl", "--what", what]).stdout;
        assert!(what != "operations" || lines.lines().count() > 300, "{} rows", lines.lines().count());
    }
}

#[test]
fn a_register_run_means_the_same_wherever_it_is_read() {
    round_trip("register", &[], true, "valid");
}

#[test]
fn a_stale_read_is_found_wherever_it_is_read() {
    round_trip("register", &["--bug", "stale-read"], true, "invalid");
}

#[test]
fn lists_sets_counters_queues_and_banks_do_too() {
    for (workload, has_elle) in
        [("append", true), ("set", false), ("counter", false), ("queue", false), ("bank", false)]
    {
        round_trip(workload, &[], has_elle, "valid");
    }
}

#[test]
fn what_cannot_be_exported_is_one_clear_error() {
    let store = Store::new();
    let nowhere = store.path().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let done = shardstorm(&["export", nowhere, "--to", "edn"]);
    assert!(done.code == 254 && done.stderr.contains("is not a run folder"), "{}", done.said());
    let done = shardstorm(&["export", nowhere, "--to", "csv"]);
    assert!(
        done.code == 254 && done.stderr.contains("use one of parquet, edn, elle, jsonl"),
        "{}",
        done.said()
    );
}

/// The sample logs of other tools that the documentation shows.
#[test]
fn logs_of_jepsen_and_porcupine_are_judged() {
    let store = Store::new();
    let judge = |name: &str, text: &str| {
        let file = store.path().join(name);
        std::fs::write(&file, text).unwrap();
        let done = shardstorm(&["check", "--json", file.to_str().unwrap()]);
        let answer: Value =
            serde_json::from_str(done.stdout.trim()).unwrap_or_else(|_| panic!("{}", done.said()));
        (answer["source"]["format"].as_str().unwrap_or("none").to_string(), answer["verdict"].to_string())
    };
    let jepsen = "{:index 0, :time 1, :type :invoke, :process 0, :f :write, :value [7 1]}\n\
                  {:index 1, :time 2, :type :ok, :process 0, :f :write, :value [7 1]}\n\
                  {:index 2, :time 3, :type :invoke, :process 1, :f :read, :value [7 nil]}\n\
                  {:index 3, :time 4, :type :ok, :process 1, :f :read, :value [7 nil]}\n";
    assert_eq!(judge("history.edn", jepsen), ("edn".into(), "\"invalid\"".into()));
    let porcupine = "INFO  jepsen.util - 0\t:invoke\t:write\t3\nINFO  jepsen.util - 0\t:ok\t:write\t3\n\
                     INFO  jepsen.util - 1\t:invoke\t:read\tnil\nINFO  jepsen.util - 1\t:ok\t:read\t3\n";
    assert_eq!(judge("etcd_000.log", porcupine), ("jepsen-log".into(), "\"valid\"".into()));
    let texts = "{:process 0, :type :invoke, :f :put, :key \"8\", :value \"x\"}\n\
                 {:process 0, :type :ok, :f :put, :key \"8\", :value \"x\"}\n\
                 {:process 1, :type :invoke, :f :get, :key \"8\", :value nil}\n\
                 {:process 1, :type :ok, :f :get, :key \"8\", :value \"y\"}\n";
    assert_eq!(judge("c01-bad.txt", texts), ("edn".into(), "\"invalid\"".into()));
}
