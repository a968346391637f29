//! A seal: who wrote which version of what, with a code that only members of the cluster can compute.

use thiserror::Error;

use super::{MacKey, join, number, split};

/// Hexadecimal digits of a code.
const CODE: usize = 40;

/// What a seal says. As text: the five fields, each with its length before it, then the code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Key it belongs to.
    pub key: String,
    /// 1 for the first content, one more for each change.
    pub version: u64,
    /// Epoch in which it was written.
    pub epoch: u64,
    /// Client that has written it.
    pub writer: String,
    /// What is sealed: in the cluster, the code of the content.
    pub payload: Vec<u8>,
}

/// Why a seal is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SealError {
    /// It does not have the form of one.
    #[error("malformed seal")]
    Malformed,
    /// Nobody who has the key made it, or somebody changed it since.
    #[error("fabricated seal")]
    Fabricated,
    /// It is authentic, but belongs elsewhere.
    #[error("seal of key {found:?}, not {asked:?}")]
    OtherKey {
        /// Key that was asked for.
        asked: String,
        /// Key it belongs to.
        found: String,
    },
}

impl Sealed {
    fn fields(&self) -> Vec<u8> {
        let (version, epoch) = (self.version.to_string(), self.epoch.to_string());
        join([
            self.key.as_bytes(),
            version.as_bytes(),
            epoch.as_bytes(),
            self.writer.as_bytes(),
            &self.payload,
        ])
    }

    /// The seal as text.
    pub fn seal(&self, key: &MacKey) -> Vec<u8> {
        let mut text = self.fields();
        let code = key.mac(&covered(&text));
        text.extend_from_slice(code.as_bytes());
        text
    }

    /// Reads the seal of what is stored under `asked`.
    pub fn open(asked: &str, text: &[u8], key: &MacKey) -> Result<Self, SealError> {
        let (fields, code) =
            text.split_at_checked(text.len().saturating_sub(CODE)).ok_or(SealError::Malformed)?;
        let sealed = Sealed::read(fields).ok_or(SealError::Malformed)?;
        if !key.accepts(&covered(fields), code) {
            return Err(SealError::Fabricated);
        }
        if sealed.key != asked {
            return Err(SealError::OtherKey { asked: asked.to_owned(), found: sealed.key });
        }
        Ok(sealed)
    }

    fn read(fields: &[u8]) -> Option<Self> {
        let parts = split(fields)?;
        let [key, version, epoch, writer, payload] = parts.as_slice() else { return None };
        Some(Sealed {
            key: String::from_utf8(key.to_vec()).ok()?,
            version: number(version)?,
            epoch: number(epoch)?,
            writer: String::from_utf8(writer.to_vec()).ok()?,
            payload: payload.to_vec(),
        })
    }
}

/// What the code of a seal covers: a word that no other code begins with, then the fields.
fn covered(fields: &[u8]) -> Vec<u8> {
    let mut covered = join(["seal"]);
    covered.extend_from_slice(fields);
    covered
}
