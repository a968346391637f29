//! Patterns for the files a rule is about.

/// True if `pattern` covers `path`, which is relative to the mount point, without a leading slash.
///
/// `*` and `?` stand for any characters, and one character, within a name; `**` for anything, slashes
/// included. A pattern without a slash is held against the last name only: `*.aof` covers every such file.
pub(crate) fn covers(pattern: &str, path: &str) -> bool {
    let subject = if pattern.contains('/') || pattern.contains("**") {
        path
    } else {
        path.rsplit('/').next().unwrap_or(path)
    };
    matches(pattern.as_bytes(), subject.as_bytes())
}

/// Goes back to the last star when it is stuck, so it takes pattern times text steps at worst; a `**` may
/// take back what a `*` after it could not.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    /// Where to resume: pattern after the star, text from which it may swallow one more.
    type Resume = Option<(usize, usize)>;
    let (mut p, mut t) = (0, 0);
    let (mut one, mut many): (Resume, Resume) = (None, None);
    loop {
        match pattern.get(p) {
            Some(b'*') if pattern.get(p + 1) == Some(&b'*') => {
                (p, one) = (p + 2, None);
                many = Some((p, t));
                continue;
            }
            Some(b'*') => {
                p += 1;
                one = Some((p, t));
                continue;
            }
            Some(wanted) if text.get(t).is_some_and(|c| fits(*wanted, *c)) => {
                (p, t) = (p + 1, t + 1);
                continue;
            }
            None if t == text.len() => return true,
            _ => {}
        }
        if let Some((resume, from)) = one
            && text.get(from).is_some_and(|c| *c != b'/')
        {
            (p, t, one) = (resume, from + 1, Some((resume, from + 1)));
        } else if let Some((resume, from)) = many
            && from < text.len()
        {
            (p, t, one, many) = (resume, from + 1, None, Some((resume, from + 1)));
        } else {
            return false;
        }
    }
}

fn fits(wanted: u8, c: u8) -> bool {
    c == wanted || (wanted == b'?' && c != b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_pattern_is_held_against_the_last_name() {
        assert!(covers("*.aof", "appendonlydir/a.1.aof") && covers("*", "a/b/c"));
        assert!(covers("log.?", "version-2/log.1") && !covers("log.?", "version-2/log.12"));
        assert!(!covers("*.aof", "a.aof/b"));
    }

    #[test]
    fn a_pattern_with_a_slash_is_held_against_the_whole_path() {
        assert!(covers("version-2/log.*", "version-2/log.100000001"));
        assert!(!covers("version-2/*", "data/version-2/log.1") && !covers("a/*", "a/b/c"));
        assert!(covers("**/log.*", "data/version-2/log.1") && covers("**", "a/b"));
        assert!(covers("**/b*/*c", "x/bb/y/b1/abc") && !covers("**/b*/*c", "x/bb/y/d1/abc"));
        assert!(covers("a**z", "a/b/z") && covers("**", ""));
    }
}
