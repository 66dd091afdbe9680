//! Named templates and what they have in common.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

use crate::error::{ErrorKind, TemplateError};
use crate::fault::Fault;
use crate::functions::{Action, Functions, Kept, Names};
use crate::limits::Limits;
use crate::machine::Machine;
use crate::memo::Memo;
use crate::program::Template;
use crate::reading::{ReadAhead, ReadText, read, read_all};
use crate::surroundings::{Scope, Surroundings, System};
use crate::syntax::{Tables, Tree};
use crate::value::{Text, Value};

/// How many texts given to `tpl` are kept compiled.
const TEXTS_MAX: usize = 4096;

/// The template that a set is the set of, and that texts given to `tpl` are called after.
const ROOT: &str = "gotpl";

/// The templates of a chart and its subcharts, by name.
///
/// ```
/// use chart_template::{Functions, TemplateSet, Value};
///
/// let mut set = TemplateSet::new(Functions::helm());
/// set.parse("web/templates/_name.tpl", r#"{{ define "name" }}{{ .Release.Name | trunc 63 }}{{ end }}"#)?;
/// set.parse("web/templates/pod.yaml", r#"name: {{ include "name" . | quote }}"#)?;
///
/// let release = Value::map([("Name".into(), "shop".into())]);
/// let data = Value::map([("Release".into(), release)]);
/// assert_eq!(set.execute("web/templates/pod.yaml", &data)?, r#"name: "shop""#);
/// # Ok::<(), chart_template::TemplateError>(())
/// ```
#[derive(Debug)]
pub struct TemplateSet {
    functions: Functions,
    limits: Limits,
    surroundings: Rc<RefCell<dyn Surroundings>>,
    templates: Names<Rc<Template>>,
    kept: Kept,
    /// Steps of all executions so far.
    steps: Cell<u64>,
    /// Texts given to `tpl`, compiled.
    texts: RefCell<Names<Rc<Parsed>, Text>>,
    /// What includes gave, in any execution.
    memo: RefCell<Memo>,
    tables: RefCell<Tables>,
}

/// A text and what it defines.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) main: Rc<Template>,
    pub(crate) defined: Vec<Rc<Template>>,
}

impl From<Tree> for Parsed {
    fn from(tree: Tree) -> Parsed {
        let Tree {
            file,
            source,
            definitions,
            ..
        } = tree;
        let template = |definition| Rc::new(Template::new(&file, &source, definition));
        let mut templates: Vec<_> = definitions.into_iter().map(template).collect();
        let at = templates
            .iter()
            .position(|template| template.name == file)
            .unwrap_or(0);
        let main = templates.swap_remove(at);
        Parsed {
            main,
            defined: templates,
        }
    }
}

impl TemplateSet {
    /// A set without templates, on the machine's own clock and randomness, with the usual limits.
    pub fn new(functions: Functions) -> Self {
        TemplateSet {
            functions,
            limits: Limits::default(),
            surroundings: Rc::new(RefCell::new(System)),
            templates: Names::default(),
            kept: Kept::default(),
            steps: Cell::new(0),
            texts: RefCell::default(),
            memo: RefCell::default(),
            tables: RefCell::default(),
        }
    }

    /// The set with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The set with another clock, time zone and source of chance.
    #[must_use]
    pub fn with_surroundings(mut self, surroundings: impl Surroundings + 'static) -> Self {
        self.surroundings = Rc::new(RefCell::new(surroundings));
        self
    }

    /// Adds a text under a name, and all that it defines.
    ///
    /// A definition replaces an earlier one of the same name, wherever that came from, unless it is empty and the
    /// earlier one is not.
    ///
    /// # Errors
    /// When the text is no template; nothing of it is added then.
    pub fn parse(&mut self, name: &str, text: &str) -> Result<(), TemplateError> {
        let parsed = self.compile(name, text)?;
        self.add_parsed(parsed);
        Ok(())
    }

    /// Reads texts, each with its name, for [`TemplateSet::add`]; gives them in their order. Another thread helps where
    /// they are many, and what was read ahead need not be read again.
    pub fn read(&self, texts: &[(&str, &str)], ahead: Option<&ReadAhead>) -> Vec<ReadText> {
        read_all(texts, &self.functions, &self.limits, ahead)
    }

    /// Adds a text that was read, and all that it defines, as [`TemplateSet::parse`] does.
    ///
    /// # Errors
    /// When the text is no template; nothing of it is added then.
    pub fn add(&mut self, text: ReadText) -> Result<(), TemplateError> {
        self.add_parsed(text.tree?.into());
        Ok(())
    }

    fn add_parsed(&mut self, Parsed { main, defined }: Parsed) {
        self.memo.get_mut().clear();
        for template in std::iter::once(main).chain(defined) {
            add(&mut self.templates, template);
        }
    }

