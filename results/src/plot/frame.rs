//! What pictures have in common: a head with title and legend, axes with a grid, words where there is no data.

use super::lettering::text_width;
use super::picture::{Anchor, Picture, Point, Rect, Shape};
use super::theme::{self, Tone};
use crate::units;

/// The mark beside a word in a legend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A symbol as in the picture.
    Symbol(Symbol),
    /// A filled box.
    Box,
    /// A pale box: a time span.
    Band,
    /// An empty box.
    Outline,
}

/// Shapes that stay apart without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbol {
    /// A dot.
    Dot,
    /// A triangle, point up.
    Triangle,
    /// A cross.
    Cross,
    /// A square.
    Square,
    /// A square on its corner.
    Diamond,
}

impl Symbol {
    /// Draws it around a point, about `r` pixels each way.
    pub fn draw(self, picture: &mut Picture, (x, y): Point, r: f64, tone: Tone, alpha: f64) {
        match self {
            Symbol::Dot => picture.mark(Shape::Dot((x, y), r), tone, alpha),
            Symbol::Triangle => {
                let points = vec![(x, y - r * 1.1), (x + r, y + r * 0.8), (x - r, y + r * 0.8)];
                picture.mark(Shape::Polygon(points), tone, alpha);
            }
            Symbol::Cross => {
                picture.line(&[(x - r, y - r), (x + r, y + r)], 2, tone, alpha);
                picture.line(&[(x - r, y + r), (x + r, y - r)], 2, tone, alpha);
            }
            Symbol::Square => picture.bar(Rect::new(x - r, y - r, x + r, y + r), tone, alpha),
            Symbol::Diamond => {
                let r = r * 1.2;
                let points = vec![(x, y - r), (x + r, y), (x, y + r), (x - r, y)];
                picture.mark(Shape::Polygon(points), tone, alpha);
            }
        }
    }
}

/// One entry of a legend.
pub type Entry<'a> = (Key, Tone, &'a str);

