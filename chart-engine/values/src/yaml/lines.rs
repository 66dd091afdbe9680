//! The lines of a text.

/// Gives each line of `text` with the line feed that ends it; the last may have none.
///
/// As `split_inclusive('\n')` of the standard library, but the end of a line is looked for in 32 bytes at once.
pub(super) fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest.as_bytes()).map_or(rest.len(), |at| at + 1);
        let (line, behind) = rest.split_at(end);
        rest = behind;
        (!line.is_empty()).then_some(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_their_ends() {
        for text in ["", "a", "a\n", "a\n\nbc\r\n", "\n\n", "ä\nö"] {
            let expected: Vec<&str> = text.split_inclusive('\n').collect();
            assert_eq!(lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }
}
