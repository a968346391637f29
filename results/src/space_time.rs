//! Messages between nodes as a space–time diagram: a line for each node, time downwards, an arrow for each message.
//!
//! Rows are events in their order; distances between them say nothing, and a gap says how long nothing was to be told.

use checker::{Op, OpEnd};

use crate::messages::{Fate, MessageLine};
use crate::plot::frame::{Key, Symbol, head};
use crate::plot::picture::{Anchor, Label, Picture, Point, Shape, fit};
use crate::plot::theme::{self, Tone};
use crate::{explain, units};

/// Pixels between two events.
const ROW: f64 = 23.0;
/// More pixels where time is left out.
const GAP: f64 = 15.0;
/// Silence that is worth a gap, nanoseconds.
const SILENCE_NS: i64 = 1_000_000;
/// Where the line of the first node stands, and of the last.
const NODES: (f64, f64) = (150.0, 930.0);
/// Longest label, pixels.
const LABEL_MAX: f64 = 330.0;

/// Something at one instant.
#[derive(Debug, Clone, Copy)]
enum Event<'a> {
    Called(&'a Op),
    Sent(usize),
    Received(usize),
    Returned(&'a Op),
}

/// Draws messages, in order of sending, and between them when these operations were called and returned.
pub fn draw(title: &str, messages: &[&MessageLine], ops: &[&Op]) -> Picture {
    let mut picture = Picture::new();
    let nodes = nodes(messages);
    let top = head(
        &mut picture,
        title,
        "Time runs downwards: the order of events is exact, distances are not. Milliseconds of the run at the left.",
        &legend(messages),
    ) + 14.0;
    let rows = rows(messages, ops);
    let mut y = top + 30.0;
    let mut places = vec![(y, y); messages.len()];
    let mut calls = Vec::new();
    let mut last_ns = None;
    for &(time_ns, event) in &rows {
        let silent = last_ns.is_some_and(|last| time_ns - last > SILENCE_NS);
        if let (true, Some(last)) = (silent, last_ns) {
            let words = format!("{} later", units::duration((time_ns - last) as u64));
            picture.text((theme::PAD + 86.0, y - 2.0), &words, theme::SMALL, Tone::Muted, Anchor::End);
            y += GAP;
        }
        let words = clock_ms(time_ns);
        picture.text((theme::PAD + 86.0, y), &words, theme::SMALL, Tone::Ink, Anchor::End);
        match event {
            Event::Sent(message) => places[message] = (y, y),
            Event::Received(message) => places[message].1 = y,
            Event::Called(op) | Event::Returned(op) => calls.push((y, op, matches!(event, Event::Called(_)))),
        }
        last_ns = Some(time_ns);
        y += ROW;
    }
    let x = |node: &str| {
        let place = nodes.iter().position(|one| *one == node).unwrap_or_default() as f64;
        NODES.0 + (NODES.1 - NODES.0) * place / (nodes.len().max(2) - 1) as f64
    };
    for node in &nodes {
        picture.bold((x(node), top), node, theme::TEXT, Tone::Ink, Anchor::Middle);
        picture.line(&[(x(node), top + 10.0), (x(node), y)], 1, Tone::Muted, 0.7);
    }
    for (y, op, is_call) in calls {
        draw_edge(&mut picture, y, op, is_call);
    }
    // Words first: their paper must not hide an arrow.
    for (message, (from_y, _)) in messages.iter().zip(&places) {
        draw_label(&mut picture, message, (x(&message.from), *from_y), x(&message.to));
    }
    for (message, (from_y, to_y)) in messages.iter().zip(places) {
        draw_arrow(&mut picture, message, (x(&message.from), from_y), (x(&message.to), to_y));
    }
    picture.height = y + theme::PAD / 2.0;
    picture
}

/// Clients, then servers, then who coordinates them.
fn nodes<'a>(messages: &[&'a MessageLine]) -> Vec<&'a str> {
    let mut nodes: Vec<&str> = messages.iter().flat_map(|m| [m.from.as_str(), m.to.as_str()]).collect();
    let rank = |node: &str| match node.as_bytes().first() {
        Some(b'c') => 0,
        Some(b'z') => 2,
        _ => 1,
    };
    nodes.sort_by_key(|node| (rank(node), node.len(), *node));
    nodes.dedup();
    nodes
}

