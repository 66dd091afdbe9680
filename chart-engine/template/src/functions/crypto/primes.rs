//! Large random primes.
//!
//! The search is a function of the random numbers it starts from, so that two can go on at the same time.

use num_bigint::BigUint;
use num_traits::{ToPrimitive as _, Zero as _};

use super::montgomery::Modulus;
use crate::fault::Fault;
use crate::surroundings::Scope;

/// How far above a random number a prime is looked for before another number is drawn.
const WINDOW: usize = 1 << 14;
/// Odd primes below this sort candidates out before the costly test.
const SMALL_MAX: usize = 1 << 16;
/// Rounds of the Miller-Rabin test with random bases, after the one with base two; for random candidates of 1024 bits
/// five already leave less than 2^-100.
const ROUNDS: usize = 5;

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

/// The random numbers that a search starts from.
struct Start {
    base: BigUint,
    witnesses: Vec<BigUint>,
}

impl Start {
    fn draw(scope: &mut Scope, bits: u64) -> Result<Self, Fault> {
        let mut base = random_number(scope, bits)?;
        base.set_bit(0, true);
        let witnesses = witnesses(scope, bits)?;
        Ok(Start { base, witnesses })
    }

    /// The first prime not far above the base; `None`, hardly ever, where there is none.
    fn search<const N: usize>(&self, small: &[usize]) -> Option<BigUint> {
        // Which of the numbers above the base have a small divisor.
        let mut composite = vec![false; WINDOW];
        for prime in small {
            let rest = (&self.base % *prime).to_usize().unwrap_or(0);
            for multiple in ((prime - rest) % prime..WINDOW).step_by(*prime) {
                composite[multiple] = true;
            }
        }
        (0..WINDOW)
            .step_by(2)
            .filter(|offset| !composite[*offset])
            .map(|offset| &self.base + offset)
            .take_while(|candidate| candidate.bits() == self.base.bits())
            .find(|candidate| is_prime::<N>(candidate, &self.witnesses))
    }
}

/// A random prime of so many bits, which are more than those of the small primes and at most those of `N` words.
pub(super) fn prime<const N: usize>(scope: &mut Scope, bits: u64) -> Result<BigUint, Fault> {
    let small = small_primes();
    loop {
        if let Some(found) = Start::draw(scope, bits)?.search::<N>(&small) {
            return Ok(found);
        }
    }
}

/// Two random primes of so many bits each, searched for at the same time.
pub(super) fn prime_pair<const N: usize>(scope: &mut Scope, bits: u64) -> Result<(BigUint, BigUint), Fault> {
    let small = small_primes();
    loop {
        let (one, other) = (Start::draw(scope, bits)?, Start::draw(scope, bits)?);
        let (one, other) = std::thread::scope(|threads| {
            let one = threads.spawn(|| one.search::<N>(&small));
            let other = other.search::<N>(&small);
            (
                one.join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
                other,
            )
        });
        if let (Some(one), Some(other)) = (one, other) {
            return Ok((one, other));
        }
    }
}

/// Random bases for the test of a number of so many bits.
pub(super) fn witnesses(scope: &mut Scope, bits: u64) -> Result<Vec<BigUint>, Fault> {
    (0..ROUNDS).map(|_| random_number(scope, bits)).collect()
}

/// Whether a large odd number of at most `N` words is prime, as far as these random bases can tell.
pub(super) fn is_prime<const N: usize>(number: &BigUint, witnesses: &[BigUint]) -> bool {
    let Some(modulus) = Modulus::<N>::new(number) else {
        return false;
    };
    if !modulus.passes_base_two(number) {
        return false;
    }
    let less = number - 1u8;
    let twos = less.trailing_zeros().unwrap_or(0);
    let odd = &less >> twos;
    witnesses.iter().all(|witness| {
        let witness = witness % number;
        let mut power = modulus.power(&witness, &odd);
        if witness.is_zero() || power == BigUint::from(1u8) || power == less {
            return true;
        }
        (1..twos).any(|_| {
            power = &power * &power % number;
            power == less
        })
    })
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
        for (number, expected) in [
            ("97", true),
            ("341", false),
            ("561", false),
            ("2047", false),
            ("2147483647", true),
        ] {
            let number: BigUint = number.parse().unwrap();
            let witnesses = witnesses(&mut scope, 128).unwrap();
            assert_eq!(is_prime::<2>(&number, &witnesses), expected, "{number}");
        }
        assert_eq!(prime::<2>(&mut scope, 128).unwrap().bits(), 128);
        let (one, other) = prime_pair::<3>(&mut scope, 190).unwrap();
        assert_eq!((one.bits(), other.bits()), (190, 190));
        assert_ne!(one, other);
    }
}
