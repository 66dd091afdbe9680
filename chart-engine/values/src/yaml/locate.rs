//! Where in a text a value stands.

use super::parse::{Event, Parser};

/// The line and column, both from 1, of the value at a path of keys and indices in the first document of `text`.
///
/// For the value of a table's entry that is the place of its key. `None` if there is no such value, or it came by an
/// alias or a merge.
///
/// ```
/// use chart_values::yaml::locate;
/// let text = "image:\n  tags:\n  - a\n  - b\n";
/// assert_eq!(locate(text, &["image", "tags", "1"]), Some((4, 5)));
/// assert_eq!(locate(text, &["image", "name"]), None);
/// ```
pub fn locate(text: &str, path: &[&str]) -> Option<(usize, usize)> {
    let mut walker = Walker {
        parser: Parser::new(text),
    };
    loop {
        match walker.parser.next().ok()? {
            (Event::DocumentStart, _) => {}
            (Event::StreamEnd, _) => return None,
            (event, mark) if path.is_empty() => {
                let _ = event;
                return Some((mark.line + 1, mark.column + 1));
            }
            (event, _) => return walker.descend(event, path),
        }
    }
}

struct Walker<'t> {
    parser: Parser<'t>,
}

impl<'t> Walker<'t> {
    fn descend(&mut self, mut event: Event<'t>, path: &[&str]) -> Option<(usize, usize)> {
        let mut found = None;
        for step in path {
            let (next, place) = match event {
                Event::MappingStart { .. } => self.entry(step)?,
                Event::SequenceStart { .. } => self.item(step.parse().ok()?)?,
                _ => return None,
            };
            event = next;
            found = Some(place);
        }
        found
    }

    /// Goes to the value of a key, and gives its first event and the place of the key.
    fn entry(&mut self, wanted: &str) -> Option<(Event<'t>, (usize, usize))> {
        loop {
            let (key, mark) = self.parser.next().ok()?;
            let fits = match &key {
                Event::MappingEnd => return None,
                Event::Scalar { text, .. } => text == wanted,
                _ => false,
            };
            self.skip(&key)?;
            let (value, _) = self.parser.next().ok()?;
            if fits {
                return Some((value, (mark.line + 1, mark.column + 1)));
            }
            self.skip(&value)?;
        }
    }

    fn item(&mut self, index: usize) -> Option<(Event<'t>, (usize, usize))> {
        for _ in 0..index {
            let (item, _) = self.parser.next().ok()?;
            if item == Event::SequenceEnd {
                return None;
            }
            self.skip(&item)?;
        }
        match self.parser.next().ok()? {
            (Event::SequenceEnd, _) => None,
            (item, mark) => Some((item, (mark.line + 1, mark.column + 1))),
        }
    }

    /// Passes over what belongs to a value whose first event was read.
    fn skip(&mut self, first: &Event<'t>) -> Option<()> {
        let opens =
            |event: &Event<'_>| matches!(event, Event::MappingStart { .. } | Event::SequenceStart { .. });
        let mut depth = usize::from(opens(first));
        while depth > 0 {
            let (event, _) = self.parser.next().ok()?;
            match event {
                Event::MappingEnd | Event::SequenceEnd => depth -= 1,
                Event::StreamEnd => return None,
                event => depth += usize::from(opens(&event)),
            }
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_keys_and_items() {
        let text =
            "# head\na: 1\nb: {c: [x, {d: 2}], e: &e [1]}\nf:\n- g: h\n  i: *e\n'j k': |\n  text\nl: last\n";
        for (path, place) in [
            (vec!["a"], Some((2, 1))),
            (vec!["b", "c"], Some((3, 5))),
            (vec!["b", "c", "1", "d"], Some((3, 13))),
            (vec!["f", "0", "i"], Some((6, 3))),
            (vec!["f", "0", "i", "0"], None),
            (vec!["f", "1"], None),
            (vec!["j k"], Some((7, 1))),
            (vec!["l"], Some((9, 1))),
            (vec![], Some((2, 1))),
            (vec!["a", "x"], None),
        ] {
            assert_eq!(locate(text, &path), place, "{path:?}");
        }
        assert_eq!(locate("a: [", &["b"]), None);
    }
}
