//! Object identifiers as people write them: numbers with dots.

/// The numbers of an object identifier; `None` for what is none, or not written in the one way in
/// which it is read back (`1.02` is not).
pub(crate) fn parse(text: &str) -> Option<Vec<u64>> {
    // No writer takes a number close to the end of 64 bits, and no identifier in use is longer.
    const LARGEST: u64 = u64::MAX / 2;
    const LIMIT: usize = 256;
    if text.len() > LIMIT {
        return None;
    }
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let canonical = digits && (part.len() == 1 || !part.starts_with('0'));
        part.parse().ok().filter(|number| canonical && *number <= LARGEST)
    };
    let numbers: Vec<u64> = text.split('.').map(number).collect::<Option<_>>()?;
    match numbers.as_slice() {
        [0 | 1, 0..40, ..] | [2, _, ..] => Some(numbers),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn only_what_is_read_back_the_same_is_an_identifier() {
        let long = "1.".repeat(200) + "1";
        for text in ["", "1", "3.1", "1.40", "1..2", "1.02", "1.+2", "1.2.", " 1.2", "1.x", &long] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("1.2.18446744073709551615"), None);
        assert_eq!(parse("2.999.0"), Some(vec![2, 999, 0]));
        assert_eq!(parse("0.9.2342.19200300.100.1.25").map(|numbers| numbers.len()), Some(7));
    }
}
