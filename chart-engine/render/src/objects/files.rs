//! `.Files`

use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chart_model::{Content, File};
use chart_template::{Contents, Fault, Kind, Object, Signature, Text, Type, Value};
use chart_values::yaml::{Emitter, Style};

use crate::glob::glob;

/// `.Files`: the files of a chart that are no templates, or those of them that a pattern chose.
#[derive(Debug)]
pub(crate) struct Files {
    files: BTreeMap<String, Content>,
}

impl Files {
    pub(crate) fn new(files: &[File]) -> Self {
        Files {
            files: files
                .iter()
                .map(|file| (file.name.clone(), file.data.clone()))
                .collect(),
        }
    }

    fn bytes(&self, name: &Text) -> &[u8] {
        std::str::from_utf8(name.as_bytes())
            .ok()
            .and_then(|name| self.files.get(name))
            .map_or(&[], |data| data)
    }

    /// The files that match; a pattern that cannot be understood chooses all.
    fn glob(&self, pattern: &Text) -> Files {
        let glob = glob(&pattern.to_str());
        let chosen = |name: &str| glob.as_ref().is_none_or(|glob| glob.matches(name));
        let files = self.files.iter().filter(|(name, _)| chosen(name));
        Files {
            files: files.map(|(name, data)| (name.clone(), data.clone())).collect(),
        }
    }

    /// A YAML table of the files' contents under their last names.
    fn as_table(&self, content: impl Fn(&[u8]) -> String) -> Value {
        let table: BTreeMap<&str, &[u8]> = self
            .files
            .iter()
            .map(|(path, data)| (path.rsplit('/').next().unwrap_or(path), data.as_ref()))
            .collect();
        let mut entries: Vec<_> = table.into_iter().collect();
        let mut emitter = Emitter::new(Style::ToYaml);
        emitter.sort(&mut entries, |(name, _)| name);
        emitter.begin_map();
        for (name, data) in entries {
            emitter.key(name);
            emitter.string(&content(data));
        }
        emitter.end_map();
        let mut text = emitter.finish().unwrap_or_default();
        if text.ends_with('\n') {
            text.pop();
        }
        Value::from(text)
    }

    fn lines(&self, name: &Text) -> Value {
        let data = self.bytes(name);
        if data.is_empty() {
            return Value::strings::<Text>([]);
        }
        let body = data.strip_suffix(b"\n").unwrap_or(data);
        Value::strings(body.split(|byte| *byte == b'\n').map(Text::from))
    }
}

impl Object for Files {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("engine.files")
    }

    fn kind(&self) -> Kind {
        Kind::Map
    }

    fn field(&self, name: &str) -> Option<Value> {
        Some(Value::Bytes(self.bytes(&Text::from(name)).into()))
    }

    fn method(&self, name: &str) -> Option<Signature> {
        match name {
            "Get" | "GetBytes" | "Glob" | "Lines" => Some(Signature::new(&[Type::String])),
            "AsConfig" | "AsSecrets" => Some(Signature::new(&[])),
            _ => None,
        }
    }

    fn call(&self, name: &str, args: &[Value]) -> Result<Value, Fault> {
        let argument = args.first().and_then(Value::as_text).cloned().unwrap_or_default();
        Ok(match name {
            "Get" => Value::String(Text::from(self.bytes(&argument))),
            "GetBytes" => Value::Bytes(self.bytes(&argument).into()),
            "Glob" => Value::object(self.glob(&argument)),
            "Lines" => self.lines(&argument),
            "AsConfig" => self.as_table(|data| String::from_utf8_lossy(data).into_owned()),
            "AsSecrets" => self.as_table(|data| BASE64.encode(data)),
            other => return Err(Fault::new(format!("no method {other}"))),
        })
    }

    fn contents(&self) -> Option<Contents> {
        let entry = |(name, data): (&String, &Content)| {
            (Text::from(name.as_str()), Value::Bytes(data.as_ref().into()))
        };
        Some(Contents::Entries(self.files.iter().map(entry).collect()))
    }

    fn len(&self) -> Option<usize> {
        Some(self.files.len())
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
