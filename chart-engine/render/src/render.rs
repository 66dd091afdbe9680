//! Rendering a chart.

use std::collections::BTreeMap;
use std::rc::Rc;

use chart_model::{Chart, ChartKind, DependencyWarning};
use chart_template::{
    ErrorKind, Functions, ReadText, Scope, Signature, TemplateSet, Text, Type, Value, without_no_value,
};
use chart_values::Map;
use chart_values::coalesce::{CoalesceWarning, Nulls, coalesce};

use crate::error::RenderError;
use crate::hook::Hook;
use crate::jinja;
use crate::manifest::{Manifest, sort_manifests};
use crate::objects::{CapabilitiesObject, Files, chart_object, subchart_values, values_map};
use crate::options::RenderOptions;
use crate::order::KindOrder;
use crate::post_render::post_render;
use crate::schema::{is_plainly_valid, validate};

const NOTES: &str = "NOTES.txt";

/// A chart rendered and read.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The objects, in the order of their installation.
    pub manifests: Vec<Manifest>,
    /// The hooks, in the same order.
    pub hooks: Vec<Hook>,
    /// What `NOTES.txt` says.
    pub notes: String,
    /// The files of `crds/`, of the chart and of those of its subcharts that take part.
    pub crds: Vec<CrdFile>,
    /// The chart with the subcharts that take part, and the values that it imports.
    pub chart: Chart,
    /// The values over the defaults of all charts.
    pub values: Map,
    /// What a person should know about the values and dependencies.
    pub warnings: Warnings,
}

/// What was odd, and left out or passed over.
#[derive(Debug, Clone, Default)]
pub struct Warnings {
    /// About the values.
    pub values: Vec<CoalesceWarning>,
    /// About the dependencies.
    pub dependencies: Vec<DependencyWarning>,
}

/// A file of `crds/`, which is no template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrdFile {
    /// Its path with the charts it lies in.
    pub path: String,
    /// Its text.
    pub content: String,
}

/// The files of a chart after rendering.
#[derive(Debug, Clone)]
pub struct RenderedFiles {
    /// What came of each template, partials excepted.
    pub files: BTreeMap<String, String>,
    /// What `NOTES.txt` says.
    pub notes: String,
    /// The files of `crds/`.
    pub crds: Vec<CrdFile>,
    /// The chart with the subcharts that take part, and the values that it imports.
    pub chart: Chart,
    /// The values over the defaults of all charts.
    pub values: Map,
    /// What a person should know.
    pub warnings: Warnings,
}

/// Checks that a chart can be installed: it is no library, and holds the subcharts it names.
pub fn ensure_installable(chart: &Chart) -> Result<(), RenderError> {
    if chart.metadata.chart_kind() != Some(ChartKind::Application) {
        return Err(RenderError::NotInstallable {
            kind: chart.metadata.kind.clone(),
        });
    }
    let names = chart.missing_dependencies();
    if names.is_empty() {
        Ok(())
    } else {
        Err(RenderError::MissingDependencies { names })
    }
}

/// Renders a chart with the values of a user and reads the manifests.
///
/// The values are laid over the charts' defaults and held against their schemas, then every template is executed, and
/// what came out is cut into objects and hooks, sorted by kind.
pub fn render(chart: Chart, values: Map, options: &RenderOptions) -> Result<Rendered, RenderError> {
    let RenderedFiles {
        files,
        notes,
        crds,
        chart,
        values,
        warnings,
    } = render_files(chart, values, options)?;
    let files = match &options.post_renderer {
        Some(renderer) => post_render(&files, renderer.as_ref())?,
        None => files,
    };
    let sorted = sort_manifests(files, KindOrder::Install)?;
    Ok(Rendered {
        manifests: sorted.manifests,
        hooks: sorted.hooks,
        notes,
        crds,
        chart,
        values,
        warnings,
    })
}

