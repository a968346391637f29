//! How evenly a ring of virtual nodes spreads keys, and how many of them move when a shard is added.

use super::frame::{self, Axis, Frame, Key, Symbol};
use super::picture::{Anchor, Picture, Point, Rect};
use super::theme::{self, Tone};

/// What was measured of rings of one size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RingFigure {
    /// Shards on the ring.
    pub shards: u32,
    /// Virtual nodes of each; none for hashing modulo the number of shards, without a ring.
    pub vnodes: Option<u32>,
    /// Share of the fullest shard over the fair share, mean over rings.
    pub max_over_mean: f64,
    /// Coefficient of variation of the shares: their standard deviation over their mean, root mean square over
    /// rings.
    pub variation: f64,
    /// Share of all keys that move when the last shard is added, mean over rings.
    pub moved: f64,
    /// Share of all keys that move then, but not to the shard that is added.
    pub moved_wrongly: f64,
}

const TITLE: &str = "Consistent hashing: balance and moved keys";
const HEIGHT: f64 = 300.0;
const SERIES: [(u32, Tone, Symbol); 3] =
    [(2, Tone::Blue, Symbol::Dot), (4, Tone::Green, Symbol::Square), (16, Tone::Plum, Symbol::Diamond)];

/// Left the variation over virtual nodes, right the moved share over shards for rings of `vnodes` virtual nodes;
/// measured values as symbols, theory as lines. `slots` is the number of portions in which keys move: no
/// ring spreads them more evenly than chance spreads the portions.
pub fn draw(figures: &[RingFigure], vnodes: u32, slots: u32) -> Picture {
    if figures.is_empty() {
        return frame::nothing(TITLE, "No ring was measured.");
    }
    let mut picture = Picture::new();
    let sentence = format!(
        "Shares of {slots} slots. Symbols: measured, over several rings. Lines: theory, 1/sqrt(V) falling, sqrt((n-1)/slots) level; 1/n and (n-1)/n."
    );
    let names = SERIES.map(|(shards, ..)| format!("{shards} shards"));
    let mut legend: Vec<_> = SERIES
        .iter()
        .zip(&names)
        .map(|(&(_, tone, symbol), name)| (Key::Symbol(symbol), tone, name.as_str()))
        .collect();
    let ring = format!("ring of {vnodes} virtual nodes per shard");
    legend.push((Key::Symbol(Symbol::Triangle), Tone::Vermilion, &ring));
    legend.push((Key::Symbol(Symbol::Cross), Tone::Orange, "hashing modulo the number of shards"));
    let top = frame::head(&mut picture, TITLE, &sentence, &legend) + 6.0;
    let half = theme::WIDTH / 2.0;
    variation(&mut picture, Rect::new(70.0, top + 24.0, half - 30.0, top + 24.0 + HEIGHT), figures, slots);
    moved(
        &mut picture,
        Rect::new(half + 70.0, top + 24.0, theme::RIGHT, top + 24.0 + HEIGHT),
        figures,
        vnodes,
    );
    picture.height = top + HEIGHT + 80.0;
    picture
}

/// Grid, heading and the name of the horizontal axis.
fn axes(picture: &mut Picture, frame: &Frame, heading: &str, below: &str) {
    let Rect { x0, y0, x1, y1 } = frame.area;
    picture.bold((x0 - 50.0, y0 - 18.0), heading, theme::TEXT, Tone::Ink, Anchor::Start);
    picture.text(((x0 + x1) / 2.0, y1 + 32.0), below, theme::TEXT, Tone::Muted, Anchor::Middle);
    frame.draw(picture);
}

fn variation(picture: &mut Picture, area: Rect, figures: &[RingFigure], slots: u32) {
    let percent = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0].map(|share| (share, format!("{:.0} %", share * 100.0)));
    let powers = (0..=10).map(|power| (f64::from(1u32 << power), (1u32 << power).to_string()));
    let x = Axis::log(0.8, 1300.0, powers.collect());
    let frame = Frame { area, x, y: Some(Axis::log(0.02, 1.5, percent.into())) };
    let heading = "coefficient of variation of the shards' shares";
    axes(picture, &frame, heading, "virtual nodes per shard, V");
    let at = |v: f64, variation: f64| -> Point { (frame.x(v), frame.y(variation)) };
    picture.line(&[at(1.0, 1.0), at(1024.0, 1.0 / 32.0)], 2, Tone::Ink, 0.7);
    for (shards, tone, symbol) in SERIES {
        let floor = (f64::from(shards - 1) / f64::from(slots)).sqrt();
        picture.line(&[at(64.0, floor), at(1024.0, floor)], 1, tone, 0.9);
        for figure in figures.iter().filter(|figure| figure.shards == shards) {
            if let Some(vnodes) = figure.vnodes {
                symbol.draw(picture, at(f64::from(vnodes), figure.variation), 4.0, tone, 1.0);
            }
        }
    }
}

fn moved(picture: &mut Picture, area: Rect, figures: &[RingFigure], vnodes: u32) {
    let most = figures.iter().map(|figure| figure.shards).max().unwrap_or(2);
    let mut x = Axis::linear(f64::from(most) + 0.5, 8, false, |n, _| n.to_string());
    x.ticks = (2..=most).step_by(2).map(|n| (f64::from(n), n.to_string())).collect();
    let y = Axis::linear(1.0, 5, true, |share, _| format!("{:.0} %", share * 100.0));
    let frame = Frame { area, x, y: Some(y) };
    axes(picture, &frame, "share of all keys that move when the n-th shard is added", "shards afterwards, n");
    let theory = |share: &dyn Fn(f64) -> f64| -> Vec<Point> {
        (2..=most).map(f64::from).map(|n| (frame.x(n), frame.y(share(n)))).collect()
    };
    picture.line(&theory(&|n| 1.0 / n), 2, Tone::Ink, 0.7);
    picture.line(&theory(&|n| 1.0 - 1.0 / n), 1, Tone::Muted, 0.7);
    for figure in figures {
        let at = (frame.x(f64::from(figure.shards)), frame.y(figure.moved));
        match figure.vnodes {
            None => Symbol::Cross.draw(picture, at, 4.0, Tone::Orange, 1.0),
            Some(v) if v == vnodes => Symbol::Triangle.draw(picture, at, 4.0, Tone::Vermilion, 1.0),
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measured_value_of_a_series_is_in_the_picture() {
        let figure = |shards, vnodes| RingFigure {
            shards,
            vnodes,
            max_over_mean: 1.2,
            variation: 0.1,
            moved: 1.0 / f64::from(shards),
            moved_wrongly: 0.0,
        };
        let bare = draw(&[figure(3, Some(7))], 128, 1024).marks.len();
        // As a balance on the left and as a moved share on the right.
        assert_eq!(draw(&[figure(2, Some(128))], 128, 1024).marks.len(), bare + 2);
        let svg = draw(&[figure(2, Some(128)), figure(16, None)], 128, 1024).to_svg().unwrap();
        assert!(svg.contains("virtual nodes per shard") && svg.contains("shards afterwards"));
        assert!(draw(&[], 128, 1024).to_svg().unwrap().contains("No ring was measured"));
    }
}
