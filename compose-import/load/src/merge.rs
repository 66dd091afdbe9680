//! Laying one file over another: per attribute its own rule.
//!
//! Mappings merge key by key, lists grow, scalars are replaced, and nothing (`null`) changes nothing, unless the tables here
//! say otherwise.

use std::collections::HashMap;

use crate::error::Fault;
use crate::node::{Data, Map, Node, Path, Sources};
use crate::short::volume::parse_volume;

/// How an attribute merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// By the types of the values.
    Plain,
    /// The later one replaces the earlier.
    Replace,
    /// Both become lists of `KEY=VALUE`, the later behind the earlier.
    Sequence,
    /// As [`Rule::Sequence`], without what is there already.
    Hosts,
    /// A text stands for a build context.
    Build,
    /// A list of names stands for a mapping of the names to what `depends_on` assumes.
    DependsOn,
    /// A list of names stands for a mapping of the names to nothing.
    Names,
    /// Options merge only under the same driver.
    Logging,
    /// Address pools merge by their subnet.
    Pools,
}

fn rule(path: &[&str]) -> Rule {
    match path {
        ["services", _, rest @ ..] => match rest {
            ["command" | "entrypoint"] | ["healthcheck", "test"] | ["ulimits", _] => Rule::Replace,
            ["annotations" | "labels" | "environment" | "sysctls"]
            | ["dns" | "dns_opt" | "dns_search" | "tmpfs" | "env_file" | "label_file"]
            | [
                "build",
                "args" | "labels" | "additional_contexts" | "no_cache_filter",
            ]
            | ["deploy", "labels"]
            | ["volumes", _, "volume", "labels"] => Rule::Sequence,
            ["extra_hosts"] | ["build", "extra_hosts"] => Rule::Hosts,
            ["build"] => Rule::Build,
            ["depends_on"] => Rule::DependsOn,
            ["networks" | "models"] => Rule::Names,
            ["logging"] => Rule::Logging,
            _ => Rule::Plain,
        },
        ["networks" | "volumes", _, "labels"] => Rule::Sequence,
        ["networks", _, "ipam", "config"] => Rule::Pools,
        _ => Rule::Plain,
    }
}

/// Lays a file over what is there.
pub(crate) fn merge(base: Node, over: Node, sources: &Sources) -> Result<Node, Fault> {
    Merger { sources }.node(base, over, &mut Vec::new())
}

/// Lays a service over the one that it extends.
pub(crate) fn merge_service(name: &str, base: Node, over: Node, sources: &Sources) -> Result<Node, Fault> {
    let mut path = vec!["services".to_owned(), name.to_owned()];
    Merger { sources }.node(base, over, &mut path)
}

struct Merger<'a> {
    sources: &'a Sources,
}

impl Merger<'_> {
    fn node(&self, base: Node, over: Node, path: &mut Vec<String>) -> Result<Node, Fault> {
        let at = over.at;
        let steps: Vec<&str> = path.iter().map(String::as_str).collect();
        let rule = rule(&steps);
        // Nothing changes nothing, but it clears what is replaced as a whole.
        if over.is_null() && rule != Rule::Replace {
            return Ok(base);
        }
        if base.is_null() {
            return Ok(over);
        }
        match rule {
            Rule::Plain => self.plain(base, over, path),
            Rule::Replace => Ok(over),
            Rule::Sequence => {
                let mut items = sequence(base);
                items.extend(sequence(over));
                Ok(Node::new(Data::List(items), at))
            }
            Rule::Hosts => {
                let mut items = sequence(base);
                for item in sequence(over) {
                    if !items.iter().any(|known| known.same(&item)) {
                        items.push(item);
                    }
                }
                Ok(Node::new(Data::List(items), at))
            }
            Rule::Build => self.plain(build(base), build(over), path),
            Rule::DependsOn => self.plain(depends_on(base), depends_on(over), path),
            Rule::Names => self.plain(names(base), names(over), path),
            Rule::Logging => {
                let same = match (base.get("driver"), over.get("driver")) {
                    (Some(base), Some(over)) => base.same(over),
                    _ => true,
                };
                if same {
                    self.plain(base, over, path)
                } else {
                    Ok(over)
                }
            }
            Rule::Pools => self.pools(base, over, path),
        }
    }

    fn plain(&self, base: Node, over: Node, path: &mut Vec<String>) -> Result<Node, Fault> {
        let at = over.at;
        let base_at = base.at;
        let data = match (base.data, over.data) {
            (Data::Map(base), Data::Map(over)) => Data::Map(self.maps(base, over, path)?),
            (Data::List(mut base), Data::List(over)) => {
                base.extend(over);
                Data::List(base)
            }
            (Data::Map(_) | Data::List(_), _) => {
                let message = format!("cannot override {}", path.join("."));
                return Err(Fault::new(message).at(self.sources.position(at)));
            }
            (_, over) => return Ok(Node::new(over, at)),
        };
        Ok(Node::new(data, base_at))
    }

    fn maps(&self, mut base: Map, over: Map, path: &mut Vec<String>) -> Result<Map, Fault> {
        for (key, entry) in over {
            let merged = match base.remove(&key) {
                Some(known) => {
                    path.push(key);
                    let merged = self.node(known, entry, path)?;
                    let key = path.pop().unwrap_or_default();
                    base.insert(key, merged);
                    continue;
                }
                None => entry,
            };
            base.insert(key, merged);
        }
        Ok(base)
    }

    fn pools(&self, base: Node, over: Node, path: &mut Vec<String>) -> Result<Node, Fault> {
        let at = over.at;
        let (Data::List(mut pools), Data::List(overs)) = (base.data, over.data) else {
            let message = format!("{}: unexpected type", path.join("."));
            return Err(Fault::new(message).at(self.sources.position(at)));
        };
        for over in overs {
            let subnet = over.get("subnet").and_then(Node::as_str).map(str::to_owned);
            let known = subnet.as_deref().and_then(|subnet| {
                pools
                    .iter()
                    .position(|pool| pool.get("subnet").and_then(Node::as_str) == Some(subnet))
            });
            match known {
                Some(index) => {
                    let pool = std::mem::replace(&mut pools[index], Node::new(Data::Null, at));
                    path.push(index.to_string());
                    pools[index] = self.plain(pool, over, path)?;
                    path.pop();
                }
                None => pools.push(over),
            }
        }
        Ok(Node::new(Data::List(pools), at))
    }
}

