//! Regular expressions.

mod re2;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use regex_automata::meta::{Config, Regex};
use regex_automata::util::captures::Captures;
use regex_automata::util::syntax;

use super::{Entry, Outcome, integer, made, takes, text};
use crate::fault::Fault;
use crate::signature::Type;
use crate::surroundings::Scope;
use crate::value::{Element, List, Text, Value};

/// How many expressions are kept compiled.
const CACHED_MAX: usize = 1024;
/// How large a compiled expression may be.
const COMPILED_BYTES_MAX: usize = 4 << 20;
/// How deep groups may nest.
const NESTED_MAX: u32 = 200;

const TWO: &[Type] = &[Type::String, Type::String];
const THREE: &[Type] = &[Type::String, Type::String, Type::String];
const COUNTED: &[Type] = &[Type::String, Type::String, Type::Int];

pub(super) const ROWS: &[Entry] = &[
    takes("regexMatch", TWO, |scope, args| {
        // The only one that takes a broken expression for one that matches nothing.
        scope.spend(text(&args[1]).len() as u64 / 16)?;
        let regex = compiled(scope, text(&args[0]));
        let matches = regex.is_ok_and(|regex| regex.is_match(text(&args[1])));
        Ok(Value::Bool(matches))
    }),
    takes("mustRegexMatch", TWO, |scope, args| {
        let regex = expression(scope, args, must)?;
        Ok(Value::Bool(regex.is_match(text(&args[1]))))
    }),
    takes("regexFind", TWO, |scope, args| find(scope, args, panics)),
    takes("mustRegexFind", TWO, |scope, args| find(scope, args, must)),
    takes("regexFindAll", COUNTED, |scope, args| {
        find_all(scope, args, panics)
    }),
    takes("mustRegexFindAll", COUNTED, |scope, args| {
        find_all(scope, args, must)
    }),
    takes("regexReplaceAll", THREE, |scope, args| {
        replace_all(scope, args, panics)
    }),
    takes("mustRegexReplaceAll", THREE, |scope, args| {
        replace_all(scope, args, must)
    }),
    takes("regexReplaceAllLiteral", THREE, |scope, args| {
        replace_literal(scope, args, panics)
    }),
    takes("mustRegexReplaceAllLiteral", THREE, |scope, args| {
        replace_literal(scope, args, must)
    }),
    takes("regexSplit", COUNTED, |scope, args| split(scope, args, panics)),
    takes("mustRegexSplit", COUNTED, |scope, args| split(scope, args, must)),
    takes("regexQuoteMeta", &[Type::String], |scope, args| {
        let mut out = Vec::new();
        for byte in text(&args[0]) {
            if br"\.+*?()|[]{}^$".contains(byte) {
                out.push(b'\\');
            }
            out.push(*byte);
        }
        made(scope, out)
    }),
];

/// Expressions compiled earlier, also those that are wrong.
pub(crate) type Cache = Rc<RefCell<HashMap<Text, Result<Rc<Regex>, Broken>>>>;

/// An expression that is none.
#[derive(Debug, Clone)]
pub(crate) struct Broken {
    expression: Text,
    message: String,
}

/// How the functions that may fail word it.
fn must(broken: &Broken) -> Fault {
    Fault::new(format!("error parsing regexp: {}", broken.message))
}

/// How the others word it: in Go these panic.
fn panics(broken: &Broken) -> Fault {
    let expression = broken.expression.to_str();
    let quoted = if expression.contains('`') {
        crate::format::quote(expression.as_bytes())
    } else {
        format!("`{expression}`")
    };
    Fault::new(format!(
        "regexp: Compile({quoted}): error parsing regexp: {}",
        broken.message
    ))
}

/// The expression of the first argument; counts the second, which is searched.
fn expression(scope: &mut Scope, args: &[Value], refuse: Refuse) -> Result<Rc<Regex>, Fault> {
    scope.spend(text(&args[1]).len() as u64 / 16)?;
    compiled(scope, text(&args[0])).map_err(|broken| refuse(&broken))
}

fn compiled(scope: &Scope, expression: &[u8]) -> Result<Rc<Regex>, Broken> {
    let mut cache = scope.kept.regexes.borrow_mut();
    if let Some(known) = cache.get(expression) {
        return known.clone();
    }
    let key = Text::from(expression);
    let broken = |message: String| Broken {
        expression: key.clone(),
        message,
    };
    let compiled = re2::translate(&key.to_str())
        .map_err(broken)
        .and_then(|translated| {
            Regex::builder()
                .configure(engines())
                .syntax(syntax::Config::new().utf8(false).nest_limit(NESTED_MAX))
                .build(&translated)
                .map(Rc::new)
                .map_err(|_| broken(format!("expression too large: `{key}`")))
        });
    if cache.len() >= CACHED_MAX {
        cache.clear();
    }
    cache.insert(key.clone(), compiled.clone());
    compiled
}

/// How expressions are compiled: texts in charts are short, so what takes long to make and searches faster is left out.
fn engines() -> Config {
    Config::new()
        .utf8_empty(true)
        .nfa_size_limit(Some(COMPILED_BYTES_MAX))
        .dfa(false)
        .onepass(false)
        // The usual number is that of the processors, which the system is asked for by opening files.
        .pool_capacity(1)
}

type Refuse = fn(&Broken) -> Fault;

