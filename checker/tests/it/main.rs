//! Every promise of the crate, a module per theme.

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
mod shared;
mod simulated;
mod stale;
mod stream;
