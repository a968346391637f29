//! Histories in other tools' forms: bytes in, events out.
//!
//! | form | one event is |
//! |---|---|
//! | [`Format::Lines`] | a JSON object on a line: ours, and the neutral form |
//! | [`Format::Edn`] | a map with `:process :type :f :value`: a line each, or all in one vector or list (Jepsen, Knossos) |
//! | [`Format::EtcdLog`] | `INFO  jepsen.util - 0 :invoke :write 3`: the console log of Jepsen's etcd test, as in Porcupine's and ahorn's suites |
//!
//! ```
//! use checker::history::formats::{Format, Leniency, read};
//! use checker::{Budget, Checker, History, Linearizable};
//!
//! let text = "\
//! {:process 0, :type :invoke, :f :write, :value 1}
//! {:process 0, :type :ok, :f :write, :value 1}
//! {:process 0, :type :invoke, :f :read, :value nil}
//! {:process 0, :type :ok, :f :read, :value nil} ; forgotten
//! ";
//! let reading = read(text.as_bytes(), None, Leniency::Strict)?;
//! assert_eq!(reading.format, Format::Edn);
//! let history = History::from_events(reading.events).expect("strictly read");
//! assert_eq!(Linearizable.check(&history, &Budget::default()).word(), "invalid");
//! # Ok::<(), checker::history::formats::FormatError>(())
//! ```

mod edn;
mod etcd;
mod lines;
mod repair;

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use thiserror::Error;

use super::{Event, EventKind, FormError, Process};

/// A form of writing histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON lines: ours, and the neutral form.
    Lines,
    /// EDN, as Jepsen and Knossos write it.
    Edn,
    /// The console log of Jepsen's etcd test.
    EtcdLog,
}

/// What to do with what should not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leniency {
    /// The first slip is an error.
    Strict,
    /// Every slip becomes a [`Note`], and the rest is read: a malformed line, a second completion and a
    /// completion without a call are left out; a process that calls while its call is open, or after an
    /// indefinite outcome, goes on as a process of its own, and its call before that is indefinite.
    Lenient,
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// In which form it was.
    pub format: Format,
    /// The events, in the order of the file, numbered from 0.
    pub events: Vec<Event>,
    /// What was left out or mended.
    pub notes: Vec<Note>,
}

/// Something that was left out or mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Line, from 1.
    pub line: u64,
    /// What was wrong, and what became of it.
    pub what: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Why a file is not a history.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FormatError {
    /// No form fits.
    #[error(
        "line {line} begins neither a JSON line, nor EDN, nor a jepsen.util log; name the format if it is one of \
         them"
    )]
    Unrecognised {
        /// The first line that is not empty.
        line: u64,
    },
    /// Not an event of its form.
    #[error("line {line} is not a history event: {why}")]
    Malformed {
        /// Line, from 1, on which it begins.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// An event that does not belong where it is.
    #[error("line {line}: {form}")]
    Form {
        /// Line, from 1.
        line: u64,
        /// How it is wrong.
        form: FormError,
    },
}

impl FormatError {
    /// The line it names.
    pub fn line(&self) -> u64 {
        match self {
            FormatError::Unrecognised { line }
            | FormatError::Malformed { line, .. }
            | FormatError::Form { line, .. } => *line,
        }
    }
}

/// An event with the line it begins on; or what is wrong there.
type Item = (u64, Result<Event, String>);

/// The form of a file, by its first characters; none if they fit no form.
pub fn detect(bytes: &[u8]) -> Option<Format> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let line = text.split(|&b| b == b'\n').next().unwrap_or_default();
    match text.first()? {
        b'{' => match text[1..].trim_ascii_start().first() {
            Some(b'"') => Some(Format::Lines),
            _ => Some(Format::Edn),
        },
        b'[' | b'(' | b';' | b'#' => Some(Format::Edn),
        _ if line.windows(etcd::MARK.len()).any(|part| part == etcd::MARK.as_bytes()) => {
            Some(Format::EtcdLog)
        }
        _ => None,
    }
}

