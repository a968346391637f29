//! Aligned tables of plain text.

use checker::FaultRecord;

use crate::failover::{Phase, by_kind, kind_of};
use crate::summary::Failover;
use crate::units;

/// What stands where something was not seen.
pub const UNSEEN: &str = "–";

/// Which side of a column its words lean on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table of words, one row a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    columns: Vec<(String, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// With these columns.
    pub fn new(columns: &[(&str, Align)]) -> Self {
        let columns = columns.iter().map(|&(name, align)| (name.to_owned(), align)).collect();
        Table { columns, rows: Vec::new() }
    }

    /// Adds a row; cells that are missing stay empty, cells too many are dropped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().take(self.columns.len()).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Head and rows, two spaces between columns, no space at the ends of lines.
    pub fn text(&self) -> String {
        let head: Vec<String> = self.columns.iter().map(|(name, _)| name.clone()).collect();
        let lines = || std::iter::once(&head).chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|i| lines().map(|row| row[i].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in lines() {
            let cells =
                row.iter().zip(&self.columns).zip(&widths).map(|((cell, (_, align)), &width)| match align {
                    Align::Left => format!("{cell:<width$}"),
                    Align::Right => format!("{cell:>width$}"),
                });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

/// Column heads of the failover table in the report; a terminal has room for the first [`ON_TERMINAL`].
pub const FAILOVER_HEAD: [(&str, Align); 18] = [
    ("shard", Align::Right),
    ("epoch", Align::Right),
    ("from", Align::Left),
    ("to", Align::Left),
    ("cause", Align::Left),
    ("total", Align::Right),
    ("suspected", Align::Right),
    ("lease gone", Align::Right),
    ("fenced", Align::Right),
    ("elected", Align::Right),
    ("promoted", Align::Right),
    ("first ack", Align::Right),
    ("replicas", Align::Right),
    ("full rate", Align::Right),
    ("no writes", Align::Right),
    ("no reads", Align::Right),
    ("lost", Align::Right),
    ("stale", Align::Right),
];

/// Columns that a terminal has room for.
const ON_TERMINAL: usize = 14;

/// One row of it. Phases are milliseconds since the mark before, replicas since the promotion, full rate since the
/// first acknowledged write; then how long clients had no service, and writes and reads that went wrong. The total is
/// from the fault to the first acknowledged write, with what it may be less.
pub fn failover_cells(failover: &Failover, faults: &[FaultRecord]) -> Vec<String> {
    let ms = |ns: Option<u64>| ns.map_or(UNSEEN.to_owned(), units::ms);
    let cause = match kind_of(failover, faults) {
        "none" => UNSEEN.to_owned(),
        kind => format!("#{} {kind}", failover.fault.unwrap_or_default()),
    };
    let mut cells = vec![
        failover.shard.to_string(),
        failover.epoch.to_string(),
        failover.from.clone().unwrap_or_else(|| UNSEEN.to_owned()),
        failover.to.clone(),
        cause,
    ];
    let less = failover.bar(Phase::Serve).filter(|_| failover.total_ns().is_some());
    let less = less.map_or(String::new(), |bar| format!(" −{}", units::ms(bar.before_ns)));
    cells.push(ms(failover.total_ns()) + &less);
    cells.extend(Phase::ALL.map(|phase| ms(failover.phase_ns(phase))));
    let count = |n: Option<u64>| n.map_or(UNSEEN.to_owned(), units::count);
    cells.push(ms(failover.down.map(|down| down.writes_ns)));
    cells.push(ms(failover.down.map(|down| down.reads_ns)));
    cells.push(count(failover.lost_writes));
    cells.push(count(failover.stale_reads));
    cells
}

/// The failovers of a run in milliseconds, and their totals per family of fault; a sentence where there are
/// none. Ends with a newline.
pub fn failovers(failovers: &[Failover], faults: &[FaultRecord]) -> String {
    if failovers.is_empty() {
        return "no failover happened\n".to_owned();
    }
    let mut table = Table::new(&FAILOVER_HEAD[..ON_TERMINAL]);
    failovers.iter().for_each(|failover| table.row(failover_cells(failover, faults)));
    let mut text = format!(
        "{} (milliseconds, each from the mark before; total from fault to first acknowledged write, − what it may be less)\n{}",
        units::plural(failovers.len() as u64, "failover"),
        table.text()
    );
    let sum = |of: &dyn Fn(&Failover) -> Option<u64>| failovers.iter().filter_map(of).sum::<u64>();
    let (lost, stale) = (sum(&|failover| failover.lost_writes), sum(&|failover| failover.stale_reads));
    if lost + stale > 0 {
        text.push_str(&format!(
            "around them at least {} and {} (which: the report)\n",
            units::plural(lost, "lost write"),
            units::plural(stale, "stale read")
        ));
    }
    let totals = totals_cells(failovers, faults);
    if !totals.is_empty() {
        let mut table = Table::new(&TOTALS_HEAD);
        totals.into_iter().for_each(|row| table.row(row));
        text.push('\n');
        text.push_str(&table.text());
    }
    text
}

/// Column heads of the totals per family of fault.
pub const TOTALS_HEAD: [(&str, Align); 5] = [
    ("cause", Align::Left),
    ("timed", Align::Right),
    ("p50 ms", Align::Right),
    ("p90 ms", Align::Right),
    ("max ms", Align::Right),
];

/// One row per family whose failovers were timed from end to end.
pub fn totals_cells(failovers: &[Failover], faults: &[FaultRecord]) -> Vec<Vec<String>> {
    let rows = by_kind(failovers, faults, Failover::total_ns).into_iter().map(|(kind, totals)| {
        let at = |q: f64| totals.quantile_ns(q).map_or(UNSEEN.to_owned(), units::ms);
        vec![kind, totals.sorted_ns().len().to_string(), at(0.5), at(0.9), at(1.0)]
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_in_no_space() {
        let mut table = Table::new(&[("name", Align::Left), ("ms", Align::Right), ("", Align::Left)]);
        table.row(["µ".into(), "1,240".into()]);
        table.row(["longer".into(), "3".into(), "x".into(), "dropped".into()]);
        assert_eq!(table.text(), "name       ms\nµ       1,240\nlonger      3  x\n");
    }
}
