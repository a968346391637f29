//! Candidates run for real: each run is a process of this program, told to end early when time is over.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use results::RunFolder;
use results::layout;
use results::spec::RunSpec;

use super::candidate::Candidate;
use super::tries::{Runner, Seen};
use crate::exit::Exit;
use crate::plan;
use crate::replay::anomaly_names;
use crate::signals::Interrupt;

/// How a failing run ended: what candidates must do as well.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Its end.
    pub exit: Exit,
    /// Of these contradictions at least one must come back; none for a failure that has no name.
    pub anomalies: Vec<String>,
}

/// Runs candidates one after the other, below one folder.
pub struct Processes {
    /// The folder of the shrink.
    pub folder: PathBuf,
    /// What is run, but for what candidates say.
    pub spec: RunSpec,
    /// What they must do.
    pub failure: Failure,
    /// A run ends at the first contradiction it shows.
    pub stop_at_first: bool,
    /// When no more is run.
    pub deadline: Instant,
    /// What went wrong beside the candidates, for the user.
    pub trouble: Vec<String>,
    /// Runs so far.
    pub runs: u32,
}

/// Between two looks at a run that is under way.
const LOOK: Duration = Duration::from_millis(20);
/// How long a run that was told to end may take to judge what it has seen.
const END_BOUND: Duration = Duration::from_secs(60);

impl Runner for Processes {
    fn run(&mut self, candidate: &Candidate) -> Seen {
        if self.is_over() {
            return Seen::Over;
        }
        self.runs += 1;
        match self.try_run(candidate) {
            Ok(seen) => seen,
            Err(error) => {
                self.trouble.push(format!("run {}: {error:#}", self.runs));
                Seen::Otherwise("not run".into())
            }
        }
    }
}

impl Processes {
    fn is_over(&self) -> bool {
        Interrupt.asked() || Instant::now() >= self.deadline
    }

    fn try_run(&mut self, candidate: &Candidate) -> anyhow::Result<Seen> {
        let name = format!("{:04}", self.runs);
        let faults = self.folder.join(layout::CANDIDATES).join(format!("{name}.toml"));
        std::fs::write(&faults, candidate.schedule.to_toml())?;
        let store = self.folder.join(layout::RUNS).join(&name);
        std::fs::create_dir_all(&store)?;
        let log = store.join("output.log");
        let mut child = self.start(candidate, &faults, &store, &log)?;
        let Some(status) = self.wait(&mut child)? else { return Ok(Seen::Over) };
        let seen = self.seen(status, &store, &log);
        if !matches!(seen, Seen::Same(_)) {
            // What did not fail is told by its counts; its folder is of no use to anybody.
            std::fs::remove_dir_all(&store)?;
        }
        Ok(seen)
    }

    fn start(&self, candidate: &Candidate, faults: &Path, store: &Path, log: &Path) -> anyhow::Result<Child> {
        let spec =
            RunSpec { capture: false, stop_at_first: self.stop_at_first, ..candidate.spec(&self.spec) };
        let output = File::create(log)?;
        let mut run = Command::new("/proc/self/exe");
        run.arg("run").args(plan::flags(&spec, Some(faults))).arg("--store").arg(store);
        run.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // Ours to end, and to end in order: not the terminal's.
        run.process_group(0);
        // SAFETY: one system call, nothing allocated between fork and exec.
        unsafe {
            run.pre_exec(|| prctl::set_pdeathsig(Signal::SIGKILL).map_err(std::io::Error::from));
        }
        Ok(run.spawn()?)
    }

    /// Waits for the run's end; none when it was told to end before.
    fn wait(&self, child: &mut Child) -> anyhow::Result<Option<ExitStatus>> {
        let mut told: Option<Instant> = None;
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok(told.is_none().then_some(status));
            }
            match told {
                None if self.is_over() => {
                    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT)?;
                    told = Some(Instant::now());
                }
                Some(since) if since.elapsed() > END_BOUND => child.kill()?,
                _ => {}
            }
            std::thread::sleep(LOOK);
        }
    }

    fn seen(&mut self, status: ExitStatus, store: &Path, log: &Path) -> Seen {
        let Some(code) = status.code() else { return Seen::Otherwise(status.to_string()) };
        let exit = Exit::from_code(code);
        let summary = RunFolder::open(&store.join(layout::LATEST)).and_then(|folder| folder.read_summary());
        let names = summary.ok().flatten().map(|summary| anomaly_names(&summary.verdict)).unwrap_or_default();
        if exit == Exit::Usage {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            self.trouble.push(format!("a run was refused: {}", said.trim_end()));
        }
        self.failure.seen(exit, names)
    }
}

impl Failure {
    /// How an ending compares.
    fn seen(&self, exit: Exit, names: Vec<String>) -> Seen {
        let is_wanted = self.anomalies.is_empty() || names.iter().any(|name| self.anomalies.contains(name));
        if exit == self.exit && is_wanted {
            return Seen::Same(names);
        }
        let how = format!("{exit:?}").to_lowercase();
        Seen::Otherwise(if names.is_empty() { how } else { format!("{how} ({})", names.join(", ")) })
    }

    /// In words: `invalid (stale-read)`.
    pub fn words(&self) -> String {
        let how = format!("{:?}", self.exit).to_lowercase();
        match self.anomalies.as_slice() {
            [] => how,
            names => format!("{how} ({})", names.join(" or ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_ending_with_a_wanted_anomaly_counts() {
        let failure = Failure { exit: Exit::Invalid, anomalies: vec!["stale-read".into()] };
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(matches!(failure.seen(Exit::Invalid, names(&["lost-update", "stale-read"])), Seen::Same(_)));
        assert_eq!(
            failure.seen(Exit::Invalid, names(&["lost-update"])),
            Seen::Otherwise("invalid (lost-update)".into())
        );
        assert_eq!(failure.seen(Exit::Valid, names(&[])), Seen::Otherwise("valid".into()));
        let dead = Failure { exit: Exit::NotLive, anomalies: Vec::new() };
        assert!(matches!(dead.seen(Exit::NotLive, names(&[])), Seen::Same(_)));
        assert_eq!(failure.words(), "invalid (stale-read)");
    }
}
