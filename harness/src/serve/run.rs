//! A run, a shrink or a campaign: its report, and its files.

use std::sync::Arc;

use askama::Template;
use results::{RunFolder, layout, units};
use serde::Serialize;
use serde_json::Value;

use super::files::{self, Listed};
use super::query::{Query, escaped};
use super::reply::Reply;
use super::site::{API_SCHEMA, Site, rendered};
use super::store::{Entry, Kind};

#[derive(Template)]
#[template(path = "serve/run.html")]
struct Page {
    title: String,
    name: String,
    path: String,
    state: String,
    mood: &'static str,
    sentence: String,
    is_live: bool,
    kind: &'static str,
    is_run: bool,
    group: String,
    group_name: String,
    runs_href: String,
    report: Option<String>,
    shows_files: bool,
    files_href: String,
    report_href: String,
    live_href: String,
    api_href: String,
    command: String,
    groups: Vec<Group>,
    is_all: bool,
}

/// The files of one folder.
struct Group {
    name: String,
    files: Vec<Link>,
}

struct Link {
    href: String,
    name: String,
    size: String,
}

/// The page `/run/…`, with `?view=files` its files. None where there is nothing of ours.
pub fn page(site: &Site, names: &[String], query: &Query) -> Option<Reply> {
    let (entry, folder) = find(site, names)?;
    let address = escaped(&entry.path);
    let is_live = entry.mood == "live";
    let report = entry.has_report.then(|| format!("/files/{address}/{}", layout::REPORT));
    let shows_files = report.is_none() || query.get("view") == Some("files");
    let (listed, is_all) = if shows_files { files::list(&folder) } else { (Vec::new(), true) };
    let command = std::fs::read_to_string(folder.join(layout::COMMAND)).unwrap_or_default();
    Some(rendered(&Page {
        title: format!("{} · {}", entry.name, entry.state),
        name: entry.name.clone(),
        path: entry.path.clone(),
        state: entry.state.replace('-', " "),
        mood: entry.mood,
        sentence: entry.sentence.clone(),
        is_live,
        kind: entry.kind.word(),
        is_run: entry.kind == Kind::Run,
        group: if entry.group.is_empty() { String::new() } else { format!("/run/{}", escaped(&entry.group)) },
        group_name: entry.group.rsplit('/').next().unwrap_or_default().to_owned(),
        runs_href: format!("/?within={address}"),
        report,
        shows_files,
        files_href: format!("/run/{address}?view=files"),
        report_href: format!("/run/{address}"),
        live_href: format!("/live/{address}"),
        api_href: format!("/api/run/{address}"),
        command: command.trim().to_owned(),
        groups: grouped(&address, listed),
        is_all,
    }))
}

fn grouped(address: &str, listed: Vec<Listed>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for file in listed {
        let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        let link = Link {
            href: format!("/files/{address}/{}", escaped(&file.path)),
            name: name.to_owned(),
            size: size(file.bytes),
        };
        match groups.iter_mut().find(|group| group.name == folder) {
            Some(group) => group.files.push(link),
            None => groups.push(Group { name: folder.to_owned(), files: vec![link] }),
        }
    }
    groups
}

/// `1,204 B`, `12 kB`, `3.4 MB`.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{} B", units::count(bytes)),
        10_000..1_000_000 => format!("{} kB", bytes / 1000),
        1_000_000..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{} MB", units::count(bytes / 1_000_000)),
    }
}

/// The entry at a path and its folder; links are followed within the store: `latest` is a run.
pub fn find(site: &Site, names: &[String]) -> Option<(Arc<Entry>, std::path::PathBuf)> {
    let folder = files::folder(site.store.root(), names)?;
    let path = folder.strip_prefix(site.store.root()).ok()?.to_str()?.to_owned();
    Some((site.store.entry(&path)?, folder))
}

#[derive(Serialize)]
struct Data {
    schema: u32,
    #[serde(flatten)]
    entry: Arc<Entry>,
    files: Vec<Listed>,
    verdict: Option<Value>,
    run: Option<results::writer::RunFile>,
}

/// `/api/run/…`: what the index says, the files, `verdict.json` and `run.toml`.
pub fn data(site: &Site, names: &[String]) -> Option<Reply> {
    let (entry, folder) = find(site, names)?;
    let verdict = std::fs::read(folder.join(layout::VERDICT)).ok();
    Some(Reply::json(&Data {
        schema: API_SCHEMA,
        entry,
        files: files::list(&folder).0,
        verdict: verdict.and_then(|text| serde_json::from_slice(&text).ok()),
        run: RunFolder::open(&folder).and_then(|folder| folder.read_run()).ok(),
    }))
}
