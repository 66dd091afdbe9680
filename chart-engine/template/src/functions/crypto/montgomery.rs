//! Powers modulo a large odd number.
//!
//! Testing candidates for primes is nearly all the time that a new key takes. Montgomery's method replaces the
//! divisions by multiplications; in words of 64 bits it is several times as fast as the general `modpow`.

use num_bigint::BigUint;

/// How many bits of the exponent are taken at once.
const WINDOW: u64 = 4;

/// An odd modulus with what Montgomery's method needs.
pub(super) struct Modulus {
    words: Vec<u64>,
    /// Minus the inverse of the lowest word, modulo 2^64.
    inverse: u64,
    /// R^2 and R modulo the modulus, where R is 2^64 to the number of words.
    square: Vec<u64>,
    one: Vec<u64>,
}

impl Modulus {
    /// Prepares an odd modulus greater than one.
    pub(super) fn new(modulus: &BigUint) -> Self {
        let words = modulus.to_u64_digits();
        let lowest = words.first().copied().unwrap_or(1);
        // Newton's iteration doubles the number of right bits.
        let mut inverse = 1u64;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(lowest.wrapping_mul(inverse)));
        }
        let bits = 64 * words.len() as u64;
        let residue = |shift: u64| padded(&((BigUint::from(1u8) << shift) % modulus), words.len());
        let (square, one) = (residue(2 * bits), residue(bits));
        Modulus {
            inverse: inverse.wrapping_neg(),
            square,
            one,
            words,
        }
    }

    /// `base` to the power of `exponent`; `base` is less than the modulus.
    pub(super) fn power(&self, base: &BigUint, exponent: &BigUint) -> BigUint {
        let mut scratch = vec![0; self.words.len() + 2];
        let base = self.multiply(&padded(base, self.words.len()), &self.square, &mut scratch);
        let mut powers = vec![self.one.clone()];
        for _ in 1..1u32 << WINDOW {
            let last = powers.last().unwrap_or(&self.one);
            powers.push(self.multiply(last, &base, &mut scratch));
        }
        let mut result = self.one.clone();
        for window in (0..exponent.bits().div_ceil(WINDOW)).rev() {
            let mut digit = 0;
            for bit in (0..WINDOW).rev() {
                result = self.multiply(&result, &result, &mut scratch);
                digit = digit << 1 | usize::from(exponent.bit(window * WINDOW + bit));
            }
            if digit > 0 {
                result = self.multiply(&result, &powers[digit], &mut scratch);
            }
        }
        let unit = padded(&BigUint::from(1u8), self.words.len());
        let words = self.multiply(&result, &unit, &mut scratch);
        let halves = words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]);
        BigUint::new(halves.collect())
    }

    /// The product divided by R, modulo the modulus; `sum` has two words more than the modulus.
    fn multiply(&self, a: &[u64], b: &[u64], sum: &mut [u64]) -> Vec<u64> {
        let len = self.words.len();
        sum.fill(0);
        for digit in b {
            let (sum, above) = sum.split_at_mut(len);
            let (carry, over) = self.step(sum, a, *digit, above[0]);
            sum[len - 1] = carry;
            above[0] = over;
        }
        if sum[len] != 0 || !less(&sum[..len], &self.words) {
            subtract(&mut sum[..=len], &self.words);
        }
        sum[..len].to_vec()
    }

    /// Adds `a` times a digit and the multiple of the modulus that clears the lowest word, and moves down by that word:
    /// both in one pass. Gives the two highest words.
    fn step(&self, sum: &mut [u64], a: &[u64], digit: u64, above: u64) -> (u64, u64) {
        let len = self.words.len();
        let (a, modulus, sum) = (&a[..len], &self.words[..len], &mut sum[..len]);
        let (low, mut carry) = multiply_add(sum[0], a[0], digit, 0);
        let factor = low.wrapping_mul(self.inverse);
        let (_, mut reduced) = multiply_add(low, modulus[0], factor, 0);
        for at in 1..len {
            let (low, next) = multiply_add(sum[at], a[at], digit, carry);
            carry = next;
            let (low, next) = multiply_add(low, modulus[at], factor, reduced);
            reduced = next;
            sum[at - 1] = low;
        }
        let total = u128::from(above) + u128::from(carry) + u128::from(reduced);
        (total as u64, (total >> 64) as u64)
    }
}

/// A sum of a word, a product and a carry, which two words always hold: the lower word and the carry.
fn multiply_add(word: u64, a: u64, b: u64, carry: u64) -> (u64, u64) {
    let total = u128::from(word) + u128::from(a) * u128::from(b) + u128::from(carry);
    (total as u64, (total >> 64) as u64)
}

fn padded(number: &BigUint, len: usize) -> Vec<u64> {
    let mut words = number.to_u64_digits();
    words.resize(len, 0);
    words
}

fn less(a: &[u64], b: &[u64]) -> bool {
    a.iter().rev().lt(b.iter().rev())
}

fn subtract(from: &mut [u64], words: &[u64]) {
    let mut borrow = false;
    for (at, place) in from.iter_mut().enumerate() {
        let word = words.get(at).copied().unwrap_or(0);
        let (once, first) = place.overflowing_sub(word);
        let (twice, second) = once.overflowing_sub(u64::from(borrow));
        *place = twice;
        borrow = first || second;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_general_method() {
        let mut number = BigUint::from(0x9e37_79b9_7f4a_7c15u64);
        for step in 1..40u32 {
            number = &number * &number + step;
            number %= BigUint::from(1u8) << (17 * step + 3);
            let modulus = &number | BigUint::from(1u8);
            if modulus < BigUint::from(3u8) {
                continue;
            }
            let base = (&number * 7u8 + 5u8) % &modulus;
            let exponent = &number * 3u8 + step;
            assert_eq!(
                Modulus::new(&modulus).power(&base, &exponent),
                base.modpow(&exponent, &modulus),
                "{modulus}"
            );
        }
    }
}
