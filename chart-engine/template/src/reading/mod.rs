//! Reading texts: on several threads, and before it is known which of them are wanted.

mod ahead;
mod helper;

use std::cmp::Reverse;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use ahead::ReadAhead;
use helper::{Helper, Taken};

use crate::error::{ErrorKind, Place, TemplateError, TraceFrame, Via};
use crate::functions::{Functions, Numbers};
use crate::limits::Limits;
use crate::syntax::{self, SyntaxError, Tables, Tree};

/// So many bytes of texts are read sooner than another thread begins.
const ALONE_BYTES_MAX: usize = 32 << 10;

/// A text that was read.
#[derive(Debug)]
pub struct ReadText {
    /// The how-many-eth text it was.
    pub index: usize,
    pub(crate) tree: Result<Tree, TemplateError>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads texts, each with its name; gives them in their order.
pub(crate) fn read_all(
    texts: &[(&str, &str)],
    functions: &Functions,
    limits: &Limits,
    ahead: Option<&ReadAhead>,
) -> Vec<ReadText> {
    let (order, copies) = each_once(texts);
    let numbers = functions.numbers();
    let ahead = ahead.and_then(ReadAhead::end);
    let helper = match ahead.filter(|helper| helper.knows(numbers)) {
        None if order.iter().map(|index| texts[*index].1.len()).sum::<usize>() > ALONE_BYTES_MAX => {
            let helper = Helper::begin(Arc::clone(numbers), limits);
            if let Some(helper) = &helper {
                for (name, text) in order.iter().map(|index| texts[*index]) {
                    helper.put(name, text);
                }
            }
            helper
        }
        helper => helper,
    };
    let mut tables = Tables::default();
    let mut read_here = |index: usize| {
        let (name, text) = texts[index];
        read(name, &text.into(), numbers, limits.syntax_depth_max, &mut tables)
    };
    let mut trees: Vec<Option<Result<Tree, TemplateError>>> = texts.iter().map(|_| None).collect();
    if let Some(helper) = helper {
        let key = |index: &usize| (*index, helper.key(texts[*index].1));
        let keys: Vec<_> = order.iter().map(key).collect();
        helper.keep_only(&keys);
        let mut by_other = Vec::new();
        for (index, key) in keys {
            match helper.take(key) {
                Taken::Read(tree) => trees[index] = Some(tree),
                Taken::ByCaller => trees[index] = Some(read_here(index)),
                Taken::ByOther => by_other.push((index, key)),
            }
        }
        for (index, key) in by_other {
            trees[index] = helper.wait_for(key);
        }
    }
    // What nobody has read yet, and what was read under another name; a fault tells the name.
    let originals = order.into_iter().map(|index| (index, index));
    for (index, original) in originals.chain(copies) {
        let (name, text) = texts[index];
        let known = trees[original].as_ref().and_then(|tree| tree.as_ref().ok());
        let tree = match known.filter(|tree| *tree.source.text == *text) {
            Some(tree) if index == original && *tree.file == *name => continue,
            Some(tree) => tree.as_file(name),
            None => None,
        };
        trees[index] = Some(tree.map_or_else(|| read_here(index), Ok));
    }
    let read = |(index, tree): (usize, Option<_>)| Some(ReadText { index, tree: tree? });
    trees.into_iter().enumerate().filter_map(read).collect()
}

/// The texts that differ, the longest first, so that nobody is left with one when all others are done; and those that are
/// the same as another one, with which that is: charts bring the same libraries along.
fn each_once(texts: &[(&str, &str)]) -> (Vec<usize>, Vec<(usize, usize)>) {
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
    (order, copies)
}

/// Reads one text; `numbers` are those of the functions.
pub(crate) fn read(
    name: &str,
    text: &Arc<str>,
    numbers: &Numbers,
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
        set_of(texts, None)
    }

    fn set_of(texts: &[(&str, &str)], ahead: Option<&ReadAhead>) -> (TemplateSet, Vec<String>) {
        let mut set = TemplateSet::new(Functions::helm());
        let read = set.read(texts, ahead);
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

    /// With one text that is larger than what is left for later.
    fn read_ahead(texts: &[(&str, &str)]) -> ReadAhead {
        let ahead = ReadAhead::new(Limits::default());
        let large = "x".repeat(ALONE_BYTES_MAX + 1);
        for (name, text) in [("large", &*large)].iter().chain(texts) {
            ahead.offer(name, text);
        }
        ahead
    }

    #[test]
    fn what_is_read_ahead_is_the_same_as_what_is_read_later() {
        let library = r#"{{ define "name" }}{{ fail "no" }}{{ end }}text"#;
        let texts = [
            ("a/templates/_lib.tpl", library),
            ("a/templates/b", r#"{{ template "name" }}"#),
            ("a/charts/alias/templates/_lib.tpl", library),
            ("a/templates/not-ahead", "later"),
        ];
        let ahead = read_ahead(&[
            texts[0],
            ("a/charts/c/templates/_lib.tpl", library),
            ("a/charts/unwanted/templates/d", "{{ end }}"),
            texts[1],
        ]);
        let (set, faults) = set_of(&texts, Some(&ahead));
        assert_eq!(faults, [""; 0]);
        let mut names = texts.map(|(name, _)| name).to_vec();
        names.push("name");
        names.sort_unstable();
        assert_eq!(set.names(), names);
        assert_eq!(set.execute(texts[3].0, &Value::Invalid).unwrap(), "later");
        let fault = set.execute(texts[1].0, &Value::Invalid).unwrap_err();
        assert_eq!(fault.trace.last().unwrap().place.file, texts[2].0);
        // It was ended.
        ahead.offer("e", "{{ end }}");
        assert_eq!(set_of(&texts, Some(&ahead)).1, [""; 0]);
    }

    #[test]
    fn err_a_broken_text_that_was_read_ahead_is_told_under_the_name_it_has() {
        let ahead = read_ahead(&[("a/charts/b/templates/c", "{{ end }}")]);
        let (_, faults) = set_of(&[("a/charts/alias/templates/c", "{{ end }}")], Some(&ahead));
        let [fault] = &*faults else {
            panic!("{faults:?}");
        };
        assert!(fault.contains("a/charts/alias/templates/c:1"), "{fault}");
    }

    #[test]
    fn functions_that_only_the_set_has_are_known_to_it() {
        let ahead = read_ahead(&[("a", "{{ shout }}")]);
        let shout = std::rc::Rc::new(|_: &mut crate::Scope, _: &[Value]| Ok(Value::from("hey".to_owned())));
        let mut set = TemplateSet::new(Functions::helm().with("shout", crate::Signature::new(&[]), shout));
        for text in set.read(&[("a", "{{ shout }}")], Some(&ahead)) {
            set.add(text).unwrap();
        }
        assert_eq!(set.execute("a", &Value::Invalid).unwrap(), "hey");
    }
}