/// Renders the files of a chart without reading them.
pub fn render_files(
    chart: Chart,
    values: Map,
    options: &RenderOptions,
) -> Result<RenderedFiles, RenderError> {
    render_with(chart, values, options, &mut Err)
}

/// As [`render_files`], but goes on with the other templates where one fails: gives what came of those that do not, and
/// all faults.
pub(crate) fn render_what_can_be(
    chart: Chart,
    values: Map,
    options: &RenderOptions,
) -> (Option<RenderedFiles>, Vec<RenderError>) {
    let mut faults = Vec::new();
    let mut keep = |fault| {
        faults.push(fault);
        Ok(())
    };
    match render_with(chart, values, options, &mut keep) {
        Ok(rendered) => (Some(rendered), faults),
        Err(fault) => {
            faults.push(fault);
            (None, faults)
        }
    }
}

/// What is done about the fault of one template: go on, or give up with it.
pub(crate) type OnFault<'f> = &'f mut dyn FnMut(RenderError) -> Result<(), RenderError>;

fn render_with(
    mut chart: Chart,
    values: Map,
    options: &RenderOptions,
    on_fault: OnFault<'_>,
) -> Result<RenderedFiles, RenderError> {
    if !matches!(chart.metadata.api_version.as_str(), "v1" | "v2") {
        return Err(RenderError::ApiVersion {
            api_version: chart.metadata.api_version,
        });
    }
    let mut warnings = Warnings {
        dependencies: chart
            .process_dependencies(&values)
            .map_err(RenderError::Dependencies)?,
        ..Warnings::default()
    };
    let values = coalesce(&chart.scope(), values, Nulls::Remove, &mut warnings.values)?;
    let is_valid = options.skip_schema_validation || is_plainly_valid(&chart, &values);
    let Sources { go, jinja } = gather_templates(&chart, &values, options);
    let set = TemplateSet::new(functions(options)).with_limits(options.limits);
    let texts: Vec<(&str, &str)> = go.iter().map(|source| (&*source.name, &*source.text)).collect();
    let (files, verdict) = std::thread::scope(|scope| {
        // Large schemas are looked at meanwhile.
        let (chart, values) = (&chart, &values);
        let validation = (!is_valid).then(|| scope.spawn(|| validate(chart, values)));
        let templates = Templates {
            read: set.read(&texts, options.read_ahead.as_ref().map(|ahead| ahead.texts())),
            set,
            go: &go,
            jinja: &jinja,
        };
        let files = execute(templates, options, on_fault);
        let verdict = match validation {
            Some(thread) => thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            None => Ok(()),
        };
        (files, verdict)
    });
    // Whatever came of the templates: wrong values are told first, as Helm does.
    verdict?;
    let kube_version = &options.capabilities.kube_version;
    if !chart.allows_kube_version(&kube_version.normalized) {
        let constraint = chart.metadata.kube_version.clone();
        return Err(RenderError::KubeVersion {
            constraint,
            version: kube_version.version.clone(),
        });
    }
    let mut files = files?;
    let notes = take_notes(&mut files, &chart, options.subchart_notes);
    let crds = chart
        .crds()
        .into_iter()
        .map(|crd| CrdFile {
            path: crd.path,
            content: crd.file.text().into_owned(),
        })
        .collect();
    Ok(RenderedFiles {
        files,
        notes,
        crds,
        chart,
        values,
        warnings,
    })
}

/// A template with what it sees.
struct Source<'c> {
    name: String,
    folder: Rc<str>,
    text: std::borrow::Cow<'c, str>,
    dot: Value,
}

/// The templates of a chart and its subcharts, read but not yet executed.
struct Templates<'c> {
    /// The set that they are to be in.
    set: TemplateSet,
    go: &'c [Source<'c>],
    jinja: &'c [jinja::Source],
    /// Those in Go's language.
    read: Vec<ReadText>,
}