/// Every event in order; of one instant a call before what it sends, and a return after what it received.
fn rows<'a>(messages: &[&MessageLine], ops: &[&'a Op]) -> Vec<(i64, Event<'a>)> {
    let mut rows: Vec<(i64, u8, Event<'a>)> = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        rows.push((message.sent_ns, 1, Event::Sent(i)));
        let late = |received: &i64| received - message.sent_ns > 1_000;
        rows.extend(message.received_ns.filter(late).map(|received| (received, 2, Event::Received(i))));
    }
    for op in ops {
        rows.push((op.call_ns as i64, 0, Event::Called(op)));
        rows.extend(op.ret_ns.map(|ret| (ret as i64, 3, Event::Returned(op))));
    }
    rows.sort_by_key(|row| (row.0, row.1));
    rows.into_iter().map(|(time_ns, _, event)| (time_ns, event)).collect()
}

fn tone(fate: Fate) -> Tone {
    match fate {
        Fate::Delivered => Tone::Blue,
        Fate::Held => Tone::Sky,
        Fate::Resent => Tone::Orange,
        Fate::Lost => Tone::Vermilion,
        Fate::Altered => Tone::Violet,
    }
}

fn legend(messages: &[&MessageLine]) -> Vec<(Key, Tone, &'static str)> {
    let all = [
        (Fate::Delivered, Key::Box, "arrived"),
        (Fate::Held, Key::Box, "held back"),
        (Fate::Resent, Key::Box, "lost at first, sent again"),
        (Fate::Lost, Key::Symbol(Symbol::Cross), "lost"),
        (Fate::Altered, Key::Symbol(Symbol::Diamond), "altered"),
    ];
    let there = |fate: Fate| messages.iter().any(|message| message.fate == fate);
    let seen = all.into_iter().filter(|&(fate, ..)| there(fate));
    seen.map(|(fate, key, word)| (key, tone(fate), word)).collect()
}

/// A line across all nodes where a client calls, or hears what came of it.
fn draw_edge(picture: &mut Picture, y: f64, op: &Op, is_call: bool) {
    let tone = match (is_call, op.end) {
        (true, _) => Tone::Ink,
        (_, OpEnd::Ok) => Tone::Blue,
        (_, OpEnd::Fail) => Tone::Orange,
        (_, OpEnd::Info) => Tone::Plum,
    };
    let mut x = NODES.0 - 20.0;
    while x < NODES.1 + 40.0 {
        picture.line(&[(x, y), (x + 4.0, y)], 1, tone, 0.5);
        x += 9.0;
    }
    let words = match is_call {
        true => format!("process {} calls {}", op.process, explain::call(op)),
        false => format!("process {}: {} → {}", op.process, explain::call(op), explain::outcome(op)),
    };
    let words = fit(&words, theme::SMALL, NODES.1 - NODES.0);
    picture.text_on_paper((NODES.0 - 16.0, y), &words, theme::SMALL, tone, Anchor::Start);
}

fn draw_arrow(picture: &mut Picture, message: &MessageLine, from: Point, to: Point) {
    let tone = tone(message.fate);
    // What is lost does not arrive.
    let reach = if message.received_ns.is_none() { 0.72 } else { 1.0 };
    let end = (from.0 + (to.0 - from.0) * reach, from.1 + (to.1 - from.1) * reach);
    picture.line(&[from, end], 2, tone, 0.9);
    if message.received_ns.is_none() {
        Symbol::Cross.draw(picture, end, 5.0, tone, 1.0);
    } else {
        let length = (to.0 - from.0).hypot(to.1 - from.1).max(1.0);
        let (dx, dy) = ((to.0 - from.0) / length, (to.1 - from.1) / length);
        let back = (to.0 - 9.0 * dx, to.1 - 9.0 * dy);
        let side = |s: f64| (back.0 - 4.0 * s * dy, back.1 + 4.0 * s * dx);
        picture.mark(Shape::Polygon(vec![to, side(1.0), side(-1.0)]), tone, 1.0);
    }
    if message.fate == Fate::Altered {
        let middle = ((from.0 + end.0) / 2.0, (from.1 + end.1) / 2.0);
        Symbol::Diamond.draw(picture, middle, 4.0, tone, 1.0);
    }
}

