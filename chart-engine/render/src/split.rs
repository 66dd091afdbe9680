//! Cutting a rendered file into manifests.

/// Cuts a text at every `---` that starts a line, whatever follows it there, and drops what is blank.
///
/// White space at the head of a document goes, the rest stays as it is.
///
/// ```
/// use chart_render::split_manifests;
/// let text = "---\na: 1\n---\n\n---b: 2\n";
/// assert_eq!(split_manifests(text), ["a: 1\n", "b: 2\n"]);
/// ```
pub fn split_manifests(text: &str) -> Vec<&str> {
    let text = text.trim_start();
    let mut found = Vec::new();
    let mut start = 0;
    let mut line = 0;
    loop {
        if text[line..].starts_with("---") {
            push(&mut found, &text[start..line]);
            start = line + 3;
            start += text[start..].len() - text[start..].trim_start_matches([' ', '\t']).len();
            line = start;
        }
        match text[line..].find('\n') {
            Some(at) => line += at + 1,
            None => break,
        }
    }
    push(&mut found, &text[start..]);
    found
}

fn push<'t>(found: &mut Vec<&'t str>, document: &'t str) {
    let document = document.trim_start();
    if !document.is_empty() {
        found.push(document);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_where_a_line_starts_with_dashes() {
        for (text, documents) in [
            ("", vec![]),
            (" \n\t", vec![]),
            ("a", vec!["a"]),
            ("a\n---\nb\n\n", vec!["a\n", "b\n\n"]),
            ("--- \t# c\na", vec!["# c\na"]),
            ("a ---\n ---\n", vec!["a ---\n ---\n"]),
            ("a\n----\nb", vec!["a\n", "-\nb"]),
            ("---\n---\n---", vec![]),
            ("a\r\n---\r\nb", vec!["a\r\n", "b"]),
        ] {
            assert_eq!(split_manifests(text), documents, "{text:?}");
        }
    }
}
