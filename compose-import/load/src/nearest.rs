//! The known word nearest to an unknown one.

/// The word with the fewest letters to change, if that is few enough to be a slip.
pub(crate) fn nearest<'w>(unknown: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let allowed = (unknown.chars().count() / 3).max(1);
    known
        .map(|word| (distance(unknown, word), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, word)| word)
}

/// How many letters must be put in, left out, changed or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().map(fold).collect();
    let to: Vec<char> = to.chars().map(fold).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for i in 1..=from.len() {
        let mut row = vec![i];
        for j in 1..=to.len() {
            let change = last[j - 1] + usize::from(from[i - 1] != to[j - 1]);
            let mut least = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && from[i - 1] == to[j - 2] && from[i - 2] == to[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// Letters without case, and one kind of dash.
fn fold(c: char) -> char {
    match c {
        '-' => '_',
        c => c.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised() {
        let known = ["image", "ports", "depends_on", "environment"];
        for (unknown, wanted) in [
            ("imgae", Some("image")),
            ("port", Some("ports")),
            ("depends-on", Some("depends_on")),
            ("enviroment", Some("environment")),
            ("Image", Some("image")),
            ("replicas", None),
            ("x", None),
        ] {
            assert_eq!(nearest(unknown, known.into_iter()), wanted, "{unknown}");
        }
    }
}
