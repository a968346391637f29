//! Pictures of a run, each as SVG and PNG: pure functions from what was recorded to marks on paper.

pub mod across;
mod availability;
mod cdf;
mod faults;
pub mod frame;
mod gantt;
mod latency;
mod lettering;
pub mod picture;
mod rate;
pub mod ring;
pub mod theme;

use std::path::PathBuf;

use checker::{FaultRecord, History};

use self::frame::{Axis, Frame};
pub use self::gantt::{AFTER, phase_key};
use self::picture::{Picture, Rect};
use crate::error::{Error, Result};
use crate::layout::RunFolder;
use crate::summary::{Failover, NodeEvent};
use crate::writer::write_whole;

/// What pictures are drawn from.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    /// Operations.
    pub history: &'a History,
    /// Faults.
    pub faults: &'a [FaultRecord],
    /// Failovers, from [`crate::failover::failovers`].
    pub failovers: &'a [Failover],
    /// The agents' steps.
    pub node_events: &'a [NodeEvent],
}

/// The pictures there are, in the order of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plot {
    /// Every operation over time.
    Latency,
    /// Operations per second.
    Rate,
    /// When each shard took writes.
    Availability,
    /// Every failover's phases.
    Failovers,
    /// How failover times are distributed.
    Distribution,
}

impl Plot {
    /// All of them.
    pub const ALL: [Plot; 5] =
        [Plot::Latency, Plot::Rate, Plot::Availability, Plot::Failovers, Plot::Distribution];

    /// Its file's name without ending.
    pub fn stem(self) -> &'static str {
        match self {
            Plot::Latency => "latency",
            Plot::Rate => "rate",
            Plot::Availability => "availability",
            Plot::Failovers => "failovers",
            Plot::Distribution => "distribution",
        }
    }

    /// The marks.
    pub fn draw(self, data: &Data<'_>) -> Picture {
        match self {
            Plot::Latency => latency::draw(data),
            Plot::Rate => rate::draw(data),
            Plot::Availability => availability::draw(data),
            Plot::Failovers => gantt::draw(data),
            Plot::Distribution => cdf::draw(data),
        }
    }

    /// As an SVG document.
    pub fn svg(self, data: &Data<'_>) -> Result<String> {
        self.draw(data).to_svg().map_err(|why| self.failed(why))
    }

    fn failed(self, why: String) -> Error {
        Error::Draw { plot: self.stem(), why }
    }
}

/// Writes every picture into the folder, as SVG and as PNG; returns the files.
pub fn write_all(folder: &RunFolder, data: &Data<'_>) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for plot in Plot::ALL {
        let picture = plot.draw(data);
        let svg = folder.plot(plot.stem(), "svg");
        write_whole(&svg, picture.to_svg().map_err(|why| plot.failed(why))?.as_bytes())?;
        let png = folder.plot(plot.stem(), "png");
        picture.to_png(&png).map_err(|why| plot.failed(why))?;
        files.extend([svg, png]);
    }
    Ok(files)
}

impl Data<'_> {
    /// End of every time axis, nanoseconds of the run clock: the last thing that was seen.
    pub(crate) fn span_ns(&self) -> u64 {
        let ops = self.history.ops.iter().map(|op| op.ret_ns.unwrap_or(op.call_ns));
        let faults = self.faults.iter().map(|fault| fault.stop_ns.unwrap_or(fault.start_ns));
        ops.chain(faults).chain([self.history.end_ns, 1]).max().unwrap_or(1)
    }

    /// Axes for a picture over the time of the run, with room for the strip of faults above.
    fn time_frame(&self, top: f64, height: f64, y: Option<Axis>) -> Frame {
        let mut frame = Frame {
            area: Rect::new(theme::LEFT, top, theme::RIGHT, top + height),
            x: Axis::time(self.span_ns()),
            y,
        };
        let strip = faults::strip_height(&frame, self.faults);
        frame.area.y0 += strip;
        frame.area.y1 += strip;
        frame
    }
}
