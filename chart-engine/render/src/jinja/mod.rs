//! Templates in Jinja: files that end in `.j2`.
//!
//! They see the same objects as Go templates under names in lower case, and the same functions: as functions with the
//! same arguments, and as filters whose value is the last argument, as behind a pipe in Go. What is not there is an error
//! with file and line, not an empty text.

mod context;
mod convert;
mod error;
mod functions;

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use chart_template::{Limits, TemplateSet, Value as GoValue};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, Output, State, UndefinedBehavior, Value};

pub use error::JinjaError;

pub(crate) use context::Context;
use functions::{Helm, with_helm};

use crate::error::RenderError;
use crate::render::OnFault;

/// How templates that are Jinja end.
pub(crate) const ENDING: &str = ".j2";

/// How deep templates may call each other.
const RECURSION_MAX: usize = 200;

/// A Jinja template with what it sees.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path with the charts it lies in.
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) context: Rc<Context>,
    /// What Go templates of the same chart see, for those that are called from here.
    pub(crate) dot: GoValue,
}

/// Renders the templates that are no partials.
pub(crate) fn render(
    sources: &[Source],
    set: &Rc<TemplateSet>,
    limits: &Limits,
    on_fault: OnFault<'_>,
) -> Result<BTreeMap<String, String>, RenderError> {
    let mut files = BTreeMap::new();
    if sources.is_empty() {
        return Ok(files);
    }
    let mut environment = environment(set, limits.steps_max);
    for source in sources {
        if let Err(fault) = environment.add_template(&source.name, &source.text) {
            on_fault(JinjaError::new(&fault, sources).into())?;
        }
    }
    for source in sources {
        let name = source.name.rsplit('/').next().unwrap_or_default();
        if name.starts_with('_') || environment.get_template(&source.name).is_err() {
            continue;
        }
        let helm = Helm {
            set: Rc::clone(set),
            dot: source.dot.clone(),
            context: Rc::clone(&source.context),
        };
        let mut text = Bounded::new(limits.text_bytes_max);
        let rendered = with_helm(helm, || {
            let template = environment.get_template(&source.name)?;
            let context = source.context.value(&source.name);
            template.render_captured_to(context, &mut text).map(drop)
        });
        match rendered {
            Ok(()) => {
                // What is written comes from texts, piece by piece.
                let text = String::from_utf8_lossy(&text.bytes).into_owned();
                files.insert(source.name.clone(), text);
            }
            Err(_) if text.is_full => {
                let name = &source.name;
                let message = format!("{name} writes more than {} bytes", limits.text_bytes_max);
                on_fault(JinjaError::without_place(message).into())?;
            }
            Err(fault) => on_fault(JinjaError::new(&fault, sources).into())?,
        }
    }
    Ok(files)
}

/// What a template writes, up to a number of bytes.
struct Bounded {
    bytes: Vec<u8>,
    max: usize,
    is_full: bool,
}

impl Bounded {
    fn new(max: usize) -> Self {
        Bounded {
            bytes: Vec::new(),
            max,
            is_full: false,
        }
    }
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.max - self.bytes.len() {
            self.is_full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn environment<'s>(set: &TemplateSet, steps_max: u64) -> Environment<'s> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_recursion_limit(RECURSION_MAX);
    environment.set_fuel(Some(steps_max));
    // A tag alone on its line leaves no line behind, which is what YAML wants.
    let mut syntax = SyntaxConfig::builder();
    syntax
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true);
    if let Ok(syntax) = syntax.build() {
        environment.set_syntax(syntax);
    }
    environment.set_formatter(format);
    // A name without a folder is meant from the folder of the template that asks for it.
    environment.set_path_join_callback(|name, parent| {
        if name.contains("/templates/") {
            return name.into();
        }
        let mut folder = parent.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut name = name.trim_start_matches("./");
        while let Some(rest) = name.strip_prefix("../") {
            folder = folder.rsplit_once('/').map_or("", |(folder, _)| folder);
            name = rest;
        }
        format!("{folder}/{name}").into()
    });
    functions::register(&mut environment, set);
    environment
}

/// Writes a value so that YAML reads it back: `true` and not `True`, lists and tables as JSON.
fn format(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Bool | ValueKind::None | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => {
            let plain = convert::jinja_to_go(value).to_plain();
            out.write_str(&chart_values::json::to_raw_json(&plain))
                .map_err(Error::from)
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// An undefined value is what Go calls nil.
fn is_missing(value: &Value) -> bool {
    value.is_undefined() || value.is_none()
}
