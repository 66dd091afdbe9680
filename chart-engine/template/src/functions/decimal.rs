//! Exact decimal numbers, in which Sprig's floating-point functions compute.

use num_bigint::BigInt;
use num_traits::{Signed as _, Zero as _};

/// Digits behind the point that a division gives.
const DIVISION_PLACES: i64 = 16;

/// A whole number times a power of ten.
#[derive(Debug, Clone)]
pub(super) struct Decimal {
    coefficient: BigInt,
    exponent: i64,
}

impl Decimal {
    /// The shortest decimal that stands for a float; infinities and NaN have none.
    pub(super) fn from_float(number: f64) -> Option<Self> {
        if !number.is_finite() {
            return None;
        }
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let coefficient = format!("{whole}{fraction}").parse().ok()?;
        let exponent = exponent.parse::<i64>().ok()? - i64::try_from(fraction.len()).ok()?;
        Some(Decimal {
            coefficient,
            exponent,
        })
    }

    /// About how many digits the number has.
    pub(super) fn digits(&self) -> u64 {
        self.coefficient.bits() / 3
    }

    pub(super) fn to_float(&self) -> f64 {
        let text = format!("{}e{}", self.coefficient, self.exponent);
        text.parse().unwrap_or(f64::NAN)
    }

    fn at_exponent(&self, exponent: i64) -> BigInt {
        let shift = u32::try_from(self.exponent - exponent).unwrap_or(0);
        &self.coefficient * BigInt::from(10).pow(shift)
    }

    pub(super) fn add(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Decimal {
            coefficient: self.at_exponent(exponent) + other.at_exponent(exponent),
            exponent,
        }
    }

    pub(super) fn sub(&self, other: &Self) -> Self {
        let exponent = self.exponent.min(other.exponent);
        Decimal {
            coefficient: self.at_exponent(exponent) - other.at_exponent(exponent),
            exponent,
        }
    }

    pub(super) fn mul(&self, other: &Self) -> Self {
        Decimal {
            coefficient: &self.coefficient * &other.coefficient,
            exponent: self.exponent + other.exponent,
        }
    }

    /// The quotient to sixteen places, halves away from zero; nothing when dividing by zero.
    pub(super) fn div(&self, other: &Self) -> Option<Self> {
        if other.coefficient.is_zero() {
            return None;
        }
        // self / other = (a * 10^shift / b) * 10^-16
        let shift = self.exponent - other.exponent + DIVISION_PLACES;
        let power = BigInt::from(10).pow(u32::try_from(shift.abs()).ok()?);
        let (numerator, denominator) = if shift >= 0 {
            (&self.coefficient * power, other.coefficient.clone())
        } else {
            (self.coefficient.clone(), &other.coefficient * power)
        };
        let quotient = &numerator / &denominator;
        let remainder = &numerator - &quotient * &denominator;
        let up = remainder.abs() * 2 >= denominator.abs();
        let sign = if numerator.is_negative() == denominator.is_negative() {
            1
        } else {
            -1
        };
        let coefficient = if up { quotient + sign } else { quotient };
        Some(Decimal {
            coefficient,
            exponent: -DIVISION_PLACES,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computes_without_binary_rounding() {
        let number = |value| Decimal::from_float(value).unwrap();
        assert_eq!(number(0.1).add(&number(0.2)).to_float(), 0.3);
        assert_eq!(number(1.1).mul(&number(1.1)).to_float(), 1.21);
        assert_eq!(
            number(2.0).div(&number(3.0)).unwrap().to_float(),
            0.666_666_666_666_666_7
        );
        assert_eq!(number(1.0).div(&number(1e20)).unwrap().to_float(), 0.0);
        assert!(number(1.0).div(&number(0.0)).is_none());
        assert!(number(1e308).add(&number(1e-308)).to_float() == 1e308);
    }
}
