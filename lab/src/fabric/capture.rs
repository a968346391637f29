//! A recording of every packet that reached the fabric, as a pcapng file that Wireshark opens.
//!
//! Format: IETF draft-ietf-opsawg-pcapng. One interface per node, named after it and of link type IPV4
//! (228); each packet stands on its sender's interface with the wall-clock time it reached the fabric,
//! in nanoseconds. A comment says what a rule did to it, so `frame.comment contains "dropped"` filters.
//! Name resolution blocks carry the nodes' names.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::switch::now_ns;
use crate::error::{LabError, Result};

/// Bytes gathered before they are handed to the writer.
const CHUNK_BYTES: usize = 256 * 1024;
/// The longest a packet waits to be handed on.
const FLUSH_NS: u64 = 100_000_000;
/// Chunks that may wait for a slow disk; past that, packets are left out and counted.
const CHUNKS_WAITING_MAX: usize = 256;

/// What became of a packet when it reached the fabric.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note<'a> {
    Passed,
    Dropped { rule: &'a str },
    Held { for_ns: u64 },
    DroppedInFlight { rule: &'a str },
    Altered { rule: &'a str },
    Made { rule: &'a str },
    Taken { tap: &'a str },
}

impl Note<'_> {
    fn comment(self) -> Option<String> {
        match self {
            Note::Passed => None,
            Note::Dropped { rule } => Some(format!("dropped by {rule}")),
            Note::Held { for_ns } => Some(format!("held for {:.3} ms", for_ns as f64 / 1e6)),
            Note::DroppedInFlight { rule } => Some(format!("dropped by {rule} after being held")),
            Note::Altered { rule } => Some(format!("altered by {rule}")),
            Note::Made { rule } => Some(format!("made by {rule}")),
            Note::Taken { tap } => Some(format!("taken by {tap}")),
        }
    }
}

/// The recording end, owned by the switch thread.
pub(crate) struct Capture {
    chunk: Vec<u8>,
    oldest_ns: u64,
    to_writer: SyncSender<Vec<u8>>,
    lost_packets: Arc<AtomicU64>,
    packets_in_chunk: u64,
}

/// The writing end: a thread of its own, so that a slow disk does not slow the network.
pub(crate) struct CaptureWriter {
    thread: Option<JoinHandle<std::io::Result<()>>>,
    path: PathBuf,
    to_writer: Option<SyncSender<Vec<u8>>>,
    pub(crate) lost_packets: Arc<AtomicU64>,
}

impl CaptureWriter {
    /// Creates the file and starts the writer, which ends when the file has `bytes_max`.
    pub(crate) fn create(path: &Path, lab: &str, bytes_max: Option<u64>) -> Result<CaptureWriter> {
        let error = |source| LabError::File { path: path.to_owned(), source };
        let mut file = File::create(path).map_err(error)?;
        file.write_all(&block::section_header(lab)).map_err(error)?;
        let (to_writer, chunks) = sync_channel::<Vec<u8>>(CHUNKS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("fabric-capture".to_owned())
            .spawn(move || write(&mut file, &chunks, bytes_max.unwrap_or(u64::MAX)))
            .map_err(error)?;
        Ok(CaptureWriter {
            thread: Some(thread),
            path: path.to_owned(),
            to_writer: Some(to_writer),
            lost_packets: Arc::default(),
        })
    }

    /// The end for the switch thread.
    pub(crate) fn recorder(&self) -> Option<Capture> {
        Some(Capture {
            chunk: Vec::with_capacity(CHUNK_BYTES + 4096),
            oldest_ns: 0,
            to_writer: self.to_writer.clone()?,
            lost_packets: self.lost_packets.clone(),
            packets_in_chunk: 0,
        })
    }

    /// Announces a node; must come before its first packet, and in order of node numbers.
    pub(crate) fn add_interface(&self, name: &str, addr: Ipv4Addr) {
        if let Some(to_writer) = &self.to_writer {
            let mut blocks = block::interface(name);
            blocks.extend(block::name_resolution(addr, name));
            let _ = to_writer.send(blocks);
        }
    }

    /// Waits until everything is on its way to the disk. The switch must have ended.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.to_writer = None;
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(source))) => Err(LabError::File { path: self.path.clone(), source }),
            _ => Ok(()),
        }
    }
}

/// Writes until nothing comes any more, or there is no room for what comes: that ends the channel, and whoever sends
/// into it counts what is lost.
fn write(file: &mut File, chunks: &Receiver<Vec<u8>>, bytes_max: u64) -> std::io::Result<()> {
    let mut room = bytes_max;
    for chunk in chunks {
        let Some(left) = room.checked_sub(chunk.len() as u64) else { break };
        room = left;
        file.write_all(&chunk)?;
    }
    Ok(())
}

impl Capture {
    pub(crate) fn packet(&mut self, from: usize, packet: &[u8], note: Note<'_>) {
        if self.chunk.is_empty() {
            self.oldest_ns = now_ns();
        }
        let comment = note.comment();
        block::packet(&mut self.chunk, from as u32, wall_ns(), packet, comment.as_deref());
        self.packets_in_chunk += 1;
        if self.chunk.len() >= CHUNK_BYTES {
            self.flush();
        }
    }

