//! Base64 (RFC 4648, padded) of what is written, as it is written: megabytes of it stand in a page.

use std::io::{self, Write};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Turns what is written to it into text.
#[derive(Debug, Default)]
pub(crate) struct Base64 {
    text: String,
    /// Bytes that do not make three yet.
    rest: Vec<u8>,
}

impl Base64 {
    /// The text of a few bytes.
    pub(crate) fn of(bytes: &[u8]) -> String {
        let mut out = Base64::default();
        out.take(bytes);
        out.finish()
    }

    /// The text of all that was written.
    pub(crate) fn finish(mut self) -> String {
        let rest = std::mem::take(&mut self.rest);
        self.group(&rest);
        self.text
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while !self.rest.is_empty() && self.rest.len() < 3 && !bytes.is_empty() {
            self.rest.push(bytes[0]);
            bytes = &bytes[1..];
        }
        if self.rest.len() == 3 {
            let rest = std::mem::take(&mut self.rest);
            self.group(&rest);
        }
        let groups = bytes.chunks_exact(3);
        self.rest.extend(groups.remainder());
        groups.for_each(|group| self.group(group));
    }

    /// Three bytes, or at the end fewer.
    fn group(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let byte = |i: usize| u32::from(bytes.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * i) & 63) as usize];
            self.text.push(if i > bytes.len() { '=' } else { char::from(digit) });
        }
    }
}

impl Write for Base64 {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_standard_however_it_is_cut() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, coded) in vectors {
            for cut in 0..=plain.len() {
                let mut out = Base64::default();
                let (one, other) = plain.as_bytes().split_at(cut);
                out.take(one);
                out.take(other);
                assert_eq!(out.finish(), coded);
            }
        }
    }
}
