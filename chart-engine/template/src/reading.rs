//! Reading the texts of a set on several threads.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{ErrorKind, Place, TemplateError, TraceFrame, Via};
use crate::functions::{Functions, Names};
use crate::limits::Limits;
use crate::syntax::{self, SyntaxError, Tables, Tree};

/// Texts that are being read.
///
/// Whoever calls [`Reading::read`] takes one text after the other until none is left; [`Reading::whole`] ends it.
#[derive(Debug)]
pub struct Reading<'t> {
    /// With their names.
    texts: Vec<(&'t str, &'t str)>,
    /// Which comes when: the longest first, so that nobody is left with one when all others are done.
    order: Vec<usize>,
    /// Texts that are the same as an earlier one, with which that is: charts bring the same libraries along.
    copies: Vec<(usize, usize)>,
    next: AtomicUsize,
    numbers: Arc<Names<u32, Cow<'static, str>>>,
    depth_max: usize,
}

/// A text that was read.
#[derive(Debug)]
pub struct ReadText {
    /// The how-many-eth text it was.
    pub index: usize,
    pub(crate) tree: Result<Tree, TemplateError>,
}

impl<'t> Reading<'t> {
    pub(crate) fn new(texts: Vec<(&'t str, &'t str)>, functions: &Functions, limits: &Limits) -> Reading<'t> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_unstable_by_key(|index| (Reverse(texts[*index].1.len()), texts[*index].1, *index));
        let mut copies = Vec::new();
        order.dedup_by(|copy, original| {
            let is_same = texts[*copy].1 == texts[*original].1;
            if is_same {
                copies.push((*copy, *original));
            }
            is_same
        });
        Reading {
            texts,
            order,
            copies,
            next: AtomicUsize::new(0),
            numbers: Arc::clone(functions.numbers()),
            depth_max: limits.syntax_depth_max,
        }
    }

    /// Reads texts until none is left, but for those that are copies of others.
    pub fn read(&self) -> Vec<ReadText> {
        let mut read = Vec::new();
        let mut tables = Tables::default();
        loop {
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&index) = self.order.get(turn) else {
                return read;
            };
            read.push(self.read_one(index, &mut tables));
        }
    }

    /// Puts all that was read in order, and the copies with it.
    pub fn whole(&self, mut read: Vec<ReadText>) -> Vec<ReadText> {
        read.sort_unstable_by_key(|text| text.index);
        let mut tables = Tables::default();
        let copy = |&(index, original): &(usize, usize)| {
            let at = read.binary_search_by_key(&original, |text| text.index).ok()?;
            let tree = read[at].tree.as_ref().ok()?.as_file(self.texts[index].0)?;
            Some(ReadText {
                index,
                tree: Ok(tree),
            })
        };
        let copies: Vec<ReadText> = self
            .copies
            .iter()
            .map(|pair| copy(pair).unwrap_or_else(|| self.read_one(pair.0, &mut tables)))
            .collect();
        read.extend(copies);
        read.sort_unstable_by_key(|text| text.index);
        read
    }

    fn read_one(&self, index: usize, tables: &mut Tables) -> ReadText {
        let (name, text) = self.texts[index];
        let tree = read(name, text, &self.numbers, self.depth_max, tables);
        ReadText { index, tree }
    }

    /// The bytes that are to be read.
    pub fn bytes(&self) -> usize {
        self.order.iter().map(|index| self.texts[*index].1.len()).sum()
    }
}

/// Reads one text; `numbers` are those of the functions.
pub(crate) fn read(
    name: &str,
    text: &str,
    numbers: &Names<u32, Cow<'static, str>>,
    depth_max: usize,
    tables: &mut Tables,
) -> Result<Tree, TemplateError> {
    let known = |function: &str| numbers.get(function).copied();
    syntax::parse(name, text, depth_max, &known, tables).map_err(|err| syntax_error(name, text, err))
}

fn syntax_error(name: &str, text: &str, err: SyntaxError) -> TemplateError {
    let SyntaxError { line, pos, message } = err;
    let line = line as usize;
    let start = text
        .get(..pos.min(text.len()))
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |at| at + 1);
    let place = Place {
        file: name.to_owned(),
        line,
        column: pos.saturating_sub(start),
        text: text
            .split('\n')
            .nth(line.saturating_sub(1))
            .unwrap_or_default()
            .to_owned(),
    };
    let frame = TraceFrame {
        place,
        template: name.to_owned(),
        action: String::new(),
        via: Via::Start,
    };
    TemplateError {
        kind: ErrorKind::Syntax,
        message,
        trace: vec![frame],
        function: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TemplateSet, Value};

    fn set(texts: &[(&str, &str)]) -> (TemplateSet, Vec<String>) {
        let mut set = TemplateSet::new(Functions::helm());
        let reading = set.reading(texts.to_vec());
        let read = reading.whole(reading.read());
        let faults = read.into_iter().filter_map(|text| set.add(text).err());
        let faults = faults.map(|fault| fault.to_string()).collect();
        (set, faults)
    }

    #[test]
    fn the_same_text_in_several_files_is_each_file() {
        let library = r#"{{ define "name" }}{{ fail "no" }}{{ end }}text"#;
        let (set, faults) = set(&[
            ("a/_lib.tpl", library),
            ("b", r#"{{ template "name" }}"#),
            ("c/_lib.tpl", library),
        ]);
        assert_eq!(faults, [""; 0]);
        assert_eq!(set.names(), ["a/_lib.tpl", "b", "c/_lib.tpl", "name"]);
        for file in ["a/_lib.tpl", "c/_lib.tpl"] {
            assert_eq!(set.execute(file, &Value::Invalid).unwrap(), "text");
        }
        // What was added last counts.
        let fault = set.execute("b", &Value::Invalid).unwrap_err();
        assert_eq!(fault.trace.last().unwrap().place.file, "c/_lib.tpl");
    }

    #[test]
    fn a_text_that_defines_a_file_is_another_one_as_that_file() {
        let text = r#"{{ define "b" }}defined{{ end }}text"#;
        let (_, faults) = set(&[("a", text), ("b", text), ("c", text)]);
        let [fault] = &*faults else {
            panic!("{faults:?}");
        };
        assert!(fault.contains("multiple definition of template \"b\""), "{fault}");
        let quiet = r#"{{ define "b" }}defined{{ end }}"#;
        let (set, faults) = set(&[("a", quiet), ("b", quiet), ("c", quiet)]);
        assert_eq!(faults, [""; 0]);
        assert_eq!(set.execute("a", &Value::Invalid).unwrap(), "");
        assert_eq!(set.execute("b", &Value::Invalid).unwrap(), "defined");
        assert_eq!(set.execute("c", &Value::Invalid).unwrap(), "");
    }

    #[test]
    fn err_each_file_with_a_broken_text_is_told() {
        let (_, faults) = set(&[("a", "{{ end }}"), ("b", "{{ end }}")]);
        let files: Vec<bool> = ["a:1", "b:1"]
            .iter()
            .zip(&faults)
            .map(|(file, fault)| fault.contains(file))
            .collect();
        assert_eq!(files, [true, true], "{faults:?}");
    }
}
