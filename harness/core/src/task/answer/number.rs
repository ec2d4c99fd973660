use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Digits a [`Number`] can have in all, and behind its point.
pub const MAX_DIGITS: u32 = 36;

/// An exact decimal number. Equal values are equal: 18, 18.0 and 18.00 are the same number, and so
/// are 0 and -0.
///
/// As text (`Display`, `FromStr`, serde) it is `-` where it is negative, digits, and a point with
/// digits where there is a fraction: no separators and no zeros at the end of the fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Number {
    /// The digits with their sign: the value is `mantissa / 10^scale`. Not a multiple of 10 when
    /// `scale` is above 0.
    mantissa: i128,
    scale: u32,
}

/// A text that is no plain decimal number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no number of at most {MAX_DIGITS} digits such as `18`, `-7` or `0.25` (no separators, units or exponent)"
)]
pub struct ParseNumberError(pub String);

impl Number {
    /// `mantissa / 10^scale`, `None` when it has more than [`MAX_DIGITS`] digits.
    pub(super) fn new(mut mantissa: i128, mut scale: i64) -> Option<Number> {
        if mantissa == 0 {
            return Some(Number {
                mantissa: 0,
                scale: 0,
            });
        }
        while scale > 0 && mantissa % 10 == 0 {
            mantissa /= 10;
            scale -= 1;
        }
        // Ends after at most 38 rounds: the product overflows.
        while scale < 0 {
            mantissa = mantissa.checked_mul(10)?;
            scale += 1;
        }
        let scale = u32::try_from(scale).ok()?;
        let fits = scale <= MAX_DIGITS && mantissa.unsigned_abs() < 10u128.pow(MAX_DIGITS);
        fits.then_some(Number { mantissa, scale })
    }

    /// The number with these digits before and behind its point, times `10^exponent`. Anything but
    /// ASCII digits in them is passed over. `None` when it has more than [`MAX_DIGITS`] digits.
    pub(super) fn from_digits(whole: &str, fraction: &str, exponent: i64) -> Option<Number> {
        let fraction = fraction.trim_end_matches('0');
        let digits = whole.bytes().chain(fraction.bytes());
        let mantissa = digits
            .filter(u8::is_ascii_digit)
            .try_fold(0i128, |value, digit| {
                value.checked_mul(10)?.checked_add(i128::from(digit - b'0'))
            })?;
        Number::new(mantissa, fraction.len() as i64 - exponent)
    }

    /// The number with the other sign.
    pub(super) fn negated(self) -> Number {
        Number {
            mantissa: -self.mantissa,
            ..self
        }
    }

    /// `self + other` where that has at most [`MAX_DIGITS`] digits.
    pub(super) fn plus(self, other: Number) -> Option<Number> {
        let scale = self.scale.max(other.scale);
        let widened = |n: Number| n.mantissa.checked_mul(10i128.checked_pow(scale - n.scale)?);
        Number::new(
            widened(self)?.checked_add(widened(other)?)?,
            i64::from(scale),
        )
    }

    /// `self / divisor` where that has a finite decimal form of at most [`MAX_DIGITS`] digits.
    pub(super) fn ratio(self, divisor: Number) -> Option<Number> {
        if divisor.mantissa == 0 {
            return None;
        }
        let over = self
            .mantissa
            .checked_mul(10i128.checked_pow(divisor.scale)?)?;
        let under = divisor
            .mantissa
            .checked_mul(10i128.checked_pow(self.scale)?)?;
        let common = gcd(over, under);
        let (over, mut under) = (over / common, under / common);
        // What is left of the divisor must be 2^i 5^j, times its sign.
        let mut powers = [0u32; 2];
        for (power, prime) in powers.iter_mut().zip([2, 5]) {
            while under % prime == 0 {
                under /= prime;
                *power += 1;
            }
        }
        if under.abs() != 1 {
            return None;
        }
        let scale = powers[0].max(powers[1]);
        let widened = over
            .checked_mul(2i128.checked_pow(scale - powers[0])?)?
            .checked_mul(5i128.checked_pow(scale - powers[1])?)?;
        Number::new(widened * under, i64::from(scale))
    }
}

/// Greatest common divisor of two numbers of which one is not 0.
fn gcd(a: i128, b: i128) -> i128 {
    let (mut a, mut b) = (a.abs(), b.abs());
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Number {
            mantissa: i128::from(value),
            scale: 0,
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = self.scale as usize;
        // At least one digit stands before the point.
        let digits = format!(
            "{:0>width$}",
            self.mantissa.unsigned_abs(),
            width = scale + 1
        );
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let text = match fraction {
            "" => whole.to_owned(),
            _ => format!("{whole}.{fraction}"),
        };
        f.pad_integral(self.mantissa >= 0, "", &text)
    }
}

