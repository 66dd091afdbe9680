//! From YAML to nodes, as go-yaml version 3 reads it.
//!
//! The grammar is read by [`chart_values::yaml::Parser`]. What differs from version 2 is what plain scalars mean: only
//! `true` and `false` are booleans, `017` is still octal, and keys may not repeat.

use std::collections::HashMap;

use chart_values::yaml::{Event, Mark, ParseError, Parser, Scalar, resolve};

use crate::error::Fault;
use crate::node::{Data, Map, Node, Path, Place, Sources, Tag};

/// How many nodes aliases may add to a file, all told.
const ALIASED_NODES_MAX: usize = 100_000;
/// How deep mappings and lists may nest.
const DEPTH_MAX: usize = 500;

const TAG: &str = "tag:yaml.org,2002:";

/// One document and the paths that its tags name.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) root: Node,
    /// What `!reset` and `!override` take away from the files before.
    pub(crate) resets: Vec<Vec<String>>,
    /// The aliases behind whose anchor there is a `!reset` that holds there only.
    pub(crate) forgotten: Vec<Place>,
}

/// Reads all documents of a text. Empty ones are left out.
pub(crate) fn read(
    text: &str,
    file: u32,
    name: &str,
    sources: &Sources,
) -> Result<Vec<Document>, Vec<Fault>> {
    let mut reader = Reader {
        parser: Parser::new(text),
        file,
        anchors: HashMap::new(),
        aliased: 0,
        forgotten: Vec::new(),
        duplicates: Vec::new(),
        last_line: u32::try_from(text.lines().count().max(1)).unwrap_or(u32::MAX),
    };
    let mut documents = Vec::new();
    loop {
        let document = reader.document().map_err(|(message, place)| {
            let message = match message {
                Message::Syntax(message) => message,
                Message::Meaning(message) => format!("failed to parse {name}: {message}"),
            };
            vec![Fault::new(message).at(sources.position(place))]
        })?;
        if !reader.duplicates.is_empty() {
            return Err(reader
                .duplicates
                .iter()
                .map(|(key, first, again)| {
                    let message = format!(
                        "failed to parse {name}: line {}: mapping key \"{key}\" already defined at line {}",
                        again.line, first.line
                    );
                    Fault::new(message).at(sources.position(*again))
                })
                .collect());
        }
        let Some(mut root) = document else {
            return Ok(documents);
        };
        let mut resets = Vec::new();
        take_tags(&mut root, &mut Path::default(), &mut resets);
        if !root.is_null() {
            documents.push(Document {
                root,
                resets,
                forgotten: std::mem::take(&mut reader.forgotten),
            });
        }
    }
}

/// Notes the paths of tags and takes away what is tagged `!reset`. Entries of lists cannot be reset, only left out.
fn take_tags(node: &mut Node, path: &mut Path, resets: &mut Vec<Vec<String>>) {
    match &mut node.data {
        Data::Map(map) => {
            map.retain(|key, entry| {
                path.push(key.as_str());
                let keep = keeps(entry, path, resets);
                path.pop();
                keep
            });
        }
        Data::List(items) => {
            let mut index = 0;
            items.retain_mut(|item| {
                path.push(index.to_string());
                let keep = keeps(item, path, resets);
                path.pop();
                index += 1;
                keep
            });
        }
        _ => {}
    }
}

fn keeps(node: &mut Node, path: &mut Path, resets: &mut Vec<Vec<String>>) -> bool {
    match std::mem::take(&mut node.tag) {
        Tag::Reset => {
            resets.push(path.steps().to_vec());
            return false;
        }
        Tag::Override => resets.push(path.steps().to_vec()),
        Tag::None => take_tags(node, path, resets),
    }
    true
}

/// Takes away what is tagged `!reset` below a node that has an anchor, and tells whether there was any: docker compose
/// takes it away where it stands, before it looks behind aliases. A tag on the node itself goes along with it.
fn drop_resets(node: &mut Node) -> bool {
    let mut dropped = false;
    let mut keep = |entry: &mut Node| {
        let is_reset = entry.tag == Tag::Reset;
        dropped |= is_reset || drop_resets(entry);
        !is_reset
    };
    match &mut node.data {
        Data::Map(map) => map.retain(|_, entry| keep(entry)),
        Data::List(items) => items.retain_mut(keep),
        _ => {}
    }
    dropped
}

/// What is wrong: with the grammar, or with what it says.
enum Message {
    Syntax(String),
    Meaning(String),
}

struct Reader<'t> {
    parser: Parser<'t>,
    file: u32,
    /// Per anchor what stands for it elsewhere; `None` while it is being read.
    anchors: HashMap<&'t str, Option<Anchored>>,
    aliased: usize,
    forgotten: Vec<Place>,
    /// Keys that stand twice in a mapping: the key, where first, where again.
    duplicates: Vec<(String, Place, Place)>,
    last_line: u32,
}

