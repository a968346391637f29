//! The system under test: a shard cluster on unmodified Redis and ZooKeeper, unaware that it is tested.

pub mod agent;
pub mod bootstrap;
pub mod client;
pub mod event;
pub mod fake;
pub mod provision;
pub mod redis_link;
pub mod ring;
pub mod status;
pub mod store;
pub mod zk;
pub mod znodes;
