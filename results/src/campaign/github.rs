//! Annotations of GitHub Actions: lines on standard output that its pages show beside the run.

use super::summary::{CampaignSummary, Standing};

/// More than these a step does not show.
const SHOWN_MAX: usize = 10;

/// One line per cell that ended otherwise than expected and per expectation that was not met, ten at most.
pub fn annotations(summary: &CampaignSummary) -> String {
    let mut all: Vec<(&str, String, String)> = Vec::new();
    for case in &summary.cases {
        let (Standing::Unexpected, Some(worst)) = (case.stands, case.worst()) else { continue };
        let title = format!("{} {}: {}", case.suite, case.name, worst.verdict.word());
        let told: Vec<&str> =
            [worst.why.as_str(), worst.reason.as_str()].into_iter().filter(|s| !s.is_empty()).collect();
        let again = case.again_words();
        let again = if again.is_empty() { again } else { format!("; {again}") };
        all.push(("error", title, format!("{}{again}", told.join(": "))));
    }
    for group in summary.groups.iter().filter(|group| group.often_enough == Some(false)) {
        let title = format!("{}: not found often enough", group.suite());
        let text = format!("expected {}, found in {}", group.expectation, group.as_expected.words());
        all.push(("error", title, text));
    }
    if !summary.stopped.is_empty() {
        all.push(("warning", "campaign stopped".into(), summary.stopped.clone()));
    }
    let left = all.len().saturating_sub(SHOWN_MAX);
    if left > 0 {
        all.truncate(SHOWN_MAX - 1);
        all.push(("error", format!("{} more", left + 1), "the others are in summary.md".into()));
    }
    all.iter()
        .map(|(level, title, text)| format!("::{level} title={}::{}\n", property(title), data(text)))
        .collect()
}

/// What follows the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// What stands between the first and the second `::`.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_a_line_or_a_property_early() {
        assert_eq!(data("100 %\nof: it,\r"), "100 %25%0Aof: it,%0D");
        assert_eq!(property("kill,pause: 5 %"), "kill%2Cpause%3A 5 %25");
    }
}
