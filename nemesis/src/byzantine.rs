//! Messages that lie: faults on the bytes of a conversation, between servers that are themselves untouched.
//!
//! A [`MessageFault`] says which messages ([`Pattern`], then the n-th of them) and what happens to them
//! ([`Op`]). [`Faults`] is what a run shares: which faults are armed, how often each has matched and struck,
//! what was seen before, and the log of [`Strike`]s. An [`Editor`] sits in each connection and does the
//! work; with nothing armed it only reads, and what it passes on is what came. A [`Trigger`] holds a message
//! at a point of a protocol while something else is done. [`score`] says what a fault came to.

mod choose;
mod editor;
mod faults;
mod language;
mod pattern;
mod record;
pub mod score;
mod seen;
pub mod signs;
mod tapped;
mod trigger;

pub use choose::derive;
pub use editor::{Editor, Ends, Pipe};
pub use faults::{Faults, Tally};
pub use language::{Counting, FaultError, Forged, MessageFault, Op, Place, Scope, To};
pub use pattern::{Literal, Pattern, Predicate};
pub use record::{Action, Fidelity, Strike};
pub use tapped::Tapped;
pub use trigger::{FireAt, Fired, Held, Trigger};