/// Title, one sentence on how to read the picture, and the legend; returns where the picture may go on.
pub fn head(picture: &mut Picture, title: &str, sentence: &str, legend: &[Entry<'_>]) -> f64 {
    (picture.title, picture.caption) = (title.to_owned(), sentence.to_owned());
    let mut y = theme::PAD + theme::TITLE / 2.0;
    picture.bold((theme::PAD, y), title, theme::TITLE, Tone::Ink, Anchor::Start);
    y += 23.0;
    for line in lines(sentence, theme::TEXT, theme::WIDTH - 2.0 * theme::PAD) {
        picture.text((theme::PAD, y), &line, theme::TEXT, Tone::Muted, Anchor::Start);
        y += 17.0;
    }
    y += 7.0;
    if legend.is_empty() {
        return y - 6.0;
    }
    let mut x = theme::PAD;
    for &(key, tone, word) in legend {
        let width = 20.0 + text_width(word, theme::TEXT, false);
        if x > theme::PAD && x + width > theme::WIDTH - theme::PAD {
            x = theme::PAD;
            y += 20.0;
        }
        legend_key(picture, key, tone, (x + 6.0, y));
        picture.text((x + 18.0, y), word, theme::TEXT, Tone::Ink, Anchor::Start);
        x += width + 20.0;
    }
    y + 22.0
}

/// A sentence cut between words into lines no wider than that.
pub fn lines(sentence: &str, size: f64, width_max: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in sentence.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the start");
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if line.is_empty() || text_width(&longer, size, false) <= width_max {
            *line = longer;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn legend_key(picture: &mut Picture, key: Key, tone: Tone, (x, y): Point) {
    let square = Rect::new(x - 6.0, y - 5.0, x + 6.0, y + 5.0);
    match key {
        Key::Symbol(symbol) => symbol.draw(picture, (x, y), 4.0, tone, 1.0),
        Key::Box => picture.bar(square, tone, 1.0),
        Key::Band => picture.bar(square, tone, 0.3),
        Key::Outline => picture.mark(Shape::Outline(square), tone, 1.0),
    }
}

/// A line of numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    min: f64,
    max: f64,
    log: bool,
    /// What is measured, and in what unit where the ticks do not say it.
    pub label: String,
    /// Values that get a line of the grid and a word.
    pub ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From 0 to at least `max`, with round ticks, about `count` of them.
    pub fn linear(max: f64, count: usize, stretch: bool, word: impl Fn(f64, f64) -> String) -> Axis {
        let max = if max > 0.0 { max } else { 1.0 };
        let step = round_step(max / count.max(1) as f64);
        let max = if stretch { (max / step).ceil() * step } else { max };
        let ticks = (0..=(max / step + 1e-9) as usize).map(|i| i as f64 * step);
        let ticks = ticks.map(|value| (value, word(value, step))).collect();
        Axis { min: 0.0, max, log: false, label: String::new(), ticks }
    }

    /// Durations from 0; values are nanoseconds.
    pub fn durations(max_ns: u64, count: usize, stretch: bool) -> Axis {
        let word = |ns: f64, _| if ns == 0.0 { "0".to_owned() } else { units::duration(ns.round() as u64) };
        Axis::linear(max_ns as f64, count, stretch, word)
    }

    /// Seconds of the run clock from 0 to `span_ns`; values are nanoseconds.
    pub fn time(span_ns: u64) -> Axis {
        let word = |ns: f64, step: f64| {
            let decimals = (-(step / 1e9).log10().floor()).max(0.0) as usize;
            format!("{:.decimals$} s", ns / 1e9)
        };
        Axis::linear(span_ns as f64, 12, false, word).named("time since the load began")
    }

    /// Durations from a little below `min_ns` to a little above `max_ns`, at least a decade, with a tick at
    /// each power of ten; values are nanoseconds.
    pub fn log_duration(min_ns: u64, max_ns: u64) -> Axis {
        let min = min_ns.max(1) as f64 / 1.5;
        let max = (max_ns as f64 * 1.5).max(min * 10.0);
        let (low, high) = (min.log10().ceil() as i32, max.log10().floor() as i32);
        let ticks = (low..=high).map(|decade| {
            let ns = 10f64.powi(decade);
            (ns, decade_word(decade))
        });
        Axis { min, max, log: true, label: String::new(), ticks: ticks.collect() }
    }

    /// From `min` to `max`, both above 0, evenly by factors, with these ticks.
    pub fn log(min: f64, max: f64, ticks: Vec<(f64, String)>) -> Axis {
        Axis { min, max, log: true, label: String::new(), ticks }
    }

    /// The same, saying what is measured.
    pub fn named(mut self, label: &str) -> Axis {
        label.clone_into(&mut self.label);
        self
    }

    /// The same with a word at its far end, for what has no number.
    pub fn beyond(mut self, word: &str) -> Axis {
        self.max *= 3.0;
        self.ticks.push((self.max, word.to_owned()));
        self
    }

    /// Is a value before its far end?
    pub fn holds(&self, value: f64) -> bool {
        value <= self.max * (1.0 + 1e-9)
    }

    /// Share of the axis before a value, 0 to 1.
    pub fn place(&self, value: f64) -> f64 {
        let at = |v: f64| if self.log { v.max(f64::MIN_POSITIVE).log10() } else { v };
        ((at(value) - at(self.min)) / (at(self.max) - at(self.min))).clamp(0.0, 1.0)
    }
}

/// A power of ten of nanoseconds.
fn decade_word(decade: i32) -> String {
    if decade >= 9 {
        format!("{} s", 10u64.pow(decade as u32 - 9))
    } else {
        units::duration(10u64.pow(decade.max(0) as u32))
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|m| m * power)
        .into_iter()
        .find(|&step| step >= least * (1.0 - 1e-9))
        .unwrap_or(power * 10.0)
}

/// Axes around an area.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The area.
    pub area: Rect,
    /// To the right.
    pub x: Axis,
    /// Upwards; none where rows take its place.
    pub y: Option<Axis>,
}

impl Frame {
    /// Pixel of a value on the horizontal axis.
    pub fn x(&self, value: f64) -> f64 {
        self.area.x0 + self.x.place(value) * (self.area.x1 - self.area.x0)
    }

    /// Pixel of a value on the vertical axis.
    pub fn y(&self, value: f64) -> f64 {
        let share = self.y.as_ref().map_or(0.0, |axis| axis.place(value));
        self.area.y1 - share * (self.area.y1 - self.area.y0)
    }

    /// Draws grid and words. Words that would touch their neighbour are left out.
    pub fn draw(&self, picture: &mut Picture) {
        let Rect { x0, y0, x1, y1 } = self.area;
        let mut free_from = f64::MIN;
        for (value, word) in &self.x.ticks {
            let x = self.x(*value);
            picture.line(&[(x, y0), (x, y1)], 1, Tone::Grid, 0.6);
            let half = text_width(word, theme::SMALL, false) / 2.0;
            if x - half > free_from && x + half <= theme::WIDTH {
                picture.text((x, y1 + 13.0), word, theme::SMALL, Tone::Muted, Anchor::Middle);
                free_from = x + half + 6.0;
            }
        }
        for (value, word) in self.y.iter().flat_map(|axis| &axis.ticks) {
            let y = self.y(*value);
            picture.line(&[(x0, y), (x1, y)], 1, Tone::Grid, 1.0);
            picture.text((x0 - 8.0, y), word, theme::SMALL, Tone::Muted, Anchor::End);
        }
        picture.line(&[(x0, y1), (x1, y1)], 1, Tone::Muted, 0.8);
        if !self.x.label.is_empty() {
            let middle = ((x0 + x1) / 2.0, y1 + 30.0);
            picture.text(middle, &self.x.label, theme::SMALL, Tone::Muted, Anchor::Middle);
        }
        if let Some(axis) = self.y.as_ref().filter(|axis| !axis.label.is_empty()) {
            let widths = axis.ticks.iter().map(|(_, word)| text_width(word, theme::SMALL, false));
            let at = (x0 - 18.0 - widths.fold(0.0, f64::max), (y0 + y1) / 2.0);
            picture.text_upwards(at, &axis.label, theme::SMALL, Tone::Muted);
        }
    }

    /// Lower edge of the words below it.
    pub fn foot(&self) -> f64 {
        self.area.y1 + if self.x.label.is_empty() { 24.0 } else { 40.0 }
    }
}

/// A picture that says why there is nothing to see.
pub fn nothing(title: &str, why: &str) -> Picture {
    let mut picture = Picture::new();
    let top = head(&mut picture, title, why, &[]);
    let area = Rect::new(theme::PAD, top, theme::WIDTH - theme::PAD, top + 60.0);
    picture.mark(Shape::Outline(area), Tone::Grid, 1.0);
    let middle = (theme::WIDTH / 2.0, top + 30.0);
    picture.text(middle, "nothing to draw", theme::TEXT, Tone::Muted, Anchor::Middle);
    picture.height = area.y1 + theme::PAD;
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_within() {
        let words: Vec<String> = Axis::time(31_000_000_000).ticks.into_iter().map(|(_, word)| word).collect();
        assert_eq!(words.first().map(String::as_str), Some("0 s"));
        assert_eq!(words.last().map(String::as_str), Some("30 s"));
        let words: Vec<String> = Axis::time(1_100_000_000).ticks.into_iter().map(|(_, word)| word).collect();
        assert_eq!(words[1], "0.1 s");
        let words: Vec<String> =
            Axis::log_duration(300_000, 70_000_000_000).ticks.into_iter().map(|(_, word)| word).collect();
        assert_eq!(words, ["1 ms", "10 ms", "100 ms", "1 s", "10 s", "100 s"]);
    }

    #[test]
    fn a_log_axis_places_decades_evenly_and_keeps_what_is_outside_at_its_edge() {
        let axis = Axis::log_duration(1_000, 1_000_000);
        let decade = axis.place(1e4) - axis.place(1e3);
        assert!((axis.place(1e6) - axis.place(1e5) - decade).abs() < 1e-9);
        assert!(axis.place(1e3) > 0.0 && axis.place(1e6) < 1.0);
        assert_eq!((axis.place(0.0), axis.place(1e12)), (0.0, 1.0));
    }

    #[test]
    fn an_empty_axis_still_has_a_length() {
        let axis = Axis::linear(0.0, 5, true, |value, _| value.to_string());
        assert!(axis.place(0.0) == 0.0 && axis.place(1.0) == 1.0);
    }
}
