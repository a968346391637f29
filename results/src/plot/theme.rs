//! How every picture looks: colours, type, sizes. No picture names a colour or a size of its own.
//!
//! Colours are those of Okabe and Ito ("Color Universal Design", 2008), which stay apart for colour-blind
//! readers, and where two kinds of mark meet in one picture they differ in shape or place as well.

use plotters::style::RGBColor;

/// Width of every picture, in its own pixels.
pub const WIDTH: f64 = 1000.0;
/// Left edge of every time axis, so that pictures above each other line up.
pub const LEFT: f64 = 92.0;
/// Right edge of every time axis.
pub const RIGHT: f64 = WIDTH - 28.0;
/// Space around a picture.
pub const PAD: f64 = 20.0;

/// Type sizes, in pixels of an em.
pub const TITLE: f64 = 16.0;
/// Body of a picture.
pub const TEXT: f64 = 12.0;
/// Marks within it.
pub const SMALL: f64 = 11.0;

/// Pixels of a bitmap per pixel of the picture.
pub const PNG_SCALE: u32 = 2;

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tone {
    /// Behind everything.
    Paper,
    /// Text that is read first.
    Ink,
    /// Text that is read second.
    Muted,
    /// Lines that guide the eye.
    Grid,
    /// Text on a coloured bar, light mode and dark.
    OnBar,
    /// Took effect; also the first of several series.
    Blue,
    /// Certainly did not take effect.
    Orange,
    /// Nobody can say.
    Plum,
    /// Serving.
    Green,
    /// Not serving.
    Vermilion,
    /// A fault and its time.
    Violet,
    /// Detecting.
    Sky,
    /// Electing.
    Rose,
    /// The first write.
    Yellow,
    /// Fencing.
    Stone,
}

impl Tone {
    /// All of them.
    pub const ALL: [Tone; 15] = [
        Tone::Paper,
        Tone::Ink,
        Tone::Muted,
        Tone::Grid,
        Tone::OnBar,
        Tone::Blue,
        Tone::Orange,
        Tone::Plum,
        Tone::Green,
        Tone::Vermilion,
        Tone::Violet,
        Tone::Sky,
        Tone::Rose,
        Tone::Yellow,
        Tone::Stone,
    ];

    /// Red, green and blue on white, and on a dark page.
    const fn pair(self) -> (u32, u32) {
        match self {
            Tone::Paper => (0xFFFFFF, 0x161B22),
            Tone::Ink => (0x1F2A37, 0xE6EAF0),
            Tone::Muted => (0x5B6776, 0x9AA7B6),
            Tone::Grid => (0xE3E8EE, 0x2B333D),
            Tone::OnBar => (0x101820, 0x101820),
            Tone::Blue => (0x0072B2, 0x4FA8DE),
            Tone::Orange => (0xE69F00, 0xF0B540),
            Tone::Plum => (0xA3195B, 0xE76BA6),
            Tone::Green => (0x009E73, 0x2DBE93),
            Tone::Vermilion => (0xD55E00, 0xF07F35),
            Tone::Violet => (0x6B5B95, 0xA99BD3),
            Tone::Sky => (0x56B4E9, 0x56B4E8),
            Tone::Rose => (0xCC79A7, 0xD68DB5),
            Tone::Yellow => (0xF0E442, 0xF0E443),
            Tone::Stone => (0xB9C0C8, 0x98A2AD),
        }
    }

    /// On white.
    pub const fn light(self) -> RGBColor {
        let rgb = self.pair().0;
        RGBColor((rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8)
    }

    /// `#RRGGBB` on white, as the SVG backend writes it.
    pub fn light_hex(self) -> String {
        format!("#{:06X}", self.pair().0)
    }

    /// `#RRGGBB` on a dark page.
    pub fn dark_hex(self) -> String {
        format!("#{:06X}", self.pair().1)
    }
}

/// Style rules that turn an inlined picture dark, for use within a media query or a theme's selector:
/// pictures name their colours in attributes, which any rule overrides.
pub fn dark_css(within: &str) -> String {
    let mut css = String::new();
    for tone in Tone::ALL {
        let (light, dark) = (tone.light_hex(), tone.dark_hex());
        css.push_str(&format!(
            "{within} [fill=\"{light}\"]{{fill:{dark}}}{within} [stroke=\"{light}\"]{{stroke:{dark}}}\n"
        ));
    }
    css
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_tone_has_a_colour_of_its_own() {
        let distinct: BTreeSet<String> = Tone::ALL.iter().map(|tone| tone.light_hex()).collect();
        assert_eq!(distinct.len(), Tone::ALL.len(), "dark mode tells tones apart by their colour on white");
    }
}
