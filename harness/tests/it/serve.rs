//! `serve` as a browser, a script and somebody with bad intentions meet it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::tool::{Store, eventually, shardstorm};

/// A server over a store, on a port of its own; ends when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn over(store: &Path) -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shardstorm"))
            .args(["serve", "--listen", "127.0.0.1:0", "--store", store.to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("shardstorm starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe"))
            .read_line(&mut line)
            .expect("it says where it is");
        let address =
            line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
        Server { address: address.to_string(), child }
    }

    fn send(&self, request: &str) -> Answer {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("it answers and closes");
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        Answer {
            status: status.expect("a status"),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_string())).collect(),
            body: bytes.split_off(end + 4),
        }
    }

    fn ask(&self, method: &str, path: &str, headers: &str) -> Answer {
        let host = &self.address;
        self.send(&format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{headers}\r\n"))
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "")
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).body).unwrap_or_else(|_| panic!("{path} is no JSON"))
    }

    /// The page after its scripts ran, as a real browser sees it; none, said, where there is no Chromium.
    fn browse(&self, path: &str) -> Option<String> {
        let profile = tempfile::tempdir().unwrap();
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let is_there =
            |name: &str| Command::new(name).arg("--version").output().is_ok_and(|done| done.status.success());
        let Some(browser) = names.iter().find(|name| is_there(name)) else {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "install chromium: `cargo xtask setup`"
            );
            eprintln!("skipped: no chromium here; `cargo xtask setup` installs it");
            return None;
        };
        let done = Command::new(browser)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--dump-dom",
                "--virtual-time-budget=6000",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("http://{}{path}", self.address))
            .output()
            .expect("the browser starts");
        let dom = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(dom.contains("</html>"), "{path}: {dom}{}", String::from_utf8_lossy(&done.stderr));
        Some(dom)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Answer {
    status: u16,
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The value of an attribute of the element with this id.
fn attribute(dom: &str, id: &str, name: &str) -> String {
    let tag = dom
        .split('<')
        .find(|tag| tag.contains(&format!("id=\"{id}\"")))
        .unwrap_or_else(|| panic!("no {id}: {dom}"));
    let value = tag.split(&format!("{name}=\"")).nth(1).and_then(|rest| rest.split('"').next());
    value.unwrap_or_else(|| panic!("no {name} in {tag}")).to_string()
}

const QUICK: [&str; 6] = ["--target", "fake", "--time-limit", "1.5", "--rate", "900"];

#[test]
fn a_store_is_served_read_only_and_nothing_beside_it() {
    let parent = Store::new();
    std::fs::write(parent.path().join("secret.txt"), "secret").unwrap();
    let store = parent.path().join("store");
    let run = shardstorm(&[&["run", "--store", store.to_str().unwrap(), "--seed", "4"], &QUICK[..]].concat());
    assert!(run.code <= 2, "{}", run.said());
    let name = std::fs::read_link(store.join("latest")).unwrap().to_str().unwrap().to_string();
    let folder = store.join(&name);
    symlink(parent.path(), store.join("out")).unwrap();
    symlink("../../secret.txt", folder.join("leak.txt")).unwrap();
    symlink("run.toml", folder.join("inside.txt")).unwrap();
    std::fs::write(store.join(".hidden"), "secret").unwrap();
    std::fs::write(folder.join("evil.html"), "<script>alert(1)</script>").unwrap();
    nix::unistd::mkfifo(&folder.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let server = Server::over(&store);

    // What is not in the store is not there, whatever it is called.
    for path in [
        "/files/../secret.txt",
        "/files/%2e%2e/secret.txt",
        "/files/..%2fsecret.txt",
        "/files/%252e%252e/secret.txt",
        "/files/./../secret.txt",
        "/files/out/secret.txt",
        "/files/out",
        "/files//etc/passwd",
        "/files/%2fetc%2fpasswd",
        "/files/.hidden",
        "/files/",
        "/files",
        "/run/..",
        "/run/out",
        "/api/run/../store",
        "/nothing",
        "/assets/../../Cargo.toml",
    ] {
        let answer = server.get(path);
        assert!(answer.status == 404 && !answer.text().contains("secret"), "{path}: {}", answer.status);
    }
    for leaf in ["leak.txt", "pipe", "nodes", "none.txt", "run.toml%00"] {
        assert_eq!(server.get(&format!("/files/{name}/{leaf}")).status, 404, "{leaf}");
    }
    assert_eq!(server.get(&format!("/files/{name}/inside.txt")).status, 200, "a link that stays inside");
    assert_eq!(server.get("/files/latest/run.toml").status, 200, "as does this one");
    assert_eq!(
        server
            .send(&format!(
                "GET http://{0}/files/../secret.txt HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n\r\n",
                server.address
            ))
            .status,
        404
    );

    // Nothing but reading, and only under a name of this machine.
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "MOVE"] {
        let answer = server.ask(method, "/", "Content-Length: 0\r\n");
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method}");
    }
    for (host, status) in
        [("evil.example", 421), ("localhost:1", 200), ("[::1]", 200), ("10.1.2.3:8437", 421)]
    {
        let answer = server.send(&format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        assert_eq!(answer.status, status, "{host}");
    }
    assert_eq!(server.send("GET / HTTP/1.0\r\n\r\n").status, 421, "no host at all");

    // Headers, types and policies.
    let file = |leaf: &str| server.get(&format!("/files/{name}/{leaf}"));
    for (answer, mime, policy) in [
        (server.get("/"), "text/html; charset=utf-8", "script-src 'self'"),
        (file("report.html"), "text/html; charset=utf-8", "script-src 'unsafe-inline'"),
        (file("evil.html"), "text/html; charset=utf-8", "sandbox"),
        (file("latency.svg"), "image/svg+xml", "sandbox"),
        (file("latency.png"), "image/png", "sandbox"),
        (file("verdict.json"), "application/json", "sandbox"),
        (file("history.jsonl"), "text/plain; charset=utf-8", "sandbox"),
        (server.get("/assets/serve.css"), "text/css; charset=utf-8", "sandbox"),
        (server.get("/api/runs"), "application/json", "sandbox"),
        (server.get("/nothing"), "text/plain; charset=utf-8", "sandbox"),
    ] {
        assert_eq!(answer.header("content-type"), mime);
        let csp = answer.header("content-security-policy");
        assert!(
            csp.starts_with("default-src 'none'")
                && csp.contains(policy)
                && csp.contains("frame-ancestors 'self'"),
            "{csp}"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin");
        assert!(answer.header("access-control-allow-origin").is_empty());
    }

    // Parts, and what has not changed.
    let history = std::fs::read(folder.join("history.jsonl")).unwrap();
    let path = format!("/files/{name}/history.jsonl");
    let whole = server.get(&path);
    assert!(whole.body == history && whole.header("accept-ranges") == "bytes");
    let part = server.ask("GET", &path, "Range: bytes=10-19\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &history[10..20]));
    assert_eq!(part.header("content-range"), format!("bytes 10-19/{}", history.len()));
    assert_eq!(server.ask("GET", &path, "Range: bytes=-7\r\n").body, history[history.len() - 7..]);
    assert_eq!(server.ask("GET", &path, "Range: bytes=99999999-\r\n").status, 416);
    let head = server.ask("HEAD", &path, "");
    assert_eq!(
        (head.status, head.body.len(), head.header("content-length")),
        (200, 0, &*history.len().to_string())
    );
    let tag = whole.header("etag");
    assert_eq!(server.ask("GET", &path, &format!("If-None-Match: {tag}\r\n")).status, 304);
    assert_eq!(server.ask("GET", &path, "Range: bytes=0-1\r\nIf-Range: \"old\"\r\n").status, 200);

    // The same as data.
    let run = server.json(&format!("/api/run/{name}"));
    assert_eq!(
        (&run["path"], &run["verdict"]["spec"]["seed"]),
        (&Value::from(name.as_str()), &Value::from(4))
    );
    let listed: Vec<&str> =
        run["files"].as_array().unwrap().iter().filter_map(|file| file["path"].as_str()).collect();
    assert!(listed.contains(&"history.jsonl") && !listed.contains(&"leak.txt"), "{listed:?}");
    assert_eq!(server.json("/api/run/latest")["path"], name.as_str());
}

#[test]
fn a_thousand_runs_are_filtered_sorted_and_turned_over() {
    let store = Store::new();
    let done = store.run(&[&QUICK[..], &["--seed", "6"]].concat());
    assert!(done.code <= 2, "{}", done.said());
    let run = store.latest();
    let campaign = store.path().join("20200101T000000Z-campaign-big");
    std::fs::create_dir_all(campaign.join("runs")).unwrap();
    std::fs::write(campaign.join("campaign.toml"), "").unwrap();
    for n in 0..1000 {
        let copy = campaign.join(format!("runs/20200101T00{:02}{:02}Z-register-{n}", n / 60 % 60, n % 60));
        std::fs::create_dir(&copy).unwrap();
        for file in ["run.toml", "verdict.json"] {
            std::fs::hard_link(run.path().join(file), copy.join(file)).unwrap();
        }
    }
    let server = Server::over(store.path());
    let runs = |query: &str| server.json(&format!("/api/runs?{query}"));
    let all = runs("limit=3");
    assert_eq!((&all["total"], all["runs"].as_array().unwrap().len()), (&Value::from(1002), 3));
    assert_eq!(runs("kind=campaign")["runs"][0]["runs"], 1000);
    assert_eq!(runs("within=20200101T000000Z-campaign-big")["matched"], 1000);
    assert_eq!(runs("q=register-999")["matched"], 1);
    assert_eq!(runs("q=register-999+nothing-like-that")["matched"], 0);
    assert_eq!(runs("target=zk-redis")["matched"], 0);
    assert_eq!(runs("workload=register&kind=run&variant=hardened")["matched"], 1001);
    let page = server.get("/?within=20200101T000000Z-campaign-big&page=10").text();
    assert_eq!(page.matches("<tr data-path").count(), 100);
    assert!(page.contains("page 10 of 10") && page.contains("page=9\"") && !page.contains("page=11"));
    // What is new is seen, what was judged again is read again, what is gone is not there.
    std::fs::remove_dir_all(&campaign).unwrap();
    let verdict = std::fs::read_to_string(run.verdict()).unwrap();
    std::fs::write(
        run.verdict(),
        verdict.replace("\"spec\"", " \"spec\"").replace("\"register\"", "\"renamed\""),
    )
    .unwrap();
    let left = runs("");
    assert_eq!(
        (&left["total"], &left["runs"][0]["spec"]["workload"]),
        (&Value::from(1), &Value::from("renamed"))
    );
    std::fs::write(run.verdict(), "{ broken").unwrap();
    assert_eq!(runs("")["runs"][0]["state"], "unreadable");
    assert!(server.get("/").text().contains("verdict.json"), "the sentence names the file");
}

#[test]
fn a_browser_shows_the_index_its_filters_a_report_and_two_runs_side_by_side() {
    let store = Store::new();
    let (mut names, mut codes) = (Vec::new(), Vec::new());
    for flags in [&["--seed", "1"][..], &["--seed", "2", "--bug", "stale-read"]] {
        let flags =
            [&["--target", "fake", "--faults", "kill", "--rate", "900", "--time-limit", "3"], flags].concat();
        codes.push(store.run(&flags).code);
        names.push(std::fs::read_link(store.path().join("latest")).unwrap().to_str().unwrap().to_string());
    }
    let server = Server::over(store.path());
    let Some(index) = server.browse("/") else { return };
    assert_eq!(attribute(&index, "matched", "data-matched"), "2");
    assert!(names.iter().all(|name| index.contains(&format!("data-path=\"{name}\""))), "{index}");
    assert!(index.contains("Tick two runs to compare"), "its script ran");
    let filtered = server.browse("/?variant=hardened+%2B+stale-read").unwrap();
    assert_eq!(attribute(&filtered, "matched", "data-matched"), "1");
    assert!(
        !filtered.contains(&format!("data-path=\"{}\"", names[0])) && filtered.contains("1 of 2"),
        "{filtered}"
    );
    let compared = server.browse(&format!("/compare?run={}&run={}", names[0], names[1])).unwrap();
    for words in [
        &*names[0],
        &*names[1],
        "What differed",
        "stale-read",
        "How they ended",
        "write, median",
        "Failovers of A",
    ] {
        assert!(compared.contains(words), "{words} is not in {compared}");
    }
    assert_eq!(codes[1], 1, "the bug was found");
    let report = server.browse(&format!("/files/{}/report.html", names[1])).unwrap();
    assert!(report.contains("Invalid") && report.contains("<svg"), "the report opens under its policy");
    let page = server.browse(&format!("/run/{}", names[1])).unwrap();
    assert!(page.contains("<iframe") && page.contains("view=files"), "{page}");
    let files = server.get(&format!("/run/{}?view=files", names[1])).text();
    assert!(
        files.contains("history.jsonl") && files.contains("nodes") | files.contains("shardstorm run"),
        "{files}"
    );
}

#[test]
fn a_browser_sees_the_run_in_progress_grow_and_end() {
    let store = Store::new();
    let mut run = store.start(&["--target", "fake", "--time-limit", "60", "--seed", "3"]);
    store.wait_for_history(|text| text.contains("fault-start"));
    let server = Server::over(store.path());
    let first = server.json("/api/live/latest");
    assert_eq!((&first["state"], &first["phase"]), (&Value::from("running"), &Value::from("load")));
    let roles = first["roles"].as_array().unwrap();
    assert!(
        !roles.is_empty()
            && roles.iter().all(|role| role["master"].as_str().is_some_and(|node| node.starts_with('s')))
    );
    assert!(!first["faults"].as_array().unwrap().is_empty());
    assert_eq!(server.json("/api/runs?verdict=running")["matched"], 1);
    if let Some(dom) = server.browse("/live/latest") {
        let number = |id, name| attribute(&dom, id, name).parse::<u64>().unwrap();
        assert!(number("live", "data-polls") >= 2, "{dom}");
        let (before, after) = (number("live", "data-first"), number("operations", "data-count"));
        let known = first["counts"]["invoked"].as_u64().unwrap();
        assert!(before >= known && after > before, "{known}, {before}, {after}");
        assert!(dom.contains("class=\"ok\"") && dom.contains("master") | dom.contains("s0r"), "{dom}");
    }
    kill(Pid::from_raw(run.id() as i32), Signal::SIGINT).unwrap();
    run.wait().unwrap();
    let last = server.json("/api/live/latest");
    assert_eq!(
        (&last["state"], &last["phase"], &last["in_force"]),
        (&"unknown".into(), &"end".into(), &0.into())
    );
    let text = std::fs::read_to_string(store.latest().history()).unwrap();
    let invoked = text.lines().filter(|line| line.contains("\"type\":\"invoke\"")).count();
    assert_eq!(last["counts"]["invoked"], invoked, "every line was counted once");
    assert!(!last["steps"].as_array().unwrap().is_empty(), "the steps are there in the end");
}

#[test]
fn a_run_that_was_killed_is_not_taken_for_one_in_progress() {
    let store = Store::new();
    let mut run = store.start(&["--target", "fake", "--time-limit", "60", "--seed", "3"]);
    store.wait_for_history(|text| text.lines().count() > 100);
    let server = Server::over(store.path());
    run.kill().unwrap();
    run.wait().unwrap();
    let run = server.json("/api/run/latest");
    assert_eq!(run["state"], "ended");
    assert!(run["sentence"].as_str().unwrap().contains("shardstorm check"), "{run}");
}

#[test]
fn it_ends_at_once_and_says_what_is_wrong_with_its_flags() {
    let store = Store::new();
    let mut server = Server::over(store.path());
    let taken =
        shardstorm(&["serve", "--store", store.path().to_str().unwrap(), "--listen", &server.address]);
    assert_eq!(taken.code, 254, "{}", taken.said());
    assert!(
        taken.stderr.contains(&server.address) && taken.stderr.contains("--listen 127.0.0.1:0"),
        "{}",
        taken.said()
    );
    let missing = shardstorm(&["serve", "--store", "/nowhere/at/all"]);
    assert!(missing.code == 254 && missing.stderr.contains("--store /nowhere/at/all"), "{}", missing.said());
    // Somebody who has asked for nothing yet holds nothing up.
    let _idle = TcpStream::connect(&server.address).unwrap();
    let asked = Instant::now();
    kill(Pid::from_raw(server.child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    eventually("the port is free", || TcpStream::connect(&server.address).is_err());
}
