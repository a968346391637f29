//! Running `shardstorm`, and reading what it leaves.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use checker::Verdict;
use results::RunFolder;
use results::summary::RunSummary;

/// What a finished command left.
pub struct Done {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Done {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    /// Everything it said, for a failed assertion.
    pub fn said(&self) -> String {
        format!("exit {}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// The command, for those who want to start it another way.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_shardstorm"));
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn shardstorm(args: &[&str]) -> Done {
    command(args).output().expect("shardstorm starts").into()
}

/// Runs it to its end, with these bytes on its standard input.
pub fn shardstorm_fed(args: &[&str], input: &[u8]) -> Done {
    let mut command = command(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("shardstorm starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may refuse the beginning and not wait for the rest.
    let _ = stdin.write_all(input);
    drop(stdin);
    child.wait_with_output().expect("shardstorm ends").into()
}

/// Runs it to its end, with another current folder.
pub fn shardstorm_in(folder: &Path, args: &[&str]) -> Done {
    command(args).current_dir(folder).output().expect("shardstorm starts").into()
}

/// A store of runs that goes when the test ends.
pub struct Store(tempfile::TempDir);

impl Store {
    pub fn new() -> Self {
        Store(tempfile::tempdir().expect("a temporary folder"))
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn with_store<'a>(&'a self, args: &[&'a str]) -> Vec<&'a str> {
        let mut all = vec!["run", "--store", self.0.path().to_str().expect("a plain path")];
        all.extend(args);
        all
    }

    /// `shardstorm run` into this store, to its end.
    pub fn run(&self, args: &[&str]) -> Done {
        shardstorm(&self.with_store(args))
    }

    /// `shardstorm run` into this store, in the background.
    pub fn start(&self, args: &[&str]) -> Child {
        let mut command = command(&self.with_store(args));
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("shardstorm starts")
    }

    /// Runs a shell script with root's powers over mounts of its own, `$0` being this store, open to everyone,
    /// with a copy of the binary in it. None, with the reason printed, where that is not allowed.
    pub fn script_with_a_copy(&self, script: &str) -> Option<Done> {
        use std::os::unix::fs::PermissionsExt;
        let folder = self.path();
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
        std::fs::copy(env!("CARGO_BIN_EXE_shardstorm"), folder.join("shardstorm")).unwrap();
        let unshare = |script: &str| {
            Command::new("unshare")
                .args(["--mount", "sh", "-c", script])
                .arg(folder)
                .stdin(Stdio::null())
                .output()
        };
        let probe =
            unshare("mknod $0/probe c 10 200 && mount --bind $0/probe $0/shardstorm && command -v setpriv");
        match probe {
            Ok(output) if output.status.success() => Some(unshare(script).unwrap().into()),
            _ => {
                eprintln!("skipped: not root, or no mounts or device nodes of one's own here");
                None
            }
        }
    }

    /// The newest run folder.
    pub fn latest(&self) -> RunFolder {
        RunFolder::open(&self.path().join("latest")).expect("a run folder")
    }

    /// Waits until the newest run's history satisfies `enough`; panics after a minute.
    pub fn wait_for_history(&self, enough: impl Fn(&str) -> bool) -> String {
        let file = self.path().join("latest").join("history.jsonl");
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            if enough(&text) {
                return text;
            }
            assert!(Instant::now() < deadline, "the history never got that far:\n{text}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The summary in a run folder.
pub fn summary(folder: &RunFolder) -> RunSummary {
    folder.read_summary().expect("a readable summary").expect("a summary")
}

/// Names of the anomalies in a verdict.
pub fn anomalies(verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Invalid { anomalies } => anomalies.iter().map(|anomaly| anomaly.name.clone()).collect(),
        _ => Vec::new(),
    }
}

/// PIDs of processes whose command line or working directory lies in `folder`.
pub fn processes_touching(folder: &Path) -> Vec<(u32, String)> {
    let folder = folder.to_str().expect("a plain path");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_else(|_| PathBuf::new());
        if line.contains(folder) || cwd.starts_with(folder) {
            found.push((pid, line));
        }
    }
    found
}

/// Inodes of the network namespaces that some process lives in.
pub fn network_namespaces() -> std::collections::BTreeSet<PathBuf> {
    std::fs::read_dir("/proc")
        .expect("/proc")
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path().join("ns/net")).ok())
        .collect()
}

/// Polls until `done`, at most ten seconds.
pub fn eventually(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < deadline, "{what} did not come true");
        std::thread::sleep(Duration::from_millis(20));
    }
}
