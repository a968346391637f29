//! When each shard took writes and answered reads, and who its master was.

use std::collections::BTreeSet;

use super::frame::{self, Frame, Key};
use super::lettering::text_width;
use super::picture::{Anchor, Picture, Rect};
use super::theme::{self, Tone};
use super::{Data, faults};
use crate::availability::{Ask, GAP_NS_MIN, ShardAvailability, availability, availability_of, write_span};
use crate::units;

const TITLE: &str = "Availability of each shard";
const LANE: f64 = 84.0;
/// From the middle of the writes down to that of the reads.
const READS: f64 = 19.0;

pub(super) fn draw(data: &Data<'_>) -> Picture {
    let shards = availability(data.history, GAP_NS_MIN);
    let Some(span) = write_span(data.history).filter(|_| !shards.is_empty()) else {
        return frame::nothing(TITLE, "No write was recorded in this run.");
    };
    let reads = availability_of(data.history, Ask::Reads, GAP_NS_MIN);
    let mut picture = Picture::new();
    let mut legend = vec![
        (Key::Box, Tone::Green, "writes acknowledged; thin: reads answered"),
        (Key::Box, Tone::Vermilion, "none, and for how long"),
    ];
    legend.extend(faults::legend(data.faults));
    let sentence = format!(
        "As clients saw it: a gap is a time of more than {} in which a shard was asked in vain. A gap outside of every fault, or long \
         after a new master began to serve, is worth a look.",
        units::duration(GAP_NS_MIN)
    );
    let top = frame::head(&mut picture, TITLE, &sentence, &legend);
    let frame = data.time_frame(top, LANE * shards.len() as f64 + 6.0, None);
    frame.draw(&mut picture);
    faults::draw(&mut picture, &frame, data.faults);
    for (row, shard) in shards.iter().enumerate() {
        let middle = frame.area.y0 + LANE * row as f64 + LANE / 2.0 - 7.0;
        let name_at = (frame.area.x0 - 10.0, middle - 16.0);
        picture.bold(name_at, &format!("shard {}", shard.shard), theme::TEXT, Tone::Ink, Anchor::End);
        draw_lane(&mut picture, &frame, shard, span, middle, 6.0);
        if let Some(reads) = reads.iter().find(|reads| reads.shard == shard.shard) {
            draw_lane(&mut picture, &frame, reads, span, middle + READS, 2.0);
        }
        draw_masters(&mut picture, &frame, data, shard.shard, middle + READS + 17.0);
    }
    picture.height = frame.foot() + theme::PAD / 2.0;
    picture
}

/// A strip `half` as high each way, its gaps a little higher.
fn draw_lane(
    picture: &mut Picture,
    frame: &Frame,
    shard: &ShardAvailability,
    span: (u64, u64),
    y: f64,
    half: f64,
) {
    let name_at = frame.area.x0 - 10.0;
    picture.text((name_at, y), &units::percent(shard.share), theme::SMALL, Tone::Muted, Anchor::End);

    let x = |ns: u64| frame.x(ns as f64);
    picture.bar(Rect::new(x(span.0), y - half, x(span.1), y + half), Tone::Green, 0.75);
    let mut free_from = f64::MIN;
    for gap in &shard.gaps {
        let (x0, x1) = (x(gap.from_ns), x(gap.to_ns).max(x(gap.from_ns) + 1.0));
        // Taller, so that it is told from the rest without its colour.
        let gap_bar = Rect::new(x0, y - half - 3.0, x1, y + half + 3.0);
        picture.bar(gap_bar, Tone::Paper, 1.0);
        picture.bar(gap_bar, Tone::Vermilion, 0.9);
        if half < 4.0 {
            continue; // the words would stand in the strip above
        }
        let word = units::duration(gap.length_ns());
        let half = text_width(&word, theme::SMALL, false) / 2.0;
        let middle = ((x0 + x1) / 2.0).clamp(frame.area.x0 + half, frame.area.x1 - half);
        if middle - half > free_from {
            picture.text_on_paper((middle, y - 19.0), &word, theme::SMALL, Tone::Ink, Anchor::Middle);
            free_from = middle + half + 6.0;
        }
    }
}

/// A tick and a name wherever a master began to serve; names shorten where the next is near.
fn draw_masters(picture: &mut Picture, frame: &Frame, data: &Data<'_>, shard: u32, y: f64) {
    let mut seen = BTreeSet::new();
    let mut reigns: Vec<(u64, &str, u64)> = data
        .node_events
        .iter()
        .filter(|event| event.shard == shard && event.step == "promoted" && seen.insert(event.epoch))
        .map(|event| (event.time_ns.max(0) as u64, event.node.as_str(), event.epoch))
        .collect();
    reigns.sort_unstable();
    for (i, &(since_ns, node, epoch)) in reigns.iter().enumerate() {
        let x = frame.x(since_ns as f64);
        let until =
            reigns.get(i + 1).map_or(theme::WIDTH - theme::PAD / 2.0, |next| frame.x(next.0 as f64) - 4.0);
        picture.line(&[(x, y - 15.0), (x, y + 5.0)], 1, Tone::Muted, 1.0);
        let words = [format!("{node} · epoch {epoch}"), format!("{node} · {epoch}"), format!("{epoch}")];
        let fits = |word: &&String| x + 4.0 + text_width(word, theme::SMALL, false) <= until;
        if let Some(word) = words.iter().find(fits) {
            picture.text_on_paper((x + 4.0, y), word, theme::SMALL, Tone::Muted, Anchor::Start);
        }
    }
}
