//! How numbers are written: a dash for what is absent or not finite, never "NaN".

/// What stands for a number that is not there.
pub(crate) const ABSENT: &str = "\u{2014}";

/// With a fixed number of decimals.
pub(crate) fn fixed(value: Option<f64>, decimals: usize) -> String {
    finite(value).map_or(ABSENT.into(), |value| {
        // Far outside the range of scores fixed decimals would print hundreds of digits.
        if value.abs() < 1e9 {
            format!("{:.decimals$}", no_minus_zero(value, decimals))
        } else {
            format!("{value:.2e}")
        }
    })
}

/// With at most four significant digits.
pub(crate) fn short(value: Option<f64>) -> String {
    significant(value, 4)
}

/// With at most so many significant digits and no trailing zeros; very large and very small values as powers of ten.
pub(crate) fn significant(value: Option<f64>, digits: usize) -> String {
    let Some(value) = finite(value) else { return ABSENT.into() };
    if value == 0.0 {
        return "0".into();
    }
    let power = value.abs().log10().floor() as i32;
    if !(-3..6).contains(&power) {
        let text = format!("{value:.0$e}", digits - 1);
        let (digits, power) = text.split_once('e').expect("the e format has an e");
        return format!("{}e{power}", trim(digits));
    }
    let decimals = (digits as i32 - 1 - power).max(0) as usize;
    trim(&format!("{value:.decimals$}")).into()
}

/// A share in [0, 1] as a percentage.
pub(crate) fn percent(share: Option<f64>) -> String {
    match finite(share) {
        Some(share) => format!("{} %", trim(&fixed(Some(share * 100.0), if share < 0.01 { 2 } else { 1 }))),
        None => ABSENT.into(),
    }
}

/// `part` of `whole` as a percentage.
pub(crate) fn percent_of(part: u64, whole: u64) -> String {
    percent((whole > 0).then(|| part as f64 / whole as f64))
}

/// An integer with commas between thousands.
pub(crate) fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Seconds in the unit a person would use.
pub(crate) fn duration(seconds: Option<f64>) -> String {
    match finite(seconds) {
        None => ABSENT.into(),
        Some(s) if s < 0.9995 => format!("{:.0} ms", no_minus_zero(s * 1e3, 0)),
        Some(s) if s < 59.95 => format!("{s:.1} s"),
        Some(s) if s < 3599.5 => format!("{} min {:02} s", s.round() as u64 / 60, s.round() as u64 % 60),
        Some(s) => {
            let minutes = (s / 60.0).round() as u64;
            format!("{} h {:02} min", grouped(minutes / 60), minutes % 60)
        }
    }
}

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|value| value.is_finite())
}

fn no_minus_zero(value: f64, decimals: usize) -> f64 {
    if value.abs() < 0.5 * 10f64.powi(-(decimals as i32)) { 0.0 } else { value }
}

fn trim(digits: &str) -> &str {
    if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_a_person_writes_them() {
        let cases = [
            (fixed(Some(0.43149), 3), "0.431"),
            (fixed(Some(-0.0001), 3), "0.000"),
            (fixed(Some(f64::NAN), 3), ABSENT),
            (fixed(None, 3), ABSENT),
            (fixed(Some(f64::MAX), 3), "1.80e308"),
            (short(Some(0.4)), "0.4"),
            (short(Some(100.0)), "100"),
            (short(Some(0.0015)), "0.0015"),
            (short(Some(-0.0)), "0"),
            (short(Some(1e-5)), "1e-5"),
            (short(Some(f64::MIN_POSITIVE)), "2.225e-308"),
            (short(Some(f64::NEG_INFINITY)), ABSENT),
            (percent(Some(0.001)), "0.1 %"),
            (percent(Some(0.0005)), "0.05 %"),
            (percent(Some(0.95)), "95 %"),
            (percent_of(1, 3), "33.3 %"),
            (percent_of(1, 0), ABSENT),
            (grouped(0), "0"),
            (grouped(999), "999"),
            (grouped(1_000), "1,000"),
            (grouped(12_345_678), "12,345,678"),
            (duration(Some(0.071)), "71 ms"),
            (duration(Some(26.04)), "26.0 s"),
            (duration(Some(119.7)), "2 min 00 s"),
            (duration(Some(7_384.0)), "2 h 03 min"),
            (duration(Some(f64::INFINITY)), ABSENT),
        ];
        for (got, want) in cases {
            assert_eq!(got, want);
        }
    }
}
