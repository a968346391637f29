//! Integration tests: a run folder from outside, one module per theme.

mod across;
mod availability;
mod blame;
mod browser;
mod campaign;
mod devtools;
mod export;
mod failover;
mod failover_bars;
mod folder;
mod journal;
mod plots;
mod report;
mod synthetic;
mod timeline;
