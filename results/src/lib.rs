//! What a run leaves, and how it is told.
//!
//! A run folder is written as the run happens ([`journal`], [`writer`]), can be read back whole or in part
//! ([`reader`]), and explains itself: [`failover`] and [`availability`] compute what is worth telling,
//! [`explain`] and [`table`] put it in words for the terminal, [`plot`] draws it, [`timeline`] packs every operation for
//! a browser, [`report`] binds all of it into one page that opens offline. Everything after the writing is a pure function of what was recorded.

pub mod across;
pub mod availability;
mod base64;
pub mod campaign;
pub mod error;
pub mod explain;
pub mod export;
pub mod failover;
pub mod journal;
pub mod layout;
pub mod messages;
pub mod plot;
pub mod reader;
pub mod report;
pub mod space_time;
pub mod spec;
pub mod stats;
pub mod strikes;
pub mod summary;
pub mod table;
pub mod timeline;
pub mod units;
pub mod utc;
pub mod writer;

pub use error::{Error, Result};
pub use journal::Journal;
pub use layout::{FORMAT_VERSION, RunFolder};
pub use reader::{RunRecord, read_history};
pub use report::Report;
pub use writer::RunFile;