/// What an alias stands for.
struct Anchored {
    node: Node,
    /// How many nodes it has.
    count: usize,
    /// Whether a `!reset` was in it, and was left at the anchor.
    forgets: bool,
}

type Read<T> = Result<T, (Message, Place)>;

impl<'t> Reader<'t> {
    fn place(&self, mark: Mark) -> Place {
        let number = |n: usize| u32::try_from(n + 1).unwrap_or(u32::MAX);
        Place {
            file: self.file,
            line: number(mark.line).min(self.last_line),
            column: number(mark.column),
        }
    }

    fn next(&mut self) -> Read<(Event<'t>, Mark)> {
        self.parser.next().map_err(|error| self.syntax(&error))
    }

    fn syntax(&self, error: &ParseError) -> (Message, Place) {
        let mark = if error.mark == Mark::default() {
            error.context
        } else {
            error.mark
        };
        // go-yaml names where the thing started that is wrong, counts the parser's lines from nought, and does not tell
        // the first line at all. The position is the true one.
        let named = if error.context.line != 0 {
            error.context.line
        } else {
            error.mark.line
        };
        let message = match named {
            0 => format!("yaml: {}", error.problem),
            line => format!(
                "yaml: line {}: {}",
                line + usize::from(error.by_scanner),
                error.problem
            ),
        };
        (Message::Syntax(message), self.place(mark))
    }

    /// The next document, or nothing after the last.
    fn document(&mut self) -> Read<Option<Node>> {
        self.anchors.clear();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(None),
                (Event::DocumentStart, _) => break,
                _ => {}
            }
        }
        let (event, mark) = self.next()?;
        let mut size = 0;
        let root = self.node(event, mark, 0, &mut size)?;
        self.next()?;
        Ok(Some(root))
    }

    /// Reads the node whose first event was read; counts its nodes.
    fn node(&mut self, event: Event<'t>, mark: Mark, depth: usize, size: &mut usize) -> Read<Node> {
        let at = self.place(mark);
        if depth > DEPTH_MAX {
            return Err(meaning(format!("yaml: exceeded max depth of {DEPTH_MAX}"), at));
        }
        let mut own = 1;
        let (anchor, mut node) = match event {
            Event::Alias(name) => {
                let node = self.alias(name, at, &mut own)?;
                *size += own;
                return Ok(node);
            }
            Event::Scalar {
                anchor,
                tag,
                text,
                plain,
            } => {
                let data = scalar(text.into_owned(), tag.as_deref(), plain)
                    .map_err(|message| meaning(message, at))?;
                (anchor, tagged(Node::new(data, at), tag.as_deref()))
            }
            Event::SequenceStart { anchor, tag } => {
                if let Some(anchor) = anchor {
                    self.anchors.insert(anchor, None);
                }
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, mark) => items.push(self.node(event, mark, depth + 1, &mut own)?),
                    }
                }
                (anchor, tagged(Node::new(Data::List(items), at), tag.as_deref()))
            }
            Event::MappingStart { anchor, tag } => {
                if let Some(anchor) = anchor {
                    self.anchors.insert(anchor, None);
                }
                let map = self.mapping(depth, &mut own)?;
                (anchor, tagged(Node::new(Data::Map(map), at), tag.as_deref()))
            }
            _ => (None, Node::new(Data::Null, at)),
        };
        if let Some(anchor) = anchor {
            let mut copy = node.clone();
            let forgets = drop_resets(&mut copy);
            self.anchors.insert(
                anchor,
                Some(Anchored {
                    node: copy,
                    count: own,
                    forgets,
                }),
            );
        }
        node.at = at;
        *size += own;
        Ok(node)
    }

    fn alias(&mut self, name: &'t str, at: Place, own: &mut usize) -> Read<Node> {
        let anchored = match self.anchors.get(name) {
            Some(Some(anchored)) => anchored,
            Some(None) => {
                return Err(meaning(
                    format!("yaml: anchor '{name}' value contains itself"),
                    at,
                ));
            }
            None => {
                let message = format!("yaml: unknown anchor '{name}' referenced");
                return Err((Message::Syntax(message), at));
            }
        };
        if anchored.forgets {
            self.forgotten.push(at);
        }
        self.aliased += anchored.count;
        if self.aliased > ALIASED_NODES_MAX {
            return Err(meaning(
                "yaml: document contains excessive aliasing".to_owned(),
                at,
            ));
        }
        *own = anchored.count;
        Ok(anchored.node.clone())
    }

    fn mapping(&mut self, depth: usize, size: &mut usize) -> Read<Map> {
        let mut map = Map::new();
        let mut merges = Vec::new();
        loop {
            let (event, mark) = self.next()?;
            let at = self.place(mark);
            let key = match event {
                Event::MappingEnd => break,
                Event::Scalar {
                    ref text,
                    plain: true,
                    ..
                } if text == "<<" => None,
                event => Some(self.node(event, mark, depth + 1, size)?),
            };
            let (event, mark) = self.next()?;
            let mut value = self.node(event, mark, depth + 1, size)?;
            match key {
                None => {
                    if let Some((_, first)) = merges.last() {
                        self.duplicates.push(("<<".to_owned(), *first, at));
                    }
                    merges.push((value, at));
                }
                Some(key) => {
                    let key = key_text(key).map_err(|message| meaning(message, at))?;
                    value.at = at;
                    if let Some(first) = map.get(&key).map(|first: &Node| first.at) {
                        self.duplicates.push((key, first, at));
                    } else {
                        map.insert(key, value);
                    }
                }
            }
        }
        for (merged, at) in merges {
            merge(&mut map, merged).map_err(|()| {
                let message = "yaml: map merge requires map or sequence of maps as the value";
                meaning(message.to_owned(), at)
            })?;
        }
        Ok(map)
    }
}

