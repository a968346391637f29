//! The scripts of the authenticated mode, as an agent loads them and clients call them.

use sha1::{Digest, Sha1};

use super::{BLOCK, Keys, MacKey, Server, hex};

/// What comes before the operations.
const PRELUDE: &str = include_str!("../client/auth.lua");

/// A script and the name Redis gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    /// Its text. It holds keys: load it over a link that nobody else can read, never send it as a client.
    pub text: String,
    /// SHA-1 of the text, in hexadecimal: what `EVALSHA` takes.
    pub sha: String,
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Script({})", self.sha)
    }
}

impl Script {
    fn new(text: String) -> Self {
        let sha = hex(&Sha1::digest(text.as_bytes()));
        Script { text, sha }
    }
}

/// The scripts of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripts {
    /// Carries out an operation. Keys: the key, epoch, seq, and whatever the operation's checks want. Arguments:
    /// the epoch, whatever else the checks want, the operation, and client, counter and code.
    pub operation: Script,
    /// Notes the end of the replication stream after it. Arguments: client, counter.
    pub mark: Script,
    /// Counts the replicas that have all up to the mark. Key: epoch. Arguments: client, counter.
    pub evidence: Script,
}

impl Scripts {
    /// The scripts of `server`; `definitions` and `body` are the operations and what a plain script does with
    /// them, in Lua.
    pub fn of(server: &Server, keys: &Keys, definitions: &str, body: &str) -> Self {
        let prelude = PRELUDE
            .replace("@seal@", &pads(&keys.seal))
            .replace("@link@", &pads(&keys.link))
            .replace("@shard@", &literal(server.shard.to_string().as_bytes()))
            .replace("@node@", &literal(server.node.as_bytes()));
        let ending = |end: &str| Script::new(format!("{prelude}{end}"));
        Scripts {
            operation: ending(&format!(
                "{definitions}\nlocal function operate()\n{body}end\nreturn authenticated(operate)\n"
            )),
            mark: ending("return mark(ARGV[1], ARGV[2])\n"),
            evidence: ending("return evidence(ARGV[1], ARGV[2], KEYS[1])\n"),
        }
    }

    /// All of them.
    pub fn all(&self) -> [&Script; 3] {
        [&self.operation, &self.mark, &self.evidence]
    }
}

fn pads(key: &MacKey) -> String {
    let [inner, outer]: [[u8; BLOCK]; 2] = key.pads();
    format!("{{ {}, {} }}", literal(&inner), literal(&outer))
}

/// Bytes as a Lua string.
fn literal(bytes: &[u8]) -> String {
    let escaped: String = bytes.iter().map(|byte| format!("\\{byte:03}")).collect();
    format!("'{escaped}'")
}