    fn compile(&self, name: &str, text: &str) -> Result<Parsed, TemplateError> {
        let (numbers, depth_max) = (self.functions.numbers(), self.limits.syntax_depth_max);
        let tree = read(
            name,
            &text.into(),
            numbers,
            depth_max,
            &mut self.tables.borrow_mut(),
        )?;
        Ok(tree.into())
    }

    /// Calls a function by its name, as a template would.
    ///
    /// # Errors
    /// When there is no such function, the arguments do not fit, or the function refuses. `and`, `or`, `include` and
    /// `tpl` need a template around them and cannot be called so.
    pub fn call(&self, name: &str, arguments: Vec<Value>) -> Result<Value, Fault> {
        let Some((_, row)) = self.functions.find(name) else {
            let name = crate::format::quote(name.as_bytes());
            return Err(Fault::new(format!("function {name} not defined")));
        };
        row.signature
            .check_count(name, arguments.len(), false)
            .map_err(Fault::new)?;
        let check = |(at, argument)| row.signature.parameter(at).check(argument);
        let arguments: Result<Vec<Value>, String> = arguments.into_iter().enumerate().map(check).collect();
        let arguments = arguments.map_err(Fault::new)?;
        let mut scope = Scope::new(self.limits, Rc::clone(&self.surroundings), self.kept.clone());
        match &row.action {
            Action::Plain(call) => call(&mut scope, &arguments),
            Action::Shared(call) => call(&mut scope, &arguments),
            Action::And | Action::Or | Action::Include | Action::Tpl => Err(Fault::new(format!(
                "{name} cannot be called outside of a template"
            ))),
        }
    }

    /// The names of all functions, sorted.
    pub fn function_names(&self) -> Vec<&str> {
        self.functions.names()
    }

    /// The names of all templates, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.templates.keys().map(|name| &**name).collect();
        names.sort_unstable();
        names
    }

    /// Whether there is a template of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.templates.contains_key(name)
    }

    /// Executes a template with the data as its dot.
    ///
    /// A missing value writes `<no value>`, as in Go; [`without_no_value`] removes that as Helm does. Bytes of the
    /// output that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// When there is no such template, a step of it fails, or it asks for more than the limits allow.
    pub fn execute(&self, name: &str, data: &Value) -> Result<String, TemplateError> {
        let bytes = self.execute_bytes(name, data)?;
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|err| String::from_utf8_lossy(err.as_bytes()).into_owned()))
    }

    /// As [`TemplateSet::execute`], with the output as it is.
    ///
    /// # Errors
    /// As [`TemplateSet::execute`].
    pub fn execute_bytes(&self, name: &str, data: &Value) -> Result<Vec<u8>, TemplateError> {
        let Some(template) = self.templates.get(name) else {
            return Err(TemplateError {
                kind: ErrorKind::NoTemplate,
                message: no_template(name),
                trace: Vec::new(),
                function: None,
            });
        };
        let left = self.limits.steps_total_max.saturating_sub(self.steps.get());
        let limits = Limits {
            steps_max: self.limits.steps_max.min(left),
            ..self.limits
        };
        let scope = Scope::new(limits, Rc::clone(&self.surroundings), self.kept.clone());
        let (result, steps) = Machine::new(self, scope).execute(template, data);
        self.steps.set(self.steps.get().saturating_add(steps));
        result
    }

    pub(crate) fn functions(&self) -> &Functions {
        &self.functions
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Rc<Template>> {
        self.templates.get(name)
    }

    pub(crate) fn memo(&self) -> RefMut<'_, Memo> {
        self.memo.borrow_mut()
    }

    /// A text given to `tpl`, compiled now or earlier.
    pub(crate) fn text(&self, text: &Text) -> Result<Rc<Parsed>, TemplateError> {
        if let Some(parsed) = self.texts.borrow().get(text) {
            return Ok(Rc::clone(parsed));
        }
        let parsed = Rc::new(self.compile(ROOT, &text.to_str())?);
        let mut texts = self.texts.borrow_mut();
        if texts.len() >= TEXTS_MAX {
            texts.clear();
        }
        texts.insert(text.clone(), Rc::clone(&parsed));
        Ok(parsed)
    }
}

/// Adds a template unless it is empty and would replace one.
pub(crate) fn add(templates: &mut Names<Rc<Template>>, template: Rc<Template>) {
    if !(template.blank && templates.contains_key(&template.name)) {
        templates.insert(Arc::clone(&template.name), template);
    }
}

pub(crate) fn no_template(name: &str) -> String {
    let name = crate::format::quote(name.as_bytes());
    format!("template: no template {name} associated with template \"{ROOT}\"")
}

/// A rendering without the `<no value>` that missing values leave.
///
/// Helm removes every occurrence, also one that a chart wrote on purpose.
pub fn without_no_value(text: String) -> String {
    const NO_VALUE: &str = "<no value>";
    match memchr::memmem::find(text.as_bytes(), NO_VALUE.as_bytes()) {
        Some(_) => text.replace(NO_VALUE, ""),
        None => text,
    }
}
