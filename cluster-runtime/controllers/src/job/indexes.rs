//! Sets of completion indexes, written as `1,3-5,7`.

use std::collections::BTreeSet;

/// Reads the text form; what is no number is left out.
pub(crate) fn parse(text: &str, completions: i64) -> BTreeSet<i64> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i64>(), last.parse::<i64>()) {
            indexes.extend(first.max(0)..=last.min(completions - 1));
        }
    }
    indexes
}

/// Gives the text form; runs of three and more, and of two, become ranges.
pub(crate) fn format(indexes: &BTreeSet<i64>) -> String {
    let sorted: Vec<i64> = indexes.iter().copied().collect();
    let runs = sorted.chunk_by(|one, two| one + 1 == *two);
    let text = |run: &[i64]| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    };
    runs.map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_survive_their_text_form() {
        for text in ["", "0", "1,3-5,7", "0-1", "2,4,6-9"] {
            assert_eq!(format(&parse(text, 10)), text);
        }
        assert_eq!(format(&parse("5-30,x", 10)), "5-9");
    }
}