/// A mapping as a sorted list of `KEY=VALUE`, a text as a list of itself.
pub(crate) fn sequence(node: Node) -> Vec<Node> {
    match node.data {
        Data::Map(map) => {
            let mut items = Vec::with_capacity(map.len());
            for (key, entry) in map {
                match &entry.data {
                    Data::Null => items.push(Node::text(key, entry.at)),
                    Data::List(values) => {
                        for value in values {
                            let text = value.scalar_text().unwrap_or_default();
                            items.push(Node::text(format!("{key}={text}"), value.at));
                        }
                    }
                    _ => {
                        let text = entry.scalar_text().unwrap_or_default();
                        items.push(Node::text(format!("{key}={text}"), entry.at));
                    }
                }
            }
            items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
            items
        }
        Data::List(items) => items,
        Data::Null => Vec::new(),
        data => vec![Node::new(data, node.at)],
    }
}

/// The long form of `build`.
pub(crate) fn build(node: Node) -> Node {
    let at = node.at;
    match node.data {
        Data::Text(_) => Node::new(Data::Map(Map::from([("context".to_owned(), node)])), at),
        _ => node,
    }
}

/// The long form of `depends_on`.
pub(crate) fn depends_on(node: Node) -> Node {
    let Data::List(items) = node.data else {
        return node;
    };
    let entries = items.into_iter().filter_map(|item| {
        let entry = Map::from([
            ("condition".to_owned(), Node::text("service_started", item.at)),
            ("required".to_owned(), Node::bool(true, item.at)),
        ]);
        Some((item.scalar_text()?, Node::new(Data::Map(entry), item.at)))
    });
    Node::new(Data::Map(entries.collect()), node.at)
}

/// The long form of a list of names.
pub(crate) fn names(node: Node) -> Node {
    let Data::List(items) = node.data else {
        return node;
    };
    let entries = items
        .into_iter()
        .filter_map(|item| Some((item.scalar_text()?, Node::new(Data::Null, item.at))));
    Node::new(Data::Map(entries.collect()), node.at)
}

/// Keeps of the entries of lists that are alike only the last, in the place of the first.
pub(crate) fn keep_unique(node: &mut Node, sources: &Sources) -> Result<(), Fault> {
    unique(node, &mut Path::default(), sources)
}

