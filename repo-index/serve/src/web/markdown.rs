//! README files as HTML. What strangers wrote stays text: their HTML is shown and does nothing.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, html::push_html};

/// Renders Markdown.
pub(crate) fn html(text: &str) -> String {
    let parser = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
    let mut out = String::with_capacity(text.len() * 2);
    push_html(&mut out, parser.map(harmless));
    out
}

fn harmless(event: Event<'_>) -> Event<'_> {
    match event {
        Event::Html(text) | Event::InlineHtml(text) => {
            // Comments are not meant to be seen.
            if text.trim_start().starts_with("<!--") {
                Event::Text(CowStr::Borrowed(""))
            } else {
                Event::Text(text)
            }
        }
        Event::Start(Tag::Link {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Link {
            link_type,
            dest_url: harmless_url(dest_url),
            title,
            id,
        }),
        Event::Start(Tag::Image {
            link_type,
            dest_url,
            title,
            id,
        }) => Event::Start(Tag::Image {
            link_type,
            dest_url: harmless_url(dest_url),
            title,
            id,
        }),
        other => other,
    }
}

fn harmless_url(url: CowStr<'_>) -> CowStr<'_> {
    let trimmed = url.trim();
    let known = ["https://", "http://", "mailto:", "#"]
        .iter()
        .any(|start| trimmed.starts_with(start));
    if known { url } else { CowStr::Borrowed("#") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_becomes_html() {
        for (text, expected) in [
            ("# A\n\nb *c*", "<h1>A</h1>\n<p>b <em>c</em></p>\n"),
            (
                "[a](https://example.com)",
                "<p><a href=\"https://example.com\">a</a></p>\n",
            ),
            (
                "|a|\n|-|\n|b|",
                "<table><thead><tr><th>a</th></tr></thead><tbody>\n<tr><td>b</td></tr>\n</tbody></table>\n",
            ),
        ] {
            assert_eq!(html(text), expected);
        }
    }

    #[test]
    fn err_what_could_run_does_not() {
        for text in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "[a](javascript:alert(1))",
            "[a]( JAVASCRIPT:alert(1))",
            "![a](data:text/html,x)",
            "[a](vbscript:x)",
        ] {
            let page = html(text).to_lowercase();
            for bad in [
                "<script",
                "<img src=x",
                "href=\"javascript",
                "href=\"vbscript",
                "src=\"data",
            ] {
                assert!(!page.contains(bad), "{text}: {page}");
            }
        }
    }
}
