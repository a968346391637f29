use std::path::{Path, PathBuf};

use anyhow::Result;
use results::RunFolder;

use super::Scenario;
use super::ensemble::Ensemble;
use super::pair::Pair;

pub struct Stage {
    folder: PathBuf,
    control: bool,
}

impl Stage {
    pub fn new(_: &'static Scenario, folder: &Path, control: bool, _: u64) -> Stage {
        Stage { folder: folder.to_owned(), control }
    }
    pub fn is_control(&self) -> bool {
        self.control
    }
    pub fn pair(&self, settings: &[(&str, &str)]) -> Result<Pair> {
        let mut pair = self.pair_apart(settings)?;
        pair.follow()?;
        pair.await_link()?;
        Ok(pair)
    }
    pub fn pair_apart(&self, settings: &[(&str, &str)]) -> Result<Pair> {
        Pair::up(&self.folder, settings, |_| Ok(()))
    }
    pub fn ensemble(&self, size: u8) -> Result<Ensemble> {
        Ok(Ensemble::up(&self.folder, size, &["c1", "c2"], |_| Ok(()))?.0)
    }
    pub fn arm(&self) -> Result<()> {
        Ok(())
    }
    pub fn arm_at(&self, _: &[(&str, &str)]) -> Result<()> {
        Ok(())
    }
    pub fn disarm(&self) {}
    pub fn applied(&self) -> u64 {
        0
    }
    pub fn write_strikes(&self, _: &RunFolder) -> Result<()> {
        Ok(())
    }
}
