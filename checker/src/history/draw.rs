//! Operations drawn as a timeline in the language of [`sketch`](super::sketch).

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Op, OpEnd, Process};

/// Longest value shown in full, in characters.
const VALUE_CHARS_MAX: usize = 12;

/// Longest list or object shown in full, in characters.
const ELEMENTS_CHARS_MAX: usize = 60;

/// Draws register operations, one line per process, in order of their events.
///
/// The order of calls and returns is exact; distances are only as long as the labels need. Keys are left
/// out where all operations have the same. Values longer than 12 characters and lists longer than 60 are cut short with
/// `…`, and anything that is not `read`, `write` or `cas` is drawn as a call by its name.
pub fn draw(ops: &[&Op]) -> String {
    let is_keyed = ops.iter().any(|op| op.key != ops[0].key);
    let key = |op: &Op| if is_keyed { format!("@{}", value(&op.key)) } else { String::new() };
    let labels: Vec<String> = ops.iter().map(|op| label(op) + &key(op)).collect();
    let columns = columns(ops, &labels);
    let mut rows: BTreeMap<Process, Vec<usize>> = BTreeMap::new();
    for (i, op) in ops.iter().enumerate() {
        rows.entry(op.process).or_default().push(i);
    }
    let name_width = rows.keys().map(|process| process.to_string().len() + 1).max().unwrap_or(0);
    let mut drawing = String::new();
    for (process, mut bars) in rows {
        bars.sort_by_key(|&i| ops[i].call);
        let mut row = format!("{:<name_width$} ", format!("p{process}"));
        for i in bars {
            let (call, ret) = columns[i];
            let width = row.chars().count();
            row.extend(std::iter::repeat_n(' ', (name_width + 1 + call).saturating_sub(width)));
            row.push_str(&bar(ops[i], &labels[i], ret - call + 1));
        }
        drawing.push_str(row.trim_end());
        drawing.push('\n');
    }
    drawing
}

/// First and last column of each bar. Events keep their order; each bar is wide enough for its label.
fn columns(ops: &[&Op], labels: &[String]) -> Vec<(usize, usize)> {
    let width = |i: usize| labels[i].chars().count() + 6;
    // (position, what): calls and definite returns, in order.
    let mut edges: Vec<(u64, usize, bool)> = Vec::new();
    for (i, op) in ops.iter().enumerate() {
        edges.push((op.call, i, false));
        if op.ret != u64::MAX {
            edges.push((op.ret, i, true));
        }
    }
    edges.sort_unstable();
    let mut columns = vec![(0, 0); ops.len()];
    let mut free_from: BTreeMap<Process, usize> = BTreeMap::new();
    let mut next = 0;
    for (_, i, returns) in edges {
        if returns {
            let column = next.max(columns[i].0 + width(i) - 1);
            columns[i].1 = column;
            free_from.insert(ops[i].process, column + 2);
            next = column + 1;
        } else {
            let column = next.max(free_from.get(&ops[i].process).copied().unwrap_or(0));
            columns[i] = (column, column + width(i) - 1);
            next = column + 1;
        }
    }
    columns
}

fn bar(op: &Op, label: &str, width: usize) -> String {
    let end = match (op.end, op.ret_ns) {
        (OpEnd::Ok, _) => "|",
        (OpEnd::Fail, _) if op.error.as_deref() == Some("mismatch") => "#",
        (OpEnd::Fail, _) => "x",
        (OpEnd::Info, Some(_)) => "?",
        (OpEnd::Info, None) => "-",
    };
    let dashes = width.saturating_sub(2 + label.chars().count());
    let before = dashes / 2;
    format!("|{}{label}{}{end}", "-".repeat(before), "-".repeat(dashes - before))
}

fn label(op: &Op) -> String {
    match (&*op.f, &op.input) {
        ("read", _) if op.end == OpEnd::Ok => format!("r{}", value(&op.output)),
        ("write", input) => format!("w{}", value(input)),
        ("cas", Value::Array(pair)) if pair.len() == 2 => format!("c{}>{}", value(&pair[0]), value(&pair[1])),
        (f, input) => {
            let input = if input.is_null() { String::new() } else { value(input) };
            match op.end {
                OpEnd::Ok if !op.output.is_null() && op.output != op.input => {
                    format!("{f}({input})={}", value(&op.output))
                }
                _ => format!("{f}({input})"),
            }
        }
    }
}

