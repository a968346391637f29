//! Users and passwords of the Redis servers: one for the agents, and two for each epoch.
//!
//! Each epoch's users exist on that epoch's master only. A replica logs in with the credentials of the epoch
//! its agent has promised, a client with those of the epoch it believes in; so neither can work with a
//! master of another epoch, whatever the network or a slow process does.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// User of the agents, on every server, with all rights.
pub const AGENT: &str = "agent";

/// User of clients that read at replicas, on every server.
pub const READER: &str = "reader";

/// What the cluster's own passwords are derived from. Whoever has it may do everything.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(Arc<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A user name and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name of the Redis user.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user)
    }
}

impl Secret {
    /// A secret that is known already.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into().into())
    }

    /// A new secret of 32 random bytes from the system.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0u8; 32];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Secret::new(hex(&bytes)))
    }

    /// The text of a file, without white space around it.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        Ok(Secret::new(fs::read_to_string(path)?.trim()))
    }

    /// Its text, for the file that others read it from.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The agents' login, the same on all servers.
    pub fn agent(&self) -> Login {
        Login { user: AGENT.into(), password: self.derive("agent") }
    }

    /// The login of clients that read at replicas, the same on all servers.
    pub fn reader(&self) -> Login {
        Login { user: READER.into(), password: self.derive("reader") }
    }

    /// The login of clients at the master of an epoch.
    pub fn client(&self, shard: u32, epoch: u64) -> Login {
        Login { user: format!("cli-{epoch}"), password: self.derive(&format!("client/{shard}/{epoch}")) }
    }

    /// The login of replicas at the master of an epoch.
    pub fn replica(&self, shard: u32, epoch: u64) -> Login {
        Login { user: format!("repl-{epoch}"), password: self.derive(&format!("replica/{shard}/{epoch}")) }
    }

    /// HMAC-SHA256 of a purpose, in hexadecimal.
    pub(crate) fn derive(&self, purpose: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.0.as_bytes()).expect("HMAC takes keys of any length");
        mac.update(purpose.as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a user was made for one epoch.
pub fn is_of_an_epoch(user: &str) -> bool {
    epoch_of(user).is_some()
}

/// The epoch a user was made for: `repl-7` is 7.
pub fn epoch_of(user: &str) -> Option<u64> {
    user.strip_prefix("repl-").or_else(|| user.strip_prefix("cli-"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_purpose_has_a_password_of_its_own() {
        let secret = Secret::new("s");
        let logins = [
            secret.agent(),
            secret.client(0, 1),
            secret.client(0, 2),
            secret.client(1, 1),
            secret.replica(0, 1),
            Secret::new("t").agent(),
        ];
        let passwords: std::collections::BTreeSet<_> = logins.iter().map(|login| &login.password).collect();
        assert_eq!(passwords.len(), logins.len());
        assert_eq!(secret.client(0, 1), secret.client(0, 1));
    }

    #[test]
    fn a_user_tells_its_epoch() {
        assert_eq!((epoch_of("repl-12"), epoch_of("cli-3"), epoch_of("agent")), (Some(12), Some(3), None));
    }

    #[test]
    fn secrets_are_not_printed() {
        assert!(!format!("{:?} {:?}", Secret::new("hush"), Secret::new("hush").agent()).contains("hush"));
    }
}
