//! A plan as text: objects with the fields that change.

use chart_release::action::{ChangeKind, ObjectChange, Plan};
use chart_release::difference::FieldChange;
use serde_json::Value;

use crate::console::{Color, Console};
use crate::failure::{CHANGES, Failure};
use crate::output::{OutputFormat, to_json, to_yaml};
use crate::settings::Settings;

/// What a plan is called.
pub(crate) struct Words {
    /// When nothing changes.
    pub(crate) nothing: &'static str,
    /// What stands behind the name of an object that changes, on a drift.
    pub(crate) heading: &'static str,
}

/// Characters of a value that are shown.
const VALUE_CHARS_MAX: usize = 200;

/// Prints a plan in a format.
pub(crate) fn print(
    plan: &Plan,
    format: OutputFormat,
    detailed: bool,
    words: &Words,
    settings: &Settings,
) -> Result<(), Failure> {
    let console = &settings.console;
    match format {
        OutputFormat::Table => console.data(&text(plan, detailed, words, console)),
        OutputFormat::Json => console.line(to_json(plan)?),
        OutputFormat::Yaml => console.data(&to_yaml(plan)?),
        OutputFormat::Name => {
            let names = plan
                .objects
                .iter()
                .map(|object| format!("{}/{}\n", object.kind, object.name));
            console.data(&names.collect::<String>())
        }
    }
}

/// Ends with 2 where anything would change.
pub(crate) fn exit(plan: &Plan) -> Result<(), Failure> {
    if plan.has_changes() {
        Err(Failure::silent(CHANGES))
    } else {
        Ok(())
    }
}

fn text(plan: &Plan, detailed: bool, words: &Words, console: &Console) -> String {
    let mut text = String::new();
    for object in &plan.objects {
        text += &object_text(object, detailed, words, console);
    }
    if detailed && plan.has_changes() {
        for hook in &plan.hooks {
            text += &format!("{}\n", console.paint(Color::Cyan, &format!("> run hook {hook}")));
        }
    }
    if !plan.has_changes() {
        return format!("{text}{}\n", words.nothing);
    }
    let count = |kind| plan.objects.iter().filter(|object| object.action == kind).count();
    let recreated = match count(ChangeKind::Recreate) {
        0 => String::new(),
        count => format!("{count} to recreate, "),
    };
    text + &format!(
        "{} to create, {} to update, {recreated}{} to delete, {} unchanged\n",
        count(ChangeKind::Create),
        count(ChangeKind::Update),
        count(ChangeKind::Delete),
        plan.unchanged
    )
}

fn object_text(object: &ObjectChange, detailed: bool, words: &Words, console: &Console) -> String {
    let (sign, color) = sign(object.action);
    let namespace = if object.namespace.is_empty() {
        String::new()
    } else {
        format!(" in {}", object.namespace)
    };
    let what = match object.action {
        ChangeKind::Update if !words.heading.is_empty() => format!(" {}:", words.heading),
        _ => String::new(),
    };
    let heading = format!(
        "{sign} {}/{}{namespace} ({}){what}",
        object.kind, object.name, object.api_version
    );
    let mut text = format!("{}\n", console.paint(color, &heading));
    if let Some(refused) = &object.refused {
        text += &format!(
            "    {}\n",
            console.paint(Color::Red, &format!("! refused: {refused}"))
        );
    }
    if object.unchangeable {
        let way =
            "! only a new object can have these fields: `--force-replace` deletes this one and makes it anew";
        text += &format!("    {}\n", console.paint(Color::Yellow, way));
    }
    // A new or a deleted object is one change; its fields are only told in detail.
    let whole = matches!(object.action, ChangeKind::Create | ChangeKind::Delete);
    if whole && detailed {
        for field in &object.fields {
            let value = field.after.as_ref().or(field.before.as_ref());
            for (path, value) in leaves("", value.unwrap_or(&Value::Null)) {
                text += &format!(
                    "    {}\n",
                    console.paint(color, &format!("{sign} {path}: {}", shown(&value)))
                );
            }
        }
    } else if !whole {
        for field in &object.fields {
            text += &field_text(field, console);
        }
    }
    for effect in object
        .effects
        .iter()
        .filter(|_| detailed || matches!(object.action, ChangeKind::Delete | ChangeKind::Recreate))
    {
        text += &format!("    {}\n", console.paint(Color::Yellow, &format!("! {effect}")));
    }
    text
}

fn field_text(field: &FieldChange, console: &Console) -> String {
    let line = match (&field.before, &field.after) {
        (Some(before), Some(after)) => {
            let text = format!("~ {}: {} -> {}", field.path, shown(before), shown(after));
            console.paint(Color::Yellow, &text)
        }
        (None, Some(after)) => console.paint(Color::Green, &format!("+ {}: {}", field.path, shown(after))),
        (Some(before), None) => console.paint(Color::Red, &format!("- {}: {}", field.path, shown(before))),
        (None, None) => field.path.clone(),
    };
    format!("    {line}\n")
}

fn sign(action: ChangeKind) -> (char, Color) {
    match action {
        ChangeKind::Create => ('+', Color::Green),
        ChangeKind::Update => ('~', Color::Yellow),
        ChangeKind::Recreate => ('±', Color::Red),
        ChangeKind::Delete => ('-', Color::Red),
        ChangeKind::Keep => ('=', Color::Cyan),
    }
}

/// The fields of an object down to what is no map any more.
fn leaves(path: &str, value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(map) if !map.is_empty() => map
            .iter()
            .flat_map(|(key, value)| {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                leaves(&path, value)
            })
            .collect(),
        value => vec![(path.to_owned(), value.clone())],
    }
}

/// A value on one line.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= VALUE_CHARS_MAX {
        return text;
    }
    let cut: String = text.chars().take(VALUE_CHARS_MAX).collect();
    format!("{cut}…")
}
