//! A message in a few words: what it says of itself, without what only machines care about.

use nemesis::wire::{FieldKind, Link, Message, Value};

/// Longest label, in characters.
const CHARS_MAX: usize = 72;

/// Longest word in it.
const WORD_CHARS_MAX: usize = 40;

/// The words of a message whose bytes these are.
pub fn of(message: &Message, bytes: &[u8]) -> String {
    let words = match message.link {
        Link::RedisClient | Link::Replication if is_reply(message) => reply(message, bytes),
        Link::RedisClient | Link::Replication => request(message, bytes),
        Link::ZkClient | Link::Election | Link::Quorum => record(message, bytes),
    };
    shorten(&words)
}

fn is_reply(message: &Message) -> bool {
    message.kind.reply || matches!(message.kind.name, "reply" | "push")
}

/// A command with its arguments; secrets, hashes of scripts and our own bookkeeping keys left out.
fn request(message: &Message, bytes: &[u8]) -> String {
    let name = message.kind.name.to_uppercase().replace('-', " ");
    if matches!(message.kind.name, "auth" | "hello") {
        return name;
    }
    let told = message.fields.iter().filter(|field| {
        !matches!(field.name, "count" | "len" | "command" | "sha1" | "script" | "numkeys")
            && field.kind != FieldKind::Id
    });
    let words = told
        .map(|field| text(&bytes[clip(&field.span, bytes)]))
        .filter(|word| !word.starts_with("__shardstorm"));
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

/// An answer as RESP writes it, and what it is about.
fn reply(message: &Message, bytes: &[u8]) -> String {
    let first = bytes.first().copied().map_or('?', char::from);
    let values: Vec<String> = message
        .fields
        .iter()
        .filter(|field| matches!(field.name, "value" | "item"))
        .map(|field| text(&bytes[clip(&field.span, bytes)]))
        .collect();
    let said = match first {
        '+' | '-' | ':' => format!("{first}{}", values.concat()),
        '$' if values.is_empty() || bytes.starts_with(b"$-1") => "nil".to_string(),
        '$' => format!("\"{}\"", values.concat()),
        '*' if bytes.starts_with(b"*-1") => "nil".to_string(),
        '*' => format!("[{}]", values.join(", ")),
        _ => format!("{first} {}", values.join(" ")),
    };
    match &message.subject {
        Some(subject) => format!("{}: {said}", text(subject)),
        None => said,
    }
}

/// A record of ZooKeeper: its kind, its path, its error.
fn record(message: &Message, bytes: &[u8]) -> String {
    let mut words = vec![message.kind.to_string().replace(".reply", " reply")];
    if let Some(subject) = &message.subject {
        words.push(text(subject).trim_start_matches("/shardstorm").to_string());
    }
    for field in &message.fields {
        match (field.kind, field.value(&bytes[..message.len.min(bytes.len())])) {
            (FieldKind::Enum(_, known), Value::Int(n)) => {
                let word = known.iter().find(|(number, _)| *number == n).map(|(_, word)| (*word).to_string());
                let word = word.unwrap_or_else(|| format!("{} {n}", field.name));
                words.extend(Some(word).filter(|word| !matches!(word.as_str(), "Ok" | "SyncConnected")));
            }
            (_, Value::Int(n)) if field.name == "zxid" && n > 0 => words.push(format!("zxid {n:#x}")),
            _ => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words.join(" ")
}

fn clip(span: &std::ops::Range<usize>, bytes: &[u8]) -> std::ops::Range<usize> {
    span.start.min(bytes.len())..span.end.min(bytes.len())
}

/// Bytes as people read them.
fn text(bytes: &[u8]) -> String {
    let plain = std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control));
    let text = plain.map_or_else(|| bytes.escape_ascii().to_string(), str::to_string);
    match text.char_indices().nth(WORD_CHARS_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

fn shorten(words: &str) -> String {
    match words.char_indices().nth(CHARS_MAX) {
        Some((at, _)) => format!("{}…", &words[..at]),
        None => words.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use nemesis::wire::{Protocol, Step, Way};

    use super::*;

    fn labels(exchange: &[(Way, &[u8])]) -> Vec<String> {
        let mut codec = Protocol::Redis.codec();
        let mut labels = Vec::new();
        for &(way, bytes) in exchange {
            let Step::Message(message) = codec.parse(way, bytes) else { panic!("{bytes:?} is no message") };
            labels.push(of(&message, bytes));
            message.ask.into_iter().for_each(|ask| codec.asked(ask));
        }
        labels
    }

    #[test]
    fn requests_and_answers_are_told_without_secrets() {
        use Way::{ToClient, ToServer};
        let exchange: [(Way, &[u8]); 8] = [
            (ToServer, b"*3\r\n$4\r\nAUTH\r\n$3\r\ncli\r\n$6\r\nsecret\r\n"),
            (ToClient, b"+OK\r\n"),
            (ToServer, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n5\r\n"),
            (ToClient, b"-READONLY You can't write\r\n"),
            (
                ToServer,
                b"*7\r\n$7\r\nEVALSHA\r\n$4\r\nbeef\r\n$1\r\n2\r\n$1\r\nk\r\n$18\r\n__shardstorm:epoch\r\n$1\r\n3\r\n$5\r\nwrite\r\n",
            ),
            (ToClient, b"*2\r\n$1\r\n7\r\n:8\r\n"),
            (ToServer, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"),
            (ToClient, b"$-1\r\n"),
        ];
        assert_eq!(
            labels(&exchange),
            [
                "AUTH",
                "+OK",
                "SET k 5",
                "k: -READONLY You can't write",
                "EVALSHA k 3 write",
                "k: [7, 8]",
                "GET k",
                "k: nil"
            ]
        );
    }
}
