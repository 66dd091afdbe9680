//! Which of several versions is taken.

use chart_values::constraint::{Constraint, ConstraintError, Version};

/// The constraint that allows every released version.
pub const ANY: &str = ">0.0.0";
/// The constraint that allows pre-releases as well (`--devel`).
pub const DEVEL: &str = ">0.0.0-0";

/// Gives the places of the versions that a wish allows, the best first.
///
/// A version that is the wish letter by letter comes before all others, then the higher comes before the lower; versions
/// of equal precedence keep their order. What is no version is passed over. An empty wish is `*`.
pub fn ranked<'v>(
    versions: impl IntoIterator<Item = &'v str>,
    wish: &str,
) -> Result<Vec<usize>, ConstraintError> {
    let constraint: Constraint = if wish.is_empty() { "*" } else { wish }.parse()?;
    let mut fitting: Vec<(bool, Version, usize)> = versions
        .into_iter()
        .enumerate()
        .filter_map(|(place, text)| {
            let version: Version = text.parse().ok()?;
            let exact = !wish.is_empty() && text == wish;
            (exact || constraint.allows(&version)).then_some((exact, version, place))
        })
        .collect();
    fitting.sort_by(|a, b| (b.0, &b.1).cmp(&(a.0, &a.1)));
    Ok(fitting.into_iter().map(|(_, _, place)| place).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_version_comes_first() {
        let versions = ["1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1", "1.10.0+b", "no", "v3"];
        for (wish, wanted) in [
            ("", &[6, 1, 4, 2, 0][..]),
            ("^1", &[1, 4, 2, 0]),
            ("1.10.0+b", &[4, 1]),
            (DEVEL, &[6, 3, 1, 4, 2, 0]),
            ("2.0.0-rc.1", &[3]),
            ("<1", &[]),
        ] {
            assert_eq!(ranked(versions, wish).unwrap(), wanted, "{wish}");
        }
        assert!(ranked(versions, "one").is_err());
    }
}
