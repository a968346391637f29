//! Campaigns of runs in memory: what they leave, what survives their end, and how they end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use results::campaign::folder::read_lines;
use results::campaign::summary::Standing;
use results::campaign::{CampaignFolder, CampaignSummary, Ended, RunLine, State};

use crate::tool::{Done, command, shardstorm};

/// A campaign file in a folder of its own, which is its store, too.
struct Campaign {
    place: tempfile::TempDir,
}

impl Campaign {
    fn of(text: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("c.toml"), text).unwrap();
        Campaign { place }
    }

    fn file(&self) -> String {
        self.place.path().join("c.toml").display().to_string()
    }

    fn store(&self) -> String {
        self.place.path().join("store").display().to_string()
    }

    /// `shardstorm campaign FILE`, to its end.
    fn run(&self, flags: &[&str]) -> Done {
        shardstorm(&[&["campaign", &self.file(), "--store", &self.store()], flags].concat())
    }

    /// Campaign folders in the store, by name.
    fn folders(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.store()).into_iter().flatten().flatten();
        let mut all: Vec<PathBuf> =
            entries.map(|entry| entry.path()).filter(|path| path.join("plan.json").is_file()).collect();
        all.sort();
        all
    }

    fn folder(&self) -> PathBuf {
        self.folders().pop().expect("a campaign folder")
    }
}

fn summary(folder: &Path) -> CampaignSummary {
    CampaignFolder::open(folder).unwrap().0.read_summary().unwrap().expect("campaign.json")
}

fn lines(folder: &Path) -> Vec<RunLine> {
    read_lines(&folder.join("runs.jsonl")).unwrap()
}

fn stands(summary: &CampaignSummary) -> Vec<Standing> {
    summary.cases.iter().map(|case| case.stands).collect()
}

/// Holds a file against our schema; false, with a word, where there is no tool for that.
fn is_valid_junit(file: &Path) -> Option<bool> {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/junit.xsd");
    let output = Command::new("xmllint").args(["--noout", "--schema", schema]).arg(file).output();
    match output {
        Ok(output) => {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
            Some(output.status.success())
        }
        Err(_) => {
            eprintln!("skipped: junit.xml is not held against its schema; install libxml2-utils");
            None
        }
    }
}