/// Reads a whole file in the form `format`, or the one that is detected. A file without content is a history
/// without events.
///
/// JSON lines that break off at the end of the file are noted even in [`Leniency::Strict`]: their writer died.
pub fn read(bytes: &[u8], format: Option<Format>, leniency: Leniency) -> Result<Reading, FormatError> {
    let mut notes = Vec::new();
    let format = match format.or_else(|| detect(bytes)) {
        Some(format) => format,
        None if bytes.trim_ascii().is_empty() => Format::Lines,
        None => {
            let blank = bytes.len() - bytes.trim_ascii_start().len();
            return Err(FormatError::Unrecognised { line: line_at(bytes, blank) });
        }
    };
    let items = match format {
        Format::Lines => lines::items(bytes, &mut notes),
        Format::Edn => edn::items(&text(bytes, leniency, &mut notes)?),
        Format::EtcdLog => etcd::items(&text(bytes, leniency, &mut notes)?),
    };
    let mut events = Vec::with_capacity(items.len());
    for (line, item) in items {
        match item {
            Ok(event) => events.push((line, event)),
            Err(why) if leniency == Leniency::Strict => return Err(FormatError::Malformed { line, why }),
            Err(why) => notes.push(Note { line, what: format!("{why}; left out") }),
        }
    }
    let events = repair::repaired(events, leniency, &mut notes)?;
    notes.sort_by_key(|note| note.line);
    Ok(Reading { format, events, notes })
}

/// A register's history as Knossos' `cas-register` model means it: it holds `initial` at first, and a read that
/// returned nil tells nothing. For histories without keys.
pub fn as_knossos_register(events: Vec<Event>, initial: Value) -> Vec<Event> {
    let beginner = 1 + events.iter().map(|event| number(event.process)).max().unwrap_or(0);
    let time_ns = events.first().map_or(0, |event| event.time_ns);
    let write =
        |kind| Event { time_ns, ..event(Process::Client(beginner), kind, "write".into(), initial.clone()) };
    let blank = |mut event: Event| {
        if event.kind == EventKind::Ok && event.f == "read" && event.value.is_null() {
            event.kind = EventKind::Fail;
        }
        event
    };
    let all =
        [write(EventKind::Invoke), write(EventKind::Ok)].into_iter().chain(events.into_iter().map(blank));
    (0..).zip(all).map(|(index, event)| Event { index, ..event }).collect()
}

/// The text of a file; where it is not UTF-8, that is said.
fn text<'b>(bytes: &'b [u8], leniency: Leniency, notes: &mut Vec<Note>) -> Result<Cow<'b, str>, FormatError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(error) => {
            let line = line_at(bytes, error.valid_up_to());
            if leniency == Leniency::Strict {
                return Err(FormatError::Malformed { line, why: "it is not UTF-8".to_string() });
            }
            let what = "not UTF-8 from here on; such characters were replaced".to_string();
            notes.push(Note { line, what });
            Ok(String::from_utf8_lossy(bytes))
        }
    }
}

fn line_at(bytes: &[u8], offset: usize) -> u64 {
    1 + bytes[..offset].iter().filter(|&&b| b == b'\n').count() as u64
}

fn number(process: Process) -> u64 {
    match process {
        Process::Client(id) => id,
        Process::Nemesis => 0,
    }
}

/// A bare event.
fn event(process: Process, kind: EventKind, f: Cow<'static, str>, value: Value) -> Event {
    Event {
        index: 0,
        time_ns: 0,
        process,
        kind,
        f,
        key: None,
        value,
        error: None,
        shard: None,
        epoch: None,
        node: None,
    }
}

/// The kind of a `:type`.
fn kind(name: &str) -> Option<EventKind> {
    match name {
        "invoke" => Some(EventKind::Invoke),
        "ok" => Some(EventKind::Ok),
        "fail" => Some(EventKind::Fail),
        "info" => Some(EventKind::Info),
        _ => None,
    }
}

/// The function's name without a copy where it is a common one.
fn function(name: &str) -> Cow<'static, str> {
    match name {
        "read" => "read".into(),
        "write" => "write".into(),
        "cas" => "cas".into(),
        other => other.to_string().into(),
    }
}

/// Numbers for processes that have names.
#[derive(Debug, Default)]
struct Names(Vec<String>);