/// What makes two entries of a list alike.
#[derive(Debug, Clone, Copy)]
enum Key {
    /// What stands before `=`.
    Name,
    /// The whole value.
    Value,
    /// The path of an env file.
    EnvFile,
    /// The path in the container.
    Target,
    /// The path in the container, below the given folder unless it is named.
    Mount(&'static str),
    /// Host address, ports and protocol.
    Port,
}

fn key_of(path: &[&str]) -> Option<Key> {
    let key = match path {
        ["services", _, rest @ ..] => match rest {
            ["annotations" | "labels" | "environment" | "sysctls" | "tmpfs"]
            | ["cap_add" | "cap_drop" | "dns" | "dns_opt" | "dns_search" | "links" | "profiles"]
            | [
                "build",
                "args" | "labels" | "additional_contexts" | "tags" | "platform",
            ]
            | ["deploy", "labels"]
            | ["networks", _, "aliases" | "link_local_ips"] => Key::Name,
            ["expose"] => Key::Value,
            ["env_file"] => Key::EnvFile,
            ["volumes" | "devices"] => Key::Target,
            ["secrets"] => Key::Mount("/run/secrets"),
            ["configs"] => Key::Mount(""),
            ["ports"] => Key::Port,
            _ => return None,
        },
        ["networks" | "volumes", _, "labels"] | ["networks", _, "ipam", "options"] => Key::Name,
        _ => return None,
    };
    Some(key)
}

fn unique(node: &mut Node, path: &mut Path, sources: &Sources) -> Result<(), Fault> {
    match &mut node.data {
        Data::Map(map) => {
            for (key, entry) in map {
                path.push(key.as_str());
                unique(entry, path, sources)?;
                path.pop();
            }
        }
        Data::List(items) => {
            let steps: Vec<&str> = path.steps().iter().map(String::as_str).collect();
            let Some(key) = key_of(&steps) else {
                return Ok(());
            };
            let mut kept: Vec<Node> = Vec::with_capacity(items.len());
            let mut known: HashMap<String, usize> = HashMap::new();
            for (index, item) in std::mem::take(items).into_iter().enumerate() {
                let at = item.at;
                let name = entry_key(key, &item, path, index)
                    .map_err(|message| Fault::new(message).at(sources.position(at)))?;
                if let Some(place) = known.get(&name) {
                    kept[*place] = item;
                } else {
                    known.insert(name, kept.len());
                    kept.push(item);
                }
            }
            *items = kept;
        }
        _ => {}
    }
    Ok(())
}

fn entry_key(key: Key, item: &Node, path: &Path, index: usize) -> Result<String, String> {
    let field = |name: &str| item.get(name).and_then(Node::scalar_text);
    let text = item.scalar_text();
    Ok(match key {
        Key::Name => match &text {
            Some(text) => text
                .split_once('=')
                .map_or(text.as_str(), |(name, _)| name)
                .to_owned(),
            None => return Ok(format!("\u{0}{index}")),
        },
        Key::Value => match text {
            Some(text) if !matches!(item.data, Data::Float(_) | Data::Bool(_)) => text,
            text => {
                let shown = text.unwrap_or_default();
                return Err(format!("{path}.[{index}]: unsupported expose value {shown}"));
            }
        },
        Key::EnvFile => match text {
            Some(text) => text,
            None => field("path")
                .ok_or_else(|| format!("environment path attribute {path}.[{index}] is missing"))?,
        },
        Key::Target => match &item.data {
            Data::Map(_) => field("target").ok_or_else(|| {
                let devices = path.steps().last().is_some_and(|last| last == "devices");
                let kind = if devices { "device" } else { "volume" };
                format!("service {kind} {path}.[{index}] is missing a mount target")
            })?,
            Data::Text(text) => parse_volume(text)?.target,
            _ => format!("\u{0}{index}"),
        },
        Key::Mount(folder) => match &item.data {
            Data::Map(_) => match field("target") {
                Some(target) => target,
                None => format!("{folder}/{}", field("source").unwrap_or_default()),
            },
            Data::Text(text) => format!("{folder}/{text}"),
            _ => format!("\u{0}{index}"),
        },
        Key::Port => match &item.data {
            Data::Map(_) => {
                let target = field("target")
                    .filter(|target| target != "0" && target.bytes().all(|b| b.is_ascii_digit()))
                    .ok_or_else(|| format!("service ports {path}.[{index}] is missing a target port"))?;
                format!(
                    "{}:{}:{target}/{}",
                    field("host_ip").unwrap_or_else(|| "0.0.0.0".to_owned()),
                    field("published").unwrap_or_default(),
                    field("protocol").unwrap_or_else(|| "tcp".to_owned()),
                )
            }
            _ => text.unwrap_or_else(|| format!("\u{0}{index}")),
        },
    })
}

/// Takes away from a tree what the paths name; a `*` or a missing step is no match.
pub(crate) fn take_away(node: &mut Node, resets: &[Vec<String>]) {
    for path in resets {
        remove(node, path);
    }
}

fn remove(node: &mut Node, path: &[String]) {
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let Data::Map(map) = &mut node.data else {
        return;
    };
    if rest.is_empty() {
        map.remove(first);
    } else if let Some(entry) = map.get_mut(first) {
        remove(entry, rest);
    }
}
