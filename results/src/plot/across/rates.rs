//! How often each cell broke its promise, with the interval for so few runs.

use super::{listed, row_name, row_words, rows};
use crate::across::tally::{Cell, End};
use crate::plot::frame::{self, Axis, Key, Symbol};
use crate::plot::picture::Picture;
use crate::plot::theme::{self, Tone};

const TITLE: &str = "Runs that broke a promise";
const ROW: f64 = 40.0;
/// Most rows; the table of cells has all.
const ROWS_MAX: usize = 40;

pub(super) fn draw(cells: &[Cell<'_>]) -> Picture {
    let mut of: Vec<&Cell<'_>> = cells.iter().filter(|cell| cell.judged() > 0).collect();
    if of.is_empty() {
        return frame::nothing(TITLE, "No run was judged.");
    }
    let all = of.len();
    if all > ROWS_MAX {
        of.sort_by_key(|cell| std::cmp::Reverse(cell.count(End::Violated) * 1_000 / cell.judged()));
        of.truncate(ROWS_MAX);
    }
    let worst = of.iter().filter(|cell| cell.count(End::Violated) > 0);
    let worst: Vec<String> = worst.map(|cell| format!("{}, {}", cell.group, cell.name)).take(3).collect();
    let found = match worst.len() {
        0 => " None did.".to_owned(),
        _ => format!(" First to look at: {}.", listed(&worst)),
    };
    let shown =
        if all > of.len() { format!(" The {} worst of {all} cells.", of.len()) } else { String::new() };
    let sentence = format!(
        "Share of each cell's runs, with the range in which its true rate lies at 95 % (Wilson): a cell that never failed in few \
         runs may still fail often.{found}{shown}"
    );
    let mut picture = Picture::new();
    let legend = [
        (Key::Symbol(Symbol::Diamond), Tone::Vermilion, "some broke one"),
        (Key::Symbol(Symbol::Dot), Tone::Green, "none did"),
    ];
    let top = frame::head(&mut picture, TITLE, &sentence, &legend);
    let x = Axis::linear(1.0, 5, true, |share, _| format!("{:.0} %", share * 100.0));
    let x = x.named("share of runs that broke a promise");
    let frame = rows(&mut picture, top, ROW * of.len() as f64 + 4.0, x);
    for (i, cell) in of.iter().enumerate() {
        let y = top + ROW * i as f64 + ROW / 2.0;
        row_name(&mut picture, y, cell.name, cell.group);
        let (hits, n) = (cell.count(End::Violated), cell.judged());
        let (tone, symbol) =
            if hits > 0 { (Tone::Vermilion, Symbol::Diamond) } else { (Tone::Green, Symbol::Dot) };
        let interval = cell.violated();
        if let Some(interval) = interval {
            let (low, high) = (frame.x(interval.low), frame.x(interval.high));
            picture.line(&[(low, y), (high, y)], 2, tone, 0.8);
            for x in [low, high] {
                picture.line(&[(x, y - 5.0), (x, y + 5.0)], 2, tone, 0.8);
            }
        }
        symbol.draw(&mut picture, (frame.x(hits as f64 / n as f64), y), 5.0, tone, 1.0);
        let below = interval
            .map_or_else(String::new, |i| format!("{:.0} % to {:.0} %", i.low * 100.0, i.high * 100.0));
        row_words(&mut picture, y, &format!("{hits} of {n} runs"), &below);
    }
    picture.height = frame.foot() + theme::PAD / 2.0;
    picture
}
