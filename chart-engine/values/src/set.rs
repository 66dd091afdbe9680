//! The grammar of `--set` and its relatives: `a.b=1,c={x,y},d[2].e=z`.

use crate::json;
use crate::number::{go_quote, go_quote_char};
use crate::value::{Map, Value};

/// The largest index of a list.
pub const INDEX_MAX: i64 = 65_536;
/// How many names deep a key may go.
pub const DEPTH_MAX: usize = 30;

/// What the texts after `=` stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `--set`: `true`, `false`, `null` and whole numbers are what they look like, anything else a text.
    Typed,
    /// `--set-string`: every value is a text.
    Text,
    /// `--set-json`: every value is JSON.
    Json,
    /// `--set-literal`: everything after the first `=` is one text.
    Literal,
}

/// Why an assignment cannot be understood. The texts are Helm's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// A key without `=`.
    #[error("key {} has no value{}", go_quote(.key), if *.comma { " (cannot end with ,)" } else { "" })]
    NoValue {
        /// The last name of the key.
        key: String,
        /// A comma follows.
        comma: bool,
    },
    /// A key that ends with a point.
    #[error("key map {} has no value", go_quote(.0))]
    EmptyTable(String),
    /// More names than [`DEPTH_MAX`].
    #[error("value name nested level is greater than maximum supported nested level of {DEPTH_MAX}")]
    TooDeep,
    /// An index that is no number.
    #[error("error parsing index: strconv.Atoi: parsing {}: {}", go_quote(.0), if *.1 { "value out of range" } else { "invalid syntax" })]
    BadIndex(String, bool),
    /// An index below nought.
    #[error("negative {0} index not allowed")]
    NegativeIndex(i64),
    /// An index above [`INDEX_MAX`].
    #[error("index of {0} is greater than maximum supported index of {INDEX_MAX}")]
    LargeIndex(i64),
    /// Something between `]` and what may follow it.
    #[error("unexpected data at end of array index: {}", go_runes(.0))]
    AfterIndex(String),
    /// `{` without `}`.
    #[error("list must terminate with '}}'")]
    OpenList,
    /// A key goes through something that is neither table nor list, or not the one it takes it for.
    #[error("unable to parse key: interface conversion: interface {{}} is {found}, not {wanted}")]
    WrongKind {
        /// Go's name of what is there.
        found: &'static str,
        /// Go's name of what the key needs.
        wanted: &'static str,
    },
    /// The value of `--set-json` is no JSON.
    #[error("{0}")]
    Json(json::JsonError),
    /// The file named by `--set-file` cannot be read.
    #[error("{0}")]
    File(String),
}

fn go_runes(text: &str) -> String {
    let runes: Vec<String> = text.chars().map(go_quote_char).collect();
    format!("[{}]", runes.join(" "))
}

/// Applies the assignments in `text` to `values`.
///
/// ```
/// use chart_values::{Map, json, set};
/// let mut values = Map::new();
/// set::apply(&mut values, r"a.b=1,c={x,1\,5},d[1]=null", set::Kind::Typed).unwrap();
/// assert_eq!(json::to_json(&values.into()), r#"{"a":{"b":1},"c":["x","1,5"],"d":[null,null]}"#);
/// ```
pub fn apply(values: &mut Map, text: &str, kind: Kind) -> Result<(), SetError> {
    let read = match kind {
        Kind::Typed => typed,
        Kind::Text | Kind::Json | Kind::Literal => |text: String| Ok(Value::String(text)),
    };
    run(values, text, kind, &mut { read })
}

