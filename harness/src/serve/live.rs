//! The run in progress, from the files it writes as it happens.

mod follow;
mod tail;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use askama::Template;
use results::layout;

use super::query::escaped;
use super::reply::Reply;
use super::run::find;
use super::site::{API_SCHEMA, Site, rendered};
use super::store::Kind;
use tail::{Snapshot, Tail};

/// Without a look at it for so long, a run is not followed any more.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);
/// Runs that are followed at once.
const FOLLOWED_MAX: usize = 16;
/// A file that was written to within this time is taken for one that is still written to.
const FRESH: Duration = Duration::from_secs(10);
/// The longest that raising a cluster, and judging a history, may take unless the user says so.
const PATIENCE: Duration = Duration::from_secs(330);

/// How far a run without a verdict has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its process is at it.
    Running,
    /// The history is complete, the verdict is to come.
    Judging,
    /// Nobody is at it any more.
    Ended,
}

impl State {
    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Judging => "judging",
            State::Ended => "ended",
        }
    }

    /// Is more to come?
    pub fn is_live(self) -> bool {
        self != State::Ended
    }
}

/// How far a run without a verdict has come, and that in a sentence.
pub fn state(folder: &Path) -> (State, &'static str) {
    let history = folder.join(layout::HISTORY);
    let Some(age) = age(&history) else {
        return match age(&folder.join(layout::RUN)) {
            Some(age) if age < PATIENCE / 5 => (State::Running, "The cluster is being raised."),
            _ => (State::Ended, "The run ended before its load began; there is nothing to judge."),
        };
    };
    let killed = "The run ended without a verdict: it was killed. `shardstorm check` judges what it left.";
    if age > PATIENCE {
        // A process may hold its journal for long without a line in it only if it hangs.
        return (State::Ended, killed);
    }
    if age < FRESH || is_held_open(&history) {
        return (State::Running, "The run is in progress.");
    }
    match last_line(&history) {
        Some(line) if line.contains("\"end\"") => {
            (State::Judging, "The load is over, the history is being judged.")
        }
        _ => (State::Ended, killed),
    }
}

fn age(path: &Path) -> Option<Duration> {
    let modified = fs::metadata(path).ok()?.modified().ok()?;
    Some(SystemTime::now().duration_since(modified).unwrap_or_default())
}

/// Does some process that we may look at have this file open?
fn is_held_open(path: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.map(|process| process.path().join("fd")).any(|open| {
        let files = fs::read_dir(open).into_iter().flatten().flatten();
        files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| file == path)
    })
}

fn last_line(path: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(path).ok()?;
    let end = file.seek(SeekFrom::End(0)).ok()?;
    file.seek(SeekFrom::Start(end.saturating_sub(4096))).ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    String::from_utf8_lossy(&tail).lines().last().map(str::to_owned)
}

/// Runs that are being watched, each read once for all who watch.
#[derive(Default)]
pub struct Watch(Mutex<HashMap<PathBuf, Watched>>);

struct Watched {
    tail: Arc<Mutex<Tail>>,
    last: Instant,
}

impl Watch {
    fn tail(&self, folder: &Path) -> Arc<Mutex<Tail>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        all.retain(|path, watched| path == folder || now - watched.last < FORGOTTEN_AFTER);
        if all.len() >= FOLLOWED_MAX
            && !all.contains_key(folder)
            && let Some(oldest) =
                all.iter().min_by_key(|(_, watched)| watched.last).map(|(path, _)| path.clone())
        {
            all.remove(&oldest);
        }
        let new = || Watched { tail: Arc::new(Mutex::new(Tail::new(folder))), last: now };
        let watched = all.entry(folder.to_owned()).or_insert_with(new);
        watched.last = now;
        watched.tail.clone()
    }
}

fn snapshot(site: &Site, names: &[String]) -> Option<Snapshot> {
    let (entry, folder) = find(site, names)?;
    if entry.kind != Kind::Run {
        return None;
    }
    let tail = site.watch.tail(&folder);
    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
    tail.catch_up();
    Some(tail.snapshot(API_SCHEMA, &entry))
}

/// `/api/live/…`: how the run stands now.
pub fn data(site: &Site, names: &[String]) -> Option<Reply> {
    Some(Reply::json(&snapshot(site, names)?))
}

#[derive(Template)]
#[template(path = "serve/live.html")]
struct Page {
    title: String,
    name: String,
    path: String,
    api_href: String,
    run_href: String,
    /// The first picture, for the script; `<` escaped.
    snapshot: String,
}

/// The page `/live/…`.
pub fn page(site: &Site, names: &[String]) -> Option<Reply> {
    let snapshot = snapshot(site, names)?;
    let address = escaped(&snapshot.path);
    let text = serde_json::to_string(&snapshot).ok()?.replace('<', "\\u003c");
    let name = snapshot.path.rsplit('/').next().unwrap_or_default().to_owned();
    Some(rendered(&Page {
        title: format!("{name} · live"),
        name,
        path: snapshot.path,
        api_href: format!("/api/live/{address}"),
        run_href: format!("/run/{address}"),
        snapshot: text,
    }))
}
