//! `--limit`: how much charts and templates may ask for.

use std::fmt::Write as _;

use chart_render::TemplateLimits;

use crate::failure::Failure;

/// How much charts and templates may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) chart: chart_model::Limits,
    pub(crate) template: TemplateLimits,
}

/// A limit by its name on the command line.
struct Row {
    name: &'static str,
    about: &'static str,
    get: fn(&Limits) -> u64,
    set: fn(&mut Limits, u64),
}

/// A row for a field: its name, what it bounds, the field.
macro_rules! row {
    ($name:literal, $about:literal, $($field:ident).+) => {
        Row {
            name: $name,
            about: $about,
            get: |limits| u64::try_from(limits.$($field).+).unwrap_or(u64::MAX),
            // What is more than the machine can count is no limit.
            set: |limits, value| limits.$($field).+ = value.try_into().unwrap_or_else(|_| !0),
        }
    };
}

const ROWS: &[Row] = &[
    row!("steps", "steps of one template", template.steps_max),
    row!("total-steps", "steps of all templates", template.steps_total_max),
    row!(
        "text",
        "bytes of one text, and of what one template writes",
        template.text_bytes_max
    ),
    row!(
        "total-text",
        "bytes of all texts that one template makes",
        template.text_bytes_total_max
    ),
    row!("list", "items of one list", template.list_items_max),
    row!(
        "include-depth",
        "`include` of one name, and `tpl`, in each other",
        template.include_depth_max
    ),
    row!(
        "template-depth",
        "templates in each other",
        template.template_depth_max
    ),
    row!(
        "value-depth",
        "lists and tables in each other",
        template.value_depth_max
    ),
    row!(
        "syntax-depth",
        "blocks and parentheses in each other",
        template.syntax_depth_max
    ),
    row!("chart-bytes", "bytes of a chart, unpacked", chart.chart_bytes_max),
    row!("file-bytes", "bytes of one file of a chart", chart.file_bytes_max),
    row!("files", "files of a chart", chart.files_max),
    row!("chart-depth", "charts in each other", chart.depth_max),
    row!(
        "yaml-depth",
        "lists and tables in each other in YAML files",
        chart.yaml.depth_max
    ),
    row!(
        "yaml-copies",
        "bytes that anchors and aliases in YAML files copy",
        chart.yaml.copied_bytes_max
    ),
];

impl Limits {
    /// Sets limits given as `NAME=NUMBER`, the later over the earlier.
    pub(crate) fn set(&mut self, texts: impl IntoIterator<Item = impl AsRef<str>>) -> Result<(), Failure> {
        for text in texts {
            let text = text.as_ref();
            let refused = |why: String| Failure::new(format!("cannot read limit `{text}`")).because(why);
            let (name, number) = text
                .split_once('=')
                .ok_or_else(|| refused("expected NAME=NUMBER".to_owned()))?;
            let row = ROWS.iter().find(|row| row.name == name).ok_or_else(|| {
                let known: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
                refused(format!("`{name}` is none of {}", known.join(", ")))
            })?;
            let number = count(number).ok_or_else(|| {
                refused(format!(
                    "`{number}` is not a count, as 1000, 50k, 2M, 1G, 64Ki, 64Mi or 1Gi"
                ))
            })?;
            (row.set)(self, number);
        }
        Ok(())
    }
}

/// What `--help` says of the limits: their names and what they are unless set.
pub(crate) fn help() -> String {
    let limits = Limits::default();
    let mut text =
        "Raise or lower limits on what charts may ask for, as `steps=20M` [env: TUG_LIMITS]\n".to_owned();
    for row in ROWS {
        let default = shown((row.get)(&limits));
        let _ = write!(text, "\n  {:<15} {} [default: {default}]", row.name, row.about);
    }
    text
}

const UNITS: [(&str, u64); 6] = [
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

fn count(text: &str) -> Option<u64> {
    let unit = UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (digits, factor) = unit.unwrap_or((text, 1));
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

fn shown(number: u64) -> String {
    let unit = UNITS
        .iter()
        .find(|(_, factor)| number > 0 && number.is_multiple_of(*factor));
    match unit {
        Some((unit, factor)) => format!("{}{unit}", number / factor),
        None => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_by_name_the_later_over_the_earlier() {
        let mut limits = Limits::default();
        limits
            .set(["steps=20M", "file-bytes=64Mi", "steps=7", "list=1k"])
            .unwrap();
        assert_eq!(limits.template.steps_max, 7);
        assert_eq!(limits.chart.file_bytes_max, 64 << 20);
        assert_eq!(limits.template.list_items_max, 1000);
        assert_eq!(limits.chart.files_max, chart_model::Limits::default().files_max);
    }

    #[test]
    fn every_limit_can_be_set_and_is_shown() {
        for row in ROWS {
            let mut limits = Limits::default();
            limits.set([format!("{}=12345", row.name)]).unwrap();
            assert_eq!((row.get)(&limits), 12345, "{}", row.name);
            assert!(help().contains(row.name));
        }
        assert_eq!(
            (shown(32 << 20), shown(2_000_000), shown(500)),
            ("32Mi".into(), "2M".into(), "500".into())
        );
    }

    #[test]
    fn the_page_on_limits_tells_them_all() {
        let page = include_str!("../../docs/reference/limits.md");
        let limits = Limits::default();
        for row in ROWS {
            let default = shown((row.get)(&limits));
            let told = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{}` |", row.name)));
            assert!(
                told.is_some_and(|line| line.ends_with(&format!(" | {default} |"))),
                "{}: {default}: {told:?}",
                row.name
            );
        }
    }

    #[test]
    fn err_limits_that_are_none() {
        for (text, why) in [
            ("steps", "expected NAME=NUMBER"),
            ("steps=", "`` is not a count"),
            ("steps=many", "`many` is not a count"),
            ("steps=-1", "`-1` is not a count"),
            ("steps=99999999999G", "`99999999999G` is not a count"),
            ("step=1", "`step` is none of steps, total-steps"),
        ] {
            let failure = Limits::default().set([text]).unwrap_err();
            assert!(failure.causes()[0].starts_with(why), "{text}: {failure:?}");
        }
    }
}
