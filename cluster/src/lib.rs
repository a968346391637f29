//! The system under test: a shard cluster on unmodified Redis and ZooKeeper, unaware that it is tested.
//!
//! Who runs a cluster asks [`provision`] for files and command lines, starts the servers and agents wherever
//! it likes, calls [`bootstrap::bootstrap`] once, waits for [`status::ready`], and then works through
//! [`client::Client`]s. The agents ([`agent`]) do the rest by themselves, and write an event line for
//! every step ([`event`]).

pub mod agent;
pub mod bootstrap;
pub mod client;
pub mod clock;
pub mod credentials;
pub mod dataset;
pub mod defence;
pub mod event;
pub mod fake;
pub mod group;
pub mod lock;
pub mod provision;
pub mod redis_link;
pub mod rescue;
pub mod reshard;
pub mod ring;
pub mod seal;
pub mod security;
pub mod status;
pub mod store;
pub mod weakness;
pub mod zk;
pub mod znodes;
