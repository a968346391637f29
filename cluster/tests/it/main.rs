//! The real thing on loopback: three ZooKeeper servers, one shard of three Redis, three agents.

mod commands;
mod coordination;
mod ensemble;
mod failover;
mod locks;
mod measure;
mod members;
mod proxy;
mod reshard;
mod rig;
