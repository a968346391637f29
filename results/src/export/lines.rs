//! Files of JSON lines, one line in memory at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::reader::{mid_line, without_place};

/// Hands every line of a file to `each`; says what was left out. A file that is not there has no lines.
pub(super) fn each<T: DeserializeOwned>(
    path: &Path,
    mut each: impl FnMut(T) -> Result<()>,
) -> Result<Option<String>> {
    let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut file = match File::open(path) {
        Ok(file) => BufReader::with_capacity(1 << 16, file),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            return Ok(Some(format!("the run has no {}", name())));
        }
        Err(source) => return Err(Error::io("read", path, source)),
    };
    let mut raw = Vec::new();
    for line in 1u64.. {
        raw.clear();
        if file.read_until(b'\n', &mut raw).map_err(Error::doing("read", path))? == 0 {
            break;
        }
        if raw.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice(&raw) {
            Ok(item) => each(item)?,
            Err(_) if !raw.ends_with(b"\n") => return Ok(Some(mid_line(path, line, raw.len()))),
            Err(err) => {
                return Err(Error::Malformed {
                    path: path.to_owned(),
                    line: usize::try_from(line).ok(),
                    why: without_place(&err),
                });
            }
        }
    }
    Ok(None)
}
