//! Where each mark of a failover stands at the median, stacked, a row a fault and variant.

use super::{duration_axis, no_failover, row_name, row_words, rows};
use crate::across::series::{Measure, Series, Spread, ns, told_interval};
use crate::failover::Phase;
use crate::plot::frame::{self, Frame, Key, Symbol};
use crate::plot::lettering::text_width;
use crate::plot::picture::{Anchor, Picture, Rect, Shape};
use crate::plot::theme::{self, Tone};
use crate::plot::{AFTER, phase_key};
use crate::units;

const TITLE: &str = "Phases of a failover, at the median";
const ROW: f64 = 48.0;

/// Medians of the marks of one series that at least half of its failovers show, since the fault.
struct Row<'a> {
    series: &'a Series,
    chain: Vec<(Phase, f64)>,
    after: Vec<(Phase, Symbol, f64)>,
    served: Spread,
}

fn row(series: &Series) -> Row<'_> {
    let median = |phase: Phase| {
        let spread = series.spread(Measure::Until(phase));
        spread.median.value_ns.filter(|_| 2 * spread.n >= series.failovers.len())
    };
    let mut chain: Vec<(Phase, f64)> =
        Phase::CHAIN.into_iter().filter_map(|phase| Some((phase, median(phase)?))).collect();
    chain.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
    let after = AFTER.into_iter().filter_map(|(phase, symbol)| Some((phase, symbol, median(phase)?)));
    Row { series, chain, after: after.collect(), served: series.spread(Measure::Total) }
}

pub(super) fn draw(series: &[Series]) -> Picture {
    let of: Vec<Row<'_>> = series.iter().map(row).filter(|row| !row.chain.is_empty()).collect();
    if of.is_empty() {
        return no_failover(TITLE);
    }
    let ends = |row: &Row<'_>| {
        let bars = row.chain.iter().map(|mark| mark.1);
        bars.chain(row.after.iter().map(|mark| mark.2)).fold(0.0, f64::max)
    };
    // Not so long that an interval of few values makes all bars short: that ends in an arrow.
    let most = of.iter().map(ends).fold(0.0, f64::max) * 1.1;
    let mut picture = Picture::new();
    let mut legend: Vec<_> = Phase::CHAIN.map(phase_key).map(|(tone, word)| (Key::Box, tone, word)).to_vec();
    for (phase, symbol) in AFTER {
        let (tone, word) = phase_key(phase);
        legend.push((Key::Symbol(symbol), tone, word));
    }
    let sentence = "Each colour ends where the median failover reaches that mark; numbers are milliseconds between marks. The whisker \
                    is the 95 % interval of the median first acknowledged write. A mark that fewer than half of the failovers show \
                    is left out. The widest colour is where time is to be won.";
    let top = frame::head(&mut picture, TITLE, sentence, &legend);
    let x = duration_axis(0.0, most, 6).named("time since the fault");
    let frame = rows(&mut picture, top, ROW * of.len() as f64 + 4.0, x);
    for (i, row) in of.iter().enumerate() {
        let y = top + ROW * i as f64 + ROW / 2.0;
        let n = units::plural(row.series.failovers.len() as u64, "failover");
        row_name(&mut picture, y, &row.series.name(), &n);
        draw_row(&mut picture, &frame, row, y);
        let word = row
            .served
            .median
            .value_ns
            .map_or_else(|| "no write timed".to_owned(), |m| format!("first write {}", ns(m)));
        let below = row.served.median.interval_ns;
        let below = below.map_or_else(|| "too few for an interval".to_owned(), told_interval);
        row_words(&mut picture, y, &word, &below);
    }
    picture.height = frame.foot() + theme::PAD / 2.0;
    picture
}

fn draw_row(picture: &mut Picture, frame: &Frame, row: &Row<'_>, y: f64) {
    let mut from = 0.0;
    for &(phase, to) in &row.chain {
        let bar = Rect::new(frame.x(from), y - 11.0, frame.x(to), y + 11.0);
        picture.bar(bar, phase_key(phase).0, 0.95);
        let word = units::ms((to - from).max(0.0) as u64);
        if text_width(&word, theme::SMALL, false) + 6.0 <= bar.x1 - bar.x0 {
            let middle = ((bar.x0 + bar.x1) / 2.0, y);
            picture.text(middle, &word, theme::SMALL, Tone::OnBar, Anchor::Middle);
        }
        from = to;
    }
    if let Some(i) = row.served.median.interval_ns {
        let (low, high) = (frame.x(i.low), frame.x(i.high));
        picture.line(&[(low, y + 15.0), (high, y + 15.0)], 1, Tone::Ink, 0.9);
        picture.line(&[(low, y + 12.0), (low, y + 18.0)], 1, Tone::Ink, 0.9);
        if frame.x.holds(i.high) {
            picture.line(&[(high, y + 12.0), (high, y + 18.0)], 1, Tone::Ink, 0.9);
        } else {
            let tip = vec![(high + 5.0, y + 15.0), (high - 2.0, y + 11.0), (high - 2.0, y + 19.0)];
            picture.mark(Shape::Polygon(tip), Tone::Ink, 0.9);
        }
    }
    let ends = frame.x(from);
    let last = row.after.iter().map(|mark| frame.x(mark.2)).fold(ends, f64::max);
    if last > ends {
        picture.line(&[(ends, y), (last, y)], 1, Tone::Muted, 0.8);
    }
    for &(phase, symbol, at) in &row.after {
        let above = if frame.x(at) <= ends { 11.0 } else { 0.0 }; // not on the numbers
        symbol.draw(picture, (frame.x(at), y - above), 5.0, phase_key(phase).0, 1.0);
    }
}
