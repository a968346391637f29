//! The one binary: `shardstorm`.
fn main() {}
