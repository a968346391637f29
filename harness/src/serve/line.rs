//! A line of a journal without its values: what is read of histories that nobody judges here.

use std::borrow::Cow;

use checker::{EventKind, Process};
use serde::Deserialize;

/// See [`checker::Event`].
#[derive(Deserialize)]
pub struct Line<'l> {
    pub time: u64,
    pub process: Process,
    #[serde(rename = "type")]
    pub kind: EventKind,
    #[serde(borrow)]
    pub f: Cow<'l, str>,
    #[serde(default)]
    pub shard: Option<u32>,
    #[serde(default)]
    pub epoch: Option<u64>,
    #[serde(borrow, default)]
    pub node: Option<Cow<'l, str>>,
}
