//! Programs that change the manifests between rendering and installing.

use std::collections::BTreeMap;
use std::fmt;

use chart_values::Value;
use chart_values::yaml::{from_yaml, to_yaml};

use crate::split::split_manifests;

/// The annotation that tells from which template an object comes, as Helm writes it.
const FILE: &str = "postrenderer.helm.sh/postrender-filename";

/// Changes the manifests of a chart, hooks included.
pub trait PostRender: fmt::Debug + Send + Sync {
    /// Takes all objects as one YAML stream, and gives those to take in their place.
    fn run(&self, manifests: &str) -> Result<String, PostRenderError>;
}

/// Why a post-renderer gave nothing to go on with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostRenderError {
    /// It cannot be started, or says that it failed.
    #[error("error while running post-renderer {program}: {reason}")]
    Failed {
        /// The program.
        program: String,
        /// What it said, or why it did not start.
        reason: String,
    },
    /// It gave nothing.
    #[error("post-renderer {program} produced empty output")]
    Empty {
        /// The program.
        program: String,
    },
}

/// Runs rendered files through a post-renderer.
///
/// Objects find back to their files by an annotation that is there only meanwhile; those that are new come into files
/// named `generated-by-postrender-N.yaml`. Documents that are no tables are left out, as Helm leaves them out.
pub(crate) fn post_render(
    files: &BTreeMap<String, String>,
    renderer: &dyn PostRender,
) -> Result<BTreeMap<String, String>, PostRenderError> {
    let mut stream = String::new();
    for (path, content) in files {
        for document in split_manifests(content) {
            if let Some(document) = annotated(document, path) {
                push(&mut stream, &document);
            }
        }
    }
    let given = renderer.run(&stream)?;
    let mut changed: BTreeMap<String, String> = BTreeMap::new();
    let mut made = 0;
    for document in split_manifests(&given) {
        let (path, document) = match unannotated(document) {
            Some(found) => found,
            None => {
                made += 1;
                (
                    format!("generated-by-postrender-{}.yaml", made - 1),
                    document.to_owned(),
                )
            }
        };
        push(changed.entry(path).or_default(), &document);
    }
    Ok(changed)
}

fn push(stream: &mut String, document: &str) {
    if !stream.is_empty() {
        stream.push_str("---\n");
    }
    stream.push_str(document.trim_end_matches('\n'));
    stream.push('\n');
}

fn file_of(value: &Value) -> Option<&str> {
    value.at(["metadata", "annotations", FILE])?.as_str()
}

/// The document with the annotation; none if it is no table.
///
/// The text is kept with its comments and its order where a line can be put in; else it is written anew.
fn annotated(document: &str, path: &str) -> Option<String> {
    let Ok(mut value @ Value::Map(_)) = from_yaml(document) else {
        // What cannot be read is given as it is: the post-renderer will say what is wrong with it.
        return from_yaml(document).is_err().then(|| document.to_owned());
    };
    if let Some(text) = with_line(document, path)
        && let Ok(read) = from_yaml(&text)
        && file_of(&read) == Some(path)
        && without_file(&read) == without_file(&value)
    {
        return Some(text);
    }
    let root = value.as_map_mut()?;
    let metadata = table(root.entry("metadata".to_owned()).or_default())?;
    let annotations = table(metadata.entry("annotations".to_owned()).or_default())?;
    annotations.insert(FILE.to_owned(), Value::from(path));
    to_yaml(&value).ok()
}

/// The value as a table; anything else becomes an empty one.
fn table(value: &mut Value) -> Option<&mut chart_values::Map> {
    if !matches!(value, Value::Map(_)) {
        *value = Value::Map(chart_values::Map::new());
    }
    value.as_map_mut()
}

/// The value without the annotation, and without tables that held nothing else.
fn without_file(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(root) = value.as_map_mut()
        && let Some(metadata) = root.get_mut("metadata").and_then(Value::as_map_mut)
    {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_map_mut) {
            annotations.remove(FILE);
        }
        let empty =
            |value: &Value| value.is_null() || value.as_map().is_some_and(chart_values::Map::is_empty);
        if metadata.get("annotations").is_some_and(empty) {
            metadata.remove("annotations");
        }
    }
    value
}

