//! Amounts on the command line, and the clock that a checker does not have.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use checker::Stop;

/// Bytes: `1GiB`, `512 MiB`, `100MB`, `4096`.
pub fn bytes(text: &str) -> Result<u64, String> {
    let units = [("", 1), ("b", 1), ("k", 1 << 10), ("m", 1 << 20), ("g", 1 << 30), ("t", 1u64 << 40)];
    let more = [("kib", 1u64 << 10), ("mib", 1 << 20), ("gib", 1 << 30), ("tib", 1 << 40)];
    let decimal = [("kb", 1000), ("mb", 1_000_000), ("gb", 1_000_000_000), ("tb", 1_000_000_000_000)];
    let all = units.iter().chain(&more).chain(&decimal);
    let (number, unit) = split(text).ok_or("expected a number with a unit, like 1GiB or 500MB")?;
    let (_, factor) = all
        .into_iter()
        .find(|(name, _)| *name == unit)
        .ok_or_else(|| format!("`{unit}` is no unit of memory; use KiB, MiB, GiB, KB, MB or GB"))?;
    let bytes = number * *factor as f64;
    if bytes < 1.0 { Err("at least one byte".to_string()) } else { Ok(bytes as u64) }
}

/// A time: `60s`, `1.5m`, `500ms`, `2h`, `60`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text).ok_or("expected a number with a unit, like 60s or 5m")?;
    let seconds = match unit.as_str() {
        "ms" => number / 1000.0,
        "" | "s" => number,
        "m" | "min" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(format!("`{unit}` is no unit of time; use ms, s, m or h")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn split(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number = text[..end].parse::<f64>().ok()?;
    Some((number, text[end..].trim().to_ascii_lowercase()))
}

/// Raises a flag after a while, unless it is dropped before.
pub struct Alarm {
    _armed: Option<Sender<()>>,
}

impl Alarm {
    /// Raises `stop` after `after`; never for none.
    pub fn set(after: Option<Duration>, stop: Stop) -> std::io::Result<Alarm> {
        let Some(after) = after else { return Ok(Alarm { _armed: None }) };
        let (armed, dropped) = channel::<()>();
        std::thread::Builder::new().name("alarm".into()).spawn(move || {
            if dropped.recv_timeout(after) == Err(RecvTimeoutError::Timeout) {
                stop.raise();
            }
        })?;
        Ok(Alarm { _armed: Some(armed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        assert_eq!(bytes("1GiB"), Ok(1 << 30));
        assert_eq!(bytes("1.5 MiB"), Ok(3 << 19));
        assert_eq!(bytes("100MB"), Ok(100_000_000));
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        for wrong in ["", "much", "1 parsec", "-1s", "0"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "soon", "1 parsec", "-1s", "99999999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_alarm_rings_unless_it_is_dropped() {
        let (early, late, never) = (Stop::default(), Stop::default(), Stop::default());
        let _early = Alarm::set(Some(Duration::from_millis(1)), early.clone()).expect("a thread");
        drop(Alarm::set(Some(Duration::from_millis(200)), late.clone()).expect("a thread"));
        let _never = Alarm::set(None, never.clone()).expect("nothing");
        while !early.is_raised() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(250));
        assert!(!late.is_raised() && !never.is_raised());
    }
}