    /// Nanoseconds until the chunk should be handed on; hands it on if that is now.
    pub(crate) fn flush_in_ns(&mut self) -> Option<u64> {
        if self.chunk.is_empty() {
            return None;
        }
        let age_ns = now_ns().saturating_sub(self.oldest_ns);
        if age_ns >= FLUSH_NS {
            self.flush();
            return None;
        }
        Some(FLUSH_NS - age_ns)
    }

    fn flush(&mut self) {
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES + 4096));
        if self.to_writer.try_send(chunk).is_err() {
            self.lost_packets.fetch_add(self.packets_in_chunk, Relaxed);
        }
        self.packets_in_chunk = 0;
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if !self.chunk.is_empty() {
            // The last chunk may wait for the disk: the network has ended.
            let _ = self.to_writer.send(std::mem::take(&mut self.chunk));
        }
    }
}

fn wall_ns() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

/// The blocks of the format, in little-endian order.
mod block {
    use std::net::Ipv4Addr;

    const LINKTYPE_IPV4: u16 = 228;
    const OPT_COMMENT: u16 = 1;
    const SHB_USERAPPL: u16 = 4;
    const IF_NAME: u16 = 2;
    const IF_TSRESOL: u16 = 9;
    const NRB_RECORD_IPV4: u16 = 1;

    pub(super) fn section_header(lab: &str) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(0x1a2b_3c4d_u32.to_le_bytes());
        body.extend(1u16.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        body.extend(u64::MAX.to_le_bytes()); // section length: not known in advance
        option(&mut body, OPT_COMMENT, lab.as_bytes());
        option(&mut body, SHB_USERAPPL, concat!("lab ", env!("CARGO_PKG_VERSION")).as_bytes());
        end_of_options(&mut body);
        whole(0x0a0d_0d0a, &body)
    }

    pub(super) fn interface(name: &str) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(LINKTYPE_IPV4.to_le_bytes());
        body.extend(0u16.to_le_bytes());
        body.extend(0u32.to_le_bytes()); // snap length: none
        option(&mut body, IF_NAME, name.as_bytes());
        option(&mut body, IF_TSRESOL, &[9]);
        end_of_options(&mut body);
        whole(1, &body)
    }

    pub(super) fn name_resolution(addr: Ipv4Addr, name: &str) -> Vec<u8> {
        let mut record = addr.octets().to_vec();
        record.extend(name.as_bytes());
        record.push(0);
        let mut body = Vec::new();
        option(&mut body, NRB_RECORD_IPV4, &record); // records share the options' shape
        end_of_options(&mut body);
        whole(4, &body)
    }

    /// Appends an enhanced packet block.
    pub(super) fn packet(
        out: &mut Vec<u8>,
        interface: u32,
        time_ns: u64,
        data: &[u8],
        comment: Option<&str>,
    ) {
        let start = out.len();
        out.extend(6u32.to_le_bytes());
        out.extend([0; 4]);
        out.extend(interface.to_le_bytes());
        out.extend(((time_ns >> 32) as u32).to_le_bytes());
        out.extend((time_ns as u32).to_le_bytes());
        out.extend((data.len() as u32).to_le_bytes());
        out.extend((data.len() as u32).to_le_bytes());
        padded(out, data);
        if let Some(comment) = comment {
            option(out, OPT_COMMENT, comment.as_bytes());
            end_of_options(out);
        }
        let total = (out.len() - start + 4) as u32;
        out[start + 4..start + 8].copy_from_slice(&total.to_le_bytes());
        out.extend(total.to_le_bytes());
    }

    fn whole(kind: u32, body: &[u8]) -> Vec<u8> {
        let total = (body.len() + 12) as u32;
        let mut out = Vec::with_capacity(body.len() + 12);
        out.extend(kind.to_le_bytes());
        out.extend(total.to_le_bytes());
        out.extend(body);
        out.extend(total.to_le_bytes());
        out
    }

    fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        out.extend(code.to_le_bytes());
        out.extend((value.len() as u16).to_le_bytes());
        padded(out, value);
    }

    fn end_of_options(out: &mut Vec<u8>) {
        out.extend([0; 4]);
    }

    fn padded(out: &mut Vec<u8>, data: &[u8]) {
        out.extend(data);
        out.extend(&[0; 3][..data.len().next_multiple_of(4) - data.len()]);
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_block_is_whole_words_and_carries_its_length_twice() {
            for len in 0..9 {
                let mut out = Vec::new();
                packet(&mut out, 3, 0x1_0000_0002, &vec![0x45; len], (len % 2 == 0).then_some("dropped"));
                check(&out);
            }
            check(&section_header("demo"));
            check(&interface("s0r1"));
            check(&name_resolution(Ipv4Addr::new(10, 77, 0, 1), "s0r1"));
        }

        fn check(block: &[u8]) {
            let length = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
            assert_eq!(block.len() % 4, 0);
            assert_eq!(length(4) as usize, block.len());
            assert_eq!(length(block.len() - 4) as usize, block.len());
        }
    }
}
