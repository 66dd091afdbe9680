//! The guide to charts in Jinja shows one chart both ways: both must render to the same text.

use chart_model::{Chart, File};
use chart_render::{RenderOptions, render_files};
use chart_values::Map;

const GUIDE: &str = include_str!("../../../docs/guide/charts-in-jinja.md");

/// The files of the page: what stands in blocks whose first line names a file, under these headings.
fn files(language: &str) -> Vec<File> {
    let mut files = Vec::new();
    let mut heading = "";
    let mut lines = GUIDE.lines();
    while let Some(line) = lines.next() {
        if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim();
        }
        let Some(name) = line.strip_prefix("```yaml ") else {
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if ["One chart both ways", language].contains(&heading) {
            files.push(File {
                name: name.to_owned(),
                data: (block.join("\n") + "\n").into_bytes().into(),
            });
        }
    }
    files
}

fn rendered(language: &str) -> Vec<(String, String)> {
    let chart = Chart::from_files(files(language)).unwrap();
    let rendered = render_files(chart, Map::new(), &RenderOptions::default()).unwrap();
    let named = |(path, text): (String, String)| (path.trim_end_matches(".j2").to_owned(), text);
    rendered.files.into_iter().map(named).collect()
}

#[test]
fn the_chart_of_the_guide_renders_the_same_both_ways() {
    let go = rendered("In Go");
    assert_eq!(go.len(), 2);
    assert!(go[0].1.contains("image: \"example.com/web:2.1\""), "{}", go[0].1);
    assert_eq!(rendered("In Jinja"), go);
}
