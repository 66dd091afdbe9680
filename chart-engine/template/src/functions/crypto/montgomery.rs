//! Arithmetic modulo a large odd number.
//!
//! Testing candidates for primes is nearly all the time that a new key takes. Montgomery's method replaces the
//! divisions by multiplications; with the number of words known to the compiler it is several times as fast as the
//! general `modpow`. Where the processor can, `lanes` does the same for eight numbers at once.

use num_bigint::BigUint;

/// How many bits of an exponent are taken at once.
const WINDOW: u64 = 4;

/// An odd modulus of up to `N` words of 64 bits, with what Montgomery's method needs.
///
/// Numbers are kept as residues: multiplied by R, which is 2^64 to the power of `N`.
pub(super) struct Modulus<const N: usize> {
    words: [u64; N],
    /// Minus the inverse of the lowest word, modulo 2^64.
    inverse: u64,
    /// R modulo the modulus: the residue of one.
    one: [u64; N],
    /// R^2 modulo the modulus.
    square: [u64; N],
}

impl<const N: usize> Modulus<N> {
    /// Prepares an odd modulus greater than one; `None` if it is longer than `N` words.
    pub(super) fn new(modulus: &BigUint) -> Option<Self> {
        let words: [u64; N] = padded(modulus)?;
        let bits = 64 * N as u64;
        let residue = |shift: u64| padded(&((BigUint::from(1u8) << shift) % modulus));
        Some(Modulus {
            words,
            inverse: negated_inverse(words[0]),
            one: residue(bits)?,
            square: residue(2 * bits)?,
        })
    }

    /// `base` to the power of `exponent`; `base` is less than the modulus.
    pub(super) fn power(&self, base: &BigUint, exponent: &BigUint) -> BigUint {
        let base = self.multiply(&padded(base).unwrap_or(self.one), &self.square);
        let mut powers = [self.one; 1 << WINDOW];
        for at in 1..powers.len() {
            powers[at] = self.multiply(&powers[at - 1], &base);
        }
        let mut result = self.one;
        for window in (0..exponent.bits().div_ceil(WINDOW)).rev() {
            let mut digit = 0;
            for bit in (0..WINDOW).rev() {
                result = self.multiply(&result, &result);
                digit = digit << 1 | usize::from(exponent.bit(window * WINDOW + bit));
            }
            if digit > 0 {
                result = self.multiply(&result, &powers[digit]);
            }
        }
        self.number(&result)
    }

    /// Whether the modulus passes the strong test to the base two, as all primes do and hardly any other number.
    ///
    /// Of all bases two costs least: where others multiply, it doubles.
    pub(super) fn passes_base_two(&self, modulus: &BigUint) -> bool {
        let less = modulus - 1u8;
        let twos = less.trailing_zeros().unwrap_or(0);
        let odd = &less >> twos;
        let mut power = self.one;
        for bit in (0..odd.bits()).rev() {
            power = self.multiply(&power, &power);
            if odd.bit(bit) {
                power = self.double(&power);
            }
        }
        let minus_one = self.negate(&self.one);
        if power == self.one || power == minus_one {
            return true;
        }
        for _ in 1..twos {
            power = self.multiply(&power, &power);
            if power == minus_one {
                return true;
            }
        }
        false
    }

    /// The number that a residue stands for.
    fn number(&self, residue: &[u64; N]) -> BigUint {
        let mut unit = [0; N];
        unit[0] = 1;
        let words = self.multiply(residue, &unit);
        let halves = words.iter().flat_map(|word| [*word as u32, (*word >> 32) as u32]);
        BigUint::new(halves.collect())
    }

    /// The product divided by R, modulo the modulus.
    fn multiply(&self, a: &[u64; N], b: &[u64; N]) -> [u64; N] {
        let mut sum = [0; N];
        let mut above = 0;
        for digit in b {
            // Adds `a` times the digit and the multiple of the modulus that clears the lowest word, and moves down by
            // that word: both in one pass.
            let (low, mut carry) = multiply_add(sum[0], a[0], *digit, 0);
            let factor = low.wrapping_mul(self.inverse);
            let (_, mut reduced) = multiply_add(low, self.words[0], factor, 0);
            for at in 1..N {
                let (low, next) = multiply_add(sum[at], a[at], *digit, carry);
                carry = next;
                let (low, next) = multiply_add(low, self.words[at], factor, reduced);
                reduced = next;
                sum[at - 1] = low;
            }
            let total = u128::from(above) + u128::from(carry) + u128::from(reduced);
            sum[N - 1] = total as u64;
            above = (total >> 64) as u64;
        }
        self.reduced(sum, above != 0)
    }

    fn double(&self, a: &[u64; N]) -> [u64; N] {
        let mut carry = 0;
        let doubled = a.map(|word| {
            let shifted = word << 1 | carry;
            carry = word >> 63;
            shifted
        });
        self.reduced(doubled, carry != 0)
    }

    fn negate(&self, a: &[u64; N]) -> [u64; N] {
        let mut words = self.words;
        subtract(&mut words, a);
        words
    }

    /// Takes the modulus off once where the number, with a bit above its words, reaches it.
    fn reduced(&self, mut words: [u64; N], above: bool) -> [u64; N] {
        if above || !words.iter().rev().lt(self.words.iter().rev()) {
            subtract(&mut words, &self.words);
        }
        words
    }
}

/// Minus the inverse of an odd word, modulo 2^64.
pub(super) fn negated_inverse(word: u64) -> u64 {
    // Newton's iteration doubles the number of right bits.
    let inverse = (0..6).fold(1u64, |inverse, _| {
        inverse.wrapping_mul(2u64.wrapping_sub(word.wrapping_mul(inverse)))
    });
    inverse.wrapping_neg()
}

/// A sum of a word, a product and a carry, which two words always hold: the lower word and the carry.
fn multiply_add(word: u64, a: u64, b: u64, carry: u64) -> (u64, u64) {
    let total = u128::from(word) + u128::from(a) * u128::from(b) + u128::from(carry);
    (total as u64, (total >> 64) as u64)
}

fn padded<const N: usize>(number: &BigUint) -> Option<[u64; N]> {
    let digits = number.to_u64_digits();
    let mut words = [0; N];
    words.get_mut(..digits.len())?.copy_from_slice(&digits);
    Some(words)
}

fn subtract<const N: usize>(from: &mut [u64; N], words: &[u64; N]) {
    let mut borrow = false;
    for (place, word) in from.iter_mut().zip(words) {
        let (once, first) = place.overflowing_sub(*word);
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
            let fast = Modulus::<12>::new(&modulus).unwrap();
            let expected = base.modpow(&exponent, &modulus);
            assert_eq!(fast.power(&base, &exponent), expected, "{modulus}");
        }
        assert!(Modulus::<2>::new(&(BigUint::from(1u8) << 128 | BigUint::from(1u8))).is_none());
    }

    #[test]
    fn tells_likely_primes() {
        // The last is composite, and passes for a prime to the base two.
        for (number, expected) in [
            ("97", true),
            ("341", false),
            ("561", false),
            ("170141183460469231731687303715884105727", true),
            (
                "28948022309329048855892746252171976962147354982949671778132708698262398304255",
                false,
            ),
            ("2047", true),
        ] {
            let number: BigUint = number.parse().unwrap();
            let modulus = Modulus::<4>::new(&number).unwrap();
            assert_eq!(modulus.passes_base_two(&number), expected, "{number}");
        }
    }
}
