//! `shardstorm check` on histories of every form, packing and fault.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::tool::{Done, Store, shardstorm, shardstorm_fed};

/// A history of a register in four calls; the last read returns `seen`.
fn edn(seen: &str) -> String {
    format!(
        "{{:process 0, :type :invoke, :f :write, :value 1}}\n{{:process 0, :type :ok, :f :write, :value 1}}\n\
         {{:process 1, :type :invoke, :f :read, :value nil}}\n{{:process 1, :type :ok, :f :read, :value {seen}}}\n"
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(bytes).expect("into memory");
    packer.finish().expect("into memory")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
}

/// A file of this name in the store; its path.
fn file(store: &Store, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path = store.path().join(name);
    fs::write(&path, bytes).expect("a file");
    path.to_str().expect("a plain path").to_string()
}

/// The objects that `--json` printed.
fn objects(done: &Done) -> Vec<Value> {
    let object =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {}", done.said()));
    done.stdout.lines().map(object).collect()
}

#[test]
fn every_form_is_detected_and_judged_for_what_it_is() {
    let lines = |seen: &str| {
        format!(
            "{{\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"value\":1,\"time\":1}}\n\
             {{\"process\":0,\"type\":\"ok\",\"f\":\"write\",\"value\":1,\"time\":2}}\n\
             {{\"process\":1,\"type\":\"invoke\",\"f\":\"read\",\"value\":null,\"time\":3}}\n\
             {{\"process\":1,\"type\":\"ok\",\"f\":\"read\",\"value\":{seen},\"time\":4}}\n"
        )
    };
    let log = |seen: &str| {
        format!(
            "\nlein test jepsen.system\nINFO  jepsen.util - 0\t:invoke\t:write\t1\n\
             INFO  jepsen.util - 0\t:ok\t:write\t1\nINFO  jepsen.util - :nemesis\t:info\t:start\tnil\n\
             INFO  jepsen.util - 1\t:invoke\t:read\tnil\nINFO  jepsen.util - 1\t:ok\t:read\t{seen}\n"
        )
    };
    let tuples = |seen: &str| {
        let pairs = edn("SEEN").replace(":value 1", ":value [7 1]").replace("nil", "[7 nil]");
        pairs.replace("SEEN", &format!("[7 {seen}]"))
    };
    let texts = |seen: &str| {
        let op = |kind: &str, f: &str, value: &str| {
            format!("{{:process 0, :type :{kind}, :f :{f}, :key \"1\", :value {value}}}\n")
        };
        op("invoke", "append", "\"x 0 0 y\"")
            + &op("ok", "append", "\"x 0 0 y\"")
            + &op("invoke", "get", "nil")
            + &op("ok", "get", if seen == "1" { "\"x 0 0 y\"" } else { "\"\"" })
    };
    let txns = |seen: &str| {
        let op = |kind: &str, parts: &str| format!("{{:type :{kind}, :f :txn, :value [{parts}]}}\n");
        let read = format!("[:r 5 {}]", if seen == "1" { "[1]" } else { "nil" });
        op("invoke", "[:append 5 1]")
            + &op("ok", "[:append 5 1]")
            + &op("invoke", "[:r 5 nil]")
            + &op("ok", &read)
    };
    let registers = |seen: &str| txns(seen).replace(":append", ":w").replace("[1]]", "1]");
    let several = |seen: &str| {
        let op =
            |kind: &str, parts: &str| format!("{{:process 0, :type :{kind}, :f :txn, :value [{parts}]}}\n");
        let write = "[:write :x 1] [:write :y 2]";
        let read = format!("[:read :x {seen}]");
        op("invoke", write) + &op("ok", write) + &op("invoke", "[:read :x nil]") + &op("ok", &read)
    };
    let threads = |seen: &str| {
        format!("2 invokes add 23\n2 returns true\n1 invokes contains 23\n1 returns {}\n", seen == "1")
    };
    let collection = |seen: &str| format!("; knossos\n[{}]\n", edn(seen));
    let array = |seen: &str| format!("[{}]", lines(seen).trim_end().replace('\n', ",\n"));
    type Written<'w> = &'w dyn Fn(&str) -> String;
    let cases: [(&str, &str, Written<'_>); 11] = [
        ("edn", "register", &edn),
        ("edn", "register", &collection),
        ("lines", "register", &lines),
        ("json", "register", &array),
        ("jepsen-log", "register", &log),
        ("edn", "register", &tuples),
        ("edn", "text", &texts),
        ("edn", "list-append", &txns),
        ("edn", "rw-register", &registers),
        ("edn", "multi-register", &several),
        ("thread-log", "element-set", &threads),
    ];
    let store = Store::new();
    for (i, (format, model, written)) in cases.iter().enumerate() {
        let good = file(&store, &format!("{i}-good"), written("1"));
        let bad =
            file(&store, &format!("{i}-bad"), written("nil").replace("\"value\":nil", "\"value\":null"));
        let done = shardstorm(&["check", "--json", &good, &bad]);
        let told = objects(&done);
        assert_eq!((done.code, told.len()), (1, 2), "{format} {model}: {}", done.said());
        for (object, verdict) in told.iter().zip(["valid", "invalid"]) {
            assert_eq!(object["verdict"], verdict, "{format} {model}: {}", done.said());
            assert_eq!(object["source"]["format"], *format, "{}", done.said());
            assert_eq!(object["source"]["model"], *model, "{}", done.said());
            assert_eq!(object["operations"]["invoked"], 2, "{}", done.said());
        }
        let named = shardstorm(&["check", "--format", format, "--model", model, &good]);
        assert_eq!(named.code, 0, "{format} {model}: {}", named.said());
    }
}

#[test]
fn packed_histories_are_unpacked_from_files_and_from_standard_input() {
    let store = Store::new();
    let text = edn("1");
    let (first, second) = text.as_bytes().split_at(100);
    let cases = [
        (Value::Null, text.as_bytes().to_vec()),
        ("gzip".into(), gzip(text.as_bytes())),
        ("gzip".into(), [gzip(first), gzip(second)].concat()),
        ("zstd".into(), zstd(text.as_bytes())),
        ("zstd".into(), [zstd(first), zstd(second)].concat()),
    ];
    for (packing, bytes) in cases {
        let path = file(&store, "history", &bytes);
        for done in
            [shardstorm(&["check", "--json", &path]), shardstorm_fed(&["check", "--json", "-"], &bytes)]
        {
            assert_eq!(done.code, 0, "{}", done.said());
            assert_eq!(objects(&done)[0]["source"]["compression"], packing, "{}", done.said());
        }
    }
    let long: String = (0..2000).map(|_| edn("1")).collect();
    for packed in [gzip(long.as_bytes()), zstd(long.as_bytes())] {
        let path = file(&store, "cut", &packed[..packed.len() - 7]);
        let strict = shardstorm(&["check", &path]);
        assert_eq!(strict.code, 254, "{}", strict.said());
        assert!(strict.stderr.contains("breaks off") && strict.stderr.contains("cut"), "{}", strict.said());
        let lenient = shardstorm(&["check", "--lenient", &path]);
        assert!(lenient.code == 0 && lenient.stderr.contains("breaks off"), "{}", lenient.said());
    }
}

#[test]
fn what_does_not_belong_in_a_history_is_one_error_with_its_line_or_a_note() {
    let store = Store::new();
    let line = |index: usize| edn("1").lines().nth(index).expect("four lines").to_string() + "\n";
    let broken = [
        ("a malformed line", edn("1") + "{:process 2 :type :ok", 5, "breaks off"),
        ("something else", line(0) + "nonsense\n" + &line(1) + &line(2) + &line(3), 2, "expected a map"),
        ("two completions", edn("1") + &line(3), 5, "a second completion"),
        (
            "a completion without a call",
            edn("1") + &line(3).replace("1,", "9,"),
            5,
            "has not called anything",
        ),
        ("two calls open", edn("1") + &line(2) + &line(2), 6, "still open"),
        (
            "a process that goes on",
            edn("1") + &line(2) + &line(3).replace(":ok", ":info") + &line(2),
            7,
            "goes on",
        ),
    ];
    for (what, text, line, why) in broken {
        let path = file(&store, "broken.edn", &text);
        let strict = shardstorm(&["check", &path]);
        assert_eq!(strict.code, 254, "{what}: {}", strict.said());
        let named = format!("broken.edn: line {line}");
        assert!(strict.stderr.contains(&named) && strict.stderr.contains(why), "{what}: {}", strict.said());
        assert!(
            strict.stderr.contains("--lenient") && strict.stderr.lines().count() == 1,
            "{}",
            strict.said()
        );
        let lenient = shardstorm(&["check", "--lenient", &path]);
        assert_eq!(lenient.code, 0, "{what}: {}", lenient.said());
        assert!(lenient.stderr.contains(&format!("line {line}: ")), "{what}: {}", lenient.said());
    }
    let mut bytes = edn("1").into_bytes();
    bytes.extend(b"{:process 2 :type :invoke :f :write :value \"\xff\xfe\"}\n");
    let path = file(&store, "bytes.edn", &bytes);
    let strict = shardstorm(&["check", &path]);
    assert!(
        strict.code == 254 && strict.stderr.contains("line 5") && strict.stderr.contains("UTF-8"),
        "{}",
        strict.said()
    );
    assert_eq!(shardstorm(&["check", "--lenient", &path]).code, 0);
}

#[test]
fn the_worst_of_several_files_counts_and_each_is_told() {
    let store = Store::new();
    let good = file(&store, "good.edn", edn("1"));
    let bad = file(&store, "bad.edn", edn("2"));
    let none = file(&store, "none.edn", "{:process 0 :type :ok :f :read :value 1}\n");
    let strange = file(&store, "strange.edn", "{:process 0 :type :invoke :f :sing :value 1}\n");
    for (files, code) in [
        (vec![&good], 0),
        (vec![&good, &none], 254),
        (vec![&none, &bad, &good], 1),
        (vec![&good, &strange], 254),
        (vec![&good, &bad], 1),
    ] {
        let args: Vec<&str> =
            ["check", "--json"].into_iter().chain(files.iter().map(|file| file.as_str())).collect();
        let done = shardstorm(&args);
        assert_eq!((done.code, objects(&done).len()), (code, files.len()), "{}", done.said());
    }
    let empty = shardstorm(&["check", "--json", &file(&store, "empty.md", "\n")]);
    assert!(empty.code == 0 && empty.stdout.contains("no operations"), "{}", empty.said());
    let all = shardstorm(&["check", "--json", store.path().to_str().expect("a plain path")]);
    let verdicts: Vec<_> = objects(&all).iter().map(|object| object["verdict"].clone()).collect();
    assert_eq!(verdicts, ["invalid", "valid", "error", "error"], "in the order of names: {}", all.said());
    assert!(
        objects(&all)[3]["error"].as_str().is_some_and(|why| why.contains("sing") && why.contains("--model"))
    );
}

#[test]
fn what_a_register_holds_at_first_is_the_models_or_the_users_choice() {
    let store = Store::new();
    let read = |value: &str| edn(value).lines().skip(2).map(|line| format!("{line}\n")).collect::<String>();
    let zero = file(&store, "zero.edn", read("0"));
    let unsure = file(&store, "unsure.edn", edn("nil"));
    let code = |flags: &[&str]| shardstorm(&[&["check"], flags].concat()).code;
    assert_eq!(code(&[&zero]), 1);
    assert_eq!(code(&["--model", "knossos-register", &zero]), 0);
    assert_eq!(code(&["--initial", "0", &zero]), 0);
    assert_eq!(code(&["--initial", "nil", &zero]), 1);
    assert_eq!(code(&["--model", "knossos-register", "--initial", "3", &zero]), 1);
    assert_eq!(code(&[&unsure]), 1);
    assert_eq!(code(&["--model", "knossos-register", &unsure]), 0);
    let queue = shardstorm(&["check", "--model", "queue", "--initial", "0", &zero]);
    assert!(queue.code == 254 && queue.stderr.contains("--initial"), "{}", queue.said());
    let song = shardstorm(&["check", "--model", "song", &zero]);
    assert!(song.code == 254 && song.stderr.contains("knossos-register"), "{}", song.said());
}

#[test]
fn an_explanation_shows_what_decided_and_why() {
    let store = Store::new();
    let bad = file(&store, "bad.edn", edn("nil"));
    let done = shardstorm(&["check", "--explain", &bad]);
    assert!(done.stdout.contains("by unique") && done.stdout.contains("|--w1--|"), "{}", done.said());
    let good = file(&store, "good.edn", edn("1"));
    let done = shardstorm(&["check", "--explain", &good]);
    assert!(done.stdout.contains("the order 0 write 1 by 0, 2 read 1 by 1"), "{}", done.said());
    let witness = &objects(&shardstorm(&["check", "--explain", "--json", &good]))[0]["keys"][0]["witness"];
    assert_eq!(*witness, serde_json::json!([0, 2]));
    let anomaly = &objects(&shardstorm(&["check", "--json", &bad]))[0]["keys"][0]["anomalies"][0];
    assert_eq!(anomaly["ops"], serde_json::json!([0, 2]), "{anomaly}");
}

#[test]
fn past_a_budget_the_answer_is_unknown_and_says_why() {
    let store = Store::new();
    // Values repeat, and everything overlaps: a search is needed.
    let mut text = String::new();
    for process in 0..12 {
        text += &format!("{{:process {process} :type :invoke :f :write :value {}}}\n", process % 3);
    }
    for process in 12..24 {
        text += &format!("{{:process {process} :type :invoke :f :read :value nil}}\n");
    }
    for process in 0..12 {
        text += &format!("{{:process {process} :type :ok :f :write :value {}}}\n", process % 3);
    }
    for process in 12..24 {
        text += &format!("{{:process {process} :type :ok :f :read :value {}}}\n", (process / 2) % 3);
    }
    let path = file(&store, "repeated.edn", &text);
    assert_eq!(shardstorm(&["check", &path]).code, 0);
    let poor = shardstorm(&["check", "--json", "--budget-states", "1", &path]);
    let told = &objects(&poor)[0];
    assert_eq!((poor.code, &told["verdict"]), (2, &Value::from("unknown")), "{}", poor.said());
    assert!(told["keys"][0]["why"][0].as_str().is_some_and(|why| why.contains("budget")), "{told}");
    for flags in [["--budget-memory", "much"], ["--budget-time", "soon"], ["--budget-memory", "0"]] {
        let done = shardstorm(&["check", flags[0], flags[1], &path]);
        assert!(done.code == 254 && done.stderr.contains(flags[0]), "{}", done.said());
    }
    assert_eq!(shardstorm(&["check", "--budget-memory", "64MiB", "--budget-time", "1m", &path]).code, 0);
}

/// Unique writes, each read back; `repeated` writes one value twice, `stale` reads an old one in the middle.
fn long(rounds: u64, stale: bool, repeated: bool) -> String {
    let mut text = String::new();
    let mut say = |time: u64, kind: &str, f: &str, value: &str| {
        text += &format!(
            "{{\"process\":0,\"type\":\"{kind}\",\"f\":\"{f}\",\"value\":{value},\"time\":{time}000000}}\n"
        );
    };
    for round in 1..=rounds {
        let value = if repeated && round % 2 == 0 { round - 1 } else { round }.to_string();
        let seen = if stale && round == rounds / 2 { (round - 1).to_string() } else { value.clone() };
        say(4 * round, "invoke", "write", &value);
        say(4 * round + 1, "ok", "write", &value);
        say(4 * round + 2, "invoke", "read", "null");
        say(4 * round + 3, "ok", "read", &seen);
    }
    text
}

#[test]
fn a_history_of_any_length_is_judged_as_it_is_read() {
    let store = Store::new();
    let stream = |path: &str| shardstorm(&["check", "--stream", "--lag", "1s", "--json", path]);
    let valid = stream(&file(&store, "valid.jsonl.gz", gzip(long(5_000, false, false).as_bytes())));
    assert_eq!(valid.code, 0, "{}", valid.said());
    assert_eq!(objects(&valid)[0]["operations"]["ok"], 10_000);
    assert_eq!(objects(&valid)[0]["keys"][0]["engine"], "stream");
    let stale = stream(&file(&store, "stale.jsonl", long(20_000, true, false)));
    assert_eq!(stale.code, 1, "{}", stale.said());
    let found = &objects(&stale)[0];
    assert_eq!(found["keys"][0]["anomalies"][0]["name"], "lost-update");
    let read = found["operations"]["invoked"].as_u64().expect("a number");
    assert!((20_000..30_000).contains(&read), "it ends where the contradiction is: {read}");
    let repeated = stream(&file(&store, "repeated.jsonl", long(100, false, true)));
    assert!(repeated.code == 2 && repeated.stdout.contains("unique values"), "{}", repeated.said());
    let path = file(&store, "queue.jsonl", long(1, false, false));
    let queue = shardstorm(&["check", "--stream", "--model", "queue", &path]);
    assert!(queue.code == 254 && queue.stderr.contains("--model register"), "{}", queue.said());
}

/// Histories of others with stated verdicts, where there is a copy of them.
fn stated() -> Option<(PathBuf, BTreeMap<String, bool>)> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/histories")).to_path_buf();
    let Ok(table) = fs::read_to_string(folder.join("expected.tsv")) else {
        println!("skipped: no histories at {}", folder.display());
        return None;
    };
    let rows = table.lines().skip(1).filter_map(|line| {
        let mut columns = line.split('\t');
        Some((columns.next()?.to_string(), columns.next()? == "linearizable"))
    });
    // A suite has a whole history on each line. The longest searches take an optimised build.
    let heavy = |name: &str| {
        cfg!(debug_assertions)
            && ["small-n10000", "small-n1000-c50-i5-ok"].iter().any(|one| name.contains(one))
    };
    Some((folder, rows.filter(|(name, _)| !name.starts_with("suite/") && !heavy(name)).collect()))
}

#[test]
fn stated_verdicts_come_out_of_the_command_line() {
    let Some((folder, stated)) = stated() else { return };
    let mut judged = 0;
    for (prefix, flags) in [
        ("etcd-log/", &["--lenient"][..]),
        ("knossos-cas/raw/", &["--lenient", "--model", "knossos-register"]),
        ("knossos-cas/", &["--lenient"]),
        ("knossos-multi/raw/", &["--initial", "0"]),
        ("knossos-multi/", &[]),
        ("kv-append/", &[]),
        ("elle-list-append/", &[]),
        ("generated/", &["--lenient"]),
    ] {
        let is_raw = prefix.ends_with("raw/") || prefix == "etcd-log/" || prefix == "kv-append/";
        let mine: Vec<(&String, &bool)> = stated
            .iter()
            .filter(|(name, _)| name.starts_with(prefix) && (is_raw || !name.contains("/raw/")))
            .collect();
        assert!(!mine.is_empty(), "no files {prefix} in the table");
        let paths: Vec<String> = mine
            .iter()
            .map(|(name, _)| folder.join(name).to_str().expect("a plain path").to_string())
            .collect();
        let args: Vec<&str> = ["check", "--json"]
            .into_iter()
            .chain(flags.iter().copied())
            .chain(paths.iter().map(String::as_str))
            .collect();
        let done = shardstorm(&args);
        let told = objects(&done);
        assert_eq!(told.len(), mine.len(), "{}", done.stderr);
        for ((name, valid), object) in mine.iter().zip(told) {
            let expected = if **valid { "valid" } else { "invalid" };
            assert_eq!(object["verdict"], expected, "{name}: {object}");
            judged += 1;
        }
    }
    assert_eq!(judged, stated.len(), "every file of the table was judged");
}
