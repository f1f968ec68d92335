//! How much memory there is, and a refusal before work that does not fit.

use std::fs;

use anyhow::Result;

use super::{Misuse, output};

/// Says what `command` needs, and refuses when that overflows or is more than there is, with `advice`.
///
/// `bytes` is `None` when the count overflowed. Where the system does not tell, nothing is refused.
pub fn require(command: &str, bytes: Option<u64>, advice: &str) -> Result<()> {
    judge(command, bytes, available(), advice).map_err(Misuse)?;
    if let Some(bytes) = bytes
        && bytes >= WORTH_SAYING
    {
        output::note(&format!("{command} needs about {}", amount(bytes)));
    }
    Ok(())
}

/// Whether what `command` needs fits into what there is, without a word where it does.
///
/// # Errors
/// The sentence that says what is needed and free, with `advice`.
pub fn fits(command: &str, bytes: Option<u64>, advice: &str) -> Result<(), String> {
    judge(command, bytes, available(), advice)
}

/// Needs below this are not announced.
const WORTH_SAYING: u64 = 1 << 30;

fn judge(command: &str, bytes: Option<u64>, available: Option<u64>, advice: &str) -> Result<(), String> {
    let Some(bytes) = bytes else {
        return Err(format!("{command} would need more memory than can be counted; {advice}"));
    };
    match available {
        Some(available) if bytes > available => Err(format!(
            "{command} needs about {}, and {} are free; {advice}",
            amount(bytes),
            amount(available)
        )),
        _ => Ok(()),
    }
}

/// `count` numbers of `size` bytes for a shape, or `None` when that overflows.
pub fn numbers(count: usize, shape: &[usize], size: usize) -> Option<u64> {
    let factors = shape.iter().chain([&count, &size]);
    factors.copied().try_fold(1_u64, |product, factor| product.checked_mul(factor as u64))
}

/// Sum of needs, or `None` when one of them, or the sum, overflows.
pub fn total(needs: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    needs.into_iter().try_fold(0_u64, |sum, need| sum.checked_add(need?))
}

/// Bytes that can be taken without swapping.
fn available() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

/// Most bytes that a process ever held, `self` or a number.
pub fn peak(process: &str) -> Option<u64> {
    field(&format!("/proc/{process}/status"), "VmHWM:")
}

fn field(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Bytes for people.
pub fn amount(bytes: u64) -> String {
    let gb = bytes as f64 / 1e9;
    if gb >= 1.0 { format!("{gb:.1} GB") } else { format!("{:.0} MB", bytes as f64 / 1e6) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_overflow_are_not_sizes() {
        assert_eq!(numbers(2, &[3, 5], 4), Some(120));
        assert_eq!(numbers(1, &[usize::MAX, 2], 4), None);
        assert_eq!(total([Some(1), Some(2)]), Some(3));
        assert_eq!(total([Some(u64::MAX), Some(1)]), None);
        assert_eq!(total([Some(1), None]), None);
    }

    #[test]
    fn a_refusal_says_what_there_is_and_what_to_do() {
        let message =
            judge("training", Some(3_000_000_000), Some(1_000_000_000), "choose a smaller n").unwrap_err();
        assert_eq!(message, "training needs about 3.0 GB, and 1.0 GB are free; choose a smaller n");
        assert!(judge("training", None, Some(1), "choose a smaller n").is_err());
        assert!(judge("training", Some(5), Some(5), "").is_ok());
        assert!(judge("training", Some(5), None, "").is_ok());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_tells() {
        assert!(available().is_some_and(|bytes| bytes > 1 << 20));
        assert!(peak("self").is_some_and(|bytes| bytes > 1 << 20));
    }
}
