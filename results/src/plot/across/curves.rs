//! Cumulative curves of failover times with the band that holds the true curve, a panel a family.

use super::{duration_axis, look, no_failover, variants};
use crate::across::series::{Measure, Series};
use crate::plot::frame::{self, Axis, Frame, Key};
use crate::plot::picture::{Anchor, Picture, Rect};
use crate::plot::theme::{self, Tone};
use crate::stats::share::dkw;

const TITLE: &str = "Failover times, cumulated";
const COLUMNS: usize = 2;
const HEIGHT: f64 = 200.0;

pub(super) fn draw(series: &[Series]) -> Picture {
    let timed: Vec<(&Series, Vec<f64>)> = series
        .iter()
        .map(|series| (series, series.values(Measure::Total)))
        .filter(|(_, values)| !values.is_empty())
        .collect();
    if timed.is_empty() {
        return no_failover(TITLE);
    }
    let variants = variants(series);
    let mut families: Vec<&str> = timed.iter().map(|(series, _)| series.family.as_str()).collect();
    families.dedup();
    let values = || timed.iter().flat_map(|(_, values)| values.iter().copied());
    let (least, most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));

    let mut picture = Picture::new();
    let mut legend: Vec<_> = variants
        .iter()
        .map(|&variant| {
            let (tone, symbol) = look(&variants, variant);
            (Key::Symbol(symbol), tone, variant)
        })
        .collect();
    legend.push((Key::Band, Tone::Muted, "95 % band"));
    let sentence = "Share of failovers that took no longer than so long, from the fault to the first acknowledged write. The true curve lies \
                    within the band everywhere, with 95 % confidence; curves whose bands part somewhere differ. All panels have \
                    the same axes: compare them straight across.";
    let top = frame::head(&mut picture, TITLE, sentence, &legend);
    for (i, family) in families.iter().enumerate() {
        let of: Vec<_> = timed.iter().filter(|(series, _)| series.family == *family).collect();
        let ns: Vec<String> =
            of.iter().map(|(series, values)| format!("{}: n = {}", series.variant, values.len())).collect();
        let frame = panel(&mut picture, i, top, family, &ns.join(", "), duration_axis(least, most, 5));
        for (series, values) in &of {
            draw_curve(&mut picture, &frame, values, look(&variants, &series.variant));
        }
        picture.height = frame.foot() + theme::PAD / 2.0;
    }
    picture
}

fn panel(picture: &mut Picture, i: usize, top: f64, name: &str, n: &str, x: Axis) -> Frame {
    let width = (theme::WIDTH - 2.0 * theme::PAD) / COLUMNS as f64;
    let x0 = theme::PAD + (i % COLUMNS) as f64 * width;
    let y0 = top + (i / COLUMNS) as f64 * (HEIGHT + 92.0);
    let after = picture.bold((x0, y0 + 6.0), name, theme::TEXT, Tone::Ink, Anchor::Start).x1;
    let n = crate::plot::picture::fit(n, theme::SMALL, x0 + width - 20.0 - (after + 10.0));
    picture.text((after + 10.0, y0 + 6.0), &n, theme::SMALL, Tone::Muted, Anchor::Start);
    let area = Rect::new(x0 + 58.0, y0 + 24.0, x0 + width - 30.0, y0 + 24.0 + HEIGHT);
    let y = Axis::linear(1.0, 4, true, |share, _| format!("{:.0} %", share * 100.0));
    let frame = Frame { area, x: x.named("time taken"), y: Some(y.named("share of failovers")) };
    frame.draw(picture);
    frame
}

fn draw_curve(picture: &mut Picture, frame: &Frame, values: &[f64], (tone, symbol): (Tone, frame::Symbol)) {
    let n = values.len() as f64;
    let half = dkw(values.len());
    let mut path = vec![(frame.area.x0, frame.y(0.0))];
    let ends = values.iter().map(|&value| frame.x(value)).chain([frame.area.x1]);
    let mut from = frame.area.x0;
    for (below, x) in ends.enumerate() {
        let share = below as f64 / n;
        if x > from {
            let (low, high) = ((share - half).max(0.0), (share + half).min(1.0));
            picture.bar(Rect::new(from, frame.y(high), x, frame.y(low)), tone, 0.13);
        }
        path.push((x, frame.y(share)));
        path.push((x, frame.y(((below + 1) as f64 / n).min(1.0))));
        from = x;
    }
    picture.line(&path, 2, tone, 0.95);
    if values.len() <= 60 {
        for (i, &value) in values.iter().enumerate() {
            symbol.draw(picture, (frame.x(value), frame.y((i + 1) as f64 / n)), 3.0, tone, 1.0);
        }
    }
}