/// What it says, beside the sender, where the line begins: there it can be told whose it is.
fn draw_label(picture: &mut Picture, message: &MessageLine, from: Point, to_x: f64) {
    let words = fit(&message.label, theme::SMALL, LABEL_MAX);
    let label = Label {
        at: from,
        text: words.clone(),
        size: theme::SMALL,
        bold: false,
        anchor: Anchor::Start,
        turned: false,
    };
    let half = (label.bounds().x1 - from.0) / 2.0;
    let middle = from.0 + (to_x - from.0).signum() * (half + 14.0);
    let middle = middle.clamp(NODES.0 - 30.0 + half, theme::WIDTH - 6.0 - half);
    picture.text_on_paper((middle, from.1 - 8.0), &words, theme::SMALL, Tone::Ink, Anchor::Middle);
}

/// Nanoseconds of the run clock as milliseconds: `3,344.827`.
fn clock_ms(ns: i64) -> String {
    let us = ns.unsigned_abs() / 1_000;
    format!("{}{}.{:03}", if ns < 0 { "−" } else { "" }, units::count(us / 1_000), us % 1_000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(sent_ns: i64, received_ns: Option<i64>, from: &str, to: &str, fate: Fate) -> MessageLine {
        let label = format!("{from} to {to}");
        MessageLine {
            scene: String::new(),
            sent_ns,
            received_ns,
            from: from.into(),
            to: to.into(),
            label,
            fate,
        }
    }

    #[test]
    fn events_stand_in_their_order_and_what_is_lost_does_not_arrive() {
        let messages = [
            message(1_000_000, Some(1_000_000), "c0", "s0r0", Fate::Delivered),
            message(1_200_000, Some(9_000_000), "s0r0", "s0r1", Fate::Resent),
            message(1_300_000, None, "s0r0", "zk1", Fate::Lost),
        ];
        let op = checker::Op {
            index: 4,
            process: checker::Process::Client(7),
            f: "write".into(),
            key: json!("k"),
            input: json!(5),
            output: json!(null),
            end: OpEnd::Info,
            error: None,
            call: 0,
            ret: u64::MAX,
            call_ns: 900_000,
            ret_ns: Some(5_000_000),
            shard: None,
            epoch: None,
            node: None,
        };
        let picture = draw("Messages", &messages.iter().collect::<Vec<_>>(), &[&op]);
        let row = |words: &str| {
            let label = picture.labels().find(|label| label.text.contains(words));
            label.unwrap_or_else(|| panic!("{words:?} is not there")).at.1
        };
        let order = [
            row("process 7 calls"),
            row("c0 to s0r0"),
            row("s0r0 to s0r1"),
            row("s0r0 to zk1"),
            row("nobody can say"),
        ];
        assert!(order.is_sorted(), "{order:?}");
        assert!(row("3.7 ms later") > row("s0r0 to zk1"));
        let named: Vec<&str> =
            picture.labels().filter(|label| label.bold).map(|label| label.text.as_str()).skip(1).collect();
        assert_eq!(named, ["c0", "s0r0", "s0r1", "zk1"], "clients first, coordinators last");
        let heads = picture.marks.iter().filter(|mark| matches!(mark.shape, Shape::Polygon(_))).count();
        assert_eq!(heads, 2, "two of three arrive");
        assert!(picture.labels().any(|label| label.text == "lost at first, sent again"));
    }

    #[test]
    fn times_are_milliseconds_of_the_run() {
        assert_eq!(clock_ms(3_344_827_999), "3,344.827");
        assert_eq!(clock_ms(-1_500_000), "−1.500");
    }
}
