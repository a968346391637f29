//! Where a file has holes: what writes there will need space for.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;

use super::unsynced::BLOCK;

/// Bytes of `range`, widened to whole blocks, that lie in holes of the file: none past its end.
pub(crate) fn to_allocate(file: &File, range: Range<u64>) -> io::Result<u64> {
    if range.is_empty() {
        return Ok(0);
    }
    let wide = range.start / BLOCK * BLOCK..range.end.next_multiple_of(BLOCK);
    let len = file.metadata()?.len();
    let wide = wide.start..wide.end.min(len);
    Ok((wide.end - wide.start) - allocated(file, wide)?)
}

/// Bytes of `range` that hold data; an empty or reversed range holds none.
pub(crate) fn allocated(file: &File, range: Range<u64>) -> io::Result<u64> {
    let (mut at, mut data) = (range.start, 0);
    while at < range.end {
        let Some(start) = seek(file, at, libc::SEEK_DATA)?.filter(|start| *start < range.end) else { break };
        let end = seek(file, start, libc::SEEK_HOLE)?.unwrap_or(range.end).min(range.end);
        data += end - start;
        at = end;
    }
    Ok(data)
}

/// The next place of this kind; `None` if there is none any more (lseek(2): `ENXIO`).
fn seek(file: &File, at: u64, whence: libc::c_int) -> io::Result<Option<u64>> {
    // SAFETY: a plain system call on an open descriptor, whose own position nobody uses.
    let place = unsafe { libc::lseek(file.as_raw_fd(), at as libc::off_t, whence) };
    match u64::try_from(place) {
        Ok(place) => Ok(Some(place)),
        Err(_) => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ENXIO) => Ok(None),
            e => Err(e),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn holes_need_space_and_data_do_not() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[1; 10], 0).unwrap();
        file.set_len(100 * BLOCK).unwrap();
        file.write_all_at(&[1; 10], 50 * BLOCK).unwrap();
        assert_eq!(allocated(&file, 0..100 * BLOCK).unwrap(), 2 * BLOCK);
        assert_eq!(to_allocate(&file, 0..10).unwrap(), 0);
        assert_eq!(to_allocate(&file, 10..BLOCK + 1).unwrap(), BLOCK);
        assert_eq!(to_allocate(&file, 49 * BLOCK..51 * BLOCK).unwrap(), BLOCK);
        assert_eq!(to_allocate(&file, 99 * BLOCK..200 * BLOCK).unwrap(), BLOCK);
        assert_eq!(to_allocate(&file, 5..5).unwrap() + allocated(&file, 9..9).unwrap(), 0);
    }
}
