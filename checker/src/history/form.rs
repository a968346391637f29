//! What every history must satisfy before it is judged.

use thiserror::Error;

use super::Process;

/// Why a sequence of events is not a history; indices are those of the events.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormError {
    /// A process is single-threaded: it calls only after its last call came back.
    #[error("event {index}: process {process} calls while its call at event {open} is still open")]
    CallWhileOpen {
        /// The second call.
        index: u64,
        /// Who called.
        process: Process,
        /// The call that is still open.
        open: u64,
    },
    /// A completion of nothing.
    #[error("event {index}: a completion for process {process}, which has not called anything")]
    NoCall {
        /// The completion.
        index: u64,
        /// Whose it claims to be.
        process: Process,
    },
    /// The same call completed twice.
    #[error("event {index}: a second completion for the call of process {process} at event {call}")]
    TwoCompletions {
        /// The second completion.
        index: u64,
        /// Who called.
        process: Process,
        /// The call that had completed before.
        call: u64,
    },
    /// A process retires after an indefinite outcome: its connection may still act.
    #[error(
        "event {index}: process {process} goes on after its call at event {call} ended indefinitely; \
         a new process id is needed there"
    )]
    AfterInfo {
        /// The event that should not be.
        index: u64,
        /// Who.
        process: Process,
        /// The indefinite call.
        call: u64,
    },
    /// The completion is of another kind or another key than the call.
    #[error("event {index}: completes `{found}`, but process {process} called `{called}` at event {call}")]
    OtherCall {
        /// The completion.
        index: u64,
        /// Who.
        process: Process,
        /// The open call.
        call: u64,
        /// What was called, with its key.
        called: String,
        /// What the completion says.
        found: String,
    },
    /// A fault edge without a readable record.
    #[error("event {index}: the value of a `{edge}` is not a fault record: {why}")]
    BadFault {
        /// The event.
        index: u64,
        /// `fault-start` or `fault-stop`.
        edge: String,
        /// What is wrong with it.
        why: String,
    },
}

impl std::fmt::Display for Process {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Process::Client(n) => write!(f, "{n}"),
            Process::Nemesis => f.write_str("nemesis"),
        }
    }
}