/// Puts the annotation into a document whose `metadata` stands in lines of its own.
fn with_line(document: &str, path: &str) -> Option<String> {
    let lines: Vec<&str> = document.split_inclusive('\n').collect();
    let metadata = lines.iter().position(|line| line.trim_end() == "metadata:")?;
    let inside = lines.get(metadata + 1)?;
    let indent = &inside[..inside.len() - inside.trim_start_matches(' ').len()];
    if indent.is_empty() || inside.trim().is_empty() {
        return None;
    }
    let head = format!("{indent}annotations:");
    let block = lines.iter().enumerate().skip(metadata + 1);
    let mut block = block.take_while(|(_, line)| line.starts_with(' ') || line.trim().is_empty());
    let known = block.find(|(_, line)| line.trim_end() == head).map(|(at, _)| at);
    let mut text = String::with_capacity(document.len() + path.len() + 100);
    let at = known.unwrap_or(metadata);
    let deeper = lines
        .get(at + 1)
        .filter(|_| known.is_some())
        .map(|line| &line[..line.len() - line.trim_start_matches(' ').len()])
        .filter(|deeper| deeper.len() > indent.len());
    let own = format!("{indent}  ");
    text.extend(lines[..=at].iter().copied());
    if known.is_none() {
        text.push_str(&head);
        text.push('\n');
    }
    text.push_str(&format!("{}{FILE}: {path:?}\n", deeper.unwrap_or(&own)));
    text.extend(lines[at + 1..].iter().copied());
    Some(text)
}

/// The file that a document is of, and the document without the annotation; none if it has none.
fn unannotated(document: &str) -> Option<(String, String)> {
    let value = from_yaml(document).ok()?;
    let path = file_of(&value)?.to_owned();
    let bare = without_file(&value);
    if let Some(text) = without_line(document)
        && from_yaml(&text).is_ok_and(|read| without_file(&read) == bare)
    {
        return Some((path, text));
    }
    Some((path, to_yaml(&bare).ok()?))
}

/// Takes the line with the annotation out, and the line before it if it held nothing else.
fn without_line(document: &str) -> Option<String> {
    let lines: Vec<&str> = document.split_inclusive('\n').collect();
    let depth = |line: &str| line.len() - line.trim_start_matches(' ').len();
    let at = lines
        .iter()
        .position(|line| line.trim_start().starts_with(FILE))?;
    let above = at.checked_sub(1)?;
    let alone = lines.get(above).is_some_and(|line| line.trim() == "annotations:")
        && lines
            .get(at + 1)
            .is_none_or(|next| depth(next) < depth(lines[at]));
    let before = if alone { above } else { at };
    Some(lines[..before].iter().chain(&lines[at + 1..]).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives back what a function makes of the stream.
    struct Through(fn(&str) -> String);

    impl fmt::Debug for Through {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Through")
        }
    }

    impl PostRender for Through {
        fn run(&self, manifests: &str) -> Result<String, PostRenderError> {
            Ok((self.0)(manifests))
        }
    }

    fn run(content: &str, change: fn(&str) -> String) -> BTreeMap<String, String> {
        let files = BTreeMap::from([("c/templates/a.yaml".to_owned(), content.to_owned())]);
        post_render(&files, &Through(change)).unwrap()
    }

    #[test]
    fn what_is_not_changed_stays_as_it_is() {
        for text in [
            "# why\nkind: A\nmetadata:\n  name: a # here\nspec: {}\n",
            "metadata:\n    annotations:\n        b: c\n    name: a\n",
            "metadata:\n  name: a\n  annotations:\n    b: c\nkind: A\n",
            "metadata:\n  annotations:\n  name: a\n",
        ] {
            let files = run(text, |stream| {
                assert!(stream.contains(FILE), "{stream}");
                stream.to_owned()
            });
            assert_eq!(
                files["c/templates/a.yaml"].trim_end(),
                text.replace("  annotations:\n  name", "  name").trim_end()
            );
        }
    }

    #[test]
    fn what_cannot_be_kept_as_text_keeps_its_meaning() {
        for text in [
            "{kind: A, metadata: {name: a}}",
            "metadata: {annotations: {b: c}}\n",
            "kind: A\n",
            "metadata:\n  annotations: {b: c}\n",
        ] {
            let files = run(text, str::to_owned);
            let read = without_file(&from_yaml(&files["c/templates/a.yaml"]).unwrap());
            let mut wanted = from_yaml(text).unwrap();
            let root = wanted.as_map_mut().unwrap();
            root.entry("metadata".to_owned())
                .or_insert_with(|| Value::Map(chart_values::Map::new()));
            assert_eq!(read, wanted, "{text}");
        }
    }

    #[test]
    fn documents_go_to_their_files_and_new_ones_to_files_of_their_own() {
        let files = run("a: 1\n---\nb: 1\n---\n# nothing\n", |stream| {
            format!("{stream}---\nkind: New\n")
        });
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["c/templates/a.yaml", "generated-by-postrender-0.yaml"]);
        assert_eq!(split_manifests(&files["c/templates/a.yaml"]).len(), 2);
        assert_eq!(files["generated-by-postrender-0.yaml"], "kind: New\n");
    }
}