/// A value as [`sketch`](super::sketch) reads it back, cut short when it is long.
fn value(value: &Value) -> String {
    let text = match value {
        Value::Null => "_".to_string(),
        Value::String(word) if is_bare(word) => word.clone(),
        Value::Number(number) if number.is_i64() => number.to_string().replacen('-', "−", 1),
        Value::Bool(truth) => truth.to_string(),
        Value::String(word) => Value::from(shorten(word)).to_string(),
        Value::Array(all) => return format!("[{}]", elements(all.iter().map(self::value).collect(), "…")),
        Value::Object(all) => return object(all),
        other => Value::from(shorten(&other.to_string())).to_string(),
    };
    if text.starts_with('"') { text } else { shorten(&text) }
}

/// A transfer as the list that says the same, anything else by its fields.
fn object(all: &Map<String, Value>) -> String {
    if let (3, Some(from), Some(to), Some(amount)) =
        (all.len(), all.get("from"), all.get("to"), all.get("amount"))
    {
        return format!("[{},{},{}]", value(from), value(to), value(amount));
    }
    let field = |(name, field): (&String, &Value)| format!("{}:{}", value(&json!(name)), value(field));
    format!("{{{}}}", elements(all.iter().map(field).collect(), "…:_"))
}

/// As many of the last elements as fit, after `cut`: what came last is what differs.
fn elements(all: Vec<String>, cut: &str) -> String {
    let mut chars = 0;
    let fits = |element: &&String| {
        chars += element.chars().count() + 1;
        chars <= ELEMENTS_CHARS_MAX
    };
    let shown = all.iter().rev().take_while(fits).count();
    let cut = if shown < all.len() { vec![cut.to_string()] } else { Vec::new() };
    [&cut[..], &all[all.len() - shown..]].concat().join(",")
}

fn is_bare(word: &str) -> bool {
    !matches!(word, "true" | "false")
        && word.chars().next().is_some_and(|c| c.is_alphabetic() || c == '…')
        && word.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '/' | '…'))
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text.to_string();
    }
    // The end tells values of one writer apart.
    let tail = text.chars().skip(text.chars().count() - (VALUE_CHARS_MAX - 1));
    std::iter::once('…').chain(tail).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sketch;
    use super::*;

    fn redraw(drawing: &str) -> String {
        let history = sketch::history(drawing).expect("it is well drawn");
        draw(&history.ops.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_drawing_is_drawn_again_the_same() {
        let drawing = "p0 |--w1--?\n\
                       p1              |--r1--| |--c1>2--#\n\
                       p12     |--c_>ab--|\n";
        let again = redraw(drawing);
        assert_eq!(redraw(&again), again, "\n{again}");
        let shape = |text: &str| {
            let ops = sketch::history(text).expect("it is well drawn").ops;
            ops.into_iter().map(|op| (op.call, op.ret, op.f, op.input, op.output)).collect::<Vec<_>>()
        };
        let mut drawn_order = shape(drawing);
        drawn_order.iter_mut().for_each(|op| op.1 = op.1.min(99));
        let mut again_order = shape(&again);
        again_order.iter_mut().for_each(|op| op.1 = op.1.min(99));
        assert_eq!(
            drawn_order.iter().map(|op| &op.2).collect::<Vec<_>>(),
            again_order.iter().map(|op| &op.2).collect::<Vec<_>>()
        );
    }

    #[test]
    fn long_and_odd_values_stay_readable() {
        assert_eq!(value(&json!("a-1")), "\"a-1\"");
        assert_eq!(value(&json!(-1)), "−1");
        assert_eq!((value(&json!(true)), value(&json!("true"))), ("true".into(), "\"true\"".into()));
        assert_eq!(value(&json!("abcdefghijklmnop")), "…fghijklmnop");
        assert_eq!(value(&json!(null)), "_");
        assert_eq!(value(&json!({"amount": 5, "from": "a0", "to": "a1"})), "[a0,a1,5]");
        assert_eq!(value(&json!({"a0": 1_000_000, "a 1": -3})), "{\"a 1\":−3,a0:1000000}");
        let long = value(&json!((0..99).collect::<Vec<_>>()));
        assert!(long.starts_with("[…,") && long.ends_with(",97,98]") && long.chars().count() <= 64, "{long}");
    }

    #[test]
    fn lists_and_objects_are_read_as_they_are_drawn() {
        for drawn in ["[1,[a,_],3]", "[true,−5]", "{a0:5,a1:6}", "{}", "[]", "[…,7]"] {
            let history = sketch::history(&format!("p0 |-read()={drawn}-|")).expect("well drawn");
            assert_eq!(value(&history.ops[0].output), drawn);
        }
    }
}
