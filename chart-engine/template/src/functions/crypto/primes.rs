//! Large random primes.
//!
//! What a search finds is a function of the random numbers it starts from, whoever takes part in it.

use std::array;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use num_bigint::BigUint;
use num_traits::{One as _, ToPrimitive as _, Zero as _};

use super::lanes::{self, LANES};
use super::montgomery::Modulus;
use crate::elsewhere::{self, Elsewhere};
use crate::fault::Fault;
use crate::surroundings::Scope;

/// How far above a random number a prime is looked for before another number is drawn.
const WINDOW: usize = 1 << 14;
/// Odd primes below this sort candidates out before the costly test.
const SMALL_MAX: usize = 1 << 16;
/// Rounds of the Miller-Rabin test with random bases, after the one with base two; for random candidates of 1024 bits
/// five already leave less than 2^-100. At most [`LANES`].
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

/// How many odd primes there are below [`SMALL_MAX`].
const SMALL_COUNT: usize = 6541;

/// The odd primes below [`SMALL_MAX`].
static SMALL: [u16; SMALL_COUNT] = {
    let mut composite = [false; SMALL_MAX];
    let mut primes = [0; SMALL_COUNT];
    let (mut number, mut count) = (3, 0);
    while number < SMALL_MAX {
        if !composite[number] {
            primes[count] = number as u16;
            count += 1;
            let mut multiple = number * number;
            while multiple < SMALL_MAX {
                composite[multiple] = true;
                multiple += 2 * number;
            }
        }
        number += 2;
    }
    assert!(count == SMALL_COUNT);
    primes
};

/// A search for the first prime not far above a random number. Several threads may work on it.
struct Search {
    base: BigUint,
    witnesses: Vec<BigUint>,
    /// How far above the base the candidates are, in rising order; whoever comes first finds out.
    candidates: OnceLock<Vec<usize>>,
    /// The first candidate that nobody has looked at.
    next: AtomicUsize,
    /// How far above the base the first prime is that was found.
    found: AtomicUsize,
}

impl Search {
    fn draw(scope: &mut Scope, bits: u64) -> Result<Self, Fault> {
        let mut base = random_number(scope, bits)?;
        base.set_bit(0, true);
        Ok(Search {
            witnesses: witnesses(scope, bits)?,
            candidates: OnceLock::new(),
            base,
            next: AtomicUsize::new(0),
            found: AtomicUsize::new(usize::MAX),
        })
    }

    /// Looks at candidates until there is nothing left to look at.
    fn work<const N: usize>(&self) {
        let candidates = self.candidates.get_or_init(|| candidates(&self.base));
        loop {
            let from = self.next.fetch_add(LANES, Ordering::AcqRel);
            let offsets = candidates.iter().skip(from).take(LANES);
            let offsets: Vec<usize> = offsets.copied().collect();
            // Those that are looked at meanwhile come before these.
            if offsets
                .first()
                .is_none_or(|first| *first > self.found.load(Ordering::Relaxed))
            {
                return;
            }
            let likely = likely::<N>(&self.base, &offsets);
            if let Some(found) = likely
                .into_iter()
                .find(|offset| is_confirmed::<N>(&(&self.base + *offset), &self.witnesses))
            {
                self.found.fetch_min(found, Ordering::Relaxed);
            }
        }
    }

    /// What was found; `None`, hardly ever, where there is none.
    fn prime(&self) -> Option<BigUint> {
        let found = self.found.load(Ordering::Relaxed);
        (found != usize::MAX).then(|| &self.base + found)
    }
}

