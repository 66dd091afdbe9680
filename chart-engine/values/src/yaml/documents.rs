//! Cutting a stream of YAML documents at its `---` lines.

use super::lines::lines;

/// Cuts `text` into documents before it is parsed, as Kubernetes' reader does: a line that starts with `---` and holds
/// nothing else but white space or a comment ends a document.
///
/// Gives each document with the line, counted from 1, on which it starts. Where the text starts with such a line, that
/// line belongs to the first document.
pub fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut start_line = 1;
    let mut at = 0;
    for (index, line) in lines(text).enumerate() {
        let ends = line
            .strip_prefix("---")
            .map(str::trim)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('#'));
        if ends && at > start {
            found.push((start_line, &text[start..at]));
            start = at + line.len();
            start_line = index + 2;
        }
        at += line.len();
    }
    if start < text.len() {
        found.push((start_line, &text[start..]));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_at_separator_lines_only() {
        for (text, parts) in [
            ("", vec![]),
            ("a: 1\n", vec![(1, "a: 1\n")]),
            ("---\na: 1\n", vec![(1, "---\na: 1\n")]),
            ("a: 1\n--- # next\nb: 2", vec![(1, "a: 1\n"), (3, "b: 2")]),
            ("a: 1\n--- b\n ---\n", vec![(1, "a: 1\n--- b\n ---\n")]),
            ("a\n---\n---\nb\n", vec![(1, "a\n"), (3, "---\nb\n")]),
        ] {
            assert_eq!(documents(text), parts, "{text:?}");
        }
    }
}