fn find(scope: &mut Scope, args: &[Value], refuse: Refuse) -> Outcome {
    let regex = expression(scope, args, refuse)?;
    let whole = text(&args[1]);
    let found = regex.find(whole);
    Ok(Value::String(found.map_or_else(Text::default, |found| {
        Text::from(&whole[found.range()])
    })))
}

/// At most so many, where less than nothing means all.
fn at_most(count: &Value) -> usize {
    usize::try_from(integer(count)).unwrap_or(usize::MAX)
}

fn find_all(scope: &mut Scope, args: &[Value], refuse: Refuse) -> Outcome {
    let regex = expression(scope, args, refuse)?;
    let mut found = Vec::new();
    let whole = text(&args[1]);
    for found_one in regex.find_iter(whole).take(at_most(&args[2])) {
        scope.spend(1)?;
        found.push(Text::from(&whole[found_one.range()]));
    }
    scope.items(found.len())?;
    if found.is_empty() {
        return Ok(Value::List(List::nil(Element::String).into()));
    }
    Ok(Value::strings(found))
}

fn replace_with(
    scope: &mut Scope,
    args: &[Value],
    regex: &Regex,
    expand: impl Fn(&mut Vec<u8>, &Captures),
) -> Outcome {
    let whole = text(&args[1]);
    let mut out = Vec::with_capacity(whole.len());
    let mut from = 0;
    for captures in regex.captures_iter(whole) {
        scope.spend(1)?;
        let Some(found) = captures.get_match() else {
            continue;
        };
        out.extend_from_slice(&whole[from..found.start()]);
        expand(&mut out, &captures);
        from = found.end();
        if out.len() > scope.budget.limits.text_bytes_max {
            scope.text(out.len())?;
        }
    }
    out.extend_from_slice(&whole[from..]);
    made(scope, out)
}

fn replace_all(scope: &mut Scope, args: &[Value], refuse: Refuse) -> Outcome {
    let regex = expression(scope, args, refuse)?;
    let template = Expansion::parse(&super::string(&args[2]));
    let whole = text(&args[1]);
    replace_with(scope, args, &regex, |out, captures| {
        template.write(out, captures, whole);
    })
}

fn replace_literal(scope: &mut Scope, args: &[Value], refuse: Refuse) -> Outcome {
    let regex = expression(scope, args, refuse)?;
    replace_with(scope, args, &regex, |out, _| {
        out.extend_from_slice(text(&args[2]));
    })
}

fn split(scope: &mut Scope, args: &[Value], refuse: Refuse) -> Outcome {
    let regex = expression(scope, args, refuse)?;
    let whole = text(&args[1]);
    let count = at_most(&args[2]);
    if count == 0 {
        return Ok(Value::List(List::nil(Element::String).into()));
    }
    if !text(&args[0]).is_empty() && whole.is_empty() {
        return Ok(Value::strings([""]));
    }
    let (mut parts, mut from, mut last) = (Vec::new(), 0, 0);
    for found in regex.find_iter(whole) {
        scope.spend(1)?;
        if parts.len() + 1 >= count {
            break;
        }
        last = found.start();
        if found.end() != 0 {
            parts.push(Text::from(&whole[from..last]));
        }
        from = found.end();
    }
    if last != whole.len() || parts.is_empty() {
        parts.push(Text::from(&whole[from..]));
    }
    scope.items(parts.len())?;
    Ok(Value::strings(parts))
}

/// A replacement with `$1`, `${1}` and `${name}` in it.
struct Expansion {
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    Group(usize),
    Named(String),
}

impl Expansion {
    fn parse(template: &str) -> Self {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some(at) = rest.find('$') {
            parts.push(Part::Text(rest[..at].to_owned()));
            let tail = &rest[at + 1..];
            if let Some(after) = tail.strip_prefix('$') {
                parts.push(Part::Text("$".to_owned()));
                rest = after;
                continue;
            }
            let (name, after) = match tail.strip_prefix('{') {
                Some(inner) => {
                    let (name, after) = word(inner);
                    match after.strip_prefix('}') {
                        Some(after) => (name, after),
                        None => ("", tail),
                    }
                }
                None => word(tail),
            };
            if name.is_empty() {
                // What is no name leaves the dollar as it is.
                parts.push(Part::Text("$".to_owned()));
                rest = tail;
                continue;
            }
            rest = after;
            parts.push(if name.bytes().all(|byte| byte.is_ascii_digit()) {
                Part::Group(name.parse().unwrap_or(usize::MAX))
            } else {
                Part::Named(name.to_owned())
            });
        }
        parts.push(Part::Text(rest.to_owned()));
        Expansion { parts }
    }

    fn write(&self, out: &mut Vec<u8>, captures: &Captures, whole: &[u8]) {
        for part in &self.parts {
            let found = match part {
                Part::Text(text) => {
                    out.extend_from_slice(text.as_bytes());
                    continue;
                }
                Part::Group(group) => captures.get_group(*group),
                Part::Named(name) => captures.get_group_by_name(name),
            };
            out.extend_from_slice(found.map_or(b"", |found| &whole[found.range()]));
        }
    }
}

/// The longest name at the head of a text.
fn word(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| c != '_' && !c.is_alphanumeric())
        .unwrap_or(text.len());
    text.split_at(end)
}
