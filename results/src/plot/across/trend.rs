//! Medians from commit to commit.

use super::{duration_axis, look};
use crate::across::trend::{Point, names};
use crate::plot::frame::{self, Axis, Frame, Key};
use crate::plot::lettering::text_width;
use crate::plot::picture::{Anchor, Picture, Rect};
use crate::plot::theme::{self, Tone};

const TITLE: &str = "Failover times from commit to commit";
const HEIGHT: f64 = 300.0;

pub(super) fn draw(points: &[Point]) -> Picture {
    let names = names(points);
    if names.is_empty() {
        return super::no_failover(TITLE);
    }
    let spreads = || points.iter().flat_map(|point| point.series.iter().map(|(_, spread)| spread));
    let tops = spreads().filter_map(|s| s.median.interval_ns.map(|i| i.high).or(s.median.value_ns));
    let most = tops.fold(0.0, f64::max);
    let mut picture = Picture::new();
    let legend: Vec<_> = names
        .iter()
        .map(|&name| {
            let (tone, symbol) = look(&names, name);
            (Key::Symbol(symbol), tone, name)
        })
        .collect();
    let sentence = "Median time from the fault to the first acknowledged write on each day and commit, with its 95 % interval where there are \
                    values enough for one. A step that leaves the interval before it behind is worth a look.";
    let top = frame::head(&mut picture, TITLE, sentence, &legend);
    let area = Rect::new(theme::LEFT, top + 4.0, theme::RIGHT, top + 4.0 + HEIGHT);
    let y = duration_axis(0.0, most, 5).named("median time to the first write");
    let mut x = Axis::linear(points.len() as f64, points.len(), false, |_, _| String::new());
    x.ticks.clear();
    let frame = Frame { area, x, y: Some(y) };
    frame.draw(&mut picture);
    let width = (area.x1 - area.x0) / points.len() as f64;
    let x_of = |i: usize| area.x0 + (i as f64 + 0.5) * width;
    let mut free_from = f64::MIN;
    for (i, point) in points.iter().enumerate() {
        let words =
            [point.date.clone(), point.commit.clone(), crate::units::plural(point.runs as u64, "run")];
        let half = words.iter().map(|word| text_width(word, theme::SMALL, false) / 2.0).fold(0.0, f64::max);
        picture.line(&[(x_of(i), area.y1), (x_of(i), area.y1 + 4.0)], 1, Tone::Muted, 0.8);
        if x_of(i) - half < free_from {
            continue;
        }
        free_from = x_of(i) + half + 8.0;
        for (line, word) in words.iter().enumerate() {
            let at = (x_of(i), area.y1 + 14.0 + 15.0 * line as f64);
            picture.text(at, word, theme::SMALL, Tone::Muted, Anchor::Middle);
        }
    }
    for (k, &name) in names.iter().enumerate() {
        let (tone, symbol) = look(&names, name);
        // Beside each other, so that intervals do not hide one another.
        let beside =
            (k as f64 - (names.len() - 1) as f64 / 2.0) * (width * 0.5 / names.len() as f64).min(12.0);
        let mut path = Vec::new();
        for (i, point) in points.iter().enumerate() {
            let Some((_, spread)) = point.series.iter().find(|(of, _)| of == name) else { continue };
            let Some(median) = spread.median.value_ns else { continue };
            let x = x_of(i) + beside;
            if let Some(interval) = spread.median.interval_ns {
                let (low, high) = (frame.y(interval.low), frame.y(interval.high));
                picture.line(&[(x, low), (x, high)], 1, tone, 0.9);
                for y in [low, high] {
                    picture.line(&[(x - 3.0, y), (x + 3.0, y)], 1, tone, 0.9);
                }
            }
            path.push((x, frame.y(median)));
        }
        picture.line(&path, 1, tone, 0.6);
        path.iter().for_each(|&at| symbol.draw(&mut picture, at, 4.5, tone, 1.0));
    }
    let middle = ((area.x0 + area.x1) / 2.0, area.y1 + 62.0);
    picture.text(middle, "day and commit of the runs", theme::SMALL, Tone::Muted, Anchor::Middle);
    picture.height = area.y1 + 80.0;
    picture
}
