//! Lists that are sent in pages (`n` and `last`).

use crate::answer::{Answer, Refusal, header};
use crate::request::Request;

/// A page of a sorted list, and the last name of it if more follow.
pub(crate) fn page<'l>(
    names: &'l [String],
    count: Option<usize>,
    last: Option<&str>,
) -> (&'l [String], Option<&'l str>) {
    let start = last.map_or(0, |last| {
        let last = sort_key(last);
        names.partition_point(|name| sort_key(name) <= last)
    });
    let rest = names.get(start..).unwrap_or_default();
    let count = count.unwrap_or(rest.len()).min(rest.len());
    let (page, more) = rest.split_at(count);
    let next = page.last().filter(|_| !more.is_empty());
    (page, next.map(String::as_str))
}

/// Sorts as the specification wants it: letters without regard to their case.
pub(crate) fn sort(names: &mut Vec<String>) {
    names.sort_by_key(|name| sort_key(name));
    names.dedup();
}

fn sort_key(name: &str) -> (String, String) {
    (name.to_ascii_lowercase(), name.to_owned())
}

/// Cuts the page that was asked for, and gives the header that leads to the next one.
pub(crate) fn asked<'l>(
    names: &'l [String],
    request: &Request,
) -> Result<(&'l [String], Option<&'l str>), Refusal> {
    Ok(page(names, request.count("n")?, request.parameter("last")))
}

/// Says where the page after `last` is, with the parameter of the request that holds for it as well.
pub(crate) fn link(answer: &mut Answer, path: &str, request: &Request, parameter: &str, last: &str) {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(value) = request.parameter(parameter) {
        query.append_pair(parameter, value);
    }
    let query = query.append_pair("last", last).finish();
    let next = format!("<{path}?{query}>; rel=\"next\"");
    header(answer, http::header::LINK, &next);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_cut_into_pages() {
        let mut names: Vec<String> = ["b", "A", "c", "a", "b"].map(str::to_owned).into();
        sort(&mut names);
        assert_eq!(names, ["A", "a", "b", "c"]);
        for (count, last, expected, next) in [
            (None, None, &["A", "a", "b", "c"][..], None),
            (Some(2), None, &["A", "a"], Some("a")),
            (Some(2), Some("a"), &["b", "c"], None),
            (Some(2), Some("aa"), &["b", "c"], None),
            (Some(0), None, &[], None),
            (Some(5), Some("z"), &[], None),
        ] {
            let (page, more) = page(&names, count, last);
            assert_eq!(
                (
                    page.iter().map(String::as_str).collect::<Vec<_>>().as_slice(),
                    more
                ),
                (expected, next)
            );
        }
    }
}
