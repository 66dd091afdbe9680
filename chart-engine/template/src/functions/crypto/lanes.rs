//! Eight powers at once, where the processor multiplies eight numbers of 52 bits at a time (AVX-512 IFMA).
//!
//! Testing candidates for primes is nearly all the time that a new key takes, and candidates do not depend on each
//! other: each has a lane. A key takes a tenth of the time that one candidate after the other does.

use num_bigint::BigUint;
use num_traits::One as _;

/// How many candidates are tested at once.
pub(super) const LANES: usize = 8;

/// Which of these odd numbers, of the same length in bits and at most `words` words of 64 bits, pass Fermat's test to
/// the base two, as all primes do and hardly any other number.
///
/// `None` where the processor or the length is not one for it.
pub(super) fn pass_base_two(numbers: &[BigUint; LANES], words: usize) -> Option<[bool; LANES]> {
    #[cfg(target_arch = "x86_64")]
    if ifma::is_there() {
        return ifma::pass_base_two(numbers, words);
    }
    let _ = (numbers, words);
    None
}

/// Whether an odd number of at most `words` words of 64 bits passes the strong test of Miller and Rabin to all of the
/// bases, at most [`LANES`], which are less than it and not zero. The number is one more than `odd`, doubled `twos` times.
///
/// `None` where the processor or the length is not one for it.
pub(super) fn passes(
    number: &BigUint,
    (odd, twos): (&BigUint, u64),
    bases: &[BigUint],
    words: usize,
) -> Option<bool> {
    #[cfg(target_arch = "x86_64")]
    if ifma::is_there() {
        // Every number passes to the base one.
        let bases = std::array::from_fn(|lane| bases.get(lane).cloned().unwrap_or_else(BigUint::one));
        return ifma::passes(number, (odd, twos), &bases, words);
    }
    let _ = (number, odd, twos, bases, words);
    None
}

#[cfg(target_arch = "x86_64")]
mod ifma {
    use std::arch::x86_64::{
        __m512i, __mmask8, _mm512_add_epi64, _mm512_and_si512, _mm512_cmpeq_epi64_mask,
        _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_slli_epi64, _mm512_set_epi64,
        _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srli_epi64, _mm512_test_epi64_mask,
    };
    use std::array;

    use num_bigint::BigUint;

    use super::super::montgomery::negated_inverse;
    use super::LANES;

    /// Bits of a digit.
    const DIGIT: usize = 52;
    const DIGIT_MAX: u64 = (1 << DIGIT) - 1;
    const ALL: __mmask8 = 0xff;

