//! The real thing on loopback: three ZooKeeper servers, one shard of three Redis, three agents.

mod authentic;
mod commands;
mod costs;
mod failover;
mod hostile_link;
mod measure;
mod rig;
mod tls;
