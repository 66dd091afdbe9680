//! The values that a user gives with flags.

use crate::coalesce::overlay;
use crate::json;
use crate::set::{self, Kind, SetError};
use crate::value::Map;
use crate::yaml::{self, YamlError, values_from_yaml_with};

/// The values that a user gives on the command line, flag by flag.
///
/// Which of two values for one key wins depends on the kind of flag alone, later kinds over earlier ones in the order of
/// the fields; within a kind the later one wins.
#[derive(Debug, Clone, Default)]
pub struct UserValues {
    /// The files of `-f`, read already.
    pub files: Vec<ValuesFile>,
    /// `--set-json`
    pub json: Vec<String>,
    /// `--set`
    pub set: Vec<String>,
    /// `--set-string`
    pub string: Vec<String>,
    /// `--set-file`
    pub file: Vec<String>,
    /// `--set-literal`
    pub literal: Vec<String>,
    /// What the files may ask for.
    pub limits: yaml::Limits,
}

/// A values file.
#[derive(Debug, Clone)]
pub struct ValuesFile {
    /// Its name, for errors.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why the values that a user gave cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserValuesError {
    /// A values file is not the YAML it has to be.
    #[error("failed to parse {name}: cannot unmarshal yaml document: {source}")]
    File {
        /// The file's name.
        name: String,
        /// The fault.
        source: YamlError,
    },
    /// An assignment cannot be understood.
    #[error("failed parsing --{flag} data: {source}")]
    Set {
        /// The flag: `set`, `set-string`, `set-file` or `set-literal`.
        flag: &'static str,
        /// What was given.
        text: String,
        /// The fault.
        source: SetError,
    },
    /// The value of `--set-json` is neither a JSON object nor an assignment of JSON.
    #[error("failed parsing --set-json data{} {text}", if *.object { " JSON:" } else { "" })]
    Json {
        /// What was given.
        text: String,
        /// It was taken for an object.
        object: bool,
        /// The fault.
        source: SetError,
    },
}

impl UserValues {
    /// Lays everything over each other.
    ///
    /// `read` gives the text of a file named by `--set-file`, or the words of an error.
    pub fn merge(
        &self,
        read: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Map, UserValuesError> {
        let mut values = Map::new();
        for file in &self.files {
            let map =
                values_from_yaml_with(&file.text, self.limits).map_err(|source| UserValuesError::File {
                    name: file.name.clone(),
                    source,
                })?;
            overlay(&mut values, map);
        }
        for text in &self.json {
            merge_json(&mut values, text)?;
        }
        let flags = [
            ("set", &self.set, Kind::Typed),
            ("set-string", &self.string, Kind::Text),
        ];
        for (flag, texts, kind) in flags {
            for text in texts {
                set::apply(&mut values, text, kind).map_err(|source| failed(flag, text, source))?;
            }
        }
        for text in &self.file {
            set::apply_files(&mut values, text, read).map_err(|source| failed("set-file", text, source))?;
        }
        for text in &self.literal {
            set::apply(&mut values, text, Kind::Literal)
                .map_err(|source| failed("set-literal", text, source))?;
        }
        Ok(values)
    }
}

fn failed(flag: &'static str, text: &str, source: SetError) -> UserValuesError {
    UserValuesError::Set {
        flag,
        text: text.to_owned(),
        source,
    }
}

fn merge_json(values: &mut Map, text: &str) -> Result<(), UserValuesError> {
    let trimmed = text.trim();
    if trimmed.starts_with('{') {
        let object = json::from_json(trimmed).map_err(|error| UserValuesError::Json {
            text: text.to_owned(),
            object: true,
            source: SetError::Json(error),
        })?;
        if let crate::Value::Map(object) = object {
            overlay(values, object);
        }
        return Ok(());
    }
    set::apply(values, text, Kind::Json).map_err(|source| UserValuesError::Json {
        text: text.to_owned(),
        object: false,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Value;

    #[test]
    fn later_kinds_of_flags_win() {
        let values = UserValues {
            files: vec![
                ValuesFile {
                    name: "a".into(),
                    text: "a: 1\nb: {x: 1, z: 1}".into(),
                },
                ValuesFile {
                    name: "b".into(),
                    text: "b: {x: 2}\nc: null".into(),
                },
            ],
            json: vec!["d=1".into(), r#"{"e":{"f":1}}"#.into()],
            set: vec!["d=2,e.g=1,h=1".into()],
            string: vec!["h=2".into()],
            file: vec!["i=f".into()],
            literal: vec!["j=a,b".into()],
            ..UserValues::default()
        };
        let merged = values.merge(&mut |_| Ok("text".into())).unwrap();
        assert_eq!(
            json::to_json(&Value::Map(merged)),
            r#"{"a":1,"b":{"x":2,"z":1},"c":null,"d":2,"e":{"f":1,"g":1},"h":"2","i":"text","j":"a,b"}"#
        );
    }

    #[test]
    fn err_names_the_flag_or_file() {
        let file = UserValues {
            files: vec![ValuesFile {
                name: "my.yaml".into(),
                text: "a: [".into(),
            }],
            ..UserValues::default()
        };
        let set = UserValues {
            string: vec!["a".into()],
            ..UserValues::default()
        };
        let json = UserValues {
            json: vec!["{\"r\":}".into()],
            ..UserValues::default()
        };
        for (values, message) in [
            (
                file,
                "failed to parse my.yaml: cannot unmarshal yaml document: error converting YAML to JSON: yaml: line 1: did not find expected node content",
            ),
            (set, "failed parsing --set-string data: key \"a\" has no value"),
            (json, "failed parsing --set-json data JSON: {\"r\":}"),
        ] {
            assert_eq!(
                values.merge(&mut |_| Ok(String::new())).unwrap_err().to_string(),
                message
            );
        }
    }
}
