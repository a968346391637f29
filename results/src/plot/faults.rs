//! Faults above and behind every picture that has a time axis: a strip of named bars, and their bands.

use checker::FaultRecord;

use super::frame::{Entry, Frame, Key};
use super::lettering::text_width;
use super::picture::{Anchor, Picture, Rect, Shape, fit};
use super::theme::{self, Tone};

/// Rows a strip may have before its words get shorter.
const ROWS_MAX: usize = 8;
const ROW: f64 = 18.0;

/// What bars and bands mean.
pub const LEGEND: Entry<'static> = (Key::Band, Tone::Violet, "fault in effect");
/// What an empty bar means.
pub const LEGEND_VAIN: Entry<'static> = (Key::Outline, Tone::Violet, "fault without effect");

/// Legend entries for the faults there are.
pub fn legend(faults: &[FaultRecord]) -> Vec<Entry<'static>> {
    let mut entries = Vec::new();
    if faults.iter().any(|fault| fault.installed) {
        entries.push(LEGEND);
    }
    if faults.iter().any(|fault| !fault.installed) {
        entries.push(LEGEND_VAIN);
    }
    entries
}

/// Pixels a strip of these faults takes; the frame's height does not matter.
pub fn strip_height(frame: &Frame, faults: &[FaultRecord]) -> f64 {
    let rows = pack(frame, faults).iter().map(|placed| placed.row + 1).max().unwrap_or(0);
    if rows == 0 { 0.0 } else { rows as f64 * ROW + 6.0 }
}

/// Draws the strip so that it ends at the frame's upper edge, and the bands of what took effect.
pub fn draw(picture: &mut Picture, frame: &Frame, faults: &[FaultRecord]) {
    let top = frame.area.y0 - strip_height(frame, faults);
    let packed = pack(frame, faults);
    draw_bands(picture, frame, &packed);
    for placed in packed {
        let y = top + placed.row as f64 * ROW;
        let bar = Rect::new(placed.from, y, placed.to, y + ROW - 3.0);
        if placed.installed {
            picture.bar(bar, Tone::Violet, 0.3);
            picture.line(&[(placed.from, bar.y1), (placed.from, frame.area.y1)], 1, Tone::Violet, 0.5);
        } else {
            picture.mark(Shape::Outline(bar), Tone::Violet, 0.6);
        }
        if !placed.word.is_empty() {
            let middle = (placed.word_at, (bar.y0 + bar.y1) / 2.0);
            picture.text(middle, &placed.word, theme::SMALL, Tone::Ink, Anchor::Start);
        }
    }
}

/// Shades the frame where faults are in effect, deeper where several are, but never so deep that it hides
/// what is drawn upon it.
fn draw_bands(picture: &mut Picture, frame: &Frame, packed: &[Placed]) {
    let mut edges: Vec<(f64, i32)> =
        packed.iter().filter(|placed| placed.installed).flat_map(|p| [(p.from, 1), (p.to, -1)]).collect();
    edges.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut depth = 0;
    for pair in edges.windows(2) {
        depth += pair[0].1;
        let band = Rect::new(pair[0].0, frame.area.y0, pair[1].0, frame.area.y1);
        if depth > 0 && band.x1 > band.x0 {
            picture.bar(band, Tone::Violet, 0.08 * f64::from(depth.min(3)));
        }
    }
}

/// A fault's bar, its word, and the row in which neither meets another.
struct Placed {
    row: usize,
    from: f64,
    to: f64,
    word: String,
    word_at: f64,
    installed: bool,
}

/// With the longest words that need no more than [`ROWS_MAX`] rows, or than bars alone would.
fn pack(frame: &Frame, faults: &[FaultRecord]) -> Vec<Placed> {
    let long = |fault: &FaultRecord| format!("{} {} · {}", number(fault), fault.kind, fault.target);
    let short = |fault: &FaultRecord| format!("{} {}", number(fault), fault.kind);
    let bare = pack_with(frame, faults, &|_| String::new());
    let rows_max = bare.iter().map(|placed| placed.row + 1).max().unwrap_or(0).max(ROWS_MAX);
    let wordings: [&dyn Fn(&FaultRecord) -> String; 3] = [&long, &short, &number];
    let worded = wordings.into_iter().map(|wording| pack_with(frame, faults, wording));
    worded.into_iter().find(|packed| packed.iter().all(|placed| placed.row < rows_max)).unwrap_or(bare)
}

fn pack_with(frame: &Frame, faults: &[FaultRecord], wording: &dyn Fn(&FaultRecord) -> String) -> Vec<Placed> {
    let mut in_order: Vec<&FaultRecord> = faults.iter().collect();
    in_order.sort_by_key(|fault| (fault.start_ns, fault.id));
    let mut row_ends: Vec<f64> = Vec::new();
    let mut packed = Vec::new();
    for fault in in_order {
        let from = frame.x(fault.start_ns as f64);
        let to = fault.stop_ns.map_or(frame.area.x1, |stop| frame.x(stop as f64)).max(from + 3.0);
        let word = fit(&wording(fault), theme::SMALL, 260.0);
        let width = if word.is_empty() { 0.0 } else { text_width(&word, theme::SMALL, false) + 10.0 };
        let left = from.min(theme::WIDTH - 4.0 - width);
        let right = to.max(left + width);
        let row = row_ends.iter().position(|&end| end <= left).unwrap_or(row_ends.len());
        if row == row_ends.len() {
            row_ends.push(right + 4.0);
        } else {
            row_ends[row] = right + 4.0;
        }
        packed.push(Placed { row, from, to, word, word_at: left + 5.0, installed: fault.installed });
    }
    packed
}

/// How pictures and the report's table name a fault.
pub fn number(fault: &FaultRecord) -> String {
    format!("#{}", fault.id)
}
