//! One bar per failover, from the fault to the first acknowledged write, cut into its phases.

use super::Data;
use super::frame::{self, Axis, Frame, Key, Symbol};
use super::lettering::text_width;
use super::picture::{Anchor, Picture, Rect, fit};
use super::theme::{self, Tone};
use crate::failover::{Phase, kind_of};
use crate::summary::Failover;
use crate::units;

const TITLE: &str = "Failovers, phase by phase";
const ROW: f64 = 44.0;
const NAMES: f64 = 210.0;
/// Share of the room beside the names that bars get in any case.
const BARS_LEAST: f64 = 0.62;
/// Most pixels for what a bar could not hold.
const REST_MAX: f64 = 250.0;
/// Most bars in one picture; the report's table has all.
const ROWS_MAX: usize = 40;

/// Colour of a phase, and what it is.
pub fn phase_key(phase: Phase) -> (Tone, &'static str) {
    match phase {
        Phase::Detect => (Tone::Sky, "fault → suspected"),
        Phase::Lease => (Tone::Orange, "→ lease gone"),
        Phase::Fence => (Tone::Stone, "→ fenced"),
        Phase::Elect => (Tone::Rose, "→ elected"),
        Phase::Promote => (Tone::Green, "→ promoted"),
        Phase::Serve => (Tone::Yellow, "→ first acknowledged write"),
        Phase::Follow => (Tone::Blue, "replicas follow"),
        Phase::Recover => (Tone::Plum, "full rate again"),
    }
}

pub(super) fn draw(data: &Data<'_>) -> Picture {
    let timed: Vec<&Failover> =
        data.failovers.iter().filter(|failover| !failover.segments().is_empty()).collect();
    if timed.is_empty() {
        return frame::nothing(TITLE, "No failover happened in this run.");
    }
    let shown = longest(timed.clone());
    let longest_ns = shown.iter().map(|failover| length_ns(failover)).max().unwrap_or(0);
    let longest_ns = shown.iter().map(|f| drawn_ns(f, longest_ns)).max().unwrap_or(0);
    let bars_max = theme::WIDTH - theme::PAD - NAMES;
    // How wide bars may be depends on the words behind them, and those on which phases are wide enough to
    // hold their own: settled by assuming the narrowest bars.
    let scale = bars_max * BARS_LEAST / longest_ns.max(1) as f64;
    let ends: Vec<(String, String)> =
        shown.iter().map(|failover| end_words(failover, scale, longest_ns)).collect();
    let margin = ends.iter().map(|(length, rest)| words_width(length, rest)).fold(0.0, f64::max);
    let width = (bars_max - margin).max(bars_max * BARS_LEAST);

    let mut picture = Picture::new();
    let mut legend: Vec<_> = Phase::CHAIN
        .iter()
        .map(|&phase| phase_key(phase))
        .map(|(tone, word)| (Key::Box, tone, word))
        .collect();
    for (phase, symbol) in AFTER {
        let (tone, word) = phase_key(phase);
        legend.push((Key::Symbol(symbol), tone, word));
    }
    let mut sentence = "Milliseconds of each phase, counted from the fault to the first acknowledged write; the total stands at the \
                        end. The whisker below a bar reaches back to where service may have begun for all that is known: the \
                        longest bars are where to look first."
        .to_owned();
    if shown.len() < timed.len() {
        sentence.push_str(&format!(" The longest {} of {}.", shown.len(), timed.len()));
    }
    let top = frame::head(&mut picture, TITLE, &sentence, &legend);
    let area = Rect::new(NAMES, top, NAMES + width, top + ROW * shown.len() as f64);
    let x = Axis::durations(longest_ns, 6, false).named("time since the fault");
    let frame = Frame { area, x, y: None };
    frame.draw(&mut picture);
    for (row, (failover, end)) in shown.iter().zip(&ends).enumerate() {
        let y = top + ROW * row as f64 + ROW / 2.0;
        draw_name(&mut picture, data, failover, y);
        draw_bar(&mut picture, &frame, failover, scale, end, y);
    }
    picture.height = frame.foot() + theme::PAD / 2.0;
    picture
}

/// What follows a bar as a symbol: it is on nobody's way to the first write.
pub const AFTER: [(Phase, Symbol); 2] =
    [(Phase::Follow, Symbol::Diamond), (Phase::Recover, Symbol::Triangle)];

/// How far its row reaches: what comes much later than the longest bar is told in words.
fn drawn_ns(failover: &Failover, longest_ns: u64) -> u64 {
    let after = AFTER.iter().filter_map(|&(phase, _)| failover.since_start_ns(phase));
    after.filter(|&ns| ns <= longest_ns * 3 / 2).chain([length_ns(failover)]).max().unwrap_or(0)
}

/// In order of time, without the shortest where there are too many.
fn longest(mut failovers: Vec<&Failover>) -> Vec<&Failover> {
    if failovers.len() > ROWS_MAX {
        failovers.sort_by_key(|failover| std::cmp::Reverse(length_ns(failover)));
        failovers.truncate(ROWS_MAX);
        failovers.sort_by_key(|failover| failover.start_ns());
    }
    failovers
}

