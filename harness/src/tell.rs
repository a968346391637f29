//! What a run says on the terminal when it ends.

use std::path::Path;

use results::explain;
use results::summary::RunSummary;

/// Verdict and reasons, failovers, time per phase, and where the report is.
pub fn summary(summary: &RunSummary, report: &Path) -> String {
    let phases = summary.phases_s.iter().map(|(name, seconds)| format!("{name} {seconds:.1} s"));
    let phases = phases.collect::<Vec<_>>().join(", ");
    format!("\n{}\ntime: {phases}\nreport: {}\n", explain::ending(summary), report.display())
}
