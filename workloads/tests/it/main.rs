//! Workloads on the fake cluster, under faults.

mod drive;
mod on_fake;
mod together;
mod zones;
