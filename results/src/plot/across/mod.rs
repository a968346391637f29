//! Pictures of many runs.

mod boxes;
mod curves;
mod phases;
mod rates;
mod trend;

use super::frame::{self, Axis, Frame, Symbol};
use super::picture::{Anchor, Picture, Rect, fit};
use super::theme::{self, Tone};
use crate::across::series::Series;
use crate::across::tally::Cell;
use crate::across::trend::Point;
use crate::error::{Error, Result};
use crate::units;

/// The pictures there are of a campaign, in the order of its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AcrossPlot {
    /// How often each cell broke its promise.
    Violations,
    /// Failover times per fault and variant, as boxes with every value.
    Boxes,
    /// The same as cumulative curves with bands.
    Curves,
    /// Where each mark stands at the median.
    Phases,
    /// How long clients could not write, and not read.
    Outages,
}

/// What they are drawn from.
#[derive(Debug, Clone, Copy)]
pub struct AcrossData<'a> {
    /// Failovers per fault and variant.
    pub series: &'a [Series],
    /// Runs per cell.
    pub cells: &'a [Cell<'a>],
}

impl AcrossPlot {
    /// All of them.
    pub const ALL: [AcrossPlot; 5] = [
        AcrossPlot::Violations,
        AcrossPlot::Boxes,
        AcrossPlot::Curves,
        AcrossPlot::Phases,
        AcrossPlot::Outages,
    ];

    /// Its file's name without ending.
    pub fn stem(self) -> &'static str {
        match self {
            AcrossPlot::Violations => "violations",
            AcrossPlot::Boxes => "failover-boxes",
            AcrossPlot::Curves => "failover-curves",
            AcrossPlot::Phases => "failover-phases",
            AcrossPlot::Outages => "outages",
        }
    }

    /// The marks.
    pub fn draw(self, data: &AcrossData<'_>) -> Picture {
        match self {
            AcrossPlot::Violations => rates::draw(data.cells),
            AcrossPlot::Boxes => boxes::totals(data.series),
            AcrossPlot::Curves => curves::draw(data.series),
            AcrossPlot::Phases => phases::draw(data.series),
            AcrossPlot::Outages => boxes::outages(data.series),
        }
    }

    /// As an SVG document.
    pub fn svg(self, data: &AcrossData<'_>) -> Result<String> {
        self.draw(data).to_svg().map_err(|why| Error::Draw { plot: self.stem(), why })
    }
}

/// Medians over commits; see [`crate::across::trend`].
pub fn trend(points: &[Point]) -> Picture {
    trend::draw(points)
}

/// Names stand left of this.
const NAMES: f64 = 250.0;
/// Words about a row stand right of this.
const WORDS: f64 = theme::WIDTH - 190.0;

/// Variants are told apart by colour and symbol, the same in all pictures of a page.
const SERIES: [(Tone, Symbol); 6] = [
    (Tone::Blue, Symbol::Dot),
    (Tone::Vermilion, Symbol::Triangle),
    (Tone::Green, Symbol::Square),
    (Tone::Plum, Symbol::Diamond),
    (Tone::Orange, Symbol::Triangle),
    (Tone::Violet, Symbol::Dot),
];

fn look(names: &[&str], name: &str) -> (Tone, Symbol) {
    SERIES[names.iter().position(|&known| known == name).unwrap_or(0) % SERIES.len()]
}

fn variants(series: &[Series]) -> Vec<&str> {
    let mut names: Vec<&str> = series.iter().map(|series| series.variant.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The frame of a picture of rows, its grid drawn.
fn rows(picture: &mut Picture, top: f64, height: f64, x: Axis) -> Frame {
    let frame = Frame { area: Rect::new(NAMES, top, WORDS, top + height), x, y: None };
    frame.draw(picture);
    frame
}

/// What a row is called: a line in heavy type, one below it.
fn row_name(picture: &mut Picture, y: f64, name: &str, below: &str) {
    let right = NAMES - 12.0;
    let name = fit(name, theme::TEXT, (right - theme::PAD) * 0.92); // heavy type is wider
    picture.bold((right, y - 8.0), &name, theme::TEXT, Tone::Ink, Anchor::End);
    let below = fit(below, theme::SMALL, right - theme::PAD);
    picture.text((right, y + 8.0), &below, theme::SMALL, Tone::Muted, Anchor::End);
}

/// What is said of a row behind it: a line, one below it.
fn row_words(picture: &mut Picture, y: f64, word: &str, below: &str) {
    let room = theme::WIDTH - 6.0 - (WORDS + 12.0);
    let word = fit(word, theme::SMALL, room);
    picture.text((WORDS + 12.0, y - 8.0), &word, theme::SMALL, Tone::Ink, Anchor::Start);
    let below = fit(below, theme::SMALL, room);
    picture.text((WORDS + 12.0, y + 8.0), &below, theme::SMALL, Tone::Muted, Anchor::Start);
}

/// From 0 by steps, or by factors where values are of different orders.
fn duration_axis(least: f64, most: f64, count: usize) -> Axis {
    if least > 0.0 && most / least > 60.0 {
        let (low, high) = (least / 1.3, most * 1.3);
        let steps = (0..12).flat_map(|decade| [1.0, 2.0, 5.0].map(|step| step * 10f64.powi(decade)));
        let within = steps.filter(|&value| low <= value && value <= high);
        Axis::log(low, high, within.map(|value| (value, units::duration(value as u64))).collect())
    } else {
        Axis::durations(most.max(1.0) as u64, count, true)
    }
}

/// `a, b and c`.
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// No picture where there is no failover to draw.
fn no_failover(title: &str) -> Picture {
    frame::nothing(title, "No failover that a fault caused was timed in these runs.")
}
