//! Paths and queries of addresses, from their escapes and back.

/// The part after `?`, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `a=1&b=2`; what has no value has an empty one, escapes that are none are left as they are.
    pub fn of(text: &str) -> Query {
        let pair = |part: &str| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            (form_text(name), form_text(value))
        };
        Query(text.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    /// The first value of this name that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// All values of this name.
    pub fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The same as text, with these values set anew; an empty value takes the name away.
    pub fn with(&self, changes: &[(&str, &str)]) -> String {
        let kept = self
            .0
            .iter()
            .filter(|(name, value)| !value.is_empty() && changes.iter().all(|(changed, _)| changed != name));
        let kept = kept.map(|(name, value)| (name.as_str(), value.as_str()));
        let set = changes.iter().copied().filter(|(_, value)| !value.is_empty());
        let parts = kept.chain(set).map(|(name, value)| format!("{}={}", escaped(name), escaped(value)));
        parts.collect::<Vec<_>>().join("&")
    }
}

fn form_text(text: &str) -> String {
    String::from_utf8_lossy(&unescaped(&text.replace('+', " "))).into_owned()
}

/// Bytes of a text with `%xx` in it; once, not again.
fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    bytes
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// A path, or a value of a query: everything but letters, digits, `/`, `-`, `.`, `_` and `~` escaped.
pub fn escaped(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The names in a path below the store. None where one of them leads elsewhere, is hidden, or is no name at all.
pub fn names(path: &str) -> Option<Vec<String>> {
    let name = |part: &str| {
        let name = String::from_utf8(unescaped(part)).ok()?;
        let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        is_plain.then_some(name)
    };
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() { Some(Vec::new()) } else { path.split('/').map(name).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_names_what_lies_elsewhere() {
        for bad in [
            "..",
            "a/../b",
            "%2e%2e/x",
            "%2E./x",
            "a/%2e%2e%2fb",
            "..%2f..",
            "a//b",
            "/etc",
            "a%00b",
            ".hidden",
            "a/.git",
            "a%5c..",
            "%ff",
            "./a",
        ] {
            assert_eq!(names(bad), None, "{bad}");
        }
        assert_eq!(names(""), Some(vec![]));
        assert_eq!(names("a/b%20c.txt/"), Some(vec!["a".into(), "b c.txt".into()]));
        // Escapes are undone once.
        assert_eq!(names("%252e%252e"), Some(vec!["%2e%2e".into()]));
    }

    #[test]
    fn queries_are_read_and_changed() {
        let query = Query::of("q=stale+read%21&verdict=&run=a&run=b%2Fc&odd%zz");
        assert_eq!(query.get("q"), Some("stale read!"));
        assert_eq!(query.get("verdict"), None);
        assert_eq!(query.all("run").collect::<Vec<_>>(), ["a", "b/c"]);
        assert_eq!(query.with(&[("q", ""), ("page", "2")]), "run=a&run=b/c&page=2");
        assert_eq!(Query::of(&query.with(&[])).get("q"), Some("stale read!"));
    }
}
