//! The configuration file of an agent.

use std::path::{Path, PathBuf};

use super::{Launch, ProvisionError, make_dir, write};
use crate::agent::AgentConfig;

/// One agent to be.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Program that runs it: `shard-agent` itself, or another with the arguments that lead to
    /// [`crate::agent::main`].
    pub program: Vec<PathBuf>,
    /// Its settings.
    pub config: AgentConfig,
    /// Directory of its own.
    pub dir: PathBuf,
}

impl Agent {
    /// Writes `agent.toml` and says how to start the agent. The event file is kept over restarts.
    pub fn prepare(&self) -> Result<Launch, ProvisionError> {
        make_dir(&self.dir)?;
        if let Some(parent) = Path::new(&self.config.events).parent() {
            make_dir(parent)?;
        }
        let file = self.dir.join("agent.toml");
        let text = toml::to_string(&self.config)
            .map_err(|e| ProvisionError::Settings(format!("agent settings do not fit into TOML: {e}")))?;
        write(&file, &text)?;
        let mut argv: Vec<_> = self.program.iter().map(|part| part.clone().into_os_string()).collect();
        argv.extend(["--config".into(), file.into()]);
        Ok(Launch { argv, env: Vec::new(), cwd: self.dir.clone() })
    }
}