fn meaning(message: String, at: Place) -> (Message, Place) {
    (Message::Meaning(message), at)
}

fn tagged(mut node: Node, tag: Option<&str>) -> Node {
    node.tag = match tag {
        Some("!reset") => Tag::Reset,
        Some("!override") => Tag::Override,
        _ => Tag::None,
    };
    node
}

/// Adds the entries of the mappings that `<<` names where there is none of that key; the first mapping wins.
fn merge(map: &mut Map, merged: Node) -> Result<(), ()> {
    match merged.data {
        Data::Map(entries) => {
            for (key, entry) in entries {
                map.entry(key).or_insert(entry);
            }
            Ok(())
        }
        Data::List(items) => {
            for item in items {
                match item.data {
                    Data::Map(_) => merge(map, item)?,
                    _ => return Err(()),
                }
            }
            Ok(())
        }
        _ => Err(()),
    }
}

/// Marks keys that are no texts, so that the loader can name them with their path.
pub(crate) const NOT_TEXT: char = '\u{1}';

fn key_text(key: Node) -> Result<String, String> {
    match key.data {
        Data::Text(text) => Ok(text),
        Data::Null => Ok(format!("{NOT_TEXT}<nil>")),
        Data::List(_) | Data::Map(_) => Err("yaml: invalid map key".to_owned()),
        _ => Ok(format!("{NOT_TEXT}{}", key.scalar_text().unwrap_or_default())),
    }
}

/// What a scalar means.
fn scalar(text: String, tag: Option<&str>, plain: bool) -> Result<Data, String> {
    match tag.map(|tag| tag.strip_prefix(TAG).unwrap_or(tag)) {
        None | Some("!reset" | "!override") if plain => Ok(plain_scalar(text)),
        Some("null") => Ok(Data::Null),
        Some("int") => match plain_scalar(text.clone()) {
            Data::Int(number) => Ok(Data::Int(number)),
            _ => Err(format!("yaml: cannot decode !!str `{text}` as a !!int")),
        },
        Some("float") => match plain_scalar(text.clone()) {
            Data::Float(number) => Ok(Data::Float(number)),
            #[expect(clippy::cast_precision_loss, reason = "the tag asks for it")]
            Data::Int(number) => Ok(Data::Float(number as f64)),
            _ => Err(format!("yaml: cannot decode !!str `{text}` as a !!float")),
        },
        Some("bool") => match resolve(&text) {
            Scalar::Bool(flag) => Ok(Data::Bool(flag)),
            _ => Err(format!("yaml: cannot decode !!str `{text}` as a !!bool")),
        },
        _ => Ok(Data::Text(text)),
    }
}

fn plain_scalar(text: String) -> Data {
    match resolve(&text) {
        Scalar::Null => Data::Null,
        Scalar::Bool(flag) if matches!(text.as_bytes().first(), Some(b't' | b'T' | b'f' | b'F')) => {
            Data::Bool(flag)
        }
        Scalar::Int(number) => Data::Int(number),
        // No attribute takes a number of that size; as a text it keeps its digits.
        Scalar::Uint(number) => Data::Text(number.to_string()),
        Scalar::Float(number) => Data::Float(number),
        Scalar::Timestamp => Data::Time(text),
        // What version 2 takes for a boolean is a text for version 3.
        Scalar::Bool(_) | Scalar::String => Data::Text(text),
    }
}
