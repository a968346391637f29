//! Every operation at the time of its call, by how long it took and how it ended.

use std::collections::BTreeMap;

use checker::{Op, OpEnd};

use super::frame::{self, Axis, Key, Symbol};
use super::picture::{Picture, Rect};
use super::theme::{self, Tone};
use super::{Data, faults};

/// More operations with one outcome than this are drawn as shaded cells.
pub const DOTS_MAX: usize = 3_000;

const TITLE: &str = "Latency of every operation";
const HEIGHT: f64 = 300.0;
/// Side of a cell, pixels.
const CELL: f64 = 4.0;
const SHADES: [f64; 4] = [0.3, 0.5, 0.75, 1.0];

/// Outcomes in the order of drawing: what is rare comes last, on top.
const OUTCOMES: [(OpEnd, Tone, Symbol, &str); 3] = [
    (OpEnd::Ok, Tone::Blue, Symbol::Dot, "ok: took effect"),
    (OpEnd::Fail, Tone::Orange, Symbol::Triangle, "fail: certainly did not"),
    (OpEnd::Info, Tone::Plum, Symbol::Cross, "info: nobody can say"),
];

pub(super) fn draw(data: &Data<'_>) -> Picture {
    let ops = &data.history.ops;
    if ops.is_empty() {
        return frame::nothing(TITLE, "No operation was recorded in this run.");
    }
    let latencies = || ops.iter().filter_map(latency_ns);
    let (least, most) = (latencies().min().unwrap_or(1), latencies().max().unwrap_or(1));

    let mut picture = Picture::new();
    let mut legend: Vec<_> =
        OUTCOMES.iter().map(|&(_, tone, symbol, word)| (Key::Symbol(symbol), tone, word)).collect();
    legend.extend(faults::legend(data.faults));
    let crowded =
        OUTCOMES.iter().any(|outcome| ops.iter().filter(|op| op.end == outcome.0).count() > DOTS_MAX);
    let mut sentence = "Each at the time of its call, on a logarithmic scale. A fault that clients feel lifts the dots, or makes \
                        crosses of them at the time limit of a call.".to_owned();
    if crowded {
        sentence.push_str(" Darker where many fall together.");
    }
    let open = ops.iter().any(|op| op.ret_ns.is_none());
    if open {
        sentence.push_str(" On the upper edge: calls whose end was never recorded.");
    }
    let top = frame::head(&mut picture, TITLE, &sentence, &legend);
    let y = Axis::log_duration(least.max(1_000), most);
    let y = y.named("latency");
    let y = if open { y.beyond("no end") } else { y };
    let frame = data.time_frame(top, HEIGHT, Some(y));
    frame.draw(&mut picture);
    faults::draw(&mut picture, &frame, data.faults);
    for (end, tone, symbol, _) in OUTCOMES {
        let height = |op: &Op| latency_ns(op).map_or(frame.area.y0, |ns| frame.y(ns as f64));
        let at = |op: &Op| (frame.x(op.call_ns as f64), height(op));
        let points: Vec<(f64, f64)> = ops.iter().filter(|op| op.end == end).map(at).collect();
        if points.len() > DOTS_MAX {
            draw_cells(&mut picture, &points, tone);
        } else {
            let (r, alpha) = if end == OpEnd::Ok { (2.0, 0.55) } else { (3.0, 0.9) };
            points.into_iter().for_each(|point| symbol.draw(&mut picture, point, r, tone, alpha));
        }
    }
    picture.height = frame.foot() + theme::PAD / 2.0;
    picture
}

/// From call to completion; none where there was none.
fn latency_ns(op: &Op) -> Option<u64> {
    op.ret_ns.map(|ret_ns| ret_ns.saturating_sub(op.call_ns))
}

/// Counts points in cells and draws neighbours of one shade as one bar: the number of marks is bounded by the
/// area, however long the run.
fn draw_cells(picture: &mut Picture, points: &[(f64, f64)], tone: Tone) {
    let mut cells: BTreeMap<(i64, i64), usize> = BTreeMap::new();
    for (x, y) in points {
        *cells.entry(((y / CELL) as i64, (x / CELL) as i64)).or_default() += 1;
    }
    let most = cells.values().copied().max().unwrap_or(1).max(2) as f64;
    let shade = |count: usize| {
        let share = (count as f64).ln() / most.ln();
        ((share * SHADES.len() as f64) as usize).min(SHADES.len() - 1)
    };
    let mut bar = |row: i64, from: i64, to: i64, shade: usize| {
        let (x0, y0) = (from as f64 * CELL, row as f64 * CELL);
        picture.bar(Rect::new(x0, y0, (to + 1) as f64 * CELL, y0 + CELL - 1.0), tone, SHADES[shade]);
    };
    let mut open: Option<(i64, i64, i64, usize)> = None;
    for ((row, column), count) in cells {
        let shade = shade(count);
        open = match open {
            Some((r, from, to, s)) if (r, to + 1, s) == (row, column, shade) => Some((r, from, column, s)),
            before => {
                if let Some((r, from, to, s)) = before {
                    bar(r, from, to, s);
                }
                Some((row, column, column, shade))
            }
        };
    }
    if let Some((r, from, to, s)) = open {
        bar(r, from, to, s);
    }
}
