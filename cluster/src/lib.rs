//! The system under test: a shard cluster on unmodified Redis and ZooKeeper, unaware that it is tested.

pub mod event;
pub mod fake;
pub mod store;
