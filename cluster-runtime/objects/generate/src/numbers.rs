//! The numbers of fields in protobuf, read from the sources of `k8s-pb`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The messages of the sources.
#[derive(Default)]
pub struct Numbers {
    messages: BTreeMap<String, Message>,
}

#[derive(Default)]
struct Message {
    /// As the schema would name it.
    name: String,
    fields: Vec<Field>,
}

struct Field {
    number: u32,
    name: String,
    /// The message of the same module that it holds, if it may be one.
    message: String,
}

impl Numbers {
    /// Reads the structs of a folder of generated sources.
    pub fn read(root: &Path, files: &[PathBuf]) -> Result<Self, Box<dyn Error>> {
        let mut numbers = Self::default();
        for file in files {
            let folder = file.strip_prefix(root)?.parent().ok_or("a file is in a folder")?;
            let module = folder.to_string_lossy().replace('/', ".");
            let module = module.strip_prefix("api.").unwrap_or(&module).replace('_', "-");
            numbers.read_structs(&module, &fs::read_to_string(file)?);
        }
        Ok(numbers)
    }

    fn read_structs(&mut self, module: &str, text: &str) {
        let mut current = String::new();
        let mut tag = None;
        for line in text.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("pub struct ") {
                let name = format!("{module}.{}", rest.trim_end_matches([' ', '{', '}']));
                current = plain(&name);
                self.messages.insert(current.clone(), Message { name, fields: Vec::new() });
            } else if line.starts_with("#[prost(") {
                tag = line.split("tag = \"").nth(1).and_then(|rest| rest.split('"').next()?.parse().ok());
            } else if let Some((name, kind)) = line.strip_prefix("pub ").and_then(|rest| rest.split_once(':'))
                && let (Some(number), Some(message)) = (tag.take(), self.messages.get_mut(&current))
            {
                let name = name.trim_start_matches("r#").to_owned();
                let inner = kind.trim_start().trim_start_matches("::core::option::Option<").trim_end_matches([',', '>']);
                message.fields.push(Field { number, name, message: plain(&format!("{module}.{inner}")) });
            }
        }
    }

    /// Writes a line for each type of the schema: its name and `NUMBER=FIELD` for each field, in the order of numbers.
    ///
    /// Where a message holds fields that JSON has one level higher, `NUMBER=*MESSAGE` says so and the message has a
    /// line as well. Gives the text, and the fields for which there is no number.
    pub fn write(&self, types: &str) -> (String, Vec<String>) {
        let mut lines = BTreeMap::new();
        let mut missing = Vec::new();
        let mut rest = types.lines().peekable();
        while let Some(header) = rest.next() {
            let name = header.split('\t').next().unwrap_or_default();
            let mut fields = BTreeMap::new();
            while let Some(line) = rest.next_if(|line| line.starts_with('\t')) {
                let field = line.trim_start_matches('\t').split('\t').next().unwrap_or_default();
                fields.insert(plain(field), field);
            }
            // Custom definitions hold schemas, which are one message in protobuf and three different things in JSON.
            if let Some(message) = self.messages.get(&plain(name)).filter(|_| !name.contains("apiextensions")) {
                self.write_message(name, message, &mut fields, &mut lines);
                // What is left has no number; the envelope of a message says the first two.
                fields.retain(|_, field| !["apiVersion", "kind"].contains(field));
                missing.extend(fields.values().map(|field| format!("{name}.{field}")));
            }
        }
        (lines.into_iter().map(|(name, fields)| format!("{name}{fields}\n")).collect(), missing)
    }

    fn write_message(
        &self,
        name: &str,
        message: &Message,
        fields: &mut BTreeMap<String, &str>,
        lines: &mut BTreeMap<String, String>,
    ) {
        let mut line = String::new();
        let mut sorted: Vec<&Field> = message.fields.iter().collect();
        sorted.sort_by_key(|field| field.number);
        for field in sorted {
            if let Some(json) = fields.remove(&plain(&field.name)) {
                line += &format!(" {}={json}", field.number);
            } else if let Some(inline) = self.messages.get(&field.message) {
                self.write_message(&inline.name, inline, fields, lines);
                line += &format!(" {}=*{}", field.number, inline.name);
            }
        }
        lines.insert(name.to_owned(), line);
    }
}

/// Names differ in case and punctuation between the two sources.
fn plain(name: &str) -> String {
    name.replace(['_', '-', '$'], "").to_ascii_lowercase()
}
