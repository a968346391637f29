//! The real thing on loopback: three ZooKeeper servers, one shard of three Redis, three agents.

mod authentic;
mod bad_records;
mod commands;
mod coordination;
mod costs;
mod ensemble;
mod failover;
mod hostile_link;
mod locks;
mod measure;
mod members;
mod proxy;
mod reshard;
mod rig;
mod tls;
