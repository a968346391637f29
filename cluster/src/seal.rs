//! The authenticated mode: data and messages that prove themselves, over links that may change, swap or replay
//! what they carry.
//!
//! Two layers. Every datum has a *seal* beside it in the dataset ([`Sealed`]): who wrote which version under which
//! key in which epoch, and a code for its content. And every request and reply of a client carries a code that
//! covers all of it ([`channel`]), so that a reply is accepted only as the answer to just this request, from just
//! this server. The server's side is the script `client/auth.lua`: an unmodified Redis computes HMAC-SHA1 from
//! `redis.sha1hex` and the two padded keys.
//!
//! | code | key | covers |
//! |---|---|---|
//! | of a content | seal | key, kind, all elements |
//! | of a seal | seal | key, version, epoch, writer, code of the content |
//! | of a request | link | shard, node, client, counter, keys and arguments, the epoch among them |
//! | of a reply | link | shard, node, client, counter, key, epoch, sequence number, seal, answer |
//! | of an evidence | link | shard, node, client, counter, epoch, number of copies |
//!
//! **Where the keys are.** Both are derived from the cluster's secret, one pair for each shard. Clients compute them;
//! a server gets the pads inside the text of the script, which the agent on its node loads before it opens the door
//! to clients. Redis has no command that shows the text of a script, and does not replicate it; so the pads cross no
//! link, are in no dataset and cannot be read by the user that clients log in as.
//!
//! **Why SHA-1.** It is what Redis offers to scripts. HMAC needs less of its hash than signatures do: the known
//! collisions of SHA-1 need two texts chosen by one who knows the state they start from, which here is the key.

use hmac::{Hmac, KeyInit, Mac as _};
use sha1::Sha1;

use crate::credentials::{Secret, hex};

pub mod channel;
mod script;
mod sealed;
#[cfg(test)]
mod tests;

pub use script::{Script, Scripts};
pub use sealed::{SealError, Sealed};

/// Bytes of a block of SHA-1, and so of a padded key.
const BLOCK: usize = 64;

/// A key for HMAC-SHA1 (RFC 2104).
#[derive(Clone)]
pub struct MacKey([u8; BLOCK]);

impl std::fmt::Debug for MacKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MacKey(…)")
    }
}

impl MacKey {
    /// A key; one longer than a block is hashed first, as the RFC says.
    pub fn new(key: &[u8]) -> Self {
        use sha1::Digest;
        let mut padded = [0; BLOCK];
        if key.len() > BLOCK {
            padded[..20].copy_from_slice(&Sha1::digest(key));
        } else {
            padded[..key.len()].copy_from_slice(key);
        }
        MacKey(padded)
    }

    fn hmac(&self, text: &[u8]) -> Hmac<Sha1> {
        let mut hmac = Hmac::<Sha1>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        hmac.update(text);
        hmac
    }

    /// The code of a text, in lowercase hexadecimal.
    pub fn mac(&self, text: &[u8]) -> String {
        hex(&self.hmac(text).finalize().into_bytes())
    }

    /// Whether `code` is that of `text`. Takes the same time wherever the two differ.
    pub fn accepts(&self, text: &[u8], code: &[u8]) -> bool {
        unhex(code).is_some_and(|bytes| self.hmac(text).verify_slice(&bytes).is_ok())
    }

    /// The key mixed with the inner and the outer pad of the RFC, from which a script goes on.
    fn pads(&self) -> [[u8; BLOCK]; 2] {
        [0x36, 0x5c].map(|pad| self.0.map(|byte| byte ^ pad))
    }
}

/// The keys of one shard.
#[derive(Debug, Clone)]
pub struct Keys {
    /// For what is stored.
    pub seal: MacKey,
    /// For requests and replies.
    pub link: MacKey,
}

impl Keys {
    /// Derives the keys of a shard.
    pub fn of(secret: &Secret, shard: u32) -> Self {
        let key = |purpose: &str| MacKey::new(secret.derive(&format!("{purpose}/{shard}")).as_bytes());
        Keys { seal: key("seal"), link: key("link") }
    }
}

/// Whom a request is for and a reply is from: codes cover both, so that neither counts elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// Shard it serves.
    pub shard: u32,
    /// Name of its node.
    pub node: String,
}

/// A list of texts as one that no other list gives: each with its length before it.
fn join<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> Vec<u8> {
    let mut joined = Vec::new();
    for part in parts {
        let part = part.as_ref();
        joined.extend_from_slice(part.len().to_string().as_bytes());
        joined.push(b':');
        joined.extend_from_slice(part);
    }
    joined
}

/// The list that [`join`] has made `text` of; none if it has not.
fn split(mut text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let colon = text.iter().position(|byte| *byte == b':')?;
        let digits = std::str::from_utf8(&text[..colon]).ok()?;
        let length: usize = digits.parse().ok().filter(|length: &usize| length.to_string() == digits)?;
        let end = (colon + 1).checked_add(length).filter(|end| *end <= text.len())?;
        parts.push(&text[colon + 1..end]);
        text = &text[end..];
    }
    Some(parts)
}

/// A number as [`ToString`] writes it, and no other way.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.parse().ok().filter(|number: &u64| number.to_string() == text)
}

/// Bytes of lowercase hexadecimal: capitals would be a second way to write the same code.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_chunks::<2>();
    let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
    rest.is_empty().then(|| pairs.iter().map(byte).collect())?
}
