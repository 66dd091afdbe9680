//! The patterns of `.Files.Glob`.

/// Tells whether all of `path` matches `pattern`.
///
/// `*` stops at `/`, `**` does not, `?` is one character other than `/`, `[abc]`, `[a-z]` and `[!a-z]` are classes,
/// `{a,b}` is a choice of patterns, and `\` takes the next character as it is. `None` stands for a pattern that cannot be
/// understood.
pub(crate) fn glob(pattern: &str) -> Option<Glob> {
    let mut parser = Parser {
        chars: pattern.chars().collect(),
        at: 0,
    };
    let sequence = parser.sequence(0)?;
    (parser.at == parser.chars.len()).then_some(Glob { sequence })
}

/// A pattern that was understood.
#[derive(Debug)]
pub(crate) struct Glob {
    sequence: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Char(char),
    One,
    Name,
    Anything,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
    Choice(Vec<Vec<Part>>),
}

/// Choices may nest this deep.
const DEPTH_MAX: usize = 16;

struct Parser {
    chars: Vec<char>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<char> {
        let next = self.chars.get(self.at).copied();
        self.at += usize::from(next.is_some());
        next
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.chars.get(self.at) == Some(&wanted);
        self.at += usize::from(found);
        found
    }

    /// Parts up to the end, or inside of a choice up to `,` or `}`.
    fn sequence(&mut self, depth: usize) -> Option<Vec<Part>> {
        let mut parts = Vec::new();
        while let Some(&c) = self.chars.get(self.at) {
            if depth > 0 && matches!(c, ',' | '}') {
                break;
            }
            self.at += 1;
            parts.push(match c {
                '*' if self.take('*') => {
                    while self.take('*') {}
                    Part::Anything
                }
                '*' => Part::Name,
                '?' => Part::One,
                '\\' => Part::Char(self.next()?),
                '[' => self.class()?,
                '{' => self.choice(depth + 1)?,
                c => Part::Char(c),
            });
        }
        Some(parts)
    }

    fn choice(&mut self, depth: usize) -> Option<Part> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut branches = Vec::new();
        loop {
            branches.push(self.sequence(depth)?);
            match self.next()? {
                ',' => {}
                _ => return Some(Part::Choice(branches)),
            }
        }
    }

    fn class(&mut self) -> Option<Part> {
        let negated = self.take('!');
        let mut ranges = Vec::new();
        loop {
            let low = match self.next()? {
                ']' if !ranges.is_empty() => return Some(Part::Class { negated, ranges }),
                ']' => return None,
                '\\' => self.next()?,
                c => c,
            };
            let range = self.chars.get(self.at) == Some(&'-') && self.chars.get(self.at + 1) != Some(&']');
            let high = if range {
                self.at += 1;
                self.next()?
            } else {
                low
            };
            if low > high {
                return None;
            }
            ranges.push((low, high));
        }
    }
}

impl Glob {
    pub(crate) fn matches(&self, path: &str) -> bool {
        let text: Vec<char> = path.chars().collect();
        ends(&self.sequence, &text, [0].into()).contains(&text.len())
    }
}

/// Where a sequence of parts can end, given where it can start: all ways at once, so that no pattern takes long.
fn ends(parts: &[Part], text: &[char], starts: Vec<usize>) -> Vec<usize> {
    parts.iter().fold(starts, |starts, part| {
        let mut reached = vec![false; text.len() + 1];
        match part {
            Part::Choice(branches) => {
                for branch in branches {
                    ends(branch, text, starts.clone())
                        .into_iter()
                        .for_each(|end| reached[end] = true);
                }
            }
            Part::Name | Part::Anything => {
                for start in starts {
                    for end in start..=text.len() {
                        if reached[end] && end > start {
                            break;
                        }
                        reached[end] = true;
                        if end < text.len() && text[end] == '/' && matches!(part, Part::Name) {
                            break;
                        }
                    }
                }
            }
            one => {
                for start in starts {
                    if text.get(start).is_some_and(|c| fits(one, *c)) {
                        reached[start + 1] = true;
                    }
                }
            }
        }
        (0..reached.len()).filter(|end| reached[*end]).collect()
    })
}

fn fits(part: &Part, c: char) -> bool {
    match part {
        Part::Char(wanted) => *wanted == c,
        Part::One => c != '/',
        Part::Class { negated, ranges } => {
            ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
        }
        Part::Name | Part::Anything | Part::Choice(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_paths() {
        for (pattern, path, matched) in [
            ("a.txt", "a.txt", true),
            ("*", "a.txt", true),
            ("*", "f/a.txt", false),
            ("**", "f/a.txt", true),
            ("f/*", "f/a.txt", true),
            ("f/*", "f/g/a.txt", false),
            ("f/**", "f/g/a.txt", true),
            ("**.txt", "f/g/a.txt", true),
            ("**/*.txt", "a.txt", false),
            ("f/?.txt", "f/a.txt", true),
            ("f?a.txt", "f/a.txt", false),
            ("[a-c].[!x]xt", "b.txt", true),
            ("[!a-c].txt", "b.txt", false),
            ("{f/a,f/g/b}.txt", "f/g/b.txt", true),
            ("{a,b{c,d}}*", "bdx", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("", "", true),
        ] {
            assert_eq!(glob(pattern).unwrap().matches(path), matched, "{pattern} {path}");
        }
    }

    #[test]
    fn err_patterns_that_do_not_end() {
        for pattern in ["[", "[a", "{a", "a\\", "[]"] {
            assert!(glob(pattern).is_none(), "{pattern}");
        }
    }
}
