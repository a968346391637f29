//! The binary as its users run it.

mod bad_input;
mod check;
mod clocks;
mod fake;
mod files;
mod live;
mod tool;
mod workloads;
