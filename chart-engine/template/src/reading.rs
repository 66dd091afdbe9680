//! Reading the texts of a set on several threads.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{ErrorKind, Place, TemplateError, TraceFrame, Via};
use crate::functions::{Functions, Names};
use crate::limits::Limits;
use crate::syntax::{self, Definition, Source, SyntaxError, Tables};

/// Texts that are being read.
///
/// Whoever calls [`Reading::read`] takes one text after the other until none is left.
#[derive(Debug)]
pub struct Reading<'t> {
    /// With their names.
    texts: Vec<(&'t str, &'t str)>,
    /// Which comes when: the longest first, so that nobody is left with one when all others are done.
    order: Vec<usize>,
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

/// A text's syntax, and what it defines.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) source: Source,
    pub(crate) definitions: Vec<Definition>,
}

impl<'t> Reading<'t> {
    pub(crate) fn new(texts: Vec<(&'t str, &'t str)>, functions: &Functions, limits: &Limits) -> Reading<'t> {
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_unstable_by_key(|index| Reverse(texts[*index].1.len()));
        Reading {
            texts,
            order,
            next: AtomicUsize::new(0),
            numbers: Arc::clone(functions.numbers()),
            depth_max: limits.syntax_depth_max,
        }
    }

    /// Reads texts until none is left.
    pub fn read(&self) -> Vec<ReadText> {
        let mut read = Vec::new();
        let mut tables = Tables::default();
        loop {
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&index) = self.order.get(turn) else {
                return read;
            };
            let (name, text) = self.texts[index];
            let tree = Tree::read(name, text, &self.numbers, self.depth_max, &mut tables);
            read.push(ReadText { index, tree });
        }
    }

    /// The bytes of all texts.
    pub fn bytes(&self) -> usize {
        self.texts.iter().map(|(_, text)| text.len()).sum()
    }
}

impl Tree {
    /// Reads one text; `numbers` are those of the functions.
    pub(crate) fn read(
        name: &str,
        text: &str,
        numbers: &Names<u32, Cow<'static, str>>,
        depth_max: usize,
        tables: &mut Tables,
    ) -> Result<Tree, TemplateError> {
        let known = |function: &str| numbers.get(function).copied();
        match syntax::parse(name, text, depth_max, &known, tables) {
            Ok((source, definitions)) => Ok(Tree { source, definitions }),
            Err(err) => Err(syntax_error(name, text, err)),
        }
    }
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