fn length_ns(failover: &Failover) -> u64 {
    failover.segments().iter().map(|segment| segment.length_ns()).sum()
}

/// What stands behind the bar: its length, then what it lacks and the phases too short to hold their number.
fn end_words(failover: &Failover, scale: f64, axis_ns: u64) -> (String, String) {
    let mut rest = Vec::new();
    if failover.first_ack_ns.is_none() {
        rest.push("no write yet".to_owned());
    }
    for segment in failover.segments() {
        let word = units::ms(segment.length_ns());
        if !holds(&word, segment.length_ns() as f64 * scale) {
            rest.push(format!("{} {word}", segment.phase.mark()));
        }
    }
    for (phase, _) in AFTER {
        let beyond = failover.since_start_ns(phase).filter(|&ns| ns > axis_ns);
        rest.extend(beyond.map(|ns| format!("{} after {}", phase.mark(), units::duration(ns))));
    }
    (format!("{} ms", units::ms(length_ns(failover))), rest.join(", "))
}

/// Symbols at what came after, and a line to the last of them; returns the right edge of the row.
fn draw_after(picture: &mut Picture, frame: &Frame, failover: &Failover, bar_ends: f64, y: f64) -> f64 {
    let mut edge = bar_ends;
    for (phase, symbol) in AFTER {
        let Some(ns) = failover.since_start_ns(phase) else { continue };
        let x = frame.x(ns as f64);
        if !frame.x.holds(ns as f64) {
            continue;
        }
        if x > edge {
            picture.line(&[(edge, y), (x, y)], 1, Tone::Muted, 0.8);
            edge = x;
        }
        let above = if x <= bar_ends { 12.0 } else { 0.0 }; // not on the numbers
        symbol.draw(picture, (x, y - above), 4.5, phase_key(phase).0, 1.0);
        edge = edge.max(x + 5.0);
    }
    edge
}

/// Can a bar so wide hold this word?
fn holds(word: &str, width: f64) -> bool {
    text_width(word, theme::SMALL, false) + 6.0 <= width
}

fn words_width(length: &str, rest: &str) -> f64 {
    let rest_width = text_width(rest, theme::SMALL, false).min(REST_MAX);
    16.0 + text_width(length, theme::SMALL, true) + rest_width
}

fn draw_name(picture: &mut Picture, data: &Data<'_>, failover: &Failover, y: f64) {
    let name = format!("shard {} · epoch {}", failover.shard, failover.epoch);
    let cause = match kind_of(failover, data.faults) {
        "none" => "no fault found".to_owned(),
        kind => format!("#{} {kind}", failover.fault.unwrap_or_default()),
    };
    let change = format!("{cause}: {} → {}", failover.from.as_deref().unwrap_or("?"), failover.to);
    let right = NAMES - 12.0;
    picture.bold((right, y - 8.0), &name, theme::TEXT, Tone::Ink, Anchor::End);
    let change = fit(&change, theme::SMALL, right - theme::PAD);
    picture.text((right, y + 8.0), &change, theme::SMALL, Tone::Muted, Anchor::End);
}

fn draw_bar(
    picture: &mut Picture,
    frame: &Frame,
    failover: &Failover,
    scale: f64,
    (length, rest): &(String, String),
    y: f64,
) {
    let start_ns = failover.start_ns().unwrap_or_default();
    let x = |ns: u64| frame.x(ns.saturating_sub(start_ns) as f64);
    let mut edge = frame.area.x0;
    for segment in failover.segments() {
        let bar = Rect::new(x(segment.from_ns), y - 12.0, x(segment.to_ns), y + 12.0);
        picture.bar(bar, phase_key(segment.phase).0, 0.95);
        edge = edge.max(bar.x1);
        let word = units::ms(segment.length_ns());
        if holds(&word, segment.length_ns() as f64 * scale) {
            let middle = ((bar.x0 + bar.x1) / 2.0, y);
            picture.text(middle, &word, theme::SMALL, Tone::OnBar, Anchor::Middle);
        }
    }
    if let (Some(bar), Some(ns)) = (failover.bar(Phase::Serve), failover.since_start_ns(Phase::Serve)) {
        let (from, to) = (frame.x(ns.saturating_sub(bar.before_ns) as f64), frame.x(ns as f64));
        picture.line(&[(from, y + 15.0), (to, y + 15.0)], 1, Tone::Ink, 0.9);
        for x in [from, to] {
            picture.line(&[(x, y + 13.0), (x, y + 17.0)], 1, Tone::Ink, 0.9);
        }
    }
    let edge = draw_after(picture, frame, failover, edge, y);
    let after = picture.bold((edge + 8.0, y), length, theme::SMALL, Tone::Ink, Anchor::Start).x1 + 8.0;
    let rest = fit(rest, theme::SMALL, theme::WIDTH - theme::PAD / 2.0 - after);
    picture.text((after, y), &rest, theme::SMALL, Tone::Muted, Anchor::Start);
}
