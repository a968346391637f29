//! Requests and replies with codes: what a client sends, and what it accepts.

use redis::{Cmd, Value, cmd};
use thiserror::Error;

use super::{Keys, Script, SealError, Sealed, Server, join, number, split};

/// Names one request, once and for all: a client's own name, and a number that only grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce {
    /// Name of the client, different from that of every other, over restarts too.
    pub client: String,
    /// Number of the request, from 1.
    pub counter: u64,
}

impl Nonce {
    /// Before the first request of a client whose name nobody else will have: 128 bits that the standard library
    /// draws from the system. They need not be secret.
    pub fn fresh() -> Self {
        use std::hash::{BuildHasher, Hasher, RandomState};
        let word = || RandomState::new().build_hasher().finish();
        Nonce { client: format!("{:016x}{:016x}", word(), word()), counter: 0 }
    }

    /// Goes on to the next request, and names it.
    pub fn advance(&mut self) -> Nonce {
        self.counter += 1;
        self.clone()
    }
}

/// Why a reply is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Rejected {
    /// An error or another reply without a code: anybody may have made it.
    #[error("reply without proof: {0}")]
    Unproven(String),
    /// Its code is not that of the answer to this request.
    #[error("reply is not the answer to this request")]
    Forged,
    /// The answer is authentic, but the seal that came with it is not.
    #[error("{0}")]
    Seal(#[from] SealError),
    /// The answer is authentic, but not in a form that the script produces.
    #[error("answer of an unknown form")]
    Odd,
}

/// An accepted reply to an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// What the operation said, an error reply of its own included.
    pub answer: Value,
    /// Sequence number of the dataset after it.
    pub seq: u64,
    /// The seal of what is now stored under the key; none if nothing ever was.
    pub sealed: Option<Sealed>,
}

/// Accepted evidence that copies exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Replicas that have confirmed the operation and everything before it.
    pub copies: u32,
    /// Epoch of the dataset after the copies were counted; none if it has none.
    pub epoch: Option<u64>,
}

/// One request: everything its codes and its reply's depend on.
#[derive(Debug, Clone)]
pub struct Exchange<'a> {
    /// Keys of the shard.
    pub keys: &'a Keys,
    /// Whom it is for.
    pub server: &'a Server,
    /// Which one it is.
    pub nonce: &'a Nonce,
}

impl Exchange<'_> {
    /// What every code of this exchange begins with.
    fn named(&self, purpose: &str) -> Vec<u8> {
        let (shard, counter) = (self.server.shard.to_string(), self.nonce.counter.to_string());
        join([purpose, &shard, &self.server.node, &self.nonce.client, &counter])
    }

    /// The call of `script` with `keys` and `words`, proven.
    pub fn operation(&self, script: &Script, keys: &[&str], words: &[String]) -> Cmd {
        let mut covered = self.named("request");
        covered.extend(join([keys.len().to_string()]));
        covered.extend(join(keys));
        covered.extend(join(words));
        let mut call = cmd("EVALSHA");
        call.arg(&script.sha).arg(keys.len()).arg(keys).arg(words);
        call.arg(&self.nonce.client).arg(self.nonce.counter).arg(self.keys.link.mac(&covered));
        call
    }

    /// The call that notes where the operation ends.
    pub fn mark(&self, script: &Script) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(&script.sha).arg(0).arg(&self.nonce.client).arg(self.nonce.counter);
        call
    }

    /// The call that asks for evidence.
    pub fn evidence(&self, script: &Script, epoch_key: &str) -> Cmd {
        let mut call = cmd("EVALSHA");
        call.arg(&script.sha).arg(1).arg(epoch_key).arg(&self.nonce.client).arg(self.nonce.counter);
        call
    }

    /// Accepts the reply to the operation on `key` in `epoch`, or says why not.
    pub fn accept(&self, key: &str, epoch: u64, reply: &Value) -> Result<Accepted, Rejected> {
        let [body, seq, sealed, code] = proven(reply)?;
        let epoch = epoch.to_string();
        let mut covered = self.named("reply");
        covered.extend(join([key.as_bytes(), epoch.as_bytes(), seq, sealed, body]));
        if !self.keys.link.accepts(&covered, code) {
            return Err(Rejected::Forged);
        }
        let answer = decode(body).ok_or(Rejected::Odd)?;
        let seq = number(seq).ok_or(Rejected::Odd)?;
        // An error says nothing of what is stored; a broken seal is one.
        let told = !sealed.is_empty() && !matches!(answer, Value::ServerError(_));
        let sealed = told.then(|| Sealed::open(key, sealed, &self.keys.seal)).transpose()?;
        Ok(Accepted { answer, seq, sealed })
    }

    /// Accepts evidence, or says why not.
    pub fn accept_evidence(&self, reply: &Value) -> Result<Evidence, Rejected> {
        let [copies, epoch, code] = proven(reply)?;
        let mut covered = self.named("evidence");
        covered.extend(join([epoch, copies]));
        if !self.keys.link.accepts(&covered, code) {
            return Err(Rejected::Forged);
        }
        let copies = number(copies).and_then(|copies| u32::try_from(copies).ok()).ok_or(Rejected::Odd)?;
        let epoch = if epoch.is_empty() { None } else { Some(number(epoch).ok_or(Rejected::Odd)?) };
        Ok(Evidence { copies, epoch })
    }
}

/// The parts of a reply that has a code at its end.
fn proven<const N: usize>(reply: &Value) -> Result<[&[u8]; N], Rejected> {
    let unproven = || match reply {
        Value::ServerError(e) => Rejected::Unproven(e.code().to_owned()),
        _ => Rejected::Unproven("unexpected reply".into()),
    };
    let Value::Array(items) = reply else { return Err(unproven()) };
    let parts: Option<Vec<&[u8]>> = items
        .iter()
        .map(|item| match item {
            Value::BulkString(bytes) => Some(bytes.as_slice()),
            _ => None,
        })
        .collect();
    parts.and_then(|parts| parts.try_into().ok()).ok_or_else(unproven)
}

/// The reply that the script has written as text.
fn decode(body: &[u8]) -> Option<Value> {
    let (kind, rest) = body.split_first()?;
    let text = || String::from_utf8(rest.to_vec()).ok();
    Some(match kind {
        b'$' => Value::BulkString(rest.to_vec()),
        b':' => Value::Int(text()?.parse().ok()?),
        b'_' if rest.is_empty() => Value::Nil,
        b'+' if rest == b"OK" => Value::Okay,
        b'+' => Value::SimpleString(text()?),
        b'-' => {
            // One line, whatever the server put into it.
            let line = text()?.replace(['\r', '\n'], " ");
            redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).ok()?
        }
        b'*' => Value::Array(split(rest)?.into_iter().map(|item| Value::BulkString(item.to_vec())).collect()),
        _ => return None,
    })
}