/// One row is right, one is known to be weak, one is weak and not known to be.
#[test]
fn a_campaign_tells_every_end_and_leaves_it_for_programs_and_people() {
    let campaign = Campaign::of(
        "name = 'ends'\nrerun = 2\n[defaults]\nrate = 800\n[matrix]\ntargets = ['fake']\n\
         variants = ['hardened', { name = 'stale', bug = 'stale-read' }]\nfaults = ['kill']\nseeds = [1, 2]\ndurations = [1]\n\
         [[expect]]\nvariant = 'stale'\nseed = 1\nverdict = 'invalid'\nanomalies = ['stale-read']\n",
    );
    let page = campaign.place.path().join("page.md");
    let output = command(&["campaign", &campaign.file(), "--store", &campaign.store(), "--jobs", "2"])
        .envs([("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", page.to_str().unwrap())])
        .output();
    let done: Done = output.unwrap().into();
    assert_eq!(done.code, 1, "{}", done.said());
    let folder = campaign.folder();
    let told = summary(&folder);
    assert_eq!((told.schema_version, told.state, told.exit_code), (1, State::Complete, 1));
    use Standing::{AsExpected, Unexpected};
    assert_eq!(stands(&told), [AsExpected, AsExpected, AsExpected, Unexpected], "{}", done.said());
    let bad = &told.cases[3];
    assert_eq!(
        (bad.verdict, bad.runs.len(), bad.again.map(|rate| rate.of)),
        (Some(Ended::Invalid), 3, Some(2))
    );
    assert_eq!(told.groups.iter().filter_map(|group| group.often_enough).collect::<Vec<_>>(), [true]);
    for line in lines(&folder) {
        let run = folder.join(line.folder.expect("a folder"));
        for file in ["report.html", "verdict.json", "harness.log"] {
            assert!(run.join(file).is_file(), "{file} in {}", run.display());
        }
    }
    assert_eq!(fs::read_dir(folder.join("output")).unwrap().count(), 0);
    let annotation = done.stdout.lines().find(|line| line.starts_with("::error "));
    let annotation = annotation.unwrap_or_else(|| panic!("{}", done.said()));
    assert!(
        annotation.starts_with("::error title=fake stale register kill seed 2%2C 1 s%3A invalid::"),
        "{annotation}"
    );
    assert!(annotation.contains("95 %25 interval"), "{annotation}");
    let text = fs::read_to_string(folder.join("summary.md")).unwrap();
    let worst = bad.worst().unwrap().folder.clone().unwrap();
    assert!(
        text.contains(&format!("]({worst}/report.html)")) && text.contains("| ok | fake | hardened |"),
        "{text}"
    );
    assert!(fs::read_to_string(&page).unwrap().contains("**not ok**"));

    let junit = folder.join("junit.xml");
    assert_ne!(is_valid_junit(&junit), Some(false));
    let text = fs::read_to_string(&junit).unwrap();
    assert!(text.contains("tests=\"5\" failures=\"1\" errors=\"0\""), "{text}");
    let broken = campaign.place.path().join("broken.xml");
    fs::write(&broken, text.replacen("classname", "class", 1)).unwrap();
    assert_ne!(is_valid_junit(&broken), Some(true), "the schema refuses nothing");

    // All is done: nothing is run again, and the end is the same.
    let again = shardstorm(&["campaign", "resume", folder.to_str().unwrap()]);
    assert_eq!((again.code, lines(&folder).len()), (1, 6), "{}", again.said());
}

/// Numbers that anybody can draw again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn twenty_interruptions_at_random_lose_no_run_that_had_ended() {
    const CELLS: usize = 28;
    let campaign = Campaign::of(&format!(
        "name = 'torn'\n[defaults]\nrate = 400\nconcurrency = 4\n[matrix]\ntargets = ['fake']\nfaults = ['none']\n\
         seeds = {CELLS}\ndurations = [0.2]\n[[expect]]\nverdict = 'any'\n"
    ));
    let mut chance = Chance(6);
    let start = |arguments: &[&str]| -> Child {
        let all = [&["campaign"], arguments, &["--jobs", "3"]].concat();
        let said = fs::File::create(campaign.place.path().join("said")).unwrap();
        command(&all).stdout(Stdio::null()).stderr(said).spawn().unwrap()
    };
    let said = || fs::read_to_string(campaign.place.path().join("said")).unwrap();
    let mut child = start(&[&campaign.file(), "--store", &campaign.store()]);
    let begun = Instant::now();
    while campaign.folders().is_empty() || !campaign.folder().join("runs.jsonl").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no campaign folder appears");
        std::thread::sleep(Duration::from_millis(5));
    }
    let folder = campaign.folder();
    let path = folder.to_str().unwrap();
    let (mut before, mut in_order) = (Vec::new(), 0);
    for turn in 0..20 {
        // Every fifth time once something more has ended, however slow the machine is; at random moments from then on.
        let waited = Instant::now();
        while turn % 5 == 1
            && lines(&folder).len() == before.len()
            && waited.elapsed() < Duration::from_secs(30)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(chance.below(350)));
        let signal = if chance.below(4) == 0 { Signal::SIGINT } else { Signal::SIGKILL };
        if let Some(status) = child.try_wait().unwrap() {
            panic!("turn {turn}: it had ended before ({status}): {}", said());
        }
        kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        let status = child.wait().unwrap();
        if status.code() == Some(2) {
            in_order += 1;
        }
        let now = lines(&folder);
        assert!(now.starts_with(&before), "turn {turn}: a line is gone");
        before = now;
        if turn % 5 == 4 {
            // As if the power had gone in the middle of a line.
            let mut text = fs::read(folder.join("runs.jsonl")).unwrap();
            text.extend(b"{\"index\":39,\"attempt\":1,\"fol");
            fs::write(folder.join("runs.jsonl"), text).unwrap();
        }
        child = start(&["resume", path]);
    }
    let ended = child.wait().unwrap();
    assert_eq!(ended.code(), Some(0), "{}", said());
    let mut by_index: BTreeMap<u32, Vec<RunLine>> = BTreeMap::new();
    for line in lines(&folder) {
        assert!(folder.join(line.folder.as_ref().unwrap()).join("verdict.json").is_file());
        by_index.entry(line.index).or_default().push(line);
    }
    assert_eq!(by_index.keys().copied().collect::<Vec<_>>(), (0..CELLS as u32).collect::<Vec<_>>());
    assert!(by_index.values().all(|lines| lines.len() == 1), "a run has two lines");
    // What it was for: something had ended before the last interruption, something had been torn off, in both ways.
    let torn = fs::read_dir(folder.join("unfinished")).map(|entries| entries.count()).unwrap_or(0);
    eprintln!(
        "{} lines before the last interruption, {torn} left unfinished, {in_order} ended in order",
        before.len()
    );
    assert!(
        before.len() >= 4 && torn >= 5 && in_order >= 1,
        "{} lines, {torn} torn, {in_order}",
        before.len()
    );
    let counted = by_index.len() + 1; // and the link to the latest
    assert_eq!(fs::read_dir(folder.join("runs")).unwrap().count(), counted, "folders that no line speaks of");
    assert_eq!(summary(&folder).state, State::Complete);
}

