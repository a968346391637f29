//! How the page looks and what it may do: one style sheet, one script, and a policy that lets nothing else run or load.

use sha2::{Digest, Sha256};

use crate::base64::Base64;
use crate::plot::theme::{self, Tone};

/// The page's script, in one scope of its own.
pub(crate) const SCRIPT: &str = concat!(
    "\"use strict\";\n(() => {\n",
    include_str!("../../assets/report/ops.js"),
    include_str!("../../assets/report/lanes.js"),
    include_str!("../../assets/report/draw.js"),
    include_str!("../../assets/report/timeline.js"),
    include_str!("../../assets/report/page.js"),
    "})();\n"
);

/// Two selectors under which the page is dark: it was asked for, or the reader's system is and nobody asked otherwise.
const ASKED: &str = ":root[data-theme=dark]";
const BY_ITSELF: &str = ":root:not([data-theme=light])";

/// What a tone is called in the style sheet, after `--t-`.
pub(crate) fn name(tone: Tone) -> String {
    format!("{tone:?}").to_lowercase()
}

/// The style sheet: the same tones as the plots, in both lights.
pub(crate) fn css() -> String {
    const BASE: &str = include_str!("../../assets/report/page.css");
    const DARK: &str = include_str!("../../assets/report/dark.css");
    let tones = |hex: fn(Tone) -> String| -> String {
        Tone::ALL.iter().map(|&tone| format!("--t-{}:{};", name(tone), hex(tone))).collect()
    };
    let dark = |root: &str| {
        format!("{root} {{\n{DARK}{}}}\n{}", tones(Tone::dark_hex), theme::dark_css(&format!("{root} .plot")))
    };
    format!(
        ":root {{ {} }}\n{BASE}\n@media screen {{\n{}@media (prefers-color-scheme: dark) {{\n{}}}\n}}\n",
        tones(Tone::light_hex),
        dark(ASKED),
        dark(BY_ITSELF)
    )
}

/// What a browser lets the page do: run its own script, look like this, and ask nobody for anything.
pub(crate) fn policy() -> String {
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'",
        Base64::of(&Sha256::digest(SCRIPT.as_bytes()))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_ends_where_its_element_does() {
        assert!(!SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
    }

    #[test]
    fn both_ways_to_be_dark_say_the_same() {
        let css = css();
        assert_eq!(css.matches("--t-blue:#4FA8DE").count(), 2);
        assert_eq!(css.matches("--t-blue:#0072B2").count(), 1);
    }
}