fn gather_templates<'c>(chart: &'c Chart, values: &Map, options: &RenderOptions) -> Sources<'c> {
    let mut sources = Sources::default();
    let shared = Shared {
        options,
        release: release_object(options),
        capabilities: Value::object(CapabilitiesObject::new(options.capabilities.clone())),
    };
    let root = values_map(
        values
            .iter()
            .map(|(key, value)| (Text::from(key.as_str()), Value::from(value))),
    );
    collect(
        chart,
        chart.name(),
        root,
        Some(values),
        true,
        &shared,
        &mut sources,
    );
    // Deeper templates come first, and within one depth the later names: so the chart's own definitions, and among
    // files the first, are parsed last and win.
    sources.go.sort_by(|a, b| order(&b.name).cmp(&order(&a.name)));
    sources
}

fn execute(
    Templates {
        mut set,
        go: sources,
        jinja,
        read,
    }: Templates<'_>,
    options: &RenderOptions,
    on_fault: OnFault<'_>,
) -> Result<BTreeMap<String, String>, RenderError> {
    let faults: Vec<_> = read.into_iter().filter_map(|text| set.add(text).err()).collect();
    let whole = faults.is_empty();
    for fault in faults {
        on_fault(fault.into())?;
    }
    let set = Rc::new(set);
    let mut files = jinja::render(jinja, &set, &options.limits, on_fault)?;
    for source in sources {
        if !set.contains(&source.name) {
            continue;
        }
        if source
            .name
            .rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with('_'))
        {
            continue;
        }
        if let Value::Map(dot) = &source.dot {
            let about = [("Name", source.name.as_str()), ("BasePath", &source.folder)];
            let about = values_map(about.map(|(key, value)| (Text::from(key), Value::from(value))));
            dot.set_fleeting(Text::from("Template"), about);
        }
        match set.execute(&source.name, &source.dot) {
            Ok(text) => {
                files.insert(source.name.clone(), without_no_value(text));
            }
            // What a broken file would have defined is no fault of those who ask for it.
            Err(fault) if !whole && fault.kind == ErrorKind::NoTemplate => {}
            Err(fault) => on_fault(fault.into())?,
        }
    }
    Ok(files)
}

/// How deep a path is, and the path.
fn order(name: &str) -> (usize, &str) {
    (name.bytes().filter(|byte| *byte == b'/').count(), name)
}

/// The templates of a chart and its subcharts, by language.
#[derive(Default)]
struct Sources<'c> {
    go: Vec<Source<'c>>,
    jinja: Vec<jinja::Source>,
}

/// What all templates see alike.
struct Shared<'o> {
    options: &'o RenderOptions,
    release: Value,
    capabilities: Value,
}

/// Collects the templates of a chart and its subcharts, and gives what the chart's templates see.
fn collect<'c>(
    chart: &'c Chart,
    path: &str,
    values: Value,
    plain: Option<&Map>,
    is_root: bool,
    shared: &Shared<'_>,
    sources: &mut Sources<'c>,
) -> Value {
    let subcharts = chart.dependencies.iter().map(|subchart| {
        let path = format!("{path}/charts/{}", subchart.name());
        let values = subchart_values(&values, subchart.name());
        let plain = plain.and_then(|plain| plain.get(subchart.name())?.as_map());
        (
            Text::from(subchart.name()),
            collect(subchart, &path, values, plain, false, shared, sources),
        )
    });
    let subcharts = Value::map(subcharts.collect::<Vec<_>>());
    let dot = values_map(
        [
            ("Chart", chart_object(chart, is_root)),
            ("Files", Value::object(Files::new(&chart.files))),
            ("Release", shared.release.clone()),
            ("Capabilities", shared.capabilities.clone()),
            ("Values", values),
            ("Subcharts", subcharts),
        ]
        .map(|(key, value)| (Text::from(key), value)),
    );
    let library = chart.metadata.chart_kind() == Some(ChartKind::Library);
    let folder: Rc<str> = format!("{path}/templates").into();
    let mut context: Option<Rc<jinja::Context>> = None;
    for file in &chart.templates {
        let partial = file
            .name
            .rsplit('/')
            .next()
            .is_some_and(|name| name.starts_with('_'));
        if library && !partial {
            continue;
        }
        let name = format!("{path}/{}", file.name);
        if file.name.ends_with(jinja::ENDING) {
            let context = context.get_or_insert_with(|| {
                let empty = Map::new();
                let RenderOptions {
                    release,
                    capabilities,
                    ..
                } = shared.options;
                let values = plain.unwrap_or(&empty);
                Rc::new(jinja::Context::new(chart, values, release, capabilities, is_root))
            });
            sources.jinja.push(jinja::Source {
                name,
                text: file.text().into_owned(),
                context: Rc::clone(context),
                dot: dot.clone(),
            });
        } else {
            sources.go.push(Source {
                name,
                folder: Rc::clone(&folder),
                text: file.text(),
                dot: dot.clone(),
            });
        }
    }
    dot
}

