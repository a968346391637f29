//! Every promise of the crate, a module per theme.

mod accounts;
mod amounts;
mod anomalies;
mod bank;
mod coordination;
mod corpus;
mod drawings;
mod engines;
mod formats;
mod laws;
mod objects;
mod oracle;
mod random;
mod search;
mod sets;
mod shared;
mod simulated;
mod stale;
mod stream;
mod text;
mod txn;
