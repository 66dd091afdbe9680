//! Splitting a command line into words, as a shell without variables would.

/// Splits a text at white space outside of quotes.
pub(crate) fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('\'') => break,
                        Some(c) => word.push(c),
                        None => return Err(invalid()),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some('"') => break,
                        // Also before letters that mean nothing special, as docker compose reads it.
                        Some('\\') => match chars.next() {
                            Some('\n') => {}
                            Some(c) => word.push(c),
                            None => return Err(invalid()),
                        },
                        Some(c) => word.push(c),
                        None => return Err(invalid()),
                    }
                }
            }
            '\\' => match chars.next() {
                Some('\n') => {}
                Some(c) => word.get_or_insert_default().push(c),
                None => return Err(invalid()),
            },
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn invalid() -> String {
    "invalid command line string".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (text, wanted) in [
            ("a b  c\n", vec!["a", "b", "c"]),
            ("sh -c 'a b'", vec!["sh", "-c", "a b"]),
            ("a\"b c\"'d' \\ e", vec!["ab cd", " e"]),
            ("\"a\\\"b\\n\" ''", vec!["a\"bn", ""]),
            ("", vec![]),
        ] {
            assert_eq!(split(text).unwrap(), wanted, "{text}");
        }
        assert!(split("a 'b").is_err());
    }
}
