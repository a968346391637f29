//! What a run says on the terminal when it ends.

use checker::{History, Verdict};
use results::RunFolder;
use results::summary::{Liveness, RunSummary};
use results::{explain, table};

/// Verdict, failovers, and where the report is; the last line repeats the run if it is not green.
pub fn summary(folder: &RunFolder, summary: &RunSummary) -> String {
    let mut text = String::from("\n");
    text += &table::failovers(&summary.failovers, &summary.faults);
    text += "\n";
    text += &table::faults(&summary.faults);
    text += "\n";
    let counts = &summary.counts;
    text += &format!(
        "operations  {} invoked: {} ok, {} failed, {} unknown\n",
        counts.invoked, counts.ok, counts.fail, counts.info
    );
    text += &format!("liveness    {}\n", liveness(&summary.liveness));
    let phases = summary.phases_s.iter().map(|(name, seconds)| format!("{name} {seconds:.1} s"));
    text += &format!("time        {}\n", phases.collect::<Vec<_>>().join(", "));
    text += &format!("report      {}\n", folder.report().display());
    text += &format!("verdict     {}\n", explain::verdict(&summary.verdict));
    if summary.exit_code != 0 {
        text += &format!("again       {}\n", summary.command);
    }
    text
}

/// Verdict on a bare history.
pub fn verdict(verdict: &Verdict, history: &History) -> String {
    format!("operations  {}\nverdict     {}\n", history.ops.len(), explain::verdict(verdict))
}

fn liveness(liveness: &Liveness) -> String {
    match liveness {
        Liveness::Live { after_s } => {
            format!("every shard took writes again {after_s:.1} s after the last heal")
        }
        Liveness::NotLive { bound_s, why } => {
            format!("not live {bound_s:.0} s after the last heal\n            {}", why.join("\n            "))
        }
        Liveness::NotJudged => "not judged".into(),
    }
}
