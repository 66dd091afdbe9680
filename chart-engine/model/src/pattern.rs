//! Patterns of file names, as Go's `path.Match` knows them.

/// A pattern that cannot be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("syntax error in pattern")]
pub struct PatternError;

/// Tells whether all of `name` matches `pattern`.
///
/// `*` stands for any text without `/`, `?` for one character that is no `/`, `[a-z]` and `[^a-z]` for one of a class,
/// and `\` takes the next character as it is.
///
/// ```
/// use chart_model::path_matches;
/// assert_eq!(path_matches("templates/*.yaml", "templates/a.yaml"), Ok(true));
/// assert_eq!(path_matches("*.yaml", "templates/a.yaml"), Ok(false));
/// assert!(path_matches("[", "a").is_err());
/// ```
pub fn path_matches(pattern: &str, name: &str) -> Result<bool, PatternError> {
    let pieces = compile(pattern)?;
    Ok(matches(&pieces, name))
}

enum Piece {
    Any,
    One,
    Char(char),
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

fn compile(pattern: &str) -> Result<Vec<Piece>, PatternError> {
    let mut pieces = Vec::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        pieces.push(match c {
            '*' => Piece::Any,
            '?' => Piece::One,
            '\\' => Piece::Char(chars.next().ok_or(PatternError)?),
            '[' => {
                let negated = chars.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    if !ranges.is_empty() && chars.next_if_eq(&']').is_some() {
                        break;
                    }
                    let low = class_char(&mut chars)?;
                    let high = if chars.next_if_eq(&'-').is_some() {
                        class_char(&mut chars)?
                    } else {
                        low
                    };
                    ranges.push((low, high));
                }
                Piece::Class { negated, ranges }
            }
            c => Piece::Char(c),
        });
    }
    Ok(pieces)
}

fn class_char(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, PatternError> {
    let c = match chars.next() {
        None | Some('-' | ']') => return Err(PatternError),
        Some('\\') => chars.next().ok_or(PatternError)?,
        Some(c) => c,
    };
    // A class that does not end is a fault, whatever the name is.
    if chars.peek().is_none() {
        Err(PatternError)
    } else {
        Ok(c)
    }
}

/// Goes back only to the last `*`, which is enough since an earlier one can take no more than the later ones could.
fn matches(pieces: &[Piece], name: &str) -> bool {
    let chars: Vec<char> = name.chars().collect();
    let (mut piece, mut at) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        if piece == pieces.len() && at == chars.len() {
            return true;
        }
        if let Some(Piece::Any) = pieces.get(piece) {
            star = Some((piece, at));
            piece += 1;
            continue;
        }
        let fits = match (pieces.get(piece), chars.get(at)) {
            (Some(Piece::One), Some(c)) => *c != '/',
            (Some(Piece::Char(wanted)), Some(c)) => wanted == c,
            (Some(Piece::Class { negated, ranges }), Some(c)) => {
                ranges.iter().any(|(low, high)| low <= c && c <= high) != *negated
            }
            _ => false,
        };
        if fits {
            piece += 1;
            at += 1;
            continue;
        }
        match star {
            Some((star_piece, star_at)) if star_at < chars.len() && chars[star_at] != '/' => {
                star = Some((star_piece, star_at + 1));
                piece = star_piece + 1;
                at = star_at + 1;
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_as_go_does() {
        for (pattern, name, matched) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[^c]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a?b", "a/b", false),
            ("templates/.?*", "templates/.x", true),
            ("templates/.?*", "templates/.", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(path_matches(pattern, name), Ok(matched), "{pattern} {name}");
        }
    }

    #[test]
    fn err_patterns_that_go_refuses() {
        for pattern in ["[", "[a", "[]a]", "[-]", "[x-]", "a\\", "[^"] {
            assert_eq!(path_matches(pattern, "a"), Err(PatternError), "{pattern}");
        }
    }
}
