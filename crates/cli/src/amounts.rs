//! Amounts on the command line and in messages: bytes, times, dates.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes from words such as `256` (MiB), `512M` or `1.5G`; the letters are powers of 1024.
pub fn memory(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is no amount of memory; write 512M or 1G");
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1u64 << 10),
        Some((at, 'm' | 'M')) => (&text[..at], 1 << 20),
        Some((at, 'g' | 'G')) => (&text[..at], 1 << 30),
        Some((at, 't' | 'T')) => (&text[..at], 1 << 40),
        _ => (text, 1 << 20),
    };
    if let Ok(whole) = digits.parse::<u64>() {
        return Ok(whole.saturating_mul(unit));
    }
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let share: f64 = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    Ok((share * unit as f64) as u64)
}

/// Seconds from words such as `2ms`, `500us` or `0.5s`.
pub fn time(text: &str) -> Result<f64, String> {
    let wrong = || format!("\"{text}\" is no time; write 2ms, 500us or 0.5s");
    let units = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)];
    let found = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (digits, unit) = found.ok_or_else(wrong)?;
    let value: f64 = digits.parse().map_err(|_| wrong())?;
    if value > 0.0 && value.is_finite() { Ok(value * unit) } else { Err(wrong()) }
}

/// A share above 0 and below 1.
pub fn share(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| *value > 0.0 && *value < 1.0);
    value.ok_or_else(|| format!("\"{text}\" is no recall; write one above 0 and below 1, such as 0.95"))
}

/// `512 B`, `3.4 MB`: powers of a thousand, as disks are sold.
pub fn bytes(bytes: u64) -> String {
    let units = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    let value = bytes as f64;
    match units.iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", value / unit),
        None => format!("{bytes} B"),
    }
}

/// `35 us`, `1.2 ms`, `40 s`, `1 h 10 min`.
pub fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1e-3 => format!("{:.0} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.0} h {:.0} min", (s / 3600.0).floor(), (s % 3600.0) / 60.0),
    }
}

/// Today in UTC: `2026-11-24`.
pub fn today() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    date((seconds / 86_400) as i64)
}

/// The date so many days after 1970-01-01 in the Gregorian calendar, by counting 400-year cycles from 1 March 0000.
fn date(days: i64) -> String {
    /// Days from 1 March 0000 to 1 January 1970, and of 400 years.
    const EPOCH: i64 = 719_468;
    const CYCLE: i64 = 146_097;
    let (cycle, day) = ((days + EPOCH).div_euclid(CYCLE), (days + EPOCH).rem_euclid(CYCLE));
    // A day less for each leap day before.
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let of_month = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{of_month:02}", cycle * 400 + year + later)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_with_and_without_a_unit() {
        assert_eq!(memory("256"), Ok(256 << 20));
        assert_eq!(memory("1G"), Ok(1 << 30));
        assert_eq!(memory("1.5g"), Ok(3 << 29));
        assert_eq!(memory("64k"), Ok(64 << 10));
        assert_eq!(memory("17592186044416"), Ok(u64::MAX));
        for wrong in ["", "G", "-1", "1e9", "ten", "NaN"] {
            assert!(memory(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(time("2ms"), Ok(0.002));
        assert_eq!(time("0.5s"), Ok(0.5));
        assert!((time("250us").unwrap() - 0.00025).abs() < 1e-12);
        for wrong in ["2", "ms", "-1s", "0ms", "NaNs", "infs"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert!(
            share("0.95").is_ok() && share("1").is_err() && share("95").is_err() && share("NaN").is_err()
        );
    }

    #[test]
    fn amounts_read_well() {
        assert_eq!((bytes(999), bytes(1_400_000)), ("999 B".into(), "1.4 MB".into()));
        let shown = [3.5e-5, 0.0012, 40.0, 600.0, 7860.0].map(seconds);
        assert_eq!(shown, ["35 us", "1.2 ms", "40 s", "10 min", "2 h 11 min"]);
    }

    #[test]
    fn days_have_dates() {
        let dates =
            [(0, "1970-01-01"), (11_016, "2000-02-29"), (11_017, "2000-03-01"), (20_781, "2026-11-24")];
        for (days, want) in dates {
            assert_eq!(date(days), want);
        }
    }
}
