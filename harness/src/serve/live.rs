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
/// Where there are no locks, a file that was written to within this time is taken for one that is still written to.
const FRESH: Duration = Duration::from_secs(10);

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
    let is_alive = layout::is_held(folder).unwrap_or_else(|_| is_fresh(&history));
    match (is_alive, history.is_file()) {
        (true, false) => (State::Running, "The cluster is being raised."),
        (true, true) if last_line(&history).is_some_and(|line| line.contains("\"end\"")) => {
            (State::Judging, "The load is over, the history is being judged.")
        }
        (true, true) => (State::Running, "The run is in progress."),
        (false, false) => (State::Ended, "The run ended before its load began; there is nothing to judge."),
        (false, true) => (
            State::Ended,
            "The run ended without a verdict: it was killed. `shardstorm check` judges what it left.",
        ),
    }
}

/// Was something written to it just now?
fn is_fresh(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|about| about.modified()).ok();
    modified.is_some_and(|at| SystemTime::now().duration_since(at).unwrap_or_default() < FRESH)
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

#[cfg(test)]
mod tests {
    use super::*;
    use results::RunFolder;

    #[test]
    fn a_run_goes_on_as_long_as_somebody_holds_its_folder_however_long_it_writes_nothing() {
        let store = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(store.path(), "register-1").unwrap();
        let held = folder.hold().unwrap();
        assert_eq!(state(folder.path()).0, State::Running);
        let write = |line: &str| {
            fs::write(folder.history(), line).unwrap();
            let old = SystemTime::now() - Duration::from_secs(86_400);
            fs::File::options().append(true).open(folder.history()).unwrap().set_modified(old).unwrap();
        };
        write("{\"f\":\"phase\",\"value\":\"load\"}\n");
        assert_eq!(state(folder.path()).0, State::Running);
        write("{\"f\":\"phase\",\"value\":\"end\"}\n");
        assert_eq!(state(folder.path()).0, State::Judging);
        drop(held);
        assert_eq!(state(folder.path()).0, State::Ended);
    }
}