impl Names {
    /// The nemesis keeps its name; other names get numbers that no log counts up to.
    fn process(&mut self, name: &str) -> Process {
        if name == "nemesis" {
            return Process::Nemesis;
        }
        let known = self.0.iter().position(|known| known == name);
        let at = known.unwrap_or_else(|| {
            self.0.push(name.to_string());
            self.0.len() - 1
        });
        Process::Client((1 << 40) + at as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const LOG: &str = "\
INFO  jepsen.util - 0\t:invoke\t:write\t3
INFO  jepsen.core - something else
INFO  jepsen.util - 1   :invoke :cas    [3 4]
INFO  jepsen.util - 0\t:ok\t:write\t3
INFO  jepsen.util - 1\t:fail\t:cas\t[3 4]
INFO  jepsen.util - 1\t:invoke\t:cas\t[3 5]
INFO  jepsen.util - 1\t:info\t:cas\t:timed-out
";

    fn strict(text: &str) -> Result<Reading, FormatError> {
        read(text.as_bytes(), None, Leniency::Strict)
    }

    fn lenient(text: &str) -> Reading {
        read(text.as_bytes(), None, Leniency::Lenient).expect("lenient")
    }

    #[test]
    fn the_form_is_known_by_its_beginning() {
        let cases = [
            ("{\"process\":0", Some(Format::Lines)),
            ("\u{feff} { :process 0", Some(Format::Edn)),
            ("; a comment\n[{:process", Some(Format::Edn)),
            ("#jepsen.history.Op{:index 0", Some(Format::Edn)),
            ("({:type", Some(Format::Edn)),
            (LOG, Some(Format::EtcdLog)),
            ("hello", None),
            ("", None),
        ];
        for (text, format) in cases {
            assert_eq!(detect(text.as_bytes()), format, "{text}");
        }
        assert_eq!(strict("\n\nhello"), Err(FormatError::Unrecognised { line: 3 }));
        assert!(strict(" \n").expect("no events").events.is_empty());
    }

    #[test]
    fn an_etcd_log_tells_mismatches_from_timeouts() {
        let reading = strict(LOG).expect("well formed");
        let told: Vec<_> = reading.events.iter().map(|e| (&*e.f, e.kind, e.error.as_deref())).collect();
        assert_eq!(told.len(), 6);
        assert_eq!(told[3], ("cas", EventKind::Fail, Some("mismatch")));
        assert_eq!(told[5], ("cas", EventKind::Info, Some("timed-out")));
        assert_eq!(reading.events[1].value, json!([3, 4]));
    }

    #[test]
    fn one_edn_history_has_three_shapes() {
        let ops =
            "{:process 0 :type :invoke :f :read :value nil}\n{:process 0, :type :ok, :f :read, :value 3N}";
        let lines = strict(ops).expect("lines").events;
        assert_eq!((lines.len(), &lines[1].value), (2, &json!(3)));
        for (open, close) in [("[", "]"), ("(", ")\n"), ("; why\n[#_{:process 1} ", " #_ :x ]")] {
            assert_eq!(strict(&format!("{open}{ops}{close}")).expect("a collection").events, lines);
        }
        let tagged = ops.replace('{', "#jepsen.history.Op{");
        assert_eq!(strict(&tagged).expect("tagged").events, lines);
    }

    #[test]
    fn every_edn_value_has_a_json_form() {
        let value = |text: &str| {
            let line = format!("{{:process 0 :type :invoke :f :w :value {text}}}");
            strict(&line).unwrap_or_else(|error| panic!("{text}: {error}")).events[0].value.clone()
        };
        let cases = [
            ("nil", json!(null)),
            ("-7", json!(-7)),
            ("+7N", json!(7)),
            ("1.5M", json!(1.5)),
            ("true", json!(true)),
            ("[:append 9 [1 2]]", json!(["append", 9, [1, 2]])),
            ("(1, 2)", json!([1, 2])),
            ("#{3 1 2}", json!([1, 2, 3])),
            ("{:x 1 \"y\" #{}}", json!({"x": 1, "y": []})),
            ("#inst \"2020-01-01\"", json!("2020-01-01")),
            ("\"a\\n\\\"\\u0041\"", json!("a\n\"A")),
            ("\\a", json!("a")),
            ("\\newline", json!("\n")),
            ("^{:m 1} [1]", json!([1])),
            ("#_5 6", json!(6)),
            ("99999999999999999999999N", json!("99999999999999999999999")),
            ("2/3", json!("2/3")),
            ("##Inf", json!("Inf")),
        ];
        for (text, json) in cases {
            assert_eq!(value(text), json, "{text}");
        }
    }

    #[test]
    fn keys_times_errors_and_named_processes_are_kept() {
        let text = "{:process :nemesis :type :info :f :kill :value nil}\n\
                    {:process :a :type :invoke :f :write :key \"k\" :value 1 :time 5}\n\
                    {:process \"a\" :type :info :f :write :key \"k\" :value 1 :time 9 :error [:timeout 3]}";
        let events = strict(text).expect("well formed").events;
        assert_eq!(events[0].process, Process::Nemesis);
        assert_eq!((events[1].process, events[1].time_ns), (events[2].process, 5));
        assert_eq!(
            (events[1].key.clone(), events[2].error.as_deref()),
            (Some(json!("k")), Some("[\"timeout\",3]"))
        );
    }

    #[test]
    fn the_first_slip_is_named_by_its_line() {
        let op =
            |process: &str, kind: &str| format!("{{:process {process} :type {kind} :f :read :value nil}}\n");
        let (call, back) = (op("0", ":invoke"), op("0", ":ok"));
        let cases = [
            (format!("{call}{{:process 0 :type"), 2, "it breaks off"),
            (format!("{call}{back}nonsense\n"), 3, "expected a map"),
            (format!("{call}{}", op("0", ":done")), 2, ":type"),
            (format!("{call}{{:type :ok :f :read}}"), 2, ":process"),
            (format!("{call}{back}{back}"), 3, "second completion"),
            (back.clone(), 1, "not called"),
            (format!("{call}{call}"), 2, "still open"),
            (format!("{call}{}{call}", op("0", ":info")), 3, "goes on"),
            (format!("{call}}}"), 2, "closes nothing"),
            (format!("{call}{}", call.replace(":f :read", ":f \"")), 2, "it breaks off"),
        ];
        for (text, line, why) in cases {
            let error = strict(&text).expect_err(&text);
            assert_eq!(error.line(), line, "{text}: {error}");
            assert!(error.to_string().contains(why), "{text}: {error}");
        }
        let error = read(b"{:process 0}\n{:f \"\xff\"}", None, Leniency::Strict).expect_err("not UTF-8");
        assert_eq!(error.to_string(), "line 2 is not a history event: it is not UTF-8");
        let error =
            strict("INFO  jepsen.util - 0 :invoke :read nil\nINFO  jepsen.util - 0 :o").expect_err("cut");
        assert_eq!(error.line(), 2);
    }

    #[test]
    fn leniency_notes_every_slip_and_reads_the_rest() {
        let op =
            |process: u32, kind: &str| format!("{{:process {process} :type {kind} :f :write :value 1}}\n");
        let text = [
            op(0, ":invoke"),
            op(0, ":ok"),
            op(0, ":ok"),
            op(1, ":ok"),
            "{:process 5 :type :invoke :f [}\n".into(),
            op(2, ":invoke"),
            op(2, ":invoke"),
            op(2, ":ok"),
            op(3, ":invoke"),
            op(3, ":info"),
            op(3, ":invoke"),
            op(3, ":ok"),
            "{:process 4 :type :inv".into(),
        ];
        let reading = lenient(&text.concat());
        assert_eq!(reading.notes.iter().map(|note| note.line).collect::<Vec<_>>(), [3, 4, 5, 7, 11, 13]);
        let history = crate::History::from_events(reading.events).expect("mended");
        let ends: Vec<_> = history.ops.iter().map(|op| op.end).collect();
        use crate::OpEnd::{Info, Ok};
        assert_eq!(ends, [Ok, Info, Ok, Info, Ok]);
    }

    #[test]
    fn lenient_json_lines_lose_only_what_is_broken() {
        let call = r#"{"process":0,"type":"invoke","f":"read","time":1}"#;
        let back = call.replace("invoke", "ok");
        let reading = lenient(&format!("{call}\n{{\"process\":\n{back}\n{{\"pro"));
        assert_eq!(reading.events.len(), 2);
        assert_eq!(reading.notes.iter().map(|note| note.line).collect::<Vec<_>>(), [2, 4]);
        assert_eq!(strict(&format!("{call}\nx\n{back}\n")).expect_err("x").line(), 2);
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for format in [None, Some(Format::Lines), Some(Format::Edn), Some(Format::EtcdLog)] {
                for leniency in [Leniency::Strict, Leniency::Lenient] {
                    let _ = read(&bytes, format, leniency);
                }
            }
        }

        #[test]
        fn what_is_read_leniently_is_a_history(text in "([\\[{(} )\\]:\"#_;\\\\\n]|:process|:type|:f|:ok|:invoke|0|a){0,60}") {
            for format in [Format::Edn, Format::EtcdLog] {
                let reading = read(text.as_bytes(), Some(format), Leniency::Lenient).expect("never an error");
                prop_assert!(crate::History::from_events(reading.events).is_ok());
            }
        }

        #[test]
        fn events_pulled_about_are_mended(picks in proptest::collection::vec((0u64..3, 0usize..4, 0usize..2), 0..40)) {
            let kinds = ["invoke", "ok", "fail", "info"];
            let line = |&(process, kind, f): &(u64, usize, usize)| format!(
                "{{:process {process} :type :{} :f :{} :value 1}}\n", kinds[kind], ["read", "write"][f]
            );
            let text: String = picks.iter().map(line).collect();
            let mended = read(text.as_bytes(), Some(Format::Edn), Leniency::Lenient).expect("mended");
            prop_assert!(crate::History::from_events(mended.events.clone()).is_ok());
            prop_assert!(mended.events.len() + mended.notes.len() >= picks.len());
            let strict = read(text.as_bytes(), Some(Format::Edn), Leniency::Strict);
            prop_assert_eq!(strict.is_ok(), mended.notes.is_empty());
        }
    }
}
