//! The binary as its users run it.

mod bad_input;
mod check;
mod clocks;
mod disks;
mod export;
mod fake;
mod files;
mod links;
mod live;
mod messages;
mod serve;
mod tool;
mod workloads;