    pub(super) fn is_there() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma")
    }

    #[expect(
        unsafe_code,
        reason = "the compiler cannot know what the processor has: the callers have asked it"
    )]
    pub(super) fn pass_base_two(numbers: &[BigUint; LANES], words: usize) -> Option<[bool; LANES]> {
        // SAFETY: the processor has what these are compiled for, see `is_there`.
        let passed = match words {
            16 => unsafe { pass_base_two_of::<20>(numbers) },
            32 => unsafe { pass_base_two_of::<40>(numbers) },
            _ => return None,
        };
        Some(array::from_fn(|lane| passed >> lane & 1 == 1))
    }

    #[expect(unsafe_code, reason = "as above")]
    pub(super) fn passes(
        number: &BigUint,
        (odd, twos): (&BigUint, u64),
        bases: &[BigUint; LANES],
        words: usize,
    ) -> Option<bool> {
        // SAFETY: as above.
        match words {
            16 => Some(unsafe { passes_of::<20>(number, (odd, twos), bases) }),
            32 => Some(unsafe { passes_of::<40>(number, (odd, twos), bases) }),
            _ => None,
        }
    }

    /// A number in each lane, of `L` digits; the first are the lowest.
    type Numbers<const L: usize> = [__m512i; L];

    /// Odd moduli, with what Montgomery's method needs. They leave at least six bits of their digits unused.
    ///
    /// Numbers are kept as residues: multiplied by R, which is 2^52 to the power of `L`, and less than twice the
    /// modulus. A product of two that are less than four times the modulus is such a number again.
    struct Moduli<const L: usize> {
        digits: Numbers<L>,
        /// Minus the inverse of the lowest digit, modulo 2^52.
        inverse: __m512i,
        one: [BigUint; LANES],
        numbers: [BigUint; LANES],
    }

    impl<const L: usize> Moduli<L> {
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn new(numbers: &[BigUint; LANES]) -> Self {
            let one = BigUint::from(1u8);
            let words = numbers.each_ref().map(BigUint::to_u64_digits);
            let inverse = words.map(|words| negated_inverse(words[0]) & DIGIT_MAX);
            Moduli {
                digits: digits(numbers),
                inverse: lanes(inverse),
                one: numbers.each_ref().map(|number| residue::<L>(&one, number)),
                numbers: numbers.clone(),
            }
        }

        /// The product divided by R, modulo the modulus, and doubled in some lanes.
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn multiply(&self, a: &Numbers<L>, b: &Numbers<L>, doubled: __mmask8) -> Numbers<L> {
            let (zero, moduli) = (_mm512_setzero_si512(), &self.digits);
            let mut sum = [zero; L];
            for digit in b {
                // Adds `a` times the digit and the multiple of the modulus that clears the lowest digit, and moves down
                // by that digit. Sums are of 4 L numbers of 52 bits at most: carries can wait.
                let lowest = _mm512_madd52lo_epu64(sum[0], a[0], *digit);
                let factor = _mm512_madd52lo_epu64(zero, lowest, self.inverse);
                let cleared = _mm512_madd52lo_epu64(lowest, factor, moduli[0]);
                let mut carry = _mm512_srli_epi64::<{ DIGIT as u32 }>(cleared);
                for at in 1..L {
                    let mut total = _mm512_add_epi64(sum[at], carry);
                    carry = zero;
                    total = _mm512_madd52hi_epu64(total, a[at - 1], *digit);
                    total = _mm512_madd52hi_epu64(total, factor, moduli[at - 1]);
                    total = _mm512_madd52lo_epu64(total, a[at], *digit);
                    sum[at - 1] = _mm512_madd52lo_epu64(total, factor, moduli[at]);
                }
                let total = _mm512_madd52hi_epu64(zero, a[L - 1], *digit);
                sum[L - 1] = _mm512_madd52hi_epu64(total, factor, moduli[L - 1]);
            }
            let mask = _mm512_set1_epi64(DIGIT_MAX.cast_signed());
            let mut carry = zero;
            sum.map(|digit| {
                let total = _mm512_add_epi64(_mm512_mask_slli_epi64::<1>(digit, doubled, digit), carry);
                carry = _mm512_srli_epi64::<{ DIGIT as u32 }>(total);
                _mm512_and_si512(total, mask)
            })
        }

        /// In which lanes a residue, less than twice the modulus, is that of a number that is less than the modulus.
        #[target_feature(enable = "avx512f,avx512ifma")]
        fn equal(&self, residue: &Numbers<L>, number: &[BigUint; LANES]) -> __mmask8 {
            let larger = array::from_fn(|lane| &number[lane] + &self.numbers[lane]);
            equal(residue, &digits(number)) | equal(residue, &digits(&larger))
        }
    }

    /// A number multiplied by R, modulo the modulus.
    fn residue<const L: usize>(number: &BigUint, modulus: &BigUint) -> BigUint {
        (number << (DIGIT * L)) % modulus
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn pass_base_two_of<const L: usize>(numbers: &[BigUint; LANES]) -> __mmask8 {
        let moduli = Moduli::<L>::new(numbers);
        let mut power = digits(&moduli.one);
        // The exponent is one less than the number: its lowest bit is not set.
        for bit in (1..numbers[0].bits()).rev() {
            let (at, bit) = (bit as usize / DIGIT, bit as usize % DIGIT);
            let doubled = _mm512_test_epi64_mask(moduli.digits[at], _mm512_set1_epi64(1 << bit));
            power = moduli.multiply(&power, &power, doubled);
        }
        power = moduli.multiply(&power, &power, 0);
        moduli.equal(&power, &moduli.one)
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn passes_of<const L: usize>(
        number: &BigUint,
        (odd, twos): (&BigUint, u64),
        bases: &[BigUint; LANES],
    ) -> bool {
        let moduli = Moduli::<L>::new(&array::from_fn(|_| number.clone()));
        let bases = digits(&bases.each_ref().map(|base| residue::<L>(base, number)));
        let mut power = bases;
        for bit in (0..odd.bits() - 1).rev() {
            power = moduli.multiply(&power, &power, 0);
            if odd.bit(bit) {
                power = moduli.multiply(&power, &bases, 0);
            }
        }
        let minus_one = array::from_fn(|lane| number - &moduli.one[lane]);
        let mut passed = moduli.equal(&power, &moduli.one) | moduli.equal(&power, &minus_one);
        for _ in 1..twos {
            power = moduli.multiply(&power, &power, 0);
            passed |= moduli.equal(&power, &minus_one);
        }
        passed == ALL
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn equal<const L: usize>(a: &Numbers<L>, b: &Numbers<L>) -> __mmask8 {
        a.iter()
            .zip(b)
            .fold(ALL, |equal, (a, b)| equal & _mm512_cmpeq_epi64_mask(*a, *b))
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn digits<const L: usize>(numbers: &[BigUint; LANES]) -> Numbers<L> {
        let words = numbers.each_ref().map(BigUint::to_u64_digits);
        let mut at = 0;
        [(); L].map(|()| {
            at += 1;
            lanes(words.each_ref().map(|words| digit(words, at - 1)))
        })
    }

    #[target_feature(enable = "avx512f,avx512ifma")]
    fn lanes(values: [u64; LANES]) -> __m512i {
        let [a, b, c, d, e, f, g, h] = values.map(u64::cast_signed);
        _mm512_set_epi64(h, g, f, e, d, c, b, a)
    }

    /// A digit of a number in words of 64 bits.
    fn digit(words: &[u64], at: usize) -> u64 {
        let (at, shift) = (at * DIGIT / 64, at * DIGIT % 64);
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        let both = u128::from(word(at)) | u128::from(word(at + 1)) << 64;
        (both >> shift) as u64 & DIGIT_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::super::montgomery::Modulus;
    use super::super::primes::without_twos;
    use super::*;

    /// Odd numbers with all their bits in use, from a generator of pseudo-random ones.
    fn numbers<const N: usize>(mut seed: u64) -> [BigUint; LANES] {
        std::array::from_fn(|_| {
            let mut number = BigUint::ZERO;
            for _ in 0..N {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                number = (number << 64u8) + (seed ^ seed >> 29);
            }
            number.set_bit(64 * N as u64 - 1, true);
            number.set_bit(0, true);
            number
        })
    }

    fn are_there() -> bool {
        let are_there = pass_base_two(&numbers::<16>(1), 16).is_some();
        if !are_there {
            println!("skipped: the processor has no AVX-512 IFMA");
        }
        are_there
    }

    fn are_passed(number: &BigUint, bases: &[BigUint], words: usize) -> Option<bool> {
        let (odd, twos) = without_twos(&(number - 1u8));
        passes(number, (&odd, twos), bases, words)
    }

    #[test]
    fn agrees_with_one_after_the_other() {
        if !are_there() {
            return;
        }
        let first = &numbers::<16>(1)[0];
        let mut primes = 0;
        for start in (0..400u64).step_by(2 * LANES) {
            let candidates = std::array::from_fn(|lane| first + start + 2 * lane as u64);
            let passed = pass_base_two(&candidates, 16).unwrap();
            for (candidate, passed) in candidates.iter().zip(passed) {
                let modulus = Modulus::<16>::new(candidate).unwrap();
                assert_eq!(passed, modulus.passes_base_two(candidate), "{candidate}");
                primes += usize::from(passed);
            }
        }
        assert!(primes > 0);
    }

    #[test]
    fn tells_known_primes() {
        if !are_there() {
            return;
        }
        // Primes of 1024 and 2048 bits nearest above a power of two: 2^1023 + 1155, 2^2047 + 1919.
        let near = |bits: u64, offset: u64| (BigUint::from(1u8) << bits) + offset;
        for (bits, offset, words) in [(1023, 1155, 16), (2047, 1919, 32)] {
            let candidates = std::array::from_fn(|lane| near(bits, offset - 8 + 2 * lane as u64));
            let passed = pass_base_two(&candidates, words).unwrap();
            let expected = std::array::from_fn(|lane| lane == 4);
            assert_eq!(passed, expected, "{bits}");
            let bases = numbers::<15>(bits);
            assert_eq!(are_passed(&near(bits, offset), &bases, words), Some(true));
            assert_eq!(are_passed(&near(bits, offset + 2), &bases, words), Some(false));
        }
    }

    #[test]
    fn one_base_that_a_number_fails_is_enough() {
        if !are_there() {
            return;
        }
        // A product of two primes passes to the base one, and to no other of these.
        let prime = (BigUint::from(1u8) << 511u32) + 111u8;
        let number = &prime * ((BigUint::from(1u8) << 512u32) + 75u8);
        let mut bases = vec![BigUint::one(); 6];
        assert_eq!(are_passed(&number, &bases, 16), Some(true));
        bases[5] = BigUint::from(3u8);
        assert_eq!(are_passed(&number, &bases, 16), Some(false));
    }
}
