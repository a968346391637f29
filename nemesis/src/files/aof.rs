//! Redis' append-only file: commands as arrays of bulk strings, one after the other, without a checksum.

use std::ops::Range;

use super::Value;

/// The complete records from the start on; what follows the last of them is cut off or damaged.
pub fn records(bytes: &[u8]) -> Vec<Range<usize>> {
    parse(bytes).into_iter().map(|record| record.whole).collect()
}

/// The last argument of each command of three or more: the value of a write, with command and key.
pub fn values(bytes: &[u8]) -> Vec<Value> {
    let mut values = Vec::new();
    for Record { arguments, .. } in parse(bytes) {
        if let [command, key, .., value] = &arguments[..]
            && !value.is_empty()
        {
            let text = |at: &Range<usize>| String::from_utf8_lossy(&bytes[at.clone()]).into_owned();
            values.push(Value { of: format!("{} {}", text(command), text(key)), at: value.clone() });
        }
    }
    values
}

struct Record {
    whole: Range<usize>,
    arguments: Vec<Range<usize>>,
}

fn parse(bytes: &[u8]) -> Vec<Record> {
    let (mut records, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        // A time stamp (`#TS:…`) stands on a line of its own.
        if bytes[at] == b'#' {
            match line(bytes, at) {
                Some((_, next)) => at = next,
                None => break,
            }
            continue;
        }
        let Some(record) = record(bytes, at) else { break };
        at = record.whole.end;
        records.push(record);
    }
    records
}

fn record(bytes: &[u8], start: usize) -> Option<Record> {
    let (count, mut at) = number(bytes, start, b'*')?;
    let mut arguments = Vec::new();
    for _ in 0..count {
        let (len, from) = number(bytes, at, b'$')?;
        let to = from.checked_add(len)?;
        if bytes.get(to..to.checked_add(2)?)? != b"\r\n" {
            return None;
        }
        arguments.push(from..to);
        at = to + 2;
    }
    Some(Record { whole: start..at, arguments })
}

/// A line of this kind that holds a number, and where the next begins.
fn number(bytes: &[u8], at: usize, kind: u8) -> Option<(usize, usize)> {
    let (line, next) = line(bytes, at)?;
    let digits = line.strip_prefix(&[kind])?;
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, next))
}

fn line(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(at..)?;
    let len = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..len], at + len + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &[u8] =
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n#TS:1700000000\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\na\r\nb\r\n";

    #[test]
    fn values_are_the_last_of_three_or_more_whatever_bytes_they_hold() {
        assert_eq!(records(TWO).len(), 2);
        let values = values(TWO);
        assert_eq!(values.len(), 1);
        assert_eq!((&values[0].of[..], &TWO[values[0].at.clone()]), ("SET k", &b"a\r\nb"[..]));
    }

    #[test]
    fn a_record_that_is_cut_is_none() {
        for cut in 40..TWO.len() {
            assert_eq!(records(&TWO[..cut]).len(), 1, "{cut}");
        }
        assert!(records(b"*9999999999999999999\r\n").is_empty());
        assert!(records(b"*1\r\n$18446744073709551615\r\n").is_empty());
    }
}
