//! The patterns of a schema that mean the same to every dialect of regular expressions.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::Regex;

/// How many patterns are read. Reading one takes as long as a thousand steps of the judge.
const PATTERNS_MAX: usize = 32;

/// What takes no other sign to be a pattern to all.
const SIGNS: &[u8] = b"^$()|[]+*?{},.-_/:=@% ";

/// Signs together that are something of their own to some: groups, brackets within brackets, differences of classes,
/// repetitions without a least number.
const ODD: [&str; 6] = ["(?", "[[", "--", "[^]", "[]", "{,"];

/// Patterns, each read but once; `None` stands for one that dialects may take differently.
#[derive(Default)]
pub(super) struct Patterns<'p>(RefCell<HashMap<&'p str, Option<Regex>>>);

impl<'p> Patterns<'p> {
    /// Whether a pattern surely is one, and means the same to every dialect.
    pub(super) fn has(&self, pattern: &'p str) -> bool {
        self.is_found(pattern, "").is_some()
    }

    /// Whether a pattern is found in a text; `None` where dialects may differ.
    pub(super) fn is_found(&self, pattern: &'p str, text: &str) -> Option<bool> {
        let mut patterns = self.0.borrow_mut();
        let has_room = patterns.len() < PATTERNS_MAX;
        let read = patterns.entry(pattern).or_insert_with(|| {
            let is_plain = has_room && is_plain(pattern);
            is_plain.then(|| Regex::new(pattern).ok()).flatten()
        });
        read.as_ref().map(|regex| regex.is_match(text))
    }
}

fn is_plain(pattern: &str) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || SIGNS.contains(&byte);
    pattern.bytes().all(known) && ODD.iter().all(|odd| !pattern.contains(odd))
}
