//! The real thing on loopback: three ZooKeeper servers, one shard of three Redis, three agents.

mod commands;
mod failover;
mod measure;
mod reshard;
mod rig;
