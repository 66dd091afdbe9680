//! `SOURCE:TARGET:OPTIONS`.

use crate::node::{Data, Map, Node, Place};
use crate::paths::clean;

/// A mount as its short form says it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ShortVolume {
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    pub(crate) no_copy: bool,
    pub(crate) propagation: Option<String>,
    pub(crate) selinux: Option<String>,
}

impl ShortVolume {
    /// Whether the source is a path of the host.
    fn is_bind(&self) -> bool {
        let bytes = self.source.as_bytes();
        self.source.starts_with(['.', '/', '~'])
            || self.source.starts_with("\\\\")
            || (bytes.len() > 1 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':')
    }

    /// The long form.
    pub(crate) fn into_node(self, at: Place) -> Node {
        let text = |text: &str| Node::text(text, at);
        let flag = || Node::bool(true, at);
        let bind = self.is_bind();
        let mut map = Map::new();
        map.insert("type".to_owned(), text(if bind { "bind" } else { "volume" }));
        if !self.source.is_empty() {
            map.insert("source".to_owned(), text(&self.source));
        }
        map.insert("target".to_owned(), text(&clean(&self.target)));
        if self.read_only {
            map.insert("read_only".to_owned(), flag());
        }
        let mut bind_options = Map::new();
        if bind {
            bind_options.insert("create_host_path".to_owned(), flag());
        }
        for (key, value) in [("propagation", &self.propagation), ("selinux", &self.selinux)] {
            if let Some(value) = value {
                bind_options.insert(key.to_owned(), text(value));
            }
        }
        if !bind_options.is_empty() {
            map.insert("bind".to_owned(), Node::new(Data::Map(bind_options), at));
        }
        // A form of one or two letters is read by an older rule.
        let short = self.source.is_empty() && self.target.chars().count() <= 2;
        if (!bind && !short) || self.no_copy {
            let mut options = Map::new();
            if self.no_copy {
                options.insert("nocopy".to_owned(), flag());
            }
            map.insert("volume".to_owned(), Node::new(Data::Map(options), at));
        }
        Node::new(Data::Map(map), at)
    }
}

/// Reads the short form; colons inside of `${}` and after the letter of a drive divide nothing.
pub(crate) fn parse_volume(spec: &str) -> Result<ShortVolume, String> {
    let mut volume = ShortVolume::default();
    if spec.is_empty() {
        return Err("invalid empty volume spec".to_owned());
    }
    if spec.chars().count() <= 2 {
        spec.clone_into(&mut volume.target);
        return Ok(volume);
    }
    let sections = sections(spec);
    let fault = |why: &str| Err(format!("invalid spec: {spec}: {why}"));
    let last = sections.len() - 1;
    for (index, section) in sections.into_iter().enumerate() {
        if section.is_empty() {
            return fault("empty section between colons");
        }
        if index == last && volume.source.is_empty() {
            volume.target = section.to_owned();
        } else if volume.source.is_empty() {
            volume.source = section.to_owned();
        } else if volume.target.is_empty() {
            volume.target = section.to_owned();
        } else if index < last {
            return fault("too many colons");
        } else {
            for option in section.split(',') {
                match option {
                    "ro" => volume.read_only = true,
                    "rw" => volume.read_only = false,
                    "nocopy" => volume.no_copy = true,
                    "z" | "Z" => volume.selinux = Some(option.to_owned()),
                    "private" | "rprivate" | "shared" | "rshared" | "slave" | "rslave" => {
                        volume.propagation = Some(option.to_owned());
                    }
                    // Unknown options mean nothing, as ever.
                    _ => {}
                }
            }
        }
    }
    Ok(volume)
}

fn sections(spec: &str) -> Vec<&str> {
    let mut sections = Vec::new();
    let mut start = 0;
    let mut braces = 0usize;
    for (at, c) in spec.char_indices() {
        match c {
            '{' if spec[..at].ends_with('$') || braces > 0 => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            ':' if braces == 0 && !is_drive(&spec[start..at]) => {
                sections.push(&spec[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    sections.push(&spec[start..]);
    sections
}

/// Whether a section so far is the letter of a drive.
fn is_drive(section: &str) -> bool {
    section.len() == 1 && section.as_bytes()[0].is_ascii_alphabetic()
}

/// Whether a path is absolute on Windows.
pub(crate) fn is_windows_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    path.starts_with("\\\\")
        || (bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' && {
            bytes.len() == 2 || matches!(bytes[2], b'\\' | b'/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_options() {
        let parse = |spec| {
            let volume = parse_volume(spec).unwrap();
            let node = volume.clone().into_node(Place::default());
            let kind = node.get("type").and_then(Node::as_str).unwrap().to_owned();
            (kind, volume.source, volume.target, volume.read_only)
        };
        for (spec, kind, source, target, read_only) in [
            ("/data", "volume", "", "/data", false),
            ("data:/data:ro", "volume", "data", "/data", true),
            ("./a:/b:rw", "bind", "./a", "/b", false),
            ("~/a:/b", "bind", "~/a", "/b", false),
            ("C:\\a:/b:ro", "bind", "C:\\a", "/b", true),
            ("${DIR:-./a}:/b", "volume", "${DIR:-./a}", "/b", false),
        ] {
            let wanted = (kind.to_owned(), source.to_owned(), target.to_owned(), read_only);
            assert_eq!(parse(spec), wanted, "{spec}");
        }
        let volume = parse_volume("vol:/b:nocopy,Z,rshared,what").unwrap();
        assert!(volume.no_copy);
        assert_eq!(volume.selinux.as_deref(), Some("Z"));
        assert_eq!(volume.propagation.as_deref(), Some("rshared"));
    }

    #[test]
    fn err_sections() {
        for (spec, wanted) in [
            ("", "invalid empty volume spec"),
            ("vol::/b", "invalid spec: vol::/b: empty section between colons"),
            ("vol:/b:ro:x", "invalid spec: vol:/b:ro:x: too many colons"),
        ] {
            assert_eq!(parse_volume(spec).unwrap_err(), wanted);
        }
    }
}
