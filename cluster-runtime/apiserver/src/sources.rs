//! Time and randomness, as arguments of the engine.

use jiff::Timestamp;
use uuid::Uuid;

/// Where the engine takes time and randomness from.
pub trait Sources: Send + Sync + 'static {
    /// The present time.
    fn now(&self) -> Timestamp;

    /// Sixteen random bytes.
    fn random(&self) -> u128;
}

/// The clock and the randomness of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemSources;

impl Sources for SystemSources {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> u128 {
        Uuid::new_v4().as_u128()
    }
}

/// A version 4 UUID of random bytes.
pub(crate) fn uid(random: u128) -> String {
    uuid::Builder::from_random_bytes(random.to_be_bytes())
        .into_uuid()
        .to_string()
}

/// A time as the API writes it, in whole seconds.
pub(crate) fn api_time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_whole_seconds() {
        let time: Timestamp = "2026-02-03T04:05:06.789Z".parse().unwrap();
        assert_eq!(api_time(time), "2026-02-03T04:05:06Z");
    }

    #[test]
    fn ids_are_made_of_the_given_randomness_alone() {
        assert_eq!(uid(7), "00000000-0000-4000-8000-000000000007");
    }
}