/// How far above an odd number those of the same length are that have no small divisor.
fn candidates(base: &BigUint) -> Vec<usize> {
    let mut composite = vec![false; WINDOW];
    // Four of the small primes make a word: a large number is divided once for all of them.
    for primes in SMALL.chunks(4) {
        let primes = primes.iter().map(|prime| u64::from(*prime));
        let rest = (base % primes.clone().product::<u64>()).to_u64().unwrap_or(0);
        for prime in primes {
            let first = (prime - rest % prime) % prime;
            for multiple in (first as usize..WINDOW).step_by(prime as usize) {
                composite[multiple] = true;
            }
        }
    }
    (0..WINDOW)
        .step_by(2)
        .filter(|offset| !composite[*offset])
        .take_while(|offset| (base + *offset).bits() == base.bits())
        .collect()
}

/// Which numbers above the base pass the test to the base two.
fn likely<const N: usize>(base: &BigUint, offsets: &[usize]) -> Vec<usize> {
    let candidates = array::from_fn(|lane| base + offsets.get(lane).or(offsets.last()).unwrap_or(&0));
    let passed = lanes::pass_base_two(&candidates, N);
    let is_likely = |lane: usize| match passed {
        Some(passed) => passed[lane],
        None => passes_base_two::<N>(&candidates[lane]),
    };
    let each = offsets.iter().enumerate();
    each.filter(|(lane, _)| is_likely(*lane))
        .map(|(_, offset)| *offset)
        .collect()
}

fn passes_base_two<const N: usize>(number: &BigUint) -> bool {
    Modulus::<N>::new(number).is_some_and(|modulus| modulus.passes_base_two(number))
}

/// A random prime of so many bits, which are more than those of the small primes and at most those of `N` words.
pub(super) fn prime<const N: usize>(scope: &mut Scope, bits: u64) -> Result<BigUint, Fault> {
    loop {
        let search = Search::draw(scope, bits)?;
        search.work::<N>();
        if let Some(found) = search.prime() {
            return Ok(found);
        }
    }
}

/// Two random primes of so many bits each, searched for at the same time.
pub(super) fn prime_pair<const N: usize>(scope: &mut Scope, bits: u64) -> Result<(BigUint, BigUint), Fault> {
    loop {
        let searches = Arc::new([Search::draw(scope, bits)?, Search::draw(scope, bits)?]);
        let shared = Arc::clone(&searches);
        // Who is ready helps the other.
        let helper = elsewhere::start(move || shared.iter().for_each(Search::work::<N>));
        searches.iter().rev().for_each(Search::work::<N>);
        // One who has not begun by now finds nothing left to do.
        helper.and_then(Elsewhere::end);
        if let [Some(one), Some(other)] = searches.each_ref().map(Search::prime) {
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
    passes_base_two::<N>(number) && is_confirmed::<N>(number, witnesses)
}

/// Whether a large odd number of at most `N` words passes the test of Miller and Rabin to these bases.
fn is_confirmed<const N: usize>(number: &BigUint, witnesses: &[BigUint]) -> bool {
    let bases = witnesses.iter().map(|witness| witness % number);
    let bases: Vec<BigUint> = bases.filter(|base| !base.is_zero()).collect();
    let less = number - 1u8;
    let (odd, twos) = without_twos(&less);
    if let Some(passed) = lanes::passes(number, (&odd, twos), &bases, N) {
        return passed;
    }
    let Some(modulus) = Modulus::<N>::new(number) else {
        return false;
    };
    bases.iter().all(|base| {
        let mut power = modulus.power(base, &odd);
        if power.is_one() || power == less {
            return true;
        }
        (1..twos).any(|_| {
            power = &power * &power % number;
            power == less
        })
    })
}

/// An even number as an odd one that was doubled so many times.
pub(super) fn without_twos(number: &BigUint) -> (BigUint, u64) {
    let twos = number.trailing_zeros().unwrap_or(0);
    (number >> twos, twos)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::functions::Kept;
    use crate::limits::Limits;
    use crate::surroundings::Fixed;

    #[test]
    fn tells_primes_from_others() {
        let fixed = Fixed::new(jiff::Timestamp::UNIX_EPOCH, 7);
        let mut scope = Scope::new(Limits::default(), Rc::new(RefCell::new(fixed)), Kept::default());
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
