//! How many pods of some sort there are in each domain of a topology, kept change by change.

use std::collections::BTreeMap;

use crate::number::NumberMap;
use crate::topology::{DomainId, NO_DOMAIN};

/// Pods in each domain. The fewest and the most are known without looking at all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pods: NumberMap<DomainId, u32>,
    /// How many domains have so many pods; those without any are left out.
    domains_with: BTreeMap<u32, usize>,
}

impl Tally {
    pub(crate) fn add(&mut self, domain: DomainId, count: u32) {
        if domain != NO_DOMAIN && count > 0 {
            let old = self.on(domain);
            self.set(domain, old + count);
        }
    }

    pub(crate) fn subtract(&mut self, domain: DomainId, count: u32) {
        if domain != NO_DOMAIN && count > 0 {
            let old = self.on(domain);
            self.set(domain, old.saturating_sub(count));
        }
    }

    fn set(&mut self, domain: DomainId, new: u32) {
        let old = if new == 0 {
            self.pods.remove(&domain)
        } else {
            self.pods.insert(domain, new)
        };
        let old = old.unwrap_or_default();
        if old > 0 {
            if let Some(domains) = self.domains_with.get_mut(&old) {
                *domains -= 1;
                if *domains == 0 {
                    self.domains_with.remove(&old);
                }
            }
        }
        if new > 0 {
            *self.domains_with.entry(new).or_default() += 1;
        }
    }

    /// Pods in a domain.
    pub(crate) fn on(&self, domain: DomainId) -> u32 {
        self.pods.get(&domain).copied().unwrap_or_default()
    }

    /// Whether no domain has any.
    pub(crate) fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// The fewest pods in any of so many domains.
    pub(crate) fn fewest(&self, domains: usize) -> u32 {
        let fewest = self.domains_with.first_key_value().map(|(pods, _)| *pods);
        fewest.filter(|_| self.pods.len() >= domains).unwrap_or_default()
    }

    /// The most pods in any domain.
    pub(crate) fn most(&self) -> u32 {
        self.domains_with
            .last_key_value()
            .map(|(pods, _)| *pods)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_and_the_most_follow_every_change() {
        let mut tally = Tally::default();
        let mut check = |change: &dyn Fn(&mut Tally), fewest: u32, most: u32, empty: bool| {
            change(&mut tally);
            assert_eq!(
                (tally.fewest(2), tally.most(), tally.is_empty()),
                (fewest, most, empty)
            );
        };
        check(&|_| (), 0, 0, true);
        check(&|tally| tally.add(3, 2), 0, 2, false);
        check(&|tally| tally.add(1, 5), 2, 5, false);
        check(&|tally| tally.add(NO_DOMAIN, 9), 2, 5, false);
        check(&|tally| tally.subtract(1, 4), 1, 2, false);
        check(&|tally| tally.subtract(3, 2), 0, 1, false);
        check(&|tally| tally.subtract(1, 1), 0, 0, true);
    }
}