/// Applies `key=path` assignments whose values are the contents of files, as `--set-file` does.
///
/// `read` gets a path and gives the file's text or the words of an error.
pub fn apply_files(
    values: &mut Map,
    text: &str,
    read: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<(), SetError> {
    let mut read = |path: String| read(&path).map(Value::String).map_err(SetError::File);
    run(values, text, Kind::Text, &mut read)
}

fn run(
    values: &mut Map,
    text: &str,
    kind: Kind,
    read: &mut dyn FnMut(String) -> Result<Value, SetError>,
) -> Result<(), SetError> {
    let mut parser = Parser {
        rest: text,
        kind,
        read,
    };
    loop {
        match parser.key(values, 0) {
            Ok(()) => {}
            Err(Stop::End) => return Ok(()),
            Err(Stop::Fault(fault)) => return Err(fault),
        }
    }
}

fn typed(text: String) -> Result<Value, SetError> {
    Ok(match text.as_str() {
        "0" => Value::Int(0),
        word if word.eq_ignore_ascii_case("true") => Value::Bool(true),
        word if word.eq_ignore_ascii_case("false") => Value::Bool(false),
        word if word.eq_ignore_ascii_case("null") => Value::Null,
        number if !number.starts_with('0') => match number.parse() {
            Ok(number) => Value::Int(number),
            Err(_) => Value::String(text),
        },
        _ => Value::String(text),
    })
}

struct Parser<'t, 'r> {
    rest: &'t str,
    kind: Kind,
    read: &'r mut dyn FnMut(String) -> Result<Value, SetError>,
}

/// Why reading stops: the text has ended, which in many places is no fault, or there is a fault.
enum Stop {
    End,
    Fault(SetError),
}

impl From<SetError> for Stop {
    fn from(fault: SetError) -> Self {
        Stop::Fault(fault)
    }
}

impl Parser<'_, '_> {
    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    /// Reads up to one of the `stops`, which is taken as well; gives `None` for it at the end of the text.
    fn until(&mut self, stops: &[char]) -> (String, Option<char>) {
        let mut text = String::new();
        loop {
            match self.next() {
                None => return (text, None),
                Some(c) if stops.contains(&c) => return (text, Some(c)),
                Some('\\') if self.kind != Kind::Literal => match self.next() {
                    None => return (text, None),
                    Some(escaped) => text.push(escaped),
                },
                Some(c) => text.push(c),
            }
        }
    }

    fn key(&mut self, table: &mut Map, depth: usize) -> Result<(), Stop> {
        let stops: &[char] = if self.kind == Kind::Literal {
            &['=', '[', '.']
        } else {
            &['=', '[', ',', '.']
        };
        let (name, stop) = self.until(stops);
        match stop {
            None if name.is_empty() => Err(Stop::End),
            None => Err(SetError::NoValue {
                key: name,
                comma: false,
            }
            .into()),
            Some('[') => {
                let index = self.index()?;
                let mut list = match table.get_mut(&name) {
                    None => Vec::new(),
                    Some(Value::List(items)) => std::mem::take(items),
                    Some(other) => return Err(wrong_kind(other, LIST).into()),
                };
                let end = self.item(&mut list, index, depth);
                if !matches!(end, Err(Stop::Fault(_))) {
                    put(table, name, Value::List(list));
                }
                end
            }
            Some('=') => {
                let value = self.value()?;
                put(table, name, value);
                Ok(())
            }
            Some(',') => Err(SetError::NoValue {
                key: name,
                comma: true,
            }
            .into()),
            Some(_) => {
                if depth + 1 > DEPTH_MAX {
                    return Err(SetError::TooDeep.into());
                }
                let mut inner = match table.get_mut(&name) {
                    None => Map::new(),
                    Some(Value::Map(inner)) => std::mem::take(inner),
                    Some(other) => return Err(wrong_kind(other, MAP).into()),
                };
                let end = self.key(&mut inner, depth + 1);
                if end.is_ok() && inner.is_empty() {
                    return Err(SetError::EmptyTable(name).into());
                }
                if !inner.is_empty() {
                    put(table, name, Value::Map(inner));
                }
                end
            }
        }
    }

    fn index(&mut self) -> Result<i64, Stop> {
        let (text, stop) = self.until(&[']']);
        if stop.is_none() {
            return Err(Stop::End);
        }
        let number = text.parse::<i64>().map_err(|error| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            let range = matches!(error.kind(), PosOverflow | NegOverflow);
            SetError::BadIndex(text, range)
        })?;
        Ok(number)
    }

    fn item(&mut self, list: &mut Vec<Value>, index: i64, depth: usize) -> Result<(), Stop> {
        if index < 0 {
            return Err(SetError::NegativeIndex(index).into());
        }
        let (text, stop) = self.until(&['[', '.', '=']);
        if !text.is_empty() {
            return Err(SetError::AfterIndex(text).into());
        }
        let there = usize::try_from(index).ok().and_then(|index| list.get_mut(index));
        let value = match stop {
            None => return Err(Stop::End),
            Some('=') => self.value()?,
            Some('[') => {
                let next = self.index()?;
                let mut inner = match there {
                    None | Some(Value::Null) => Vec::new(),
                    Some(Value::List(items)) => std::mem::take(items),
                    Some(other) => return Err(wrong_kind(other, LIST).into()),
                };
                self.item(&mut inner, next, depth)?;
                Value::List(inner)
            }
            Some(_) => {
                let mut inner = match there {
                    Some(Value::Map(inner)) => std::mem::take(inner),
                    _ => Map::new(),
                };
                self.key(&mut inner, depth)?;
                Value::Map(inner)
            }
        };
        if index > INDEX_MAX {
            return Err(SetError::LargeIndex(index).into());
        }
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if list.len() <= index {
            list.resize(index + 1, Value::Null);
        }
        list[index] = value;
        Ok(())
    }

    fn value(&mut self) -> Result<Value, Stop> {
        match self.kind {
            Kind::Json => self.json(),
            Kind::Literal => {
                let text = std::mem::take(&mut self.rest);
                Ok(Value::String(text.to_owned()))
            }
            Kind::Typed | Kind::Text if self.rest.is_empty() => Ok(Value::String(String::new())),
            Kind::Typed | Kind::Text if self.rest.starts_with('{') => self.list(),
            Kind::Typed | Kind::Text => {
                let (text, _) = self.until(&[',']);
                Ok((self.read)(text)?)
            }
        }
    }

    fn list(&mut self) -> Result<Value, Stop> {
        self.next();
        let mut items = Vec::new();
        loop {
            let (text, stop) = self.until(&[',', '}']);
            if stop.is_none() {
                return Err(SetError::OpenList.into());
            }
            items.push((self.read)(text)?);
            if stop == Some('}') {
                self.rest = self.rest.strip_prefix(',').unwrap_or(self.rest);
                return Ok(Value::List(items));
            }
        }
    }

    fn json(&mut self) -> Result<Value, Stop> {
        if self.blank() {
            return Ok(Value::Null);
        }
        let (value, used) = json::from_json_prefix(self.rest).map_err(SetError::Json)?;
        self.rest = &self.rest[used..];
        self.blank();
        Ok(value)
    }

    /// Takes white space and the comma after it; tells whether the comma or the end was found.
    fn blank(&mut self) -> bool {
        self.rest = self.rest.trim_start();
        if self.rest.is_empty() {
            return true;
        }
        match self.rest.strip_prefix(',') {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

const LIST: &str = "[]interface {}";
const MAP: &str = "map[string]interface {}";

fn wrong_kind(found: &Value, wanted: &'static str) -> SetError {
    let found = match found {
        Value::Null => "nil",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => LIST,
        Value::Map(_) => MAP,
    };
    SetError::WrongKind { found, wanted }
}

/// A value under an empty name is dropped.
fn put(table: &mut Map, name: String, value: Value) {
    if !name.is_empty() {
        table.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::to_json;

    fn check(kind: Kind, text: &str, wanted: &str) {
        let mut values = Map::new();
        apply(&mut values, text, kind).unwrap();
        assert_eq!(to_json(&Value::Map(values)), wanted, "{text}");
    }

    #[test]
    fn sets_typed_values() {
        for (text, wanted) in [
            ("", "{}"),
            (
                "a=1,b=0,c=01,d=1.5,e=TRUE,f=null,g=-5,h=+5,i=9223372036854775808",
                r#"{"a":1,"b":0,"c":"01","d":"1.5","e":true,"f":null,"g":-5,"h":5,"i":"9223372036854775808"}"#,
            ),
            (r"a\.b=1,c=a\,b,d=x=y", r#"{"a.b":1,"c":"a,b","d":"x=y"}"#),
            (
                "a={1,x,true},b={},c={,}",
                r#"{"a":[1,"x",true],"b":[""],"c":["",""]}"#,
            ),
            ("a[2].b=1,a[0][1]=x", r#"{"a":[[null,"x"],null,{"b":1}]}"#),
            ("a[0].x=1,a[0]=2,a[0].y=1", r#"{"a":[{"y":1}]}"#),
            ("a=,b=", r#"{"a":"","b":""}"#),
            ("a[1", "{}"),
            (r"a=1\", r#"{"a":1}"#),
        ] {
            check(Kind::Typed, text, wanted);
        }
    }

    #[test]
    fn sets_texts_json_and_literals() {
        check(
            Kind::Text,
            "a=1,b={true,null}",
            r#"{"a":"1","b":["true","null"]}"#,
        );
        check(
            Kind::Json,
            r#"a={"x":[1,2]},b=3 ,c=,d[0]="x""#,
            r#"{"a":{"x":[1,2]},"b":3,"c":null,"d":["x"]}"#,
        );
        check(Kind::Literal, r"a.b[1]=x,y=\z", r#"{"a":{"b":[null,"x,y=\\z"]}}"#);
    }

    #[test]
    fn err_says_what_helm_says() {
        let deep = format!("{}=1", vec!["a"; 32].join("."));
        for (text, message) in [
            ("a", r#"key "a" has no value"#),
            ("a=1,b", r#"key "b" has no value"#),
            (
                "a=1,a.b=2",
                "unable to parse key: interface conversion: interface {} is int64, not map[string]interface {}",
            ),
            (
                "a=x,a[0]=2",
                "unable to parse key: interface conversion: interface {} is string, not []interface {}",
            ),
            (
                "a[x]=1",
                r#"error parsing index: strconv.Atoi: parsing "x": invalid syntax"#,
            ),
            ("a[-1]=1", "negative -1 index not allowed"),
            (
                "a[70000]=1",
                "index of 70000 is greater than maximum supported index of 65536",
            ),
            ("a[0]xy=1", "unexpected data at end of array index: ['x' 'y']"),
            (
                r"a[0]\\'=1",
                r"unexpected data at end of array index: ['\\' '\'']",
            ),
            ("a={1,2", "list must terminate with '}'"),
            ("a=1,,b=2", r#"key "" has no value (cannot end with ,)"#),
            ("a.=1", r#"key map "a" has no value"#),
            ("a..b=1", r#"key map "a" has no value"#),
            (
                &deep,
                "value name nested level is greater than maximum supported nested level of 30",
            ),
        ] {
            assert_eq!(
                apply(&mut Map::new(), text, Kind::Typed).unwrap_err().to_string(),
                message,
                "{text}"
            );
        }
    }

    #[test]
    fn files_give_their_texts() {
        let mut values = Map::new();
        let mut read = |path: &str| {
            if path == "f" {
                Ok("text\n".to_owned())
            } else {
                Err("no such file".to_owned())
            }
        };
        apply_files(&mut values, "a.b=f", &mut read).unwrap();
        assert_eq!(to_json(&values.clone().into()), r#"{"a":{"b":"text\n"}}"#);
        assert_eq!(
            apply_files(&mut values, "a=g", &mut read)
                .unwrap_err()
                .to_string(),
            "no such file"
        );
    }
}
