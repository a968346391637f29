//! How failover times are distributed: the total and each phase, one curve per family of fault.

use super::Data;
use super::frame::{self, Axis, Frame, Key, Symbol};
use super::picture::{Anchor, Picture, Rect};
use super::theme::{self, Tone};
use crate::failover::{Distribution, Phase, by_kind};
use crate::summary::Failover;

const TITLE: &str = "Distribution of failover times";
const COLUMNS: usize = 3;
const HEIGHT: f64 = 150.0;

/// Curves are told apart by colour and by the symbol at each measured failover.
const SERIES: [(Tone, Symbol); 6] = [
    (Tone::Blue, Symbol::Dot),
    (Tone::Vermilion, Symbol::Triangle),
    (Tone::Green, Symbol::Square),
    (Tone::Plum, Symbol::Diamond),
    (Tone::Orange, Symbol::Cross),
    (Tone::Violet, Symbol::Dot),
];

pub(super) fn draw(data: &Data<'_>) -> Picture {
    let by = |length: &dyn Fn(&Failover) -> Option<u64>| by_kind(data.failovers, data.faults, length);
    let mut panels = vec![("total: fault → first acknowledged write", by(&Failover::total_ns))];
    panels.extend(Phase::ALL.map(|phase| (panel_name(phase), by(&|failover| failover.phase_ns(phase)))));
    let mut kinds: Vec<&str> =
        panels.iter().flat_map(|(_, k)| k.iter().map(|(kind, _)| kind.as_str())).collect();
    kinds.sort_unstable();
    kinds.dedup();
    if kinds.is_empty() {
        return frame::nothing(TITLE, "No failover was timed in this run.");
    }
    let series = |kind: &str| SERIES[kinds.iter().position(|&k| k == kind).unwrap_or(0) % SERIES.len()];

    let mut picture = Picture::new();
    let legend: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let (tone, symbol) = series(kind);
            let word = if *kind == "none" { "no fault found" } else { kind };
            (Key::Symbol(symbol), tone, word)
        })
        .collect();
    let sentence = "Share of failovers that took no longer than so long, by what caused them. Each phase counts from the mark before it in time; \
         the further left a curve rises, the faster.";
    let top = frame::head(&mut picture, TITLE, sentence, &legend);
    for (i, (name, kinds)) in panels.iter().enumerate() {
        let frame = panel(&mut picture, i, top, name, kinds);
        for (kind, distribution) in kinds {
            let (tone, symbol) = series(kind);
            draw_curve(&mut picture, &frame, distribution, tone, symbol);
        }
        picture.height = frame.foot() + theme::PAD / 2.0;
    }
    picture
}

fn panel_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Detect => "fault → suspected",
        Phase::Lease => "→ lease gone",
        Phase::Fence => "→ fenced",
        Phase::Elect => "→ elected",
        Phase::Promote => "→ promoted",
        Phase::Serve => "→ first acknowledged write",
        Phase::Follow => "promoted → replicas follow",
        Phase::Recover => "first acknowledged write → full rate",
    }
}

/// The axes of one of the small pictures.
fn panel(picture: &mut Picture, i: usize, top: f64, name: &str, kinds: &[(String, Distribution)]) -> Frame {
    let width = (theme::WIDTH - 2.0 * theme::PAD) / COLUMNS as f64;
    let x0 = theme::PAD + (i % COLUMNS) as f64 * width;
    let y0 = top + (i / COLUMNS) as f64 * (HEIGHT + 84.0);
    picture.bold((x0, y0 + 6.0), name, theme::TEXT, Tone::Ink, Anchor::Start);
    let area = Rect::new(x0 + 58.0, y0 + 24.0, x0 + width - 30.0, y0 + 24.0 + HEIGHT);
    let most = kinds.iter().filter_map(|(_, distribution)| distribution.max_ns()).max().unwrap_or(0);
    let x = Axis::durations(most.max(1_000_000), 4, true).named("time taken");
    let y =
        Axis::linear(1.0, 2, true, |share, _| format!("{:.0} %", share * 100.0)).named("share of failovers");
    let frame = Frame { area, x, y: Some(y) };
    frame.draw(picture);
    if kinds.is_empty() {
        let middle = ((area.x0 + area.x1) / 2.0, (area.y0 + area.y1) / 2.0);
        picture.text(middle, "not seen", theme::SMALL, Tone::Muted, Anchor::Middle);
    }
    frame
}

fn draw_curve(picture: &mut Picture, frame: &Frame, distribution: &Distribution, tone: Tone, symbol: Symbol) {
    let mut path = Vec::new();
    let mut share_before = 0.0;
    for (ns, share) in distribution.cdf() {
        path.push((frame.x(ns as f64), frame.y(share_before)));
        path.push((frame.x(ns as f64), frame.y(share)));
        share_before = share;
    }
    picture.line(&path, 2, tone, 0.9);
    // Symbols only while they can be told apart.
    if distribution.sorted_ns().len() <= 40 {
        for (ns, share) in distribution.cdf() {
            symbol.draw(picture, (frame.x(ns as f64), frame.y(share)), 3.5, tone, 1.0);
        }
    }
}
