//! House rules that no lint knows: who may depend on whom, how long a file may be, what must not be left.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Which rooms each room may know. `ARCHITECTURE.md` draws the same; a new edge is a decision of its own.
const MAY_KNOW: [(&str, &[&str]); 8] = [
    ("checker", &[]),
    ("lab", &[]),
    ("cluster", &[]),
    ("nemesis", &["lab"]),
    ("workloads", &["checker", "cluster"]),
    ("results", &["checker"]),
    ("harness", &["checker", "lab", "cluster", "nemesis", "workloads", "results"]),
    ("xtask", &[]),
];

/// Lines after which a file hides a second noun.
const LINES_MAX: usize = 700;

/// Left over from work in progress.
const LEFTOVERS: [&str; 3] = ["todo!(", "unimplemented!(", "dbg!("];

/// Checks every rule; the error lists all that is broken.
pub fn check(root: &Path) -> Result<()> {
    let mut broken = Vec::new();
    for (room, may_know) in MAY_KNOW {
        let manifest = root.join(room).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).with_context(|| format!("failed to read {manifest:?}"))?;
        broken.extend(forbidden_edges(room, &text, may_know));
        for file in rust_files(&root.join(room))? {
            let text = fs::read_to_string(&file).with_context(|| format!("failed to read {file:?}"))?;
            let name = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            broken.extend(untidy(&name, &text));
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("the house is untidy:\n  {}", broken.join("\n  "))
}

fn forbidden_edges(room: &str, manifest: &str, may_know: &[&str]) -> Vec<String> {
    let rooms = MAY_KNOW.iter().map(|(name, _)| *name);
    let knows = |other: &str| {
        manifest.lines().any(|line| {
            let Some(rest) = line.strip_prefix(other).map(|rest| rest.replace(' ', "")) else { return false };
            // `harness = false` is a setting of a test target, not an edge.
            [".", "={", "=\""].iter().any(|start| rest.starts_with(start))
        })
    };
    rooms
        .filter(|other| *other != room && knows(other) && !may_know.contains(other))
        .map(|other| format!("{room}/Cargo.toml: {room} must not know {other}"))
        .collect()
}

fn untidy(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    let lines = text.lines().count();
    let is_test = name.contains("/tests/") || name.contains("/benches/");
    if lines > LINES_MAX && !is_test {
        broken.push(format!("{name}: {lines} lines, at most {LINES_MAX}; does a second noun live there?"));
    }
    if !name.ends_with("xtask/src/tidy.rs") {
        for leftover in LEFTOVERS.iter().filter(|leftover| text.contains(*leftover)) {
            broken.push(format!("{name}: `{leftover}…)` is left over"));
        }
    }
    broken
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("failed to list {folder:?}"))? {
        let path = entry?.path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_that_is_not_on_the_map_is_named() {
        let manifest =
            "[dependencies]\nharness.workspace = true\nlab = { path = \"../lab\" }\nlabel = \"1\"\n";
        assert_eq!(
            forbidden_edges("nemesis", manifest, &["lab"]),
            ["nemesis/Cargo.toml: nemesis must not know harness"]
        );
        assert!(
            forbidden_edges("xtask", "anyhow.workspace = true\n[[test]]\nharness = false", &[]).is_empty()
        );
    }

    #[test]
    fn leftovers_and_long_files_are_named() {
        assert_eq!(untidy("lab/src/a.rs", "fn f() { todo!() }").len(), 1);
        assert_eq!(untidy("lab/src/a.rs", &"\n".repeat(LINES_MAX + 1)).len(), 1);
        assert!(untidy("lab/tests/it/a.rs", &"\n".repeat(LINES_MAX + 1)).is_empty());
        assert!(untidy("lab/src/a.rs", "fn f() {}\n").is_empty());
    }
}
