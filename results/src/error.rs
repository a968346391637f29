//! What can go wrong with a run folder, each in one sentence with its mend.

use std::io;
use std::path::{Path, PathBuf};

/// A failure to write, read or draw what a run leaves.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path does not lead to a run folder.
    #[error(
        "{} is not a run folder: {why}; give the path of a folder that `shardstorm run` wrote, or of its `latest` link",
        path.display()
    )]
    NotARunFolder {
        /// The path asked for.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The path does not lead to a campaign's folder.
    #[error(
        "{} is not a campaign folder: {why}; give the path of a folder that `shardstorm campaign` wrote",
        path.display()
    )]
    NotACampaign {
        /// The path asked for.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The folder was written by a later version of this program.
    #[error(
        "{} was written in format {found}, this shardstorm reads up to {newest}: update shardstorm",
        path.display()
    )]
    NewerFormat {
        /// The run folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format this program reads.
        newest: u32,
    },
    /// No room is left on the disk.
    #[error(
        "the disk that holds {} is full: free some space or choose another --store",
        path.display()
    )]
    DiskFull {
        /// The file that could not grow.
        path: PathBuf,
    },
    /// A file exists but does not say what it should.
    #[error("{}{} cannot be read: {why}", path.display(), line.map(|l| format!(" line {l}")).unwrap_or_default())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1, where the file has lines of its own.
        line: Option<usize>,
        /// What the parser said.
        why: String,
    },
    /// A value does not fit the format it is to be written in.
    #[error("{} cannot be written: {why}", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the serialiser said.
        why: String,
    },
    /// What was recorded cannot be said in a form.
    #[error("{} cannot be written as {form}: {why}", path.display())]
    Unfit {
        /// The run folder.
        path: PathBuf,
        /// The form that was asked for.
        form: &'static str,
        /// Why not, and what can.
        why: String,
    },
    /// The system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// A verb: `read`, `write`, `create`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A picture could not be drawn.
    #[error("cannot draw the {plot} plot: {why}")]
    Draw {
        /// Name of the plot.
        plot: &'static str,
        /// What the drawing library said.
        why: String,
    },
    /// The report's template failed.
    #[error("cannot write the report: {0}")]
    Template(#[from] askama::Error),
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Names the file and, where the disk is full, the mend.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { path: path.to_owned() }
            }
            _ => Error::Io { doing, path: path.to_owned(), source },
        }
    }

    /// For `map_err` on the way out of an IO call.
    pub(crate) fn doing(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Error::io(doing, &path, source)
    }
}
