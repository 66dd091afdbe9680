//! The templates of the pages. What is put into them is escaped unless it is HTML that we made.

use http::StatusCode;
use minijinja::{Environment, Error, Output, State, Value as Template};
use serde_json::Value;

use super::page_answer;
use crate::answer::{Answer, Refusal};

const TEMPLATES: [(&str, &str); 6] = [
    ("layout.html", include_str!("templates/layout.html")),
    ("home.html", include_str!("templates/home.html")),
    ("chart.html", include_str!("templates/chart.html")),
    ("images.html", include_str!("templates/images.html")),
    ("image.html", include_str!("templates/image.html")),
    ("refusal.html", include_str!("templates/refusal.html")),
];

/// The templates, read once.
#[derive(Debug)]
pub(crate) struct Pages {
    environment: Environment<'static>,
}

impl Pages {
    pub(crate) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_formatter(escaped);
        for (name, source) in TEMPLATES {
            // They are part of the program, and a test renders each.
            if let Err(error) = environment.add_template(name, source) {
                tracing::error!(%error, "a template of the pages is broken");
            }
        }
        environment.add_filter("path", encoded);
        environment.add_filter("safe_url", safe_url);
        environment.add_filter("day", |time: &str| time.get(..10).unwrap_or(time).to_owned());
        Self { environment }
    }

    /// Renders a page.
    pub(crate) fn page(&self, name: &str, status: StatusCode, context: &Value) -> Result<Answer, Refusal> {
        let template = self.environment.get_template(name);
        let page = template.and_then(|template| template.render(minijinja::value::Serde(context)));
        page.map(|page| page_answer(status, page)).map_err(|error| {
            tracing::error!(%error, "a page cannot be rendered");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "an internal fault")
        })
    }
}

/// Writes a value into a page. The usual way escapes slashes too, which addresses are full of.
fn escaped(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Template) -> Result<(), Error> {
    let text = match value.as_str() {
        Some(text) if !value.is_safe() => text,
        _ => return minijinja::escape_formatter(out, state, value),
    };
    for piece in text.split_inclusive(['&', '<', '>', '"', '\'']) {
        let plain = piece.trim_end_matches(['&', '<', '>', '"', '\'']);
        let special = match piece.get(plain.len()..) {
            Some("&") => "&amp;",
            Some("<") => "&lt;",
            Some(">") => "&gt;",
            Some("\"") => "&quot;",
            Some("'") => "&#39;",
            _ => "",
        };
        out.write_str(plain)?;
        out.write_str(special)?;
    }
    Ok(())
}

/// A part of an address.
fn encoded(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const PART: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(text, PART).to_string()
}

/// An address that a stranger gave, if following it does no harm.
fn safe_url(url: &str) -> String {
    let is_safe = ["https://", "http://", "mailto:"]
        .iter()
        .any(|scheme| url.starts_with(scheme));
    if is_safe { url.to_owned() } else { String::new() }
}
