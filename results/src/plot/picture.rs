//! A picture as a list of marks: laid out by pure code, then replayed onto SVG or a bitmap.

use std::path::{Path, PathBuf};

use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, FontTransform, ShapeStyle, TextStyle};

use super::lettering::{LINE_PER_EM, Lettered, text_width};
use super::theme::{self, Tone};
use crate::error::{Error, Result};
use crate::writer::write_whole;

/// A point, pixels from the upper left corner.
pub type Point = (f64, f64);

/// A rectangle with its sides parallel to the picture's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x0: f64,
    /// Upper edge.
    pub y0: f64,
    /// Right edge.
    pub x1: f64,
    /// Lower edge.
    pub y1: f64,
}

impl Rect {
    /// From its edges: left, upper, right, lower.
    pub fn new(x0: f64, y0: f64, x1: f64, y1: f64) -> Self {
        Rect { x0, y0, x1, y1 }
    }

    /// Do the insides of two rectangles share a point?
    pub fn overlaps(&self, other: &Rect) -> bool {
        self.x0 < other.x1 && other.x0 < self.x1 && self.y0 < other.y1 && other.y0 < self.y1
    }
}

/// Where a label's anchor lies, horizontally.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// At its left end.
    Start,
    /// In its middle.
    Middle,
    /// At its right end.
    End,
}

/// A line of text, centred vertically on its anchor.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The anchor.
    pub at: Point,
    /// What it says; control characters become spaces.
    pub text: String,
    /// Em, pixels.
    pub size: f64,
    /// Heavy type.
    pub bold: bool,
    /// Which part of it lies at the anchor.
    pub anchor: Anchor,
    /// Read upwards: turned by a quarter around its anchor.
    pub turned: bool,
}

impl Label {
    /// Where it will stand.
    pub fn bounds(&self) -> Rect {
        let width = text_width(&self.text, self.size, self.bold);
        let x0 = match self.anchor {
            Anchor::Start => self.at.0,
            Anchor::Middle => self.at.0 - width / 2.0,
            Anchor::End => self.at.0 - width,
        };
        let half = self.size / 2.0;
        if self.turned {
            let y1 = self.at.1 + self.at.0 - x0;
            return Rect::new(self.at.0 - half, y1 - width, self.at.0 + half, y1);
        }
        Rect::new(x0, self.at.1 - half, x0 + width, self.at.1 + half)
    }
}

/// What can be drawn.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A filled rectangle.
    Bar(Rect),
    /// The outline of one.
    Outline(Rect),
    /// A line through points, so many pixels wide.
    Line(Vec<Point>, u32),
    /// A filled polygon.
    Polygon(Vec<Point>),
    /// A filled circle: centre and radius.
    Dot(Point, f64),
    /// Text.
    Text(Label),
}

/// A shape in its colour.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// What.
    pub shape: Shape,
    /// Its colour.
    pub tone: Tone,
    /// Opacity, 0 to 1.
    pub alpha: f64,
}

/// Marks in the order of drawing, on a sheet of paper.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// Pixels from left to right.
    pub width: f64,
    /// Pixels from top to bottom.
    pub height: f64,
    /// What is on it.
    pub marks: Vec<Mark>,
    /// What it is called.
    pub title: String,
    /// What to see in it, for those who read it beside the picture or hear it read.
    pub caption: String,
}

impl Picture {
    /// An empty sheet as wide as all pictures; its height is set once it is known.
    pub fn new() -> Self {
        Picture {
            width: theme::WIDTH,
            height: 0.0,
            marks: Vec::new(),
            title: String::new(),
            caption: String::new(),
        }
    }

    /// Adds a mark.
    pub fn mark(&mut self, shape: Shape, tone: Tone, alpha: f64) {
        self.marks.push(Mark { shape, tone, alpha });
    }

    /// Adds a filled rectangle.
    pub fn bar(&mut self, rect: Rect, tone: Tone, alpha: f64) {
        self.mark(Shape::Bar(rect), tone, alpha);
    }

    /// Adds a line.
    pub fn line(&mut self, points: &[Point], width: u32, tone: Tone, alpha: f64) {
        self.mark(Shape::Line(points.to_vec(), width), tone, alpha);
    }

    /// Adds a line of text and says where it stands.
    pub fn text(&mut self, at: Point, text: &str, size: f64, tone: Tone, anchor: Anchor) -> Rect {
        self.label(Label { at, text: printable(text), size, bold: false, anchor, turned: false }, tone)
    }

    /// Adds a line of heavy text and says where it stands.
    pub fn bold(&mut self, at: Point, text: &str, size: f64, tone: Tone, anchor: Anchor) -> Rect {
        self.label(Label { at, text: printable(text), size, bold: true, anchor, turned: false }, tone)
    }

    /// Adds a line of text that is read upwards, its middle at the point.
    pub fn text_upwards(&mut self, at: Point, text: &str, size: f64, tone: Tone) {
        let text = printable(text);
        self.label(Label { at, text, size, bold: false, anchor: Anchor::Middle, turned: true }, tone);
    }

    /// Adds a line of text on a patch of paper, so that lines beneath do not run through it.
    pub fn text_on_paper(&mut self, at: Point, text: &str, size: f64, tone: Tone, anchor: Anchor) {
        let label = Label { at, text: printable(text), size, bold: false, anchor, turned: false };
        let Rect { x0, y0, x1, y1 } = label.bounds();
        self.bar(Rect::new(x0 - 1.0, y0 - 1.0, x1 + 1.0, y1 + 1.0), Tone::Paper, 0.85);
        self.label(label, tone);
    }

