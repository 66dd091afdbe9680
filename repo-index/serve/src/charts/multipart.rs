//! Forms with files (`multipart/form-data`, RFC 7578), as `curl -F` sends them; the whole is in memory already.

use bytes::Bytes;

/// More parts than an upload has are refused.
const PARTS_MAX: usize = 16;
/// The longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_MAX: usize = 70;

/// A part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) data: Bytes,
}

/// A body is no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the form cannot be read: {0}")]
pub(crate) struct FormError(&'static str);

/// The boundary that a content type names, if it is a form's.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(parameters, "boundary")
        .filter(|boundary| !boundary.is_empty() && boundary.len() <= BOUNDARY_MAX)
}

/// Cuts a form into its parts.
pub(crate) fn parts(body: &Bytes, boundary: &str) -> Result<Vec<Part>, FormError> {
    let delimiter = format!("--{boundary}");
    let delimiter = delimiter.as_bytes();
    let between = [b"\r\n", delimiter].concat();
    let mut at = if body.starts_with(delimiter) {
        delimiter.len()
    } else {
        find(body, &between, 0).ok_or(FormError("the boundary is missing"))? + between.len()
    };
    let mut parts = Vec::new();
    loop {
        let rest = body.get(at..).unwrap_or_default();
        if rest.starts_with(b"--") {
            return Ok(parts);
        }
        if parts.len() == PARTS_MAX {
            return Err(FormError("it has too many parts"));
        }
        let line_end = find(rest, b"\r\n", 0).ok_or(FormError("it ends too early"))?;
        let head_start = at + line_end;
        let head_end = find(body, b"\r\n\r\n", head_start).ok_or(FormError("it ends too early"))?;
        let data_start = head_end + 4;
        // The line break before the boundary may be the one that ends an empty head.
        let data_end =
            find(body, &between, data_start.saturating_sub(2)).ok_or(FormError("it ends too early"))?;
        let head = String::from_utf8_lossy(body.get(head_start..head_end).unwrap_or_default());
        let name = head.lines().find_map(|line| {
            let (header, value) = line.split_once(':')?;
            let is_disposition = header.trim().eq_ignore_ascii_case("content-disposition");
            is_disposition.then(|| parameter(value, "name"))?
        });
        parts.push(Part {
            name: name.ok_or(FormError("a part has no name"))?,
            data: body.slice(data_start.min(data_end)..data_end),
        });
        at = data_end + between.len();
    }
}

fn parameter(parameters: &str, name: &str) -> Option<String> {
    parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim();
        key.trim()
            .eq_ignore_ascii_case(name)
            .then(|| value.trim_matches('"').to_owned())
    })
}

fn find(body: &[u8], wanted: &[u8], from: usize) -> Option<usize> {
    let rest = body.get(from..)?;
    let first = *wanted.first()?;
    let mut at = 0;
    while let Some(step) = rest.get(at..)?.iter().position(|byte| *byte == first) {
        at += step;
        if rest.get(at..)?.starts_with(wanted) {
            return Some(from + at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &[(&str, &str)]) {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let parts = parts(&body, "b").unwrap();
        let parts: Vec<(&str, &[u8])> = parts
            .iter()
            .map(|part| (part.name.as_str(), part.data.as_ref()))
            .collect();
        let expected: Vec<(&str, &[u8])> = expected
            .iter()
            .map(|(name, data)| (*name, data.as_bytes()))
            .collect();
        assert_eq!(parts, expected);
    }

    #[test]
    fn forms_are_cut_into_parts() {
        let head = "Content-Disposition: form-data; name=\"chart\"; filename=\"a.tgz\"";
        check(
            &format!("--b\r\n{head}\r\nContent-Type: x/y\r\n\r\na\r\n--\r\nb\r\n--b--\r\n"),
            &[("chart", "a\r\n--\r\nb")],
        );
        check(
            &format!(
                "words before\r\n--b\r\n{head}\r\n\r\n\r\n--b\r\ncontent-disposition: form-data; name=prov\r\n\r\np\r\n--b--"
            ),
            &[("chart", ""), ("prov", "p")],
        );
        check("--b--", &[]);
    }

    #[test]
    fn err_broken_forms_are_refused() {
        for body in [
            "",
            "--b",
            "--b\r\n",
            "--b\r\nx: y\r\n\r\nabc\r\n--b--",
            "--b\r\n\r\nabc",
            "--c--",
        ] {
            assert!(
                parts(&Bytes::copy_from_slice(body.as_bytes()), "b").is_err(),
                "{body:?}"
            );
        }
        let many = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n".repeat(20) + "--b--";
        assert!(parts(&Bytes::from(many), "b").is_err());
    }

    #[test]
    fn a_boundary_is_read() {
        assert_eq!(
            boundary("multipart/form-data; boundary=\"a b\"").as_deref(),
            Some("a b")
        );
        assert_eq!(
            boundary("Multipart/Form-Data; charset=x; Boundary=abc").as_deref(),
            Some("abc")
        );
        assert_eq!(boundary("application/gzip"), None);
        assert_eq!(boundary("multipart/form-data; boundary="), None);
    }
}