fn release_object(options: &RenderOptions) -> Value {
    let release = &options.release;
    Value::map(
        [
            ("Name", release.name.as_str().into()),
            ("Namespace", release.namespace.as_str().into()),
            ("IsUpgrade", release.is_upgrade.into()),
            ("IsInstall", release.is_install.into()),
            ("Revision", Value::int(i64::from(release.revision))),
            ("Service", "Helm".into()),
        ]
        .map(|(key, value)| (Text::from(key), value)),
    )
}

fn functions(options: &RenderOptions) -> Functions {
    let mut functions = Functions::helm();
    if let Some(lookup) = options.lookup.clone() {
        let call = move |_: &mut Scope, args: &[Value]| {
            let text = |at: usize| {
                args.get(at)
                    .and_then(Value::as_text)
                    .map(|text| text.to_str().into_owned())
            };
            let text = |at: usize| text(at).unwrap_or_default();
            let found = lookup.lookup(&text(0), &text(1), &text(2), &text(3));
            match found {
                Ok(value) => Ok(Value::from(&value)),
                Err(error) => Err(chart_template::Fault::new(error.to_string())),
            }
        };
        const TEXTS: Signature = Signature::new(&[Type::String, Type::String, Type::String, Type::String]);
        functions = functions.with("lookup", TEXTS, Rc::new(call));
    }
    if let Some(resolve) = options.resolve.clone() {
        let call = move |_: &mut Scope, args: &[Value]| {
            let host = args
                .first()
                .and_then(Value::as_text)
                .map(|text| text.to_str().into_owned());
            let address = host.and_then(|host| resolve.address(&host));
            Ok(Value::from(address.unwrap_or_default()))
        };
        functions = functions.with("getHostByName", Signature::new(&[Type::String]), Rc::new(call));
    }
    if options.lint {
        let fail = |_: &mut Scope, _: &[Value]| Ok(Value::from(""));
        let required = |_: &mut Scope, args: &[Value]| match args.get(1) {
            Some(value) if !value.is_nil() => Ok(value.clone()),
            _ => Ok(Value::from("")),
        };
        functions = functions
            .with("fail", Signature::new(&[Type::String]), Rc::new(fail))
            .with(
                "required",
                Signature::new(&[Type::String, Type::Any]),
                Rc::new(required),
            );
    }
    functions
}

/// Takes the notes out of the rendered files: they are no manifests.
fn take_notes(files: &mut BTreeMap<String, String>, chart: &Chart, of_subcharts: bool) -> String {
    let own = format!("{}/templates/{NOTES}", chart.name());
    let plain = |name: &str| name.strip_suffix(jinja::ENDING).unwrap_or(name).to_owned();
    let found: Vec<String> = files
        .keys()
        .filter(|name| plain(name).ends_with(NOTES))
        .cloned()
        .collect();
    let mut notes = String::new();
    for name in found.into_iter().rev() {
        let text = files.remove(&name).unwrap_or_default();
        if of_subcharts || plain(&name) == own {
            if !notes.is_empty() {
                notes.push('\n');
            }
            notes.push_str(&text);
        }
    }
    notes
}
