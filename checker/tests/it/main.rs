//! Every promise of the crate, a module per theme.

mod engines;
mod oracle;
mod random;
mod shared;