    fn label(&mut self, label: Label, tone: Tone) -> Rect {
        let bounds = label.bounds();
        self.mark(Shape::Text(label), tone, 1.0);
        bounds
    }

    /// Every line of text on it.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.marks.iter().filter_map(|mark| match &mark.shape {
            Shape::Text(label) => Some(label),
            _ => None,
        })
    }

    /// As an SVG document.
    pub fn to_svg(&self) -> std::result::Result<String, String> {
        let mut svg = String::new();
        self.replay(&SVGBackend::with_string(&mut svg, self.size(1)).into_drawing_area(), 1)
            .map_err(|err| err.to_string())?;
        // For those who hear it read, and for who meets the file alone.
        if let Some(end) = svg.find('>').filter(|_| !self.title.is_empty()) {
            let (title, caption) = (escaped(&self.title), escaped(&self.caption));
            svg.insert_str(end + 1, &format!("\n<title>{title}</title>\n<desc>{caption}</desc>"));
        }
        Ok(svg)
    }

    /// As a PNG file, [`theme::PNG_SCALE`] times as large.
    pub fn to_png(&self, path: &Path) -> std::result::Result<(), String> {
        let scale = theme::PNG_SCALE;
        self.replay(&Lettered(BitMapBackend::new(path, self.size(scale))).into_drawing_area(), scale)
            .map_err(|err| err.to_string())
    }

    /// Writes it into a folder as `<stem>.svg` and `<stem>.png`; returns the files.
    pub fn write(&self, folder: &Path, stem: &'static str) -> Result<[PathBuf; 2]> {
        let failed = |why| Error::Draw { plot: stem, why };
        let files = ["svg", "png"].map(|ending| folder.join(format!("{stem}.{ending}")));
        write_whole(&files[0], self.to_svg().map_err(failed)?.as_bytes())?;
        self.to_png(&files[1]).map_err(failed)?;
        Ok(files)
    }

    fn size(&self, scale: u32) -> (u32, u32) {
        let px = |length: f64| (length.ceil() as u32).max(1) * scale;
        (px(self.width), px(self.height))
    }

    fn replay<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        scale: u32,
    ) -> std::result::Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&Tone::Paper.light())?;
        let px = |length: f64| (length * f64::from(scale)).round() as i32;
        let at = |point: Point| (px(point.0), px(point.1));
        for mark in &self.marks {
            let colour = mark.tone.light().mix(mark.alpha);
            let filled = ShapeStyle { color: colour, filled: true, stroke_width: 0 };
            let stroked =
                |width: u32| ShapeStyle { color: colour, filled: false, stroke_width: width * scale };
            match &mark.shape {
                Shape::Bar(r) => area.draw(&Rectangle::new([at((r.x0, r.y0)), at((r.x1, r.y1))], filled))?,
                Shape::Outline(r) => {
                    let corners = [(r.x0, r.y0), (r.x1, r.y0), (r.x1, r.y1), (r.x0, r.y1), (r.x0, r.y0)];
                    area.draw(&PathElement::new(corners.map(at), stroked(1)))?;
                }
                Shape::Line(points, width) => {
                    let points: Vec<_> = points.iter().copied().map(at).collect();
                    area.draw(&PathElement::new(points, stroked(*width)))?;
                }
                Shape::Polygon(points) => {
                    let points: Vec<_> = points.iter().copied().map(at).collect();
                    area.draw(&Polygon::new(points, filled))?;
                }
                Shape::Dot(centre, radius) => area.draw(&Circle::new(at(*centre), px(*radius), filled))?,
                Shape::Text(label) => {
                    let h = match label.anchor {
                        Anchor::Start => HPos::Left,
                        Anchor::Middle => HPos::Center,
                        Anchor::End => HPos::Right,
                    };
                    let mut font = font(label.size * f64::from(scale), label.bold);
                    if label.turned {
                        font = font.transform(FontTransform::Rotate270);
                    }
                    let style = TextStyle::from(font).color(&colour).pos(Pos::new(h, VPos::Center));
                    area.draw(&Text::new(label.text.as_str(), at(label.at), style))?;
                }
            }
        }
        area.present()
    }
}

impl Default for Picture {
    fn default() -> Self {
        Picture::new()
    }
}

/// The longest beginning of a text that fits, with an ellipsis where something was cut.
pub fn fit(text: &str, size: f64, width_max: f64) -> String {
    let text = printable(text);
    if text_width(&text, size, false) <= width_max {
        return text;
    }
    let mut kept = text;
    while kept.pop().is_some() {
        let cut = format!("{}…", kept.trim_end());
        if text_width(&cut, size, false) <= width_max {
            return cut;
        }
    }
    String::new()
}

fn font(size: f64, bold: bool) -> FontDesc<'static> {
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    FontDesc::new(FontFamily::SansSerif, size * LINE_PER_EM, style)
}

/// For a place between two tags.
fn escaped(text: &str) -> String {
    printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// XML has no place for control characters, escaped or not.
fn printable(text: &str) -> String {
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
    text.chars().map(|c| if forbidden(c) { ' ' } else { c }).collect()
}
