//! What goes wrong, when, to whom, and what shows that it did.
//!
//! A [`Schedule`] is drawn from a seed before the run, as plain data: [`Window`]s of a [`Harm`] on a symbolic
//! [`Target`], in lanes that may overlap. A target resolves when its window opens: "the master of shard 0"
//! is whoever holds that role at that moment. Each strike reports what it resolved to and the evidence that
//! it took effect; a fault without evidence counts as not installed. Healing is a guard: whatever was
//! injected is undone when its [`InForce`](harm::InForce) goes out of scope.
//!
//! The nemesis acts through an [`Arena`], so that the same schedule strikes a cluster of real processes in a
//! lab and an in-memory one.

pub mod arena;
pub mod byzantine;
pub mod family;
pub mod files;
pub mod harm;
pub mod lanes;
pub mod schedule;
pub mod shape;
pub mod targets;
pub mod wire;

pub use arena::{
    Arena, DiskRuleInForce, FaultOnMessages, Mark, Marks, NetRule, Part, PointOfMessages, RuleInForce,
    Service, Signs, SkewInForce, Topology, Victim, View,
};
pub use family::{Family, Group};
pub use harm::{
    ClockHarm, Course, DataFile, DiskHarm, Evidence, FailingOps, Harm, MessageHarm, NetFault, NetHarm,
    ProcessHarm,
};
pub use lanes::{Edge, EdgeKind, Report, StopSignal, run_lanes};
pub use schedule::{Limits, Schedule, ScheduleError, Window};
pub use shape::Shape;
pub use targets::Target;

/// In evidence: how often a window has struck, where it may strike more than once.
pub const STRIKES: &str = "strikes";
