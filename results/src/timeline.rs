//! The operations of a run, packed for the page that draws them: a million fit into a few megabytes.
//!
//! What [`pack`] returns is base64 of a zlib stream, which any browser opens by itself. In it stand, in this order:
//!
//! 1. the length of the head, four bytes, little-endian, and the [`Head`] as JSON;
//! 2. columns of numbers, one after the other, each with one number per operation, in LEB128: microseconds since the
//!    call before; microseconds it took plus one, or 0 where it never returned; place of its process in the head;
//!    place of its function, times three, plus its end; place of its key; place of where it was sent; place of its
//!    error plus one; and by how much the index of its invocation grew (zigzag);
//! 3. two columns of text, one line per operation: what was given, and what came back, as JSON, cut when long.
//!
//! Columns rather than rows, since neighbours in a column are alike, and that is what compression lives on. Nothing is
//! held in memory but the tables of names and the compressed bytes.

mod columns;
mod head;

use std::io::{self, Write};

use checker::Op;
use flate2::Compression;
use flate2::write::ZlibEncoder;

use self::columns::Columns;
pub use self::head::{Band, Head, Mark, Phases, Proof};
use crate::base64::Base64;
use crate::plot::Data;

/// Rather fast than small: a level more costs seconds for a million operations and saves a few per cent.
const LEVEL: Compression = Compression::new(4);

/// Operations, faults and marks as one string of base64.
///
/// `workers` is the number of clients that act at a time: process `p` is drawn in the lane of worker `p % workers`.
/// `proofs` are the anomalies to stand at.
pub fn pack(data: &Data<'_>, workers: u64, proofs: Vec<Proof>) -> io::Result<String> {
    let mut ops: Vec<&Op> = data.history.ops.iter().collect();
    ops.sort_by_key(|op| op.call_ns);
    let mut columns = Columns::new(workers);
    ops.iter().for_each(|op| columns.note(op));
    let head = serde_json::to_vec(&Head::new(data, &columns, proofs))?;

    let mut out = ZlibEncoder::new(Base64::default(), LEVEL);
    out.write_all(&(head.len() as u32).to_le_bytes())?;
    out.write_all(&head)?;
    columns.write(&ops, &mut out)?;
    Ok(out.finish()?.finish())
}
