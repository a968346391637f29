//! A beam that died goes back a little and comes again, wider.
//!
//! What makes a beam die is mostly one hard stretch. So the whole need not be done again: the pass keeps pictures
//! of itself, takes one from before the stretch, widens until it is past it, and is then as narrow as before. A
//! stretch that is still too hard is entered from further back, and wider still.

use super::config::Config;
use super::infos::Infos;
use super::open::OpenPicture;

/// How many times wider after each death.
const WIDER: usize = 4;

/// Events between two pictures.
const EVERY: usize = 64;

/// Events to go back after the first death; each further one doubles it.
const BACK: usize = 32;

/// Events beyond the place of death after which the beam is narrow again.
const BEYOND: usize = 128;

/// Pictures kept; then those that are old are thinned out.
const PICTURES_MAX: usize = 32;

/// Everything about a pass that changes.
#[derive(Clone)]
pub(super) struct Picture {
    /// The event that comes next.
    pub(super) next: usize,
    pub(super) configs: Vec<Config>,
    pub(super) open: OpenPicture,
    pub(super) infos: Infos,
    pub(super) complete: bool,
    pub(super) survived: usize,
}

/// The memory of a beam.
pub(super) struct Retry {
    base: usize,
    /// Configurations kept at present.
    pub(super) width: usize,
    pub(super) pictures: Vec<Picture>,
    /// The furthest event at which it died.
    died: usize,
    deaths: u32,
}

impl Retry {
    pub(super) fn new(base: usize) -> Self {
        Retry { base, width: base, pictures: Vec::new(), died: 0, deaths: 0 }
    }

    /// Is a picture due before event `next`?
    pub(super) fn is_due(&mut self, next: usize) -> bool {
        if self.deaths > 0 && next > self.died + BEYOND {
            (self.width, self.deaths) = (self.base, 0);
        }
        self.pictures.last().is_none_or(|last| next >= last.next + EVERY)
    }

    pub(super) fn keep(&mut self, picture: Picture) {
        if self.pictures.len() == PICTURES_MAX {
            // Every other one of the older half, but the first.
            let mut place = 0;
            self.pictures.retain(|_| {
                place += 1;
                place == 1 || place > PICTURES_MAX / 2 || place % 2 == 0
            });
        }
        self.pictures.push(picture);
    }

    /// The beam died at event `at`: the picture to go on from.
    pub(super) fn died(&mut self, at: usize) -> Option<Picture> {
        self.died = self.died.max(at);
        self.deaths += 1;
        let times = |factor: usize| factor.checked_pow(self.deaths).unwrap_or(usize::MAX);
        self.width = self.base.saturating_mul(times(WIDER));
        let from = at.saturating_sub(BACK.saturating_mul(times(2)));
        let kept = self.pictures.partition_point(|picture| picture.next <= from).max(1);
        self.pictures.truncate(kept);
        self.pictures.last().cloned()
    }

    /// Configurations in all pictures.
    pub(super) fn configs(&self) -> usize {
        self.pictures.iter().map(|picture| picture.configs.len()).sum()
    }
}
