//! Files and command lines of the servers: everything but starting them.
//!
//! `prepare` of each kind of server writes its directory and returns a [`Launch`]: whoever runs the cluster
//! starts it wherever it wants, for example in a network namespace.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub mod agent;
pub mod certificates;
pub mod redis;
pub mod zookeeper;

/// How to start a prepared server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// Variables to add to the environment.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory.
    pub cwd: PathBuf,
}

/// Why a server cannot be provided.
#[derive(Debug, Error)]
pub enum ProvisionError {
    /// The program is not on this machine.
    #[error("{what} not found: install the package {package} (apt install {package})")]
    Missing {
        /// What was looked for, and where.
        what: String,
        /// Debian and Ubuntu package that has it.
        package: &'static str,
    },
    /// The program is there but does not say its version.
    #[error("`{command}` failed: {why}")]
    Unusable {
        /// What was run.
        command: String,
        /// What came of it.
        why: String,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file that was made before could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Settings that contradict each other.
    #[error("{0}")]
    Settings(String),
}

fn write(path: &Path, text: &str) -> Result<(), ProvisionError> {
    fs::write(path, text).map_err(|source| ProvisionError::Write { path: path.to_owned(), source })
}

fn make_dir(path: &Path) -> Result<(), ProvisionError> {
    fs::create_dir_all(path).map_err(|source| ProvisionError::Write { path: path.to_owned(), source })
}

/// Makes `path` an empty directory.
fn make_empty_dir(path: &Path) -> Result<(), ProvisionError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ProvisionError::Write { path: path.to_owned(), source })
        }
        _ => make_dir(path),
    }
}

/// The first of `names` that is an executable file in a directory of `path` or in the usual ones.
fn find_program(name: &str, path: Option<OsString>) -> Option<PathBuf> {
    let listed = path.unwrap_or_default();
    let usual = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&listed).chain(usual).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Runs `program args…` and returns what it printed on both streams.
fn output_of(program: &Path, args: &[&str]) -> Result<String, ProvisionError> {
    let unusable = |why: String| ProvisionError::Unusable {
        command: format!("{} {}", program.display(), args.join(" ")),
        why,
    };
    let output =
        std::process::Command::new(program).args(args).output().map_err(|e| unusable(e.to_string()))?;
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(text) } else { Err(unusable(text.trim().to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_in_the_given_path_first() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("redis-server");
        fs::write(&file, "#!/bin/sh\n").unwrap();
        assert_ne!(find_program("redis-server", Some(dir.path().into())), Some(file.clone()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find_program("redis-server", Some(dir.path().into())), Some(file));
        assert_eq!(find_program("no-such-program", Some(dir.path().into())), None);
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let e = ProvisionError::Missing { what: "redis-server".into(), package: "redis-server" };
        assert_eq!(
            e.to_string(),
            "redis-server not found: install the package redis-server (apt install redis-server)"
        );
    }
}
