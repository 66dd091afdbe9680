//! Why a text is not the YAML that was wanted.

/// A fault in a YAML text.
///
/// `Display` gives Go's text, including the line number that go-yaml reports, which is sometimes the line before; the
/// true position is in [`YamlError::line`] and [`YamlError::column`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{fault}", self.prefix())]
pub struct YamlError {
    /// What is wrong.
    pub fault: YamlFault,
    /// The line, counted from 1, where it is known.
    pub line: Option<usize>,
    /// The column, counted from 1 in characters, where it is known.
    pub column: Option<usize>,
    /// The line that go-yaml names; `None` where it names none.
    pub go_line: Option<usize>,
}

impl YamlError {
    pub(super) fn at(fault: YamlFault, line: usize, column: usize) -> Self {
        YamlError {
            fault,
            line: Some(line),
            column: Some(column),
            go_line: None,
        }
    }

    fn prefix(&self) -> String {
        if self.fault.is_of_json() {
            return match self.fault {
                YamlFault::NotAMap { .. } => "error unmarshaling JSON: while decoding JSON: ".to_owned(),
                _ => "error converting YAML to JSON: ".to_owned(),
            };
        }
        match self.go_line {
            Some(line) => format!("error converting YAML to JSON: yaml: line {line}: "),
            None => "error converting YAML to JSON: yaml: ".to_owned(),
        }
    }

    /// The text without Helm's `error converting YAML to JSON: ` before it.
    pub fn short(&self) -> String {
        let text = self.to_string();
        text.strip_prefix("error converting YAML to JSON: ")
            .map_or(text.clone(), str::to_owned)
    }
}

/// What is wrong with a YAML text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum YamlFault {
    /// The text breaks the grammar; the words are libyaml's.
    #[error("{0}")]
    Syntax(String),
    /// An alias to an anchor that was not set.
    #[error("unknown anchor '{0}' referenced")]
    UnknownAnchor(String),
    /// An alias inside of what it names.
    #[error("anchor '{0}' value contains itself")]
    SelfReference(String),
    /// Aliases make a small text into a huge value.
    #[error("document contains excessive aliasing")]
    ExcessiveAliasing,
    /// Anchors and aliases copy more than is allowed.
    #[error("anchors and aliases copy more than {0} bytes")]
    TooManyCopies(usize),
    /// Lists and tables nest too deeply.
    #[error("exceeded max depth of {0}")]
    TooDeep(usize),
    /// A table or list as a key, often an unquoted `{{ }}`.
    #[error("invalid map key: {0}")]
    InvalidKey(String),
    /// A key that has no text form.
    #[error("unsupported map key of type: {kind}, key: {key}, value: {value}")]
    UnsupportedKey {
        /// Go's name of its type.
        kind: &'static str,
        /// The key in Go's syntax.
        key: String,
        /// The value in Go's syntax.
        value: String,
    },
    /// `<<` with something other than tables.
    #[error("map merge requires map or sequence of maps as the value")]
    BadMerge,
    /// A tag that its text does not fit.
    #[error("cannot decode {found} `{text}` as a {wanted}")]
    BadTag {
        /// What the text is.
        found: &'static str,
        /// The text.
        text: String,
        /// What the tag says.
        wanted: &'static str,
    },
    /// `!!binary` with something other than base64.
    #[error("!!binary value contains invalid base64 data")]
    BadBinary,
    /// A number that JSON cannot hold.
    #[error("json: unsupported value: {0}")]
    UnsupportedNumber(&'static str),
    /// A table was wanted at the top.
    #[error("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}")]
    NotAMap {
        /// What JSON calls the thing found.
        found: &'static str,
    },
}

impl YamlFault {
    /// Tells whether the text is good grammar that means nothing.
    pub(super) fn is_of_meaning(&self) -> bool {
        matches!(
            self,
            YamlFault::SelfReference(_)
                | YamlFault::InvalidKey(_)
                | YamlFault::BadMerge
                | YamlFault::BadTag { .. }
                | YamlFault::BadBinary
        )
    }

    fn is_of_json(&self) -> bool {
        matches!(
            self,
            YamlFault::UnsupportedNumber(_) | YamlFault::NotAMap { .. } | YamlFault::UnsupportedKey { .. }
        )
    }
}