/// Children of a process.
fn children(pid: u32) -> Vec<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    fs::read_to_string(path)
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

#[test]
fn a_run_that_dies_is_no_verdict_but_hides_no_violation() {
    let campaign = Campaign::of(
        "name = 'crash'\nrerun = 0\n[defaults]\nrate = 800\n[matrix]\ntargets = ['fake']\n\
         variants = ['hardened', { name = 'stale', bug = 'stale-read' }]\nfaults = ['none']\nseeds = 1\ndurations = [60]\n",
    );
    let mut command = command(&["campaign", &campaign.file(), "--store", &campaign.store(), "--jobs", "2"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Let both see enough: the weak one has to have shown itself.
    let begun = Instant::now();
    let enough = || {
        let runs = campaign.folders().pop().map(|folder| folder.join("runs"));
        let histories = fs::read_dir(runs?).ok()?.flatten().map(|entry| entry.path());
        let lengths = histories
            .filter(|run| !run.is_symlink())
            .map(|run| fs::read_to_string(run.join("history.jsonl")).map_or(0, |text| text.lines().count()));
        let lengths: Vec<usize> = lengths.collect();
        (lengths.len() == 2 && lengths.iter().all(|lines| *lines > 4_000)).then_some(())
    };
    while enough().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(50), "the runs do not get going");
        std::thread::sleep(Duration::from_millis(50));
    }
    let second = shardstorm(&["campaign", "resume", campaign.folder().to_str().unwrap()]);
    assert!(
        second.code == 254 && second.stderr.contains("another process runs this campaign"),
        "{}",
        second.said()
    );
    let runs = children(child.id());
    assert_eq!(runs.len(), 2);
    runs.iter().for_each(|pid| kill(Pid::from_raw(*pid), Signal::SIGKILL).unwrap());
    let done: Done = child.wait_with_output().unwrap().into();
    assert_eq!(done.code, 1, "{}", done.said());
    let told = summary(&campaign.folder());
    let verdicts: Vec<_> = told.cases.iter().map(|case| case.verdict).collect();
    assert_eq!(verdicts, [Some(Ended::Error), Some(Ended::Invalid)], "{}", done.said());
    assert!(told.cases.iter().all(|case| case.runs[0].exit_code.is_none()));
    assert!(told.cases[0].runs[0].reason.contains("signal 9 (SIGKILL)"), "{}", told.cases[0].runs[0].reason);
    let junit = fs::read_to_string(campaign.folder().join("junit.xml")).unwrap();
    assert!(
        junit.contains("<error type=\"error\"") && junit.contains("<failure type=\"invalid\""),
        "{junit}"
    );
    assert_ne!(is_valid_junit(&campaign.folder().join("junit.xml")), Some(false));
}

