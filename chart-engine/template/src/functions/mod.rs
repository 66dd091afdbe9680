//! The functions that charts call, one row each, one file per family.

mod builtin;
mod cast;
mod chance;
mod compare;
mod crypto;
mod data;
mod dates;
mod decimal;
mod dicts;
mod empty;
mod encode;
mod flow;
mod lists;
mod merge;
mod numbers;
mod paths;
mod regex;
mod semver;
mod strings;
mod toml;
mod types;
mod urls;
mod words;

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::hash_map::{self, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

pub(crate) use encode::base64;

use crate::fault::Fault;
use crate::signature::{Signature, Type};
use crate::surroundings::Scope;
use crate::value::Value;

/// What a function gives.
pub type Outcome = Result<Value, Fault>;

/// A function that the caller provides.
pub type Shared = Rc<dyn Fn(&mut Scope, &[Value]) -> Outcome>;

/// What calling a function does.
#[derive(Clone)]
pub(crate) enum Action {
    /// Computes a value from the arguments.
    Plain(fn(&mut Scope, &[Value]) -> Outcome),
    /// As `Plain`, with something of the caller's enclosed.
    Shared(Shared),
    /// Evaluates arguments until one is false.
    And,
    /// Evaluates arguments until one is true.
    Or,
    /// Runs a template and gives its output.
    Include,
    /// Parses a text, runs it and gives its output.
    Tpl,
}

/// What functions keep from one call to the next, in all executions of a set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    regexes: regex::Cache,
    hashes: Rc<RefCell<crypto::HashesAhead>>,
}

/// What has names; hashed quickly, as charts ask for names all the time.
pub(crate) type Names<T, N = Arc<str>> = HashMap<N, T, foldhash::fast::RandomState>;

/// A function.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: Cow<'static, str>,
    pub(crate) signature: Signature,
    pub(crate) action: Action,
}

/// A row of the tables in the files of this folder: name, parameters, what it does.
type Entry = (&'static str, Signature, Action);

/// One that takes a fixed number of arguments.
const fn takes(
    name: &'static str,
    fixed: &'static [Type],
    call: fn(&mut Scope, &[Value]) -> Outcome,
) -> Entry {
    (name, Signature::new(fixed), Action::Plain(call))
}

/// One that takes arguments and then any number of others.
const fn takes_many(
    name: &'static str,
    fixed: &'static [Type],
    rest: Type,
    call: fn(&mut Scope, &[Value]) -> Outcome,
) -> Entry {
    (name, Signature::variadic(fixed, rest), Action::Plain(call))
}

/// By what number a function is called.
pub(crate) type Numbers = Names<u32, Cow<'static, str>>;

/// What Helm gives to charts, but for cryptography.
const TABLES: &[&[Entry]] = &[
    builtin::ROWS,
    strings::ROWS,
    numbers::ROWS,
    lists::ROWS,
    dicts::ROWS,
    types::ROWS,
    encode::ROWS,
    data::ROWS,
    chance::ROWS,
    words::ROWS,
    regex::ROWS,
    semver::ROWS,
    paths::ROWS,
    urls::ROWS,
    dates::ROWS,
    toml::ROWS,
    flow::ROWS,
];

/// The functions that the templates of a set can call.
#[derive(Clone)]
pub struct Functions {
    rows: Vec<Row>,
    /// Shared with those who read texts meanwhile.
    by_name: Arc<Numbers>,
}

impl Functions {
    /// Only the functions that Go's template language itself has.
    pub fn go() -> Self {
        Functions::of([builtin::ROWS])
    }

    /// All functions that Helm gives to charts, but for those that need a cluster: `lookup` gives an empty map, and
    /// `getHostByName` an empty string, unless the caller puts its own in their place.
    pub fn helm() -> Self {
        thread_local! {
            // Charts are read by the numbers of functions before it is known what else the caller provides.
            static HELM: Functions = Functions::of(TABLES.iter().copied().chain(crypto::TABLES.iter().copied()));
        }
        HELM.with(Functions::clone)
    }

    /// The functions of some tables; where a name comes twice, the later one counts.
    fn of(tables: impl IntoIterator<Item = &'static [Entry]>) -> Self {
        const USUALLY: usize = 300;
        let mut rows = Vec::with_capacity(USUALLY);
        let mut by_name = Names::with_capacity_and_hasher(USUALLY, Default::default());
        for (name, signature, action) in tables.into_iter().flatten() {
            let row = Row {
                name: Cow::Borrowed(*name),
                signature: *signature,
                action: action.clone(),
            };
            put(&mut rows, &mut by_name, row);
        }
        Functions {
            rows,
            by_name: Arc::new(by_name),
        }
    }

    /// Adds a function, or replaces the one of that name.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use chart_template::{Functions, Signature, TemplateSet, Type, Value};
    ///
    /// let shout = Rc::new(|_: &mut chart_template::Scope, args: &[Value]| {
    ///     Ok(Value::from(format!("{}!", args[0])))
    /// });
    /// let functions = Functions::helm().with("shout", Signature::new(&[Type::String]), shout);
    /// let mut set = TemplateSet::new(functions);
    /// set.parse("a", r#"{{ "hey" | shout }}"#)?;
    /// assert_eq!(set.execute("a", &Value::Nil)?, "hey!");
    /// # Ok::<(), chart_template::TemplateError>(())
    /// ```
    #[must_use]
    pub fn with(mut self, name: &str, signature: Signature, function: Shared) -> Self {
        let row = Row {
            name: Cow::Owned(name.to_owned()),
            signature,
            action: Action::Shared(function),
        };
        put(&mut self.rows, Arc::make_mut(&mut self.by_name), row);
        self
    }

    /// The names of all functions, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.rows.iter().map(|row| &*row.name).collect();
        names.sort_unstable();
        names
    }

    /// The parameters of a function.
    pub fn signature(&self, name: &str) -> Option<Signature> {
        self.find(name).map(|(_, row)| row.signature)
    }

    pub(crate) fn find(&self, name: &str) -> Option<(u32, &Row)> {
        let at = *self.by_name.get(name)?;
        Some((at, &self.rows[at as usize]))
    }

    pub(crate) fn numbers(&self) -> &Arc<Numbers> {
        &self.by_name
    }

    pub(crate) fn row(&self, at: u32) -> &Row {
        &self.rows[at as usize]
    }
}

/// Adds a row, or replaces the one of that name.
fn put(rows: &mut Vec<Row>, by_name: &mut Numbers, row: Row) {
    let next = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    match by_name.entry(row.name.clone()) {
        hash_map::Entry::Occupied(place) => rows[*place.get() as usize] = row,
        hash_map::Entry::Vacant(place) => {
            place.insert(next);
            rows.push(row);
        }
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// The bytes of an argument that was checked to be a string.
fn text(value: &Value) -> &[u8] {
    value.as_text().map_or(b"", |text| text.as_bytes())
}

/// The text of an argument that was checked to be a string.
fn string(value: &Value) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(text(value))
}

/// The number of an argument that was checked to be an integer.
fn integer(value: &Value) -> i64 {
    match value {
        Value::Int(number, _) => *number,
        _ => 0,
    }
}

/// A string, counted against the limits.
fn made(scope: &mut Scope, bytes: Vec<u8>) -> Outcome {
    scope.text(bytes.len())?;
    Ok(Value::from(bytes))
}

/// The fault of a nil where Go looks for a type.
fn nil_dereference() -> Fault {
    Fault::new("runtime error: invalid memory address or nil pointer dereference")
}
