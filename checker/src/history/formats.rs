//! Histories in other tools' forms: bytes in, events out, one at a time.
//!
//! | form | one event is |
//! |---|---|
//! | [`Format::Lines`] | a JSON object on a line: ours, and the neutral form |
//! | [`Format::Json`] | a JSON object, all of them in one array |
//! | [`Format::Edn`] | a map with `:process :type :f :value`: a line each, or all in one vector or list (Jepsen, Knossos, Elle, Porcupine's key-value suite) |
//! | [`Format::JepsenLog`] | `INFO  jepsen.util - 0 :invoke :write 3` among other lines of a console log (Porcupine's and ahorn's etcd suites), or the same without what comes before the process (Jepsen's `history.txt`) |
//! | [`Format::ThreadLog`] | `2 invokes add 23`, `2 returns true`: Lowe's tester, as in ahorn's suite of sets |
//!
//! A [`Reader`] is fed pieces of any size and keeps no more than one event of them; [`read`] takes a whole slice.
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
mod lines;
mod log;
mod reader;
mod repair;
mod source;
mod split;
mod threads;

pub use reader::{Ending, Reader};

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use thiserror::Error;

use super::{Event, EventKind, FormError, Process};

/// Most bytes of one event: what is longer is refused, so that a file that is none of ours cannot fill the memory.
const EVENT_BYTES_MAX: usize = 256 << 20;

/// Bytes from the beginning of a file in which the first event of a console log must be found.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Notes that are kept; of more, only the number is told.
const NOTES_MAX: usize = 1000;

/// A form of writing histories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON lines: ours, and the neutral form.
    Lines,
    /// The same objects in one JSON array.
    Json,
    /// EDN, as Jepsen, Knossos and Elle write it.
    Edn,
    /// The console log of a Jepsen test, or its `history.txt`.
    JepsenLog,
    /// A log of threads that call and return.
    ThreadLog,
}

impl Format {
    /// Every format.
    pub const ALL: [Format; 5] =
        [Format::Lines, Format::Json, Format::Edn, Format::JepsenLog, Format::ThreadLog];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Format::Lines => "lines",
            Format::Json => "json",
            Format::Edn => "edn",
            Format::JepsenLog => "jepsen-log",
            Format::ThreadLog => "thread-log",
        }
    }

    /// The format called `name`, by its own name or that of a tool that writes it.
    pub fn named(name: &str) -> Option<Format> {
        let tools = [
            ("neutral", Format::Lines),
            ("jepsen", Format::Edn),
            ("knossos", Format::Edn),
            ("elle", Format::Edn),
            ("porcupine-kv", Format::Edn),
            ("etcd-log", Format::JepsenLog),
            ("porcupine", Format::JepsenLog),
            ("ahorn", Format::JepsenLog),
            ("ahorn-set", Format::ThreadLog),
        ];
        let own = Format::ALL.into_iter().find(|format| format.name() == name);
        own.or_else(|| tools.into_iter().find(|(tool, _)| *tool == name).map(|(_, format)| format))
    }
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
    #[error("line {line} begins none of the formats known here; name the format if it is one of them")]
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

/// An event as it stands in the file.
#[derive(Debug)]
struct Found {
    /// The line on which it begins.
    line: u64,
    event: Event,
    /// It does not say whose it is.
    is_nameless: bool,
}

/// An event, or what is wrong on that line.
type Item = Result<Found, (u64, String)>;

/// What was left out or mended, as far as it is kept.
#[derive(Debug, Default)]
struct Notes {
    kept: Vec<Note>,
    more: u64,
}

impl Notes {
    fn push(&mut self, line: u64, what: impl Into<String>) {
        if self.kept.len() < NOTES_MAX {
            self.kept.push(Note { line, what: what.into() });
        } else {
            self.more += 1;
        }
    }

    fn finish(mut self, line: u64) -> Vec<Note> {
        if self.more > 0 {
            let what = format!("{} more notes are not kept", self.more);
            self.kept.push(Note { line, what });
        }
        self.kept.sort_by_key(|note| note.line);
        self.kept
    }
}