#[test]
fn shards_are_joined_to_what_one_machine_would_have_run() {
    let text = "name = 'parts'\n[defaults]\nrate = 400\n[matrix]\ntargets = ['fake']\nfaults = ['none']\nseeds = 5\n\
                durations = [0.2]\n[[expect]]\nverdict = 'any'\n";
    let campaign = Campaign::of(text);
    for shard in ["1/2", "2/2"] {
        assert_eq!(campaign.run(&["--shard", shard, "--jobs", "2"]).code, 0);
    }
    let folders: Vec<String> = campaign.folders().iter().map(|path| path.display().to_string()).collect();
    let out = |name: &str| campaign.place.path().join(name).display().to_string();
    let one = out("one");
    let done = shardstorm(&["merge", &one, &campaign.store()]);
    assert_eq!(done.code, 0, "{}", done.said());
    let told = summary(Path::new(&one));
    assert_eq!((told.state, told.counts.runs, told.shard), (State::Complete, 5, None));
    let mut indices: Vec<u32> = lines(Path::new(&one)).iter().map(|line| line.index).collect();
    indices.sort_unstable();
    assert_eq!(indices, [0, 1, 2, 3, 4]);
    for line in lines(Path::new(&one)) {
        assert!(Path::new(&one).join(line.folder.unwrap()).join("report.html").is_file());
    }
    let half = out("half");
    let done = shardstorm(&["merge", &half, &folders[1]]);
    assert!(done.code == 2 && done.stderr.contains("shard 1 of 2 is missing"), "{}", done.said());
    assert_eq!(summary(Path::new(&half)).missing_shards, [1]);
    // What is left out can be made up for, also where empty folders were lost on the way.
    fs::remove_dir(Path::new(&half).join("output")).unwrap();
    let done = shardstorm(&["campaign", "resume", &half, "--jobs", "2"]);
    assert_eq!((done.code, lines(Path::new(&half)).len()), (0, 5), "{}", done.said());

    let other = Campaign::of(&text.replace("rate = 400", "rate = 300"));
    assert_eq!(other.run(&["--shard", "1/2"]).code, 0);
    let table: [(&[&str], &str); 4] = [
        (&[&folders[0], &other.store()], "is of another campaign than"),
        (&[&folders[0], &folders[0]], "are both shard 1/2"),
        (&[&one], "is no shard but a whole campaign"),
        (&[&campaign.file()], "is not a campaign folder: it is a file"),
    ];
    for (folders, expected) in table {
        let fresh = out("fresh");
        let done = shardstorm(&[&["merge", &fresh], folders].concat());
        assert!(done.code == 254 && done.stderr.contains(expected), "{expected}: {}", done.said());
        assert!(!Path::new(&fresh).exists(), "{expected}: a folder was made");
    }
    let done = shardstorm(&["merge", &one, &folders[0], &folders[1]]);
    assert!(done.code == 254 && done.stderr.contains("is there and not empty"), "{}", done.said());
}

