//! What the paths on the command line stand for.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use results::{RunFolder, layout};

use crate::exit::UsageError;

/// Endings of names that histories in a folder have, besides `.gz` or `.zst`.
const ENDINGS: [&str; 5] = ["jsonl", "json", "edn", "log", "txt"];

/// Something to be judged.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// What a run of ours left.
    Run(PathBuf),
    /// A history file, or `-`.
    File(PathBuf),
}

impl Target {
    /// Its path.
    pub fn path(&self) -> &Path {
        match self {
            Target::Run(path) | Target::File(path) => path,
        }
    }
}

/// Files as they are; of a folder that no run left, the run folders and histories in it, in the order of their
/// names.
pub fn of(paths: &[PathBuf]) -> Result<Vec<Target>> {
    let mut targets = Vec::new();
    for path in paths {
        if path.as_os_str() == "-" || path.is_file() {
            targets.push(Target::File(path.clone()));
        } else if !path.exists() {
            return Err(UsageError(format!("{}: no such file or folder", path.display())).into());
        } else if !path.is_dir() {
            // A pipe, for one.
            targets.push(Target::File(path.clone()));
        } else {
            let before = targets.len();
            collect(path, &mut targets)?;
            if targets.len() == before {
                // Says what is missing in it.
                RunFolder::open(path)?;
            }
        }
    }
    Ok(targets)
}

fn collect(folder: &Path, targets: &mut Vec<Target>) -> Result<()> {
    if folder.join(layout::RUN).exists() {
        targets.push(Target::Run(folder.to_path_buf()));
        return Ok(());
    }
    let failed = || format!("failed to list {}", folder.display());
    let mut entries = std::fs::read_dir(folder)
        .with_context(failed)?
        .collect::<Result<Vec<_>, _>>()
        .with_context(failed)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        // Links inside a folder, like `latest`, lead to what is there under its own name.
        let kind = entry.file_type().with_context(failed)?;
        if kind.is_dir() {
            collect(&entry.path(), targets)?;
        } else if kind.is_file() && is_history(&entry.path()) {
            targets.push(Target::File(entry.path()));
        }
    }
    Ok(())
}

fn is_history(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name);
    name.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_stands_for_what_is_in_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("runs/one/nodes")).expect("folders");
        fs::create_dir(at("empty")).expect("a folder");
        for name in ["b.edn", "a.jsonl.gz", "notes.md", "runs/one/run.toml", "runs/one/history.jsonl"] {
            fs::write(at(name), "").expect("a file");
        }
        let expected =
            vec![Target::File(at("a.jsonl.gz")), Target::File(at("b.edn")), Target::Run(at("runs/one"))];
        assert_eq!(of(&[folder.path().to_path_buf()]).expect("targets"), expected);
        assert_eq!(of(&[at("notes.md")]).expect("as named"), [Target::File(at("notes.md"))]);
        assert!(of(&[at("empty")]).is_err_and(|error| error.to_string().contains("run.toml")));
        assert!(of(&[at("missing")]).is_err_and(|error| error.to_string().contains("no such")));
    }
}
