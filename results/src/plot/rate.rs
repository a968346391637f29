//! Operations per second, by how they ended.

use checker::OpEnd;

use super::frame::{self, Axis, Frame, Key};
use super::picture::{Picture, Rect};
use super::theme::{self, Tone};
use super::{Data, faults};
use crate::units;

const TITLE: &str = "Operations per second";
const HEIGHT: f64 = 190.0;
/// Most bars side by side.
const BINS_MAX: u64 = 150;
/// From the axis upwards.
const STACK: [(OpEnd, Tone, &str); 3] =
    [(OpEnd::Ok, Tone::Blue, "ok"), (OpEnd::Fail, Tone::Orange, "fail"), (OpEnd::Info, Tone::Plum, "info")];

pub(super) fn draw(data: &Data<'_>) -> Picture {
    if data.history.ops.is_empty() {
        return frame::nothing(TITLE, "No operation was recorded in this run.");
    }
    let span_ns = data.span_ns();
    let width_ns = bin_width_ns(span_ns);
    let rates = rates(data, width_ns, span_ns);
    let most = rates.iter().map(|rate| rate.iter().sum::<f64>()).fold(0.0, f64::max);

    let mut picture = Picture::new();
    let mut legend: Vec<_> = STACK.iter().map(|&(_, tone, word)| (Key::Box, tone, word)).collect();
    legend.extend(faults::legend(data.faults));
    let sentence = format!(
        "Counted when they ended, in steps of {}: ok at the bottom, fail and info stacked above. A dip that outlasts \
         its fault is a failover, or a shard that did not come back.",
        units::duration(width_ns)
    );
    let top = frame::head(&mut picture, TITLE, &sentence, &legend);
    let y = Axis::linear(most, 4, true, |value, step| {
        if step < 1.0 { format!("{value:.1}") } else { units::count(value.round() as u64) }
    })
    .named("operations per second");
    let frame = data.time_frame(top, HEIGHT, Some(y));
    frame.draw(&mut picture);
    faults::draw(&mut picture, &frame, data.faults);
    for (bin, rate) in (0..).zip(&rates) {
        draw_bin(&mut picture, &frame, bin * width_ns, ((bin + 1) * width_ns).min(span_ns), rate);
    }
    picture.height = frame.foot() + theme::PAD / 2.0;
    picture
}

fn draw_bin(picture: &mut Picture, frame: &Frame, from_ns: u64, to_ns: u64, rate: &[f64; 3]) {
    let (x0, x1) = (frame.x(from_ns as f64).round(), frame.x(to_ns as f64).round());
    let mut base = 0.0;
    for ((_, tone, _), rate) in STACK.into_iter().zip(rate) {
        if *rate > 0.0 {
            let bar = Rect::new(x0, frame.y(base + rate), (x1 - 1.0).max(x0 + 1.0), frame.y(base));
            picture.bar(bar, tone, 0.85);
            base += rate;
        }
    }
}

/// The shortest round step of at least 100 ms that needs no more than [`BINS_MAX`] bars.
fn bin_width_ns(span_ns: u64) -> u64 {
    let mut width_ns = units::SECOND_NS / 10;
    for factor in [2, 5, 10].into_iter().cycle() {
        if span_ns / width_ns < BINS_MAX {
            break;
        }
        // 1 → 2 → 5 → 10, then the same a decade up
        width_ns = match factor {
            2 => width_ns * 2,
            5 => width_ns / 2 * 5,
            _ => width_ns * 2,
        };
    }
    width_ns
}

/// Per second and outcome; the last, shorter step counts by its own length.
fn rates(data: &Data<'_>, width_ns: u64, span_ns: u64) -> Vec<[f64; 3]> {
    let bins = (span_ns.div_ceil(width_ns)).max(1) as usize;
    let mut rates = vec![[0.0; 3]; bins];
    for op in &data.history.ops {
        let ended_ns = op.ret_ns.unwrap_or(op.call_ns);
        let bin = ((ended_ns / width_ns) as usize).min(bins - 1);
        let length_ns = width_ns.min(span_ns - (bin as u64 * width_ns).min(span_ns)).max(width_ns / 10);
        let outcome = STACK.iter().position(|layer| layer.0 == op.end).unwrap_or(0);
        rates[bin][outcome] += units::SECOND_NS as f64 / length_ns as f64;
    }
    rates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round_and_few() {
        let cases = [(0, 100), (10, 100), (30, 500), (20, 200), (60, 500), (600, 5_000), (3_600, 50_000)];
        for (span_s, width_ms) in cases {
            assert_eq!(bin_width_ns(span_s * units::SECOND_NS), width_ms * 1_000_000, "{span_s} s");
        }
    }
}
