//! The functions of Helm for Jinja.

use std::cell::RefCell;
use std::rc::Rc;

use chart_template::{TemplateSet, Value as GoValue, without_no_value};
use minijinja::value::Rest;
use minijinja::{Environment, Error, ErrorKind, State, Value};

use super::context::Context;
use super::convert::{go_to_jinja, jinja_to_go};

/// What the functions need of the rendering in which they are called.
#[derive(Clone)]
pub(super) struct Helm {
    pub(super) set: Rc<TemplateSet>,
    pub(super) dot: GoValue,
    pub(super) context: Rc<Context>,
}

thread_local! {
    // Jinja wants functions that can go to other threads, which Go templates and their values cannot; a rendering
    // never leaves its thread.
    static HELM: RefCell<Option<Helm>> = const { RefCell::new(None) };
}

/// Runs a rendering whose functions find `helm`.
pub(super) fn with_helm<T>(helm: Helm, rendering: impl FnOnce() -> T) -> T {
    let before = HELM.with(|current| current.replace(Some(helm)));
    let result = rendering();
    HELM.with(|current| current.replace(before));
    result
}

fn helm() -> Result<Helm, Error> {
    HELM.with(|current| current.borrow().clone())
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "called outside of a rendering"))
}

/// Words of the language, and what is defined here in another way.
const OWN: [&str; 5] = ["and", "or", "not", "include", "tpl"];

/// Gives an environment all functions of Helm, as functions and as filters, under their names and those in lower case.
pub(super) fn register(environment: &mut Environment<'_>, set: &TemplateSet) {
    for name in set.function_names() {
        if OWN.contains(&name) {
            continue;
        }
        let lower = name.to_lowercase();
        for alias in [Some(name.to_owned()), (lower != name).then_some(lower)]
            .into_iter()
            .flatten()
        {
            let function = name.to_owned();
            environment.add_function(alias.clone(), move |args: Rest<Value>| call(&function, &args));
            let function = name.to_owned();
            environment.add_filter(alias, move |value: Value, args: Rest<Value>| {
                // As behind a pipe in Go, the value comes last.
                let args: Vec<Value> = args.iter().cloned().chain([value]).collect();
                call(&function, &args)
            });
        }
    }
    environment.add_function("include", include);
    environment.add_function("tpl", tpl);
    environment.add_filter("tpl", tpl);
}

fn call(function: &str, args: &[Value]) -> Result<Value, Error> {
    let arguments = args.iter().map(jinja_to_go).collect();
    match helm()?.set.call(function, arguments) {
        Ok(value) => Ok(go_to_jinja(&value)),
        Err(fault) => Err(Error::new(
            ErrorKind::InvalidOperation,
            format!("{function}: {fault}"),
        )),
    }
}

/// Runs a template that was defined in Go, over the chart's own objects or the value given.
fn include(name: &str, dot: Option<Value>) -> Result<String, Error> {
    let helm = helm()?;
    let dot = dot.map_or_else(|| helm.dot.clone(), |dot| jinja_to_go(&dot));
    match helm.set.execute(name, &dot) {
        Ok(text) => Ok(without_no_value(text)),
        Err(error) => Err(Error::new(ErrorKind::InvalidOperation, error.to_string())),
    }
}

/// Renders a text as a template of the same chart.
fn tpl(state: &State<'_, '_>, text: &str) -> Result<String, Error> {
    let helm = helm()?;
    state
        .env()
        .render_named_str(state.name(), text, helm.context.value(state.name()))
}
