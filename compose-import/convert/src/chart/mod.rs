//! A conversion as a chart: templates for the objects, and values for what one changes from one place to the next.

mod dialect;
mod holes;
mod texts;
mod values;

use serde_json::{Value, json};

use crate::convert::Conversion;
use crate::object::Role;
use crate::yaml::{to_template, to_yaml};

pub use dialect::Dialect;

/// What a chart is made with.
#[derive(Debug, Clone)]
pub struct ChartOptions {
    /// Its name: a DNS label.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What its templates are written in.
    pub dialect: Dialect,
    /// Whether the content of secrets becomes a default value; else whoever installs gives it.
    pub with_secrets: bool,
}

/// The files of a chart, by their paths in it, in order.
pub fn files(conversion: &Conversion, options: &ChartOptions) -> Vec<(String, String)> {
    let dialect = options.dialect;
    let values = values::values(conversion, options);
    let mut files = vec![
        (".helmignore".to_owned(), texts::HELMIGNORE.to_owned()),
        ("Chart.yaml".to_owned(), texts::chart_yaml(options)),
        (
            "README.md".to_owned(),
            texts::readme(conversion, options, &values),
        ),
        (
            format!("templates/{}", dialect.helpers_name()),
            dialect.helpers(&options.name),
        ),
        (
            format!("templates/NOTES.txt{}", dialect.ending()),
            texts::notes(conversion, options),
        ),
        ("values.schema.json".to_owned(), values::schema(&values)),
        (
            "values.yaml".to_owned(),
            format!("{}{}", texts::VALUES_HEAD, to_yaml(&values)),
        ),
    ];
    for object in &conversion.objects {
        if object.role == Role::Namespace {
            continue;
        }
        let (value, holes) = holes::holes(object, options);
        let mut text = to_template(&value, &holes);
        if object.role == Role::Published && object.name().ends_with("-published") {
            let value = dialect.value(&["services", holes::service_of(object), "published", "enabled"]);
            text = dialect.only_if(&value, &text);
        }
        let name = format!("templates/{}.yaml{}", object.file_stem(), dialect.ending());
        files.push((name, dialect.with_import(&options.name, text)));
    }
    for object in conversion
        .objects
        .iter()
        .filter(|object| values::can_have_ingress(conversion, object))
    {
        let service = holes::service_of(object);
        let text = dialect.ingress(
            &options.name,
            service,
            &object.value["spec"]["ports"][0]["port"],
            &conversion.instance,
        );
        let name = format!("templates/{service}-ingress.yaml{}", dialect.ending());
        files.push((name, dialect.with_import(&options.name, text)));
    }
    files.sort();
    files
}

/// The values that give a chart's secrets their content, for a release that is installed at once.
pub fn secret_values(conversion: &Conversion) -> Value {
    let options = ChartOptions {
        name: String::new(),
        version: String::new(),
        dialect: Dialect::Go,
        with_secrets: true,
    };
    let secrets = values::values(conversion, &options).get("secrets").cloned();
    secrets.map_or_else(|| json!({}), |secrets| json!({"secrets": secrets}))
}