#[test]
fn what_is_left_open_is_not_green() {
    // The weakness that is expected is not there at all.
    let campaign = Campaign::of(
        "name = 'missed'\n[matrix]\ntargets = ['fake']\nfaults = ['none']\nseeds = 2\ndurations = [0.5]\n\
         [[expect]]\nverdict = 'invalid'\nat_least = 0.5\n",
    );
    let done = campaign.run(&["--jobs", "2"]);
    assert_eq!(done.code, 2, "{}", done.said());
    let told = summary(&campaign.folder());
    assert_eq!(stands(&told), [Standing::Missed; 2]);
    assert_eq!((told.groups[0].often_enough, told.counts.runs), (Some(false), 2), "a miss is not run again");
    let junit = fs::read_to_string(campaign.folder().join("junit.xml")).unwrap();
    assert!(junit.contains("<failure type=\"not-found\""), "{junit}");

    // Nothing fits into the time there is.
    let campaign = Campaign::of(
        "name = 'short'\n[matrix]\ntargets = ['fake']\nfaults = ['none']\nseeds = 2\ndurations = [5]\n[budget]\ntotal = 1\n",
    );
    let done = campaign.run(&[]);
    assert_eq!(done.code, 2, "{}", done.said());
    let told = summary(&campaign.folder());
    assert_eq!((told.state, told.counts.not_run), (State::Stopped, 2));
    let junit = fs::read_to_string(campaign.folder().join("junit.xml")).unwrap();
    assert!(junit.contains("<skipped message=\"not run: the budget of 1 s is spent\"/>"), "{junit}");
    assert_ne!(is_valid_junit(&campaign.folder().join("junit.xml")), Some(false));

    // The first failure is enough; it is looked at again, the rest is not begun.
    let campaign = Campaign::of(
        "name = 'enough'\nrerun = 1\n[defaults]\nrate = 800\n[matrix]\ntargets = ['fake']\n\
         variants = [{ bug = 'stale-read' }]\nfaults = ['kill']\nseeds = 4\ndurations = [1]\n[budget]\nfailures = 1\n",
    );
    let done = campaign.run(&["--jobs", "1"]);
    assert_eq!(done.code, 1, "{}", done.said());
    let told = summary(&campaign.folder());
    assert_eq!((told.counts.unexpected, told.counts.runs, told.counts.not_run), (1, 2, 3), "{}", done.said());
}

#[test]
fn the_campaigns_that_come_with_it_can_be_run() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../campaigns");
    let mut seen = 0;
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        seen += 1;
        let empty = tempfile::tempdir().unwrap();
        let arguments =
            ["campaign", "plan", path.to_str().unwrap(), "--store", empty.path().to_str().unwrap()];
        let done = shardstorm(&arguments);
        assert_eq!(done.code, 0, "{}", done.said());
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(done.stdout.starts_with(&format!("campaign {name} (")), "{}", done.said());
        assert_eq!(
            shardstorm(&arguments).stdout.lines().next(),
            done.stdout.lines().next(),
            "the plan is not the same"
        );
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn what_cannot_be_is_refused_before_anything_starts() {
    let campaign = Campaign::of("name = 'c'\n[matrix]\ntargets = ['fake']\nfaults = ['disk']\n");
    let done = campaign.run(&[]);
    assert!(done.code == 254 && done.stderr.contains("c.toml:4:11: the run fake"), "{}", done.said());
    assert!(campaign.folders().is_empty());
    let table: [(&[&str], &str); 6] = [
        (&["campaign", "no-such.toml"], "cannot be read"),
        (&["campaign", "plan", &campaign.file(), "--shard", "3/2"], "expected k/n with k from 1 to n"),
        (&["campaign", "resume", &campaign.store()], "is not a campaign folder"),
        (&["campaign", "plan", &campaign.file(), "--jobs", "0"], "--jobs 0"),
        (&["campaign"], "<FILE>"),
        (&["merge", "out"], "<FOLDER>"),
    ];
    fs::write(
        campaign.place.path().join("c.toml"),
        "name = 'c'\n[matrix]\ntargets = ['fake']\nfaults = ['none']\n",
    )
    .unwrap();
    for (arguments, expected) in table {
        let done = shardstorm(arguments);
        assert!(done.code == 254 && done.stderr.contains(expected), "{arguments:?}: {}", done.said());
    }
}
