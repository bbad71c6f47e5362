//! Amounts that come as `numeric`, as `sum()` of bigint gives: whole ones within bigint are as good as a bigint. Plain Rust.

/// Why a number is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAnAmount {
    /// NaN or an infinity.
    NotFinite,
    Fraction,
    OutOfRange,
}

/// The amount that a numeric says, given its text: digits with a sign and a fraction, never an exponent. A fraction of zeros only
/// is none.
pub fn whole(text: &[u8]) -> Result<i64, NotAnAmount> {
    let (is_negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.') {
        return Err(NotAnAmount::NotFinite);
    }
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let integer = parts.next().unwrap_or_default();
    if parts.next().is_some_and(|fraction| fraction.iter().any(|byte| *byte != b'0')) {
        return Err(NotAnAmount::Fraction);
    }
    let amount = integer.iter().try_fold(0i64, |amount, byte| {
        let digit = i64::from(byte - b'0');
        // Towards its sign all along: the smallest bigint has no positive counterpart.
        let amount = amount.checked_mul(10)?;
        if is_negative { amount.checked_sub(digit) } else { amount.checked_add(digit) }
    });
    amount.ok_or(NotAnAmount::OutOfRange)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn says_why_not() {
        for (text, expected) in [
            ("0", Ok(0)),
            ("-0", Ok(0)),
            ("12.00", Ok(12)),
            ("9223372036854775807", Ok(i64::MAX)),
            ("-9223372036854775808.0", Ok(i64::MIN)),
            ("9223372036854775808", Err(NotAnAmount::OutOfRange)),
            ("-9223372036854775809", Err(NotAnAmount::OutOfRange)),
            ("9.99", Err(NotAnAmount::Fraction)),
            ("-0.0000000001", Err(NotAnAmount::Fraction)),
            ("99999999999999999999.5", Err(NotAnAmount::Fraction)),
            ("NaN", Err(NotAnAmount::NotFinite)),
            ("Infinity", Err(NotAnAmount::NotFinite)),
            ("-Infinity", Err(NotAnAmount::NotFinite)),
            ("", Err(NotAnAmount::NotFinite)),
        ] {
            assert_eq!(whole(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn each_bigint_is_itself(amount: i64, zeros in 0usize..4) {
            let fraction = if zeros == 0 { String::new() } else { format!(".{}", "0".repeat(zeros)) };
            prop_assert_eq!(whole(format!("{amount}{fraction}").as_bytes()), Ok(amount));
        }

        #[test]
        fn beyond_bigint_is_out_of_range(beyond in 1u64.., below: bool) {
            let (edge, step) = if below { (i64::MIN, -1) } else { (i64::MAX, 1) };
            let amount = i128::from(edge) + step * i128::from(beyond);
            prop_assert_eq!(whole(amount.to_string().as_bytes()), Err(NotAnAmount::OutOfRange));
        }

        #[test]
        fn never_panics(text: Vec<u8>) {
            let _ = whole(&text);
        }
    }
}
