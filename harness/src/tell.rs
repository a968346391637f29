//! What a run says on the terminal when it ends.

use std::path::Path;

use checker::{History, Verdict};
use results::explain;
use results::summary::RunSummary;

/// Verdict and reasons, failovers, time per phase, and where the report is.
pub fn summary(summary: &RunSummary, report: &Path) -> String {
    let phases = summary.phases_s.iter().map(|(name, seconds)| format!("{name} {seconds:.1} s"));
    let phases = phases.collect::<Vec<_>>().join(", ");
    format!("\n{}\ntime: {phases}\nreport: {}\n", explain::ending(summary), report.display())
}

/// Verdict on a bare history.
pub fn verdict(verdict: &Verdict, history: &History) -> String {
    let mut text = format!("{}: {} operations\n", verdict.word(), history.ops.len());
    for reason in explain::reasons(verdict) {
        text += &format!("{reason}\n");
    }
    text
}
