//! The ring against theory and against hashing modulo the number of shards. Nothing is drawn by lot.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use cluster::ring::{Ring, SLOTS, VNODES, slots};
use results::plot::ring::{RingFigure, draw};
use results::table::{Align, Table};

use crate::exit::Exit;

/// Virtual nodes that are tried.
const VNODES_TRIED: [u32; 11] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];
/// Most shards on a ring.
const SHARDS_MAX: u32 = 16;
/// Rings of each size, of shards with different ids.
const RINGS: u32 = 16;

/// Measures, prints the table and draws the picture into `store`.
pub fn ring(store: &Path) -> Result<Exit> {
    let figures: Vec<RingFigure> = (2..=SHARDS_MAX)
        .flat_map(|shards| {
            VNODES_TRIED.map(Some).into_iter().chain([None]).map(move |vnodes| figure(shards, vnodes))
        })
        .collect();
    print!("{}", table(&figures));
    std::fs::create_dir_all(store).with_context(|| format!("failed to make {}", store.display()))?;
    let picture = draw(&figures, VNODES, u32::from(SLOTS));
    let (svg, png) = (store.join("ring.svg"), store.join("ring.png"));
    let text = picture.to_svg().map_err(|why| anyhow!("failed to draw {}: {why}", svg.display()))?;
    std::fs::write(&svg, text).with_context(|| format!("failed to write {}", svg.display()))?;
    picture.to_png(&png).map_err(|why| anyhow!("failed to draw {}: {why}", png.display()))?;
    println!("{}", png.display());
    Ok(Exit::Valid)
}

/// The owner of every slot, by a ring of `vnodes` or modulo the number of shards. The last of `ids` is the one
/// that is added to the others.
fn owners(ids: &[u32], vnodes: Option<u32>) -> Vec<u32> {
    match vnodes {
        Some(vnodes) => {
            let ring = Ring::new(ids, vnodes);
            slots().filter_map(|slot| ring.owner_of(slot)).collect()
        }
        None => slots().map(|slot| ids[usize::from(slot) % ids.len()]).collect(),
    }
}

/// Measures rings of so many shards.
fn figure(shards: u32, vnodes: Option<u32>) -> RingFigure {
    let (mut max_over_mean, mut square, mut moved, mut moved_wrongly) = (0.0, 0.0, 0.0, 0.0);
    for ring in 0..RINGS {
        let ids: Vec<u32> = (ring * 100..ring * 100 + shards).collect();
        let (added, others) = ids.split_last().expect("at least two shards");
        let (before, after) = (owners(others, vnodes), owners(&ids, vnodes));
        let mean = f64::from(SLOTS) / f64::from(shards);
        let counts = ids.iter().map(|id| after.iter().filter(|owner| *owner == id).count() as f64);
        let over: Vec<f64> = counts.map(|count| count / mean).collect();
        max_over_mean += over.iter().copied().fold(0.0, f64::max);
        square += over.iter().map(|share| (share - 1.0).powi(2)).sum::<f64>() / f64::from(shards);
        let changed = || before.iter().zip(&after).filter(|(before, after)| before != after);
        moved += changed().count() as f64 / f64::from(SLOTS);
        moved_wrongly += changed().filter(|(_, after)| *after != added).count() as f64 / f64::from(SLOTS);
    }
    let rings = f64::from(RINGS);
    RingFigure {
        shards,
        vnodes,
        max_over_mean: max_over_mean / rings,
        variation: (square / rings).sqrt(),
        moved: moved / rings,
        moved_wrongly: moved_wrongly / rings,
    }
}

fn table(figures: &[RingFigure]) -> String {
    let mut table = Table::new(&[
        ("shards", Align::Right),
        ("virtual nodes", Align::Right),
        ("fullest / fair", Align::Right),
        ("variation", Align::Right),
        ("1/√V", Align::Right),
        ("moved", Align::Right),
        ("1/n", Align::Right),
        ("moved wrongly", Align::Right),
    ]);
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    for figure in figures {
        let (vnodes, theory) = match figure.vnodes {
            Some(vnodes) => (vnodes.to_string(), percent(1.0 / f64::from(vnodes).sqrt())),
            None => ("modulo".into(), results::table::UNSEEN.into()),
        };
        table.row([
            figure.shards.to_string(),
            vnodes,
            format!("{:.2}", figure.max_over_mean),
            percent(figure.variation),
            theory,
            percent(figure.moved),
            percent(1.0 / f64::from(figure.shards)),
            percent(figure.moved_wrongly),
        ]);
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_moves_its_share_and_modulo_nearly_everything() {
        for shards in [2, 5, 16] {
            let (ring, modulo) = (figure(shards, Some(VNODES)), figure(shards, None));
            let n = f64::from(shards);
            assert_eq!(ring.moved_wrongly, 0.0, "{shards} shards");
            assert!((ring.moved * n - 1.0).abs() < 0.15, "{ring:?}");
            assert!((modulo.moved - (1.0 - 1.0 / n)).abs() < 0.02, "{modulo:?}");
        }
    }

    #[test]
    fn the_shares_vary_as_theory_says_until_slots_are_too_few() {
        for vnodes in [4, 16, 64] {
            let measured = figure(8, Some(vnodes)).variation * f64::from(vnodes).sqrt();
            assert!((0.7..1.5).contains(&measured), "{vnodes} virtual nodes: {measured} times 1/√V");
        }
        let finest = figure(16, Some(1024)).variation;
        assert!(finest > 0.09, "slots that fall by chance vary by √(15/1024) = 0.12: {finest}");
    }
}
