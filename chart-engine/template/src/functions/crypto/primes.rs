//! Large random primes.

use num_bigint::BigUint;
use num_traits::{One as _, ToPrimitive as _, Zero as _};

use super::montgomery::Modulus;
use crate::fault::Fault;
use crate::surroundings::Scope;

/// How far above a random number a prime is looked for before another number is drawn.
const WINDOW: usize = 1 << 14;
/// Odd primes below this sort candidates out before the costly test.
const SMALL_MAX: usize = 1 << 16;
/// Rounds of the Miller-Rabin test; for random candidates of 1024 bits five already leave less than 2^-100.
const ROUNDS: usize = 6;

/// A random number of exactly so many bits, the two highest of them set.
fn random_number(scope: &mut Scope, bits: u64) -> Result<BigUint, Fault> {
    let mut bytes = vec![0; usize::try_from(bits.div_ceil(8)).unwrap_or(0)];
    scope.random(&mut bytes)?;
    let mut number = BigUint::from_bytes_be(&bytes) >> (bytes.len() as u64 * 8 - bits);
    number.set_bit(bits - 1, true);
    number.set_bit(bits - 2, true);
    Ok(number)
}

/// A random number below a bound, and not zero.
pub(super) fn random_below(scope: &mut Scope, bound: &BigUint) -> Result<BigUint, Fault> {
    let bits = bound.bits();
    let mut bytes = vec![0; usize::try_from(bits.div_ceil(8)).unwrap_or(0)];
    loop {
        scope.random(&mut bytes)?;
        let number = BigUint::from_bytes_be(&bytes) >> (bytes.len() as u64 * 8 - bits);
        if !number.is_zero() && number < *bound {
            return Ok(number);
        }
    }
}

fn small_primes() -> Vec<usize> {
    let mut composite = vec![false; SMALL_MAX];
    let mut primes = Vec::new();
    for number in (3..SMALL_MAX).step_by(2) {
        if composite[number] {
            continue;
        }
        primes.push(number);
        for multiple in (number.saturating_mul(number)..SMALL_MAX).step_by(2 * number) {
            composite[multiple] = true;
        }
    }
    primes
}

/// A random prime of so many bits, which are more than those of the small primes.
pub(super) fn prime(scope: &mut Scope, bits: u64) -> Result<BigUint, Fault> {
    let small = small_primes();
    loop {
        let mut base = random_number(scope, bits)?;
        base.set_bit(0, true);
        // Which of the numbers above the base have a small divisor.
        let mut composite = vec![false; WINDOW];
        for prime in &small {
            let rest = (&base % *prime).to_usize().unwrap_or(0);
            for multiple in ((prime - rest) % prime..WINDOW).step_by(*prime) {
                composite[multiple] = true;
            }
        }
        for offset in (0..WINDOW).step_by(2).filter(|offset| !composite[*offset]) {
            let candidate = &base + offset;
            if candidate.bits() == bits && is_prime(scope, &candidate)? {
                return Ok(candidate);
            }
        }
    }
}

/// Whether a large odd number is prime, as far as chance can tell.
pub(super) fn is_prime(scope: &mut Scope, number: &BigUint) -> Result<bool, Fault> {
    let one = BigUint::one();
    let less = number - &one;
    let twos = less.trailing_zeros().unwrap_or(0);
    let odd = &less >> twos;
    let modulus = Modulus::new(number);
    let mut witness = BigUint::from(2u8);
    for _ in 0..ROUNDS {
        let mut power = modulus.power(&witness, &odd);
        if power != one && power != less {
            let mut passed = false;
            for _ in 1..twos {
                power = &power * &power % number;
                if power == less {
                    passed = true;
                    break;
                }
            }
            if !passed {
                return Ok(false);
            }
        }
        witness = random_below(scope, &less)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::functions::RegexCache;
    use crate::limits::Limits;
    use crate::surroundings::Fixed;

    #[test]
    fn tells_primes_from_others() {
        let fixed = Fixed::new(jiff::Timestamp::UNIX_EPOCH, 7);
        let mut scope = Scope::new(
            Limits::default(),
            Rc::new(RefCell::new(fixed)),
            RegexCache::default(),
        );
        for (number, expected) in [("97", true), ("341", false), ("561", false), ("2147483647", true)] {
            assert_eq!(
                is_prime(&mut scope, &number.parse().unwrap()),
                Ok(expected),
                "{number}"
            );
        }
        let found = prime(&mut scope, 128).unwrap();
        assert_eq!(found.bits(), 128);
    }
}