/// The form of a file, by its first characters; none if they fit no form.
pub fn detect(bytes: &[u8]) -> Option<Format> {
    let text = without_mark(bytes).trim_ascii_start();
    let after = |rest: &[u8]| rest.trim_ascii_start().first().copied();
    match text.first()? {
        b'{' if after(&text[1..]) == Some(b'"') => Some(Format::Lines),
        b'[' => {
            let inner = text[1..].trim_ascii_start();
            let is_json = inner.first() == Some(&b'{') && after(&inner[1..]) == Some(b'"');
            Some(if is_json { Format::Json } else { Format::Edn })
        }
        b'{' | b'(' | b';' | b'#' => Some(Format::Edn),
        _ => text.split(|&b| b == b'\n').find_map(|line| {
            let line = std::str::from_utf8(line).ok()?;
            log::is_event(line)
                .then_some(Format::JepsenLog)
                .or(threads::is_event(line).then_some(Format::ThreadLog))
        }),
    }
}

/// Without the byte order mark.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
}

/// Reads a whole file in the form `format`, or the one that is detected. A file without content is a history
/// without events.
///
/// JSON lines that break off at the end of the file are noted even in [`Leniency::Strict`]: their writer died.
pub fn read(bytes: &[u8], format: Option<Format>, leniency: Leniency) -> Result<Reading, FormatError> {
    let mut events = Vec::new();
    let mut reader = Reader::new(format, leniency);
    reader.feed(bytes, &mut |event| events.push(event))?;
    let Ending { format, notes, .. } = reader.finish(&mut |event| events.push(event))?;
    Ok(Reading { format, events, notes })
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
            (LOG, Some(Format::JepsenLog)),
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
        let error = read(b";\n{:f \"\xff\"}", None, Leniency::Strict).expect_err("not UTF-8");
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

    #[test]
    fn a_json_array_is_read_like_lines() {
        let call = r#"{"process":0,"type":"invoke","f":"read","time":1}"#;
        let back = call.replace("invoke", "ok");
        let lines = strict(&format!("{call}\n{back}\n")).expect("lines");
        let array = strict(&format!("[{call},\n {back}\n]\n")).expect("an array");
        assert_eq!((array.format, array.events), (Format::Json, lines.events));
        let error = strict(&format!("[{call},\n {}", &back[..20])).expect_err("cut");
        assert_eq!(error.line(), 2);
    }

    #[test]
    fn a_named_process_in_json_is_refused_unless_it_is_the_nemesis() {
        let line = r#"{"process":"zoe","type":"invoke","f":"read","time":1}"#;
        let error = strict(line.trim_end_matches('}')).map(|reading| reading.events.len());
        assert_eq!(error, Ok(0), "a cut line");
        let error = strict(&format!("{line}\n{line}\n")).expect_err("no such process");
        assert!(error.to_string().contains("zoe"), "{error}");
        assert_eq!(strict(&line.replace("zoe", "nemesis")).expect("the nemesis").events.len(), 1);
    }

    #[test]
    fn threads_that_call_and_return_are_read() {
        let text = "2 invokes add 23\n0 invokes contains 3\n2 returns true\n0 returns false\n";
        let reading = strict(text).expect("well formed");
        assert_eq!(reading.format, Format::ThreadLog);
        let history = crate::History::from_events(reading.events).expect("a history");
        let told: Vec<_> = history.ops.iter().map(|op| (&*op.f, &op.input, &op.output)).collect();
        assert_eq!(told, [("add", &json!(23), &json!(true)), ("contains", &json!(3), &json!(false))]);
        assert!(
            strict(&format!("{text}1 returns true\n")).expect_err("no call").to_string().contains("line 5")
        );
        assert!(strict(&format!("{text}1 is tired\n")).is_err());
    }

    #[test]
    fn console_logs_of_later_versions_and_printed_histories_are_read() {
        let old = "\nlein test etcd\nINFO  jepsen.os - :n1 set up\nINFO  jepsen.util - 0 :invoke :read nil\n";
        let new = "INFO [2020-02-02 18:35:47,103] jepsen worker 2 - jepsen.util 0\t:invoke\t:read\tnil\n\
                   INFO [2020-02-02 18:35:47,103] jepsen worker 2 - jepsen.util is chatty\n";
        for text in [old, new, "0\t:invoke\t:read\tnil\n"] {
            let reading = strict(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((reading.format, reading.events.len()), (Format::JepsenLog, 1), "{text}");
        }
        let hinted = strict("INFO  jepsen.util - 6 \t:invoke :write \t38 \t:hint 0\n").expect("hinted");
        assert_eq!(hinted.events[0].error, None);
    }

    #[test]
    fn tagged_tuples_are_keys_and_values() {
        let text = "{:process 0 :type :invoke :f :write :value #jepsen.independent/tuple [7 [1 2]]}";
        let event = &strict(text).expect("well formed").events[0];
        assert_eq!((event.key.clone(), event.value.clone()), (Some(json!(7)), json!([1, 2])));
    }

    #[test]
    fn transactions_without_process_and_function_are_told_apart_by_their_order() {
        let op = |kind: &str| format!("{{:index 0 :type {kind} :value [[:append 1 2] [:r 1 nil]]}}\n");
        let reading = strict(&[op(":invoke"), op(":ok"), op(":invoke"), op(":info")].concat()).expect("read");
        assert_eq!(reading.notes.len(), 2, "{:?}", reading.notes);
        let processes: Vec<_> = reading.events.iter().map(|event| event.process).collect();
        assert_eq!(processes, [0, 0, 1, 1].map(Process::Client));
        let error = strict(&[op(":invoke"), op(":invoke"), op(":ok")].concat()).expect_err("whose?");
        assert!(
            error.to_string().starts_with("line 3") && error.to_string().contains("2 such calls"),
            "{error}"
        );
    }

    #[test]
    fn a_process_that_goes_on_keeps_its_digits_and_no_number_is_used_twice() {
        let op =
            |process: u64, kind: &str| format!("{{:process {process} :type {kind} :f :write :value 1}}\n");
        let text = [op(3, ":invoke"), op(3, ":invoke"), op(3, ":invoke"), op(1_000_003, ":invoke")].concat();
        let processes: Vec<_> = lenient(&text).events.iter().map(|event| event.process).collect();
        assert_eq!(processes, [3, 1_000_003, 2_000_003, 3_000_003].map(Process::Client));
    }

    /// The same bytes in pieces of this size.
    fn in_pieces(bytes: &[u8], step: usize, leniency: Leniency) -> Result<Reading, FormatError> {
        let mut events = Vec::new();
        let mut reader = Reader::new(None, leniency);
        for piece in bytes.chunks(step) {
            reader.feed(piece, &mut |event| events.push(event))?;
        }
        let Ending { format, notes, .. } = reader.finish(&mut |event| events.push(event))?;
        Ok(Reading { format, events, notes })
    }

    const SAMPLES: [&str; 6] = [
        LOG,
        "; why\n[{:process 0 :type :invoke :f :read :value \"é\\\"}\"}\n {:process 0, :type :ok, :f :read}]\n",
        "{:type :invoke :value [[:append 1 2]]}\n{:type :ok :value [[:append 1 2]]}\n",
        "{\"process\":0,\"type\":\"invoke\",\"f\":\"é\"}\n\n{\"process\":0,\"type\":\"ok\",\"f\":\"é\"}\n",
        "[{\"process\":0,\"type\":\"invoke\",\"f\":\"é\"},\n{\"process\":0,\"type\":\"ok\",\"f\":\"é\"}]",
        "2 invokes add 23\n2 returns true\n",
    ];

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for format in std::iter::once(None).chain(Format::ALL.map(Some)) {
                for leniency in [Leniency::Strict, Leniency::Lenient] {
                    let _ = read(&bytes, format, leniency);
                }
            }
        }

        #[test]
        fn what_is_read_leniently_is_a_history(text in "([\\[{(} )\\]:\"#_;\\\\\n]|:process|:type|:f|:ok|:invoke|0|a){0,60}") {
            for format in [Format::Edn, Format::JepsenLog] {
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

        #[test]
        fn chopped_and_mutated_files_read_the_same_in_any_pieces_and_leniently_always(
            sample in 0..SAMPLES.len(), repeat in 1usize..4, cut in 0usize..400, step in 1usize..40,
            changes in proptest::collection::vec((0usize..400, any::<u8>()), 0..4)
        ) {
            let mut bytes = SAMPLES[sample].repeat(repeat).into_bytes();
            for (at, to) in changes {
                let at = at % bytes.len();
                bytes[at] = to;
            }
            bytes.truncate(cut.max(1));
            for leniency in [Leniency::Strict, Leniency::Lenient] {
                prop_assert_eq!(in_pieces(&bytes, step, leniency), read(&bytes, None, leniency));
            }
            let lenient = read(&bytes, None, Leniency::Lenient);
            if let Ok(reading) = lenient {
                prop_assert!(crate::History::from_events(reading.events).is_ok());
            }
        }
    }
}