impl FromStr for Number {
    type Err = ParseNumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (unsigned, None),
        };
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        Some((whole, fraction))
            .filter(|(whole, fraction)| digits(whole) && fraction.is_none_or(digits))
            .and_then(|(whole, fraction)| {
                Number::from_digits(whole, fraction.unwrap_or_default(), 0)
            })
            .map(|number| match unsigned.len() < text.len() {
                true => number.negated(),
                false => number,
            })
            .ok_or_else(|| ParseNumberError(text.to_owned()))
    }
}

impl TryFrom<String> for Number {
    type Error = ParseNumberError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Number> for String {
    fn from(number: Number) -> Self {
        number.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> Number {
        text.parse().unwrap()
    }

    #[test]
    fn equal_values_are_equal() {
        assert_eq!(number("18"), number("18.0"));
        assert_eq!(number("18"), number("018.00"));
        assert_eq!(number("-0.0"), number("0"));
        assert_eq!(Number::from(-250), number("-250.0"));
        assert_ne!(number("18"), number("1.8"));
        assert_ne!(number("18"), number("-18"));
    }

    #[test]
    fn it_is_written_plainly() {
        for text in ["0", "-7", "100", "0.05", "-0.5", "12345678901234567890.25"] {
            assert_eq!(number(text).to_string(), text);
        }
        assert_eq!(number("0018.50").to_string(), "18.5");
        assert_eq!(
            format!("{:>6}|{:<6}|", number("-1.5"), number("2")),
            "  -1.5|2     |"
        );
    }

    #[test]
    fn what_is_no_plain_number_is_refused() {
        for text in [
            "", "-", ".5", "1.", "1,000", "+1", " 1", "1e3", "--1", "1.2.3", "٣",
        ] {
            assert_eq!(
                text.parse::<Number>(),
                Err(ParseNumberError(text.to_owned()))
            );
        }
    }

    #[test]
    fn digits_have_a_limit() {
        let nines = "9".repeat(MAX_DIGITS as usize);
        assert_eq!(number(&nines).to_string(), nines);
        assert!(format!("{nines}9").parse::<Number>().is_err());
        assert!("1".repeat(100_000).parse::<Number>().is_err());
        let small = format!("0.{}1", "0".repeat(MAX_DIGITS as usize - 1));
        assert_eq!(number(&small).to_string(), small);
        assert!(
            format!("0.0{}1", "0".repeat(MAX_DIGITS as usize - 1))
                .parse::<Number>()
                .is_err()
        );
        // Zeros that change nothing do not count.
        assert_eq!(
            number(&format!("{}7.5{}", "0".repeat(90), "0".repeat(90))),
            number("7.5")
        );
    }

    #[test]
    fn ratios_are_exact_or_none() {
        let ratio = |a, b| number(a).ratio(number(b)).map(|n| n.to_string());
        assert_eq!(ratio("3", "4").as_deref(), Some("0.75"));
        assert_eq!(ratio("100", "4").as_deref(), Some("25"));
        assert_eq!(ratio("1.5", "0.25").as_deref(), Some("6"));
        assert_eq!(ratio("-7", "20").as_deref(), Some("-0.35"));
        assert_eq!(ratio("7", "-20").as_deref(), Some("-0.35"));
        assert_eq!(ratio("0", "9").as_deref(), Some("0"));
        assert_eq!(ratio("1", "3"), None);
        assert_eq!(ratio("1", "0"), None);
        assert_eq!(
            ratio(&"9".repeat(36), &format!("0.{}1", "0".repeat(35))),
            None
        );
    }

    #[test]
    fn sums_are_exact_or_none() {
        let sum = |a, b| number(a).plus(number(b)).map(|n| n.to_string());
        assert_eq!(sum("3", "0.5").as_deref(), Some("3.5"));
        assert_eq!(sum("0.75", "0.25").as_deref(), Some("1"));
        assert_eq!(sum(&"9".repeat(36), "0.125"), None);
    }

    #[test]
    fn it_is_text_in_json() {
        let json = serde_json::to_string(&Some(number("-1234.50"))).unwrap();
        assert_eq!(json, "\"-1234.5\"");
        assert_eq!(
            serde_json::from_str::<Option<Number>>(&json).unwrap(),
            Some(number("-1234.5"))
        );
        let error = serde_json::from_str::<Number>("\"1,000\"")
            .unwrap_err()
            .to_string();
        assert!(error.contains("`1,000` is no number"), "{error}");
    }

    proptest! {
        #[test]
        fn text_comes_back(text in "-?[0-9]{1,18}(\\.[0-9]{1,18})?") {
            let first = number(&text);
            prop_assert_eq!(number(&first.to_string()), first);
        }

        #[test]
        fn a_ratio_times_its_divisor_is_the_dividend(a in -100_000i64..100_000, twos in 0u32..8, fives in 0u32..8) {
            let divisor = 2i64.pow(twos) * 5i64.pow(fives);
            let ratio = Number::from(a).ratio(Number::from(divisor)).unwrap();
            prop_assert_eq!(Number::new(ratio.mantissa * i128::from(divisor), i64::from(ratio.scale)), Some(Number::from(a)));
        }
    }
}
