//! The register workload on the fake cluster, under faults.

mod drive;
mod on_fake;
mod zones;
