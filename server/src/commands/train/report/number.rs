//! Numbers, shares and times as people write them.
//!
//! Used by the report, and by the watcher's lines.

/// A number in few digits: `0.25`, `12000`, `3e-5`.
pub fn written(number: f64) -> String {
    if number == 0.0 {
        return "0".to_owned();
    }
    let size = number.abs();
    if !(1e-3..1e6).contains(&size) {
        return trimmed(&format!("{number:.2e}"));
    }
    let decimals = (3 - size.log10().floor() as i32).max(0) as usize;
    trimmed(&format!("{number:.decimals$}"))
}

/// The text without trailing zeros after the point.
fn trimmed(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').map_or((text, None), |(digits, exponent)| (digits, Some(exponent)));
    let digits = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
    exponent.map_or_else(|| digits.to_owned(), |exponent| format!("{digits}e{exponent}"))
}

/// A share in percent.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A time in its two largest units of hours, minutes and seconds.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{seconds:.1} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_short() {
        let texts = [0.0, 0.25, 12_000.0, 3e-5, 1.5e-3, 2.0, 1_234_567.0, -0.5, 6.141_59].map(written);
        assert_eq!(texts, ["0", "0.25", "12000", "3e-5", "0.0015", "2", "1.23e6", "-0.5", "6.142"]);
    }
}
