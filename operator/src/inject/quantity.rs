//! Kubernetes' quantities, as far as they must be told from what is none, and compared; pure.

/// What the suffixes are worth, in billionths.
const UNIT: u128 = 1_000_000_000;
const SUFFIXES: [(&str, u128); 16] = [
    ("", UNIT),
    ("n", 1),
    ("u", 1000),
    ("m", 1_000_000),
    ("k", 1000 * UNIT),
    ("M", 1_000_000 * UNIT),
    ("G", UNIT * UNIT),
    ("T", 1000 * UNIT * UNIT),
    ("P", 1_000_000 * UNIT * UNIT),
    ("E", UNIT * UNIT * UNIT),
    ("Ki", UNIT << 10),
    ("Mi", UNIT << 20),
    ("Gi", UNIT << 30),
    ("Ti", UNIT << 40),
    ("Pi", UNIT << 50),
    ("Ei", UNIT << 60),
];

/// How much it is, in billionths; nothing where it is no quantity, or none of this world.
pub(super) fn nanos(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || fraction.contains('.') || digits.len() > 18 {
        return None;
    }
    let worth = worth(suffix)?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    Some(digits.parse::<u128>().ok()?.checked_mul(worth)? / scale)
}

fn worth(suffix: &str) -> Option<u128> {
    let named = SUFFIXES.iter().find(|(name, _)| *name == suffix);
    if let Some((_, worth)) = named {
        return Some(*worth);
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
    if exponent < 0 { UNIT.checked_div(power) } else { UNIT.checked_mul(power) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_is_as_much_as_kubernetes_says() {
        let cases = [
            ("1", Some(UNIT)),
            ("10m", Some(10_000_000)),
            ("0.5", Some(UNIT / 2)),
            (".5", Some(UNIT / 2)),
            ("5.", Some(5 * UNIT)),
            ("1.5Gi", Some((3 * UNIT) << 29)),
            ("128Mi", Some((128 * UNIT) << 20)),
            ("1k", Some(1000 * UNIT)),
            ("1e3", Some(1000 * UNIT)),
            ("1E3", Some(1000 * UNIT)),
            ("1E", Some(UNIT * UNIT * UNIT)),
            ("1e-3", Some(1_000_000)),
            ("0", Some(0)),
            ("", None),
            (".", None),
            ("Mi", None),
            ("-1", None),
            ("1 Mi", None),
            ("1MB", None),
            ("1mi", None),
            ("1.2.3", None),
            ("1e99", None),
            ("1234567890123456789", None),
        ];
        for (text, expected) in cases {
            assert_eq!(nanos(text), expected, "{text:?}");
        }
    }
}
