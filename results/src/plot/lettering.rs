//! Text in pictures: how wide it is, and a bitmap backend that sets it properly.
//!
//! The drawing library's own bitmap text drops the space each glyph keeps on its left and rounds every
//! advance to whole pixels, which tears words apart. Here glyphs stand where the font says.

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};
use plotters::backend::BitMapBackend;
use plotters_backend::text_anchor::{HPos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontStyle,
    FontTransform,
};

/// The library's unit of type is the height of a line; its SVG takes that for 1.24 em.
pub const LINE_PER_EM: f64 = 1.24;
/// From the middle of small letters down to the line they stand on, in em; what SVG calls half an ex.
const HALF_EX: f64 = 0.27;
/// Of every DejaVu font.
const UNITS_PER_EM: f32 = 2048.0;

/// A bitmap with text as the font has it.
pub struct Lettered<'a>(pub BitMapBackend<'a>);

type Done<'a> = Result<(), DrawingErrorKind<<BitMapBackend<'a> as DrawingBackend>::ErrorType>>;

impl<'a> DrawingBackend for Lettered<'a> {
    type ErrorType = <BitMapBackend<'a> as DrawingBackend>::ErrorType;

    fn get_size(&self) -> (u32, u32) {
        self.0.get_size()
    }

    fn ensure_prepared(&mut self) -> Done<'a> {
        self.0.ensure_prepared()
    }

    fn present(&mut self) -> Done<'a> {
        self.0.present()
    }

    fn draw_pixel(&mut self, at: BackendCoord, colour: BackendColor) -> Done<'a> {
        self.0.draw_pixel(at, colour)
    }

    fn draw_line<S: BackendStyle>(&mut self, from: BackendCoord, to: BackendCoord, style: &S) -> Done<'a> {
        self.0.draw_line(from, to, style)
    }

    fn draw_rect<S: BackendStyle>(
        &mut self,
        from: BackendCoord,
        to: BackendCoord,
        style: &S,
        fill: bool,
    ) -> Done<'a> {
        self.0.draw_rect(from, to, style, fill)
    }

    fn draw_path<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done<'a> {
        self.0.draw_path(path, style)
    }

    fn draw_circle<S: BackendStyle>(
        &mut self,
        centre: BackendCoord,
        r: u32,
        style: &S,
        fill: bool,
    ) -> Done<'a> {
        self.0.draw_circle(centre, r, style, fill)
    }

    fn fill_polygon<S: BackendStyle, I: IntoIterator<Item = BackendCoord>>(
        &mut self,
        path: I,
        style: &S,
    ) -> Done<'a> {
        self.0.fill_polygon(path, style)
    }

    fn draw_text<S: BackendTextStyle>(&mut self, text: &str, style: &S, at: BackendCoord) -> Done<'a> {
        let size = style.size() / LINE_PER_EM;
        let bold = matches!(style.style(), FontStyle::Bold);
        let width = text_width(text, size, bold);
        let x = match style.anchor().h_pos {
            HPos::Left => 0.0,
            HPos::Center => -width / 2.0,
            HPos::Right => -width,
        };
        let drop = match style.anchor().v_pos {
            VPos::Top => 0.76,
            VPos::Center => HALF_EX,
            VPos::Bottom => -HALF_EX,
        };
        let (face, colour, (w, h)) = (face(bold), style.color(), self.get_size());
        let turned = matches!(style.transform(), FontTransform::Rotate270);
        for mut glyph in set(text, size, bold) {
            glyph.position.x += x as f32;
            glyph.position.y += (drop * size) as f32;
            let Some(outline) = face.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            let mut pixels = Vec::new();
            outline.draw(|dx, dy, cover| {
                let (x, y) = (corner.x as i32 + dx as i32, corner.y as i32 + dy as i32);
                let (x, y) = if turned { (y, -x) } else { (x, y) };
                pixels.push((at.0 + x, at.1 + y, cover))
            });
            for (px, py, cover) in pixels {
                if px >= 0 && py >= 0 && px < w as i32 && py < h as i32 {
                    let alpha = colour.alpha * f64::from(cover.clamp(0.0, 1.0));
                    self.0.draw_pixel((px, py), BackendColor { alpha, ..colour })?;
                }
            }
        }
        Ok(())
    }
}

/// Pixels a line of text takes, with an em of `size` pixels.
pub fn text_width(text: &str, size: f64, bold: bool) -> f64 {
    size * text.chars().map(|c| advance(c, bold)).sum::<f64>()
}

/// How far a character moves the pen, in em. Layout asks this very often, and nearly always of Latin-1.
fn advance(c: char, bold: bool) -> f64 {
    static LATIN: OnceLock<[Vec<f64>; 2]> = OnceLock::new();
    let ask = |c: char, bold: bool| {
        let face = face(bold);
        f64::from(face.h_advance_unscaled(face.glyph_id(c)) / face.units_per_em().unwrap_or(UNITS_PER_EM))
    };
    let latin =
        LATIN.get_or_init(|| [false, true].map(|bold| (0..=255).map(|c: u8| ask(c.into(), bold)).collect()));
    latin[usize::from(bold)].get(c as usize).copied().unwrap_or_else(|| ask(c, bold))
}

/// The glyphs of a line from its left end on, on the line they stand on.
fn set(text: &str, size: f64, bold: bool) -> Vec<Glyph> {
    let scale = px_scale(size, bold);
    let scaled = face(bold).as_scaled(scale);
    let mut x = 0.0;
    let place = |c| {
        let id = scaled.glyph_id(c);
        let glyph = id.with_scale_and_position(scale, point(x, 0.0));
        x += scaled.h_advance(id);
        glyph
    };
    text.chars().map(place).collect()
}

fn px_scale(size: f64, bold: bool) -> PxScale {
    let face = face(bold);
    let line_per_em = face.height_unscaled() / face.units_per_em().unwrap_or(UNITS_PER_EM);
    PxScale::from(size as f32 * line_per_em)
}

/// DejaVu Sans, cut down; see `assets/LICENSE-DejaVu.txt`.
fn face(bold: bool) -> &'static FontRef<'static> {
    static FACES: OnceLock<[FontRef<'static>; 2]> = OnceLock::new();
    let faces = FACES.get_or_init(|| {
        let files: [&'static [u8]; 2] = [
            include_bytes!("../../assets/DejaVuSans.ttf"),
            include_bytes!("../../assets/DejaVuSans-Bold.ttf"),
        ];
        files.map(|file| FontRef::try_from_slice(file).expect("the embedded fonts are fonts"))
    });
    &faces[usize::from(bold)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wider_text_is_wider() {
        let width = |text, bold| text_width(text, 12.0, bold);
        assert_eq!(width("", false), 0.0);
        assert!(width("ii", false) < width("WW", false));
        assert!(width("shard", false) < width("shard", true));
        assert!((text_width("shard", 24.0, false) - 2.0 * width("shard", false)).abs() < 0.01);
        // An em of DejaVu's digits is 0.636 em wide.
        assert!((width("0", false) - 12.0 * 0.636).abs() < 0.05, "{}", width("0", false));
    }

    #[test]
    fn the_symbols_that_pictures_use_are_in_both_faces() {
        for bold in [false, true] {
            for symbol in "→·…–µ#%é".chars() {
                assert_ne!(face(bold).glyph_id(symbol).0, 0, "{symbol} is missing");
            }
        }
    }
}
