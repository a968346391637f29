//! Integration tests: a run folder from outside, one module per theme.

mod availability;
mod export;
mod failover;
mod folder;
mod journal;
mod plots;
mod report;
mod synthetic;
