//! What is asked for, by its path.

use std::path::PathBuf;
use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderMap;

use super::query::{Query, names};
use super::reply::{Policy, Reply};
use super::store::Store;
use super::{compare, files, index, live, run};

/// Version of the data under `/api`; grows when a field changes or goes.
pub const API_SCHEMA: u32 = 1;

const STYLE: &str = include_str!("../../assets/serve/serve.css");
const SCRIPT: &str = include_str!("../../assets/serve/serve.js");
const LIVE_SCRIPT: &str = include_str!("../../assets/serve/live.js");

/// Everything that is served.
pub struct Site {
    is_local: bool,
    /// The runs.
    pub store: Store,
    /// Those that are being watched.
    pub watch: live::Watch,
    /// Latencies that were measured.
    pub latencies: compare::Latencies,
}

impl Site {
    /// The site of a store whose path is canonical; `is_local` where only this machine can ask.
    pub fn new(root: PathBuf, is_local: bool) -> Site {
        Site {
            is_local,
            store: Store::new(root),
            watch: live::Watch::default(),
            latencies: compare::Latencies::default(),
        }
    }

    /// Whether only this machine can ask.
    pub fn is_local(&self) -> bool {
        self.is_local
    }

    /// Reads all verdicts beforehand, in the background, so that the first to ask need not wait for it.
    pub fn look_around(self: Arc<Self>) {
        std::thread::spawn(move || self.store.entries());
    }

    /// Answers a request for a path. Reads files: not for the threads that serve connections.
    pub fn answer(&self, path: &str, query: &str, headers: &HeaderMap) -> Reply {
        let query = Query::of(query);
        let found = match path.split_once('/').map_or("", |(_, rest)| rest).split_once('/') {
            None => match path {
                "/" => Some(index::page(self, &query)),
                "/compare" => Some(compare::page(self, &query)),
                "/favicon.ico" => {
                    Some(Reply::new(StatusCode::NO_CONTENT, "image/x-icon", Policy::Inert, Vec::new().into()))
                }
                _ => None,
            },
            Some(("assets", name)) => asset(name),
            Some(("run", rest)) => names(rest).and_then(|names| run::page(self, &names, &query)),
            Some(("live", rest)) => names(rest).and_then(|names| live::page(self, &names)),
            Some(("files", rest)) => {
                names(rest).and_then(|names| files::reply(self.store.root(), &names, headers))
            }
            Some(("api", "runs")) => Some(index::data(self, &query)),
            Some(("api", "compare")) => Some(compare::data(self, &query)),
            Some(("api", rest)) => match rest.split_once('/') {
                Some(("run", rest)) => names(rest).and_then(|names| run::data(self, &names)),
                Some(("live", rest)) => names(rest).and_then(|names| live::data(self, &names)),
                _ => None,
            },
            Some(_) => None,
        };
        found.unwrap_or_else(|| Reply::error(StatusCode::NOT_FOUND, "there is no such thing in this store"))
    }
}

fn asset(name: &str) -> Option<Reply> {
    let (mime, text) = match name {
        "serve.css" => ("text/css; charset=utf-8", STYLE),
        "serve.js" => ("text/javascript; charset=utf-8", SCRIPT),
        "live.js" => ("text/javascript; charset=utf-8", LIVE_SCRIPT),
        _ => return None,
    };
    Some(Reply::new(StatusCode::OK, mime, Policy::Inert, text.as_bytes().into()))
}

/// A page of ours, or that it could not be made.
pub fn rendered(page: &impl askama::Template) -> Reply {
    match page.render() {
        Ok(html) => Reply::page(html),
        Err(_) => Reply::error(StatusCode::INTERNAL_SERVER_ERROR, "this page could not be made"),
    }
}
