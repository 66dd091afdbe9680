//! The chart that `create` writes.

use crate::chart::File;

/// The language of a chart's templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Jinja, in files that end in `.j2`.
    Jinja,
    /// Go templates, as Helm knows them.
    Go,
}

/// A name that no chart can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChartNameError {
    /// A character that a name cannot have, or one that it cannot start or end with.
    #[error(
        "chart name must be made of lower case letters, digits, `-`, `_` and `.`, and start with a letter or digit"
    )]
    Characters,
    /// More characters than fit into the names of objects.
    #[error("chart name must be no longer than 250 characters")]
    Long,
}

const PLACE_OF_NAME: &str = "<NAME>";

const COMMON: &[(&str, &str)] = &[
    (".helmignore", include_str!("common/helmignore")),
    ("Chart.yaml", include_str!("common/Chart.yaml")),
    ("values.yaml", include_str!("common/values.yaml")),
    ("values.schema.json", include_str!("common/values.schema.json")),
];

const JINJA: &[(&str, &str)] = &[
    ("templates/NOTES.txt.j2", include_str!("jinja/NOTES.txt.j2")),
    ("templates/_helpers.j2", include_str!("jinja/_helpers.j2")),
    (
        "templates/deployment.yaml.j2",
        include_str!("jinja/deployment.yaml.j2"),
    ),
    ("templates/hpa.yaml.j2", include_str!("jinja/hpa.yaml.j2")),
    ("templates/ingress.yaml.j2", include_str!("jinja/ingress.yaml.j2")),
    ("templates/service.yaml.j2", include_str!("jinja/service.yaml.j2")),
    (
        "templates/serviceaccount.yaml.j2",
        include_str!("jinja/serviceaccount.yaml.j2"),
    ),
    (
        "templates/tests/connection.yaml.j2",
        include_str!("jinja/tests/connection.yaml.j2"),
    ),
];

const GO: &[(&str, &str)] = &[
    ("templates/NOTES.txt", include_str!("go/NOTES.txt")),
    ("templates/_helpers.tpl", include_str!("go/_helpers.tpl")),
    ("templates/deployment.yaml", include_str!("go/deployment.yaml")),
    ("templates/hpa.yaml", include_str!("go/hpa.yaml")),
    ("templates/ingress.yaml", include_str!("go/ingress.yaml")),
    ("templates/service.yaml", include_str!("go/service.yaml")),
    (
        "templates/serviceaccount.yaml",
        include_str!("go/serviceaccount.yaml"),
    ),
    (
        "templates/tests/connection.yaml",
        include_str!("go/tests/connection.yaml"),
    ),
];

/// The files of a new chart: a deployment with its service, and what else most applications need, switched off.
pub fn scaffold(name: &str, language: Language) -> Result<Vec<File>, ChartNameError> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    if !name.bytes().all(allowed) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(ChartNameError::Characters);
    }
    if name.len() > 250 {
        return Err(ChartNameError::Long);
    }
    let templates = match language {
        Language::Jinja => JINJA,
        Language::Go => GO,
    };
    let file = |(path, text): &(&str, &str)| File {
        name: (*path).to_owned(),
        data: text.replace(PLACE_OF_NAME, name).into_bytes().into(),
    };
    Ok(COMMON.iter().chain(templates).map(file).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Chart;

    #[test]
    fn what_is_written_is_a_chart() {
        for language in [Language::Jinja, Language::Go] {
            let chart = Chart::from_files(scaffold("my-app", language).unwrap()).unwrap();
            assert_eq!(chart.name(), "my-app");
            assert_eq!(chart.templates.len(), 8);
        }
    }

    #[test]
    fn err_names_that_no_chart_can_have() {
        for name in ["", "A", "-a", "a b", "a/b", ".."] {
            assert_eq!(
                scaffold(name, Language::Go).unwrap_err(),
                ChartNameError::Characters,
                "{name}"
            );
        }
        assert_eq!(
            scaffold(&"a".repeat(251), Language::Go).unwrap_err(),
            ChartNameError::Long
        );
    }
}
