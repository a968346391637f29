//! Lengths as boxes: every value, the middle half, the median and its interval.

use super::{duration_axis, look, no_failover, row_name, row_words, rows, variants};
use crate::across::series::{Measure, Series, Spread, ns};
use crate::plot::frame::{self, Frame, Key};
use crate::plot::picture::{Picture, Rect, Shape};
use crate::plot::theme::{self, Tone};
use crate::stats::spread::quartiles;
use crate::units;

const ROW: f64 = 46.0;
/// A box of fewer values would be drawn from the values beside it.
const BOX_LEAST: usize = 5;
/// Values beyond which single ones are no longer drawn.
const DOTS_MAX: usize = 400;

/// One row.
struct Row {
    name: String,
    below: String,
    tone: Tone,
    values: Vec<f64>,
}

const TITLE: &str = "Failover times by fault and variant";

pub(super) fn totals(series: &[Series]) -> Picture {
    let variants = variants(series);
    let row = |series: &Series| Row {
        name: series.name(),
        below: format!(
            "{} in {}",
            units::plural(series.failovers.len() as u64, "failover"),
            units::plural(series.runs as u64, "run")
        ),
        tone: look(&variants, &series.variant).0,
        values: series.values(Measure::Total),
    };
    let rows: Vec<Row> = series.iter().map(row).filter(|row| !row.values.is_empty()).collect();
    if rows.is_empty() {
        return no_failover(TITLE);
    }
    let slowest = rows.iter().max_by(|a, b| median(a).total_cmp(&median(b)));
    let slowest = slowest.map_or_else(String::new, |row| {
        format!(" Slowest at the median: {}, {}.", row.name, ns(median(row)))
    });
    let sentence = format!(
        "From the fault to the first acknowledged write. Each dot is a failover, the box holds the middle half of them, the line \
         is the median, the bar below it its 95 % interval. Where two bars do not overlap, the medians differ.{slowest}"
    );
    draw(TITLE, &sentence, rows, "time from the fault to the first acknowledged write")
}

const OUTAGES: &str = "Time without service, as clients saw it";

pub(super) fn outages(series: &[Series]) -> Picture {
    let asks = [
        (Measure::NoWrites, "no write acknowledged", Tone::Vermilion),
        (Measure::NoReads, "no read answered", Tone::Sky),
    ];
    let row = |series: &Series| {
        let name = series.name();
        asks.map(|(measure, below, tone)| Row {
            name: name.clone(),
            below: below.to_owned(),
            tone,
            values: series.values(measure),
        })
    };
    let rows: Vec<Row> = series.iter().flat_map(row).filter(|row| !row.values.is_empty()).collect();
    if rows.is_empty() {
        return no_failover(OUTAGES);
    }
    let sentence = format!(
        "Per failover, from the calls alone: the time in which the shard was asked and did not answer for more than {}; 0 where it \
         never was so long. Reads that fare better than writes were served without a master, or by one that had lost \
         its replicas.",
        units::duration(crate::availability::GAP_NS_MIN)
    );
    draw(OUTAGES, &sentence, rows, "time without service within one failover")
}

fn median(row: &Row) -> f64 {
    Spread::of(&row.values).median.value_ns.unwrap_or(0.0)
}

fn draw(title: &str, sentence: &str, of: Vec<Row>, axis: &str) -> Picture {
    let values = || of.iter().flat_map(|row| row.values.iter().copied());
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    let mut picture = Picture::new();
    let legend = [
        (Key::Box, Tone::Muted, "95 % interval of the median"),
        (Key::Outline, Tone::Muted, "middle half, with its median"),
    ];
    let top = frame::head(&mut picture, title, sentence, &legend);
    let x = duration_axis(least, most, 6).named(axis);
    let frame = rows(&mut picture, top, ROW * of.len() as f64 + 4.0, x);
    for (i, row) in of.iter().enumerate() {
        let y = top + ROW * i as f64 + ROW / 2.0;
        row_name(&mut picture, y, &row.name, &row.below);
        draw_row(&mut picture, &frame, row, y);
        let spread = Spread::of(&row.values);
        let below = match spread.median.interval_ns {
            Some(i) => format!("{}–{}, n = {}", ns(i.low), ns(i.high), spread.n),
            None => format!("n = {}: no interval", spread.n),
        };
        row_words(&mut picture, y, &format!("median {}", ns(median(row))), &below);
    }
    picture.height = frame.foot() + theme::PAD / 2.0;
    picture
}

fn draw_row(picture: &mut Picture, frame: &Frame, row: &Row, y: f64) {
    let at = |value: f64| frame.x(value);
    if row.values.len() >= BOX_LEAST
        && let Some(q) = quartiles(&row.values)
    {
        picture.line(&[(at(q.low), y), (at(q.q1), y)], 1, Tone::Ink, 0.7);
        picture.line(&[(at(q.q3), y), (at(q.high), y)], 1, Tone::Ink, 0.7);
        for end in [q.low, q.high] {
            picture.line(&[(at(end), y - 4.0), (at(end), y + 4.0)], 1, Tone::Ink, 0.7);
        }
        let half = Rect::new(at(q.q1), y - 10.0, at(q.q3), y + 10.0);
        picture.bar(half, row.tone, 0.18);
        picture.mark(Shape::Outline(half), Tone::Ink, 0.7);
    }
    if row.values.len() <= DOTS_MAX {
        for (i, &value) in row.values.iter().enumerate() {
            // Side by side in a fixed order, so that equal values can be told apart.
            let off = [0.0, 5.0, -5.0, 2.5, -2.5, 7.0, -7.0][i % 7];
            picture.mark(Shape::Dot((at(value), y + off), 2.5), row.tone, 0.6);
        }
    }
    let spread = Spread::of(&row.values);
    if let Some(median) = spread.median.value_ns {
        picture.line(&[(at(median), y - 10.0), (at(median), y + 10.0)], 3, Tone::Ink, 1.0);
    }
    if let Some(i) = spread.median.interval_ns {
        picture.bar(Rect::new(at(i.low), y + 13.0, at(i.high).max(at(i.low) + 1.0), y + 17.0), row.tone, 1.0);
    }
}
