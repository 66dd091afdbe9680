//! Templates that are read while their chart is still being unpacked.

use chart_template::Limits;

use crate::jinja;

/// An archive of so many bytes has more templates than are soon read.
const LARGE_ARCHIVE: u64 = 24 << 10;

/// Reads the templates of an archive on another thread while the rest of it is unpacked; see
/// [`RenderOptions::read_ahead`](crate::RenderOptions::read_ahead).
///
/// What is read in vain, as the templates of subcharts that turn out to be disabled, costs time of the other thread only.
#[derive(Debug)]
pub struct ReadAhead(chart_template::ReadAhead);

impl ReadAhead {
    /// Nothing has been unpacked yet; `limits` are those of the rendering.
    pub fn new(limits: Limits) -> Self {
        ReadAhead(chart_template::ReadAhead::new(limits))
    }

    /// Takes how long an archive is, in bytes, that is about to be unpacked: for a large one the other thread begins.
    pub fn archive(&self, length: u64) {
        if length >= LARGE_ARCHIVE {
            self.0.begin();
        }
    }

    /// Takes a file of the archive, by its path, the chart's own folder included.
    pub fn file(&self, path: &str, data: &[u8]) {
        if is_template(path)
            && let Ok(text) = std::str::from_utf8(data)
        {
            self.0.offer(path, text);
        }
    }

    pub(crate) fn texts(&self) -> &chart_template::ReadAhead {
        &self.0
    }
}

/// Whether a path, such as `web/charts/db/templates/a.yaml`, is that of a template in Go's language.
fn is_template(path: &str) -> bool {
    let mut parts = path.split('/').skip(1);
    let mut next = parts.next();
    while next == Some("charts") {
        next = parts.nth(1);
    }
    next == Some("templates") && !path.ends_with(jinja::ENDING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_the_chart_and_its_subcharts_are_read_ahead() {
        let are = [
            "web/templates/a.yaml",
            "web/templates/b/_c.tpl",
            "web/charts/db/templates/a",
            "a/charts/b/charts/c/templates/d",
        ];
        for path in are {
            assert!(is_template(path), "{path}");
        }
        let are_not = [
            "templates/a.yaml",
            "web/values.yaml",
            "web/files/templates/a",
            "web/charts/templates/a",
            "web/templates/a.j2",
        ];
        for path in are_not {
            assert!(!is_template(path), "{path}");
        }
    }
}
