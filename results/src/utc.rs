//! Wall-clock times as text, UTC only.

use std::time::{SystemTime, UNIX_EPOCH};

/// RFC 3339 with seconds: `2026-11-22T14:37:32Z`. Times before 1970 count as 1970.
pub fn rfc3339(time: SystemTime) -> String {
    let (y, mo, d, h, mi, s) = fields(time);
    format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z")
}

/// Sorts by name as by time and is legal in every file name: `20261122T143732Z`.
pub fn compact(time: SystemTime) -> String {
    let (y, mo, d, h, mi, s) = fields(time);
    format!("{y:04}{mo:02}{d:02}T{h:02}{mi:02}{s:02}Z")
}

fn fields(time: SystemTime) -> (u64, u64, u64, u64, u64, u64) {
    let secs = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = date(secs / 86_400);
    (year, month, day, secs / 3600 % 24, secs / 60 % 60, secs % 60)
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar.
fn date(mut day: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    while day >= 365 + leap(year) {
        day -= 365 + leap(year);
        year += 1;
    }
    let lengths = [31, 28 + leap(year), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= lengths[month] {
        day -= lengths[month];
        month += 1;
    }
    (year, month as u64 + 1, day + 1)
}

fn leap(year: u64) -> u64 {
    u64::from(year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(secs)
    }

    #[test]
    fn known_instants_come_out_as_the_calendar_has_them() {
        assert_eq!(rfc3339(at(0)), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(at(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(at(1_709_251_199)), "2024-02-29T23:59:59Z");
        assert_eq!(rfc3339(at(4_107_542_400)), "2100-03-01T00:00:00Z");
        assert_eq!(compact(at(1_795_358_252)), "20261122T143732Z");
    }
}
