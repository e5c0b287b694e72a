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

/// The text of an identifier from the bytes in a certificate; `None` if it is damaged, or has a
/// number beyond 64 bits.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    let mut numbers = Vec::new();
    let mut number = 0_u64;
    for byte in bytes {
        number = number.checked_mul(0x80)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            numbers.push(std::mem::take(&mut number));
        }
    }
    let ends = bytes.last().is_some_and(|byte| byte & 0x80 == 0);
    let joined = *numbers.first().filter(|_| ends)?;
    // The first two numbers are written as one.
    let first = (joined / 40).min(2);
    let rest = numbers.iter().skip(1).map(|number| format!(".{number}")).collect::<String>();
    Some(format!("{first}.{}{rest}", joined - first * 40))
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn what_is_written_is_read_back() {
        for oid in ["1.3.6.1.4.1.311.20.2.3", "2.999.4294967296", "0.0", "1.39", "2.5.4.3"] {
            let numbers = parse(oid).expect(oid);
            let oid_der = yasna::construct_der(|writer| {
                writer.write_oid(&yasna::models::ObjectIdentifier::from_slice(&numbers));
            });
            assert_eq!(text(&oid_der[2..]).as_deref(), Some(oid));
        }
        for damaged in [&[][..], &[0x80], &[42, 0x81], &[0xff; 10]] {
            assert_eq!(text(damaged), None);
        }
    }

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
