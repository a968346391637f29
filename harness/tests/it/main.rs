//! The binary as its users run it.

mod bad_input;
mod campaign;
mod check;
mod clients;
mod clocks;
mod compare;
mod disks;
mod export;
mod fake;
mod files;
mod links;
mod live;
mod messages;
mod schedules;
mod serve;
mod tool;
mod workloads;
