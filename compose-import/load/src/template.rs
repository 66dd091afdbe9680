//! `$NAME` and `${NAME...}` in texts.

/// Why a text could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateFault {
    /// A `${` that is no variable.
    Invalid,
    /// A variable under `:?` or `?` that has no value, with the words given for that.
    Required { variable: String, message: String },
    /// Defaults nest too deeply.
    TooDeep,
}

/// How deep defaults may nest.
const DEPTH_MAX: usize = 100;

/// What comes after the name in `${NAME...}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Default,
    Required,
    Replacement,
}

/// A variable as it is used: for lists of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What stands for it when it is not set, as it is written.
    pub default: String,
    /// What it turns into when it is set, as it is written.
    pub alternate: String,
    /// Whether it must be set.
    pub required: bool,
}

/// Where values come from, and who hears of variables that have none.
pub(crate) trait Lookup {
    fn value(&mut self, name: &str) -> Option<String>;
    /// A variable without a value or default was used.
    fn unset(&mut self, name: &str);
}

/// Fills in the variables of a text.
pub(crate) fn substitute(text: &str, lookup: &mut dyn Lookup) -> Result<String, TemplateFault> {
    fill(text, lookup, 0)
}

fn fill(text: &str, lookup: &mut dyn Lookup, depth: usize) -> Result<String, TemplateFault> {
    if depth > DEPTH_MAX {
        return Err(TemplateFault::TooDeep);
    }
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        filled.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            filled.push('$');
            rest = tail;
        } else if let Some(braced) = after.strip_prefix('{') {
            let end = closing(braced).ok_or(TemplateFault::Invalid)?;
            filled.push_str(&expand(&braced[..end], lookup, depth)?);
            rest = &braced[end + 1..];
        } else {
            let end = name_length(after);
            if end == 0 {
                filled.push('$');
            } else {
                let name = &after[..end];
                let value = lookup.value(name);
                if value.is_none() {
                    lookup.unset(name);
                }
                filled.push_str(&value.unwrap_or_default());
            }
            rest = &after[end..];
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What is between the braces becomes text.
fn expand(inside: &str, lookup: &mut dyn Lookup, depth: usize) -> Result<String, TemplateFault> {
    let (name, use_) = parse(inside).ok_or(TemplateFault::Invalid)?;
    let value = lookup.value(name);
    let Some((operator, empty_is_unset, word)) = use_ else {
        if value.is_none() {
            lookup.unset(name);
        }
        return Ok(value.unwrap_or_default());
    };
    let value = value.filter(|value| !(empty_is_unset && value.is_empty()));
    check(word, depth + 1)?;
    match (operator, value) {
        (Operator::Replacement, Some(_)) | (Operator::Default, None) => fill(word, lookup, depth + 1),
        (Operator::Replacement, None) => Ok(String::new()),
        (Operator::Default | Operator::Required, Some(value)) => Ok(value),
        (Operator::Required, None) => Err(TemplateFault::Required {
            variable: name.to_owned(),
            message: fill(word, lookup, depth + 1)?,
        }),
    }
}

/// What is no variable is a fault, also where it is not used.
fn check(text: &str, depth: usize) -> Result<(), TemplateFault> {
    if depth > DEPTH_MAX {
        return Err(TemplateFault::TooDeep);
    }
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        rest = if let Some(tail) = after.strip_prefix('$') {
            tail
        } else if let Some(braced) = after.strip_prefix('{') {
            let end = closing(braced).ok_or(TemplateFault::Invalid)?;
            if let (_, Some((_, _, word))) = parse(&braced[..end]).ok_or(TemplateFault::Invalid)? {
                check(word, depth + 1)?;
            }
            &braced[end + 1..]
        } else {
            after
        };
    }
    Ok(())
}

type Use<'t> = Option<(Operator, bool, &'t str)>;

/// The name, and what follows it: an operator, whether an empty value counts as none, and a word.
fn parse(inside: &str) -> Option<(&str, Use<'_>)> {
    let (name, rest) = inside.split_at(name_length(inside));
    if name.is_empty() {
        return None;
    }
    if rest.is_empty() {
        return Some((name, None));
    }
    let (empty_is_unset, rest) = match rest.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let operator = match rest.chars().next()? {
        '-' => Operator::Default,
        '?' => Operator::Required,
        '+' => Operator::Replacement,
        _ => return None,
    };
    let word = &rest[1..];
    (!word.contains('\n')).then_some((name, Some((operator, empty_is_unset, word))))
}

/// How long the name at the start of a text is.
fn name_length(text: &str) -> usize {
    match text.as_bytes().first() {
        Some(b'a'..=b'z' | b'A'..=b'Z' | b'_') => text
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || *b == b'_')
            .count(),
        _ => 0,
    }
}

/// Where the brace ends that was opened before the text. Braces pair up; where they do not, the last one counts.
fn closing(text: &str) -> Option<usize> {
    let mut open = 1usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    text.rfind('}')
}

/// The variables that the texts of a model use which was loaded without filling them in: each once, by name.
pub fn variables(model: &serde_json::Value) -> Vec<Variable> {
    let mut found = Vec::new();
    collect(model, &mut found);
    found.sort();
    found.dedup_by(|a, b| a.name == b.name);
    found
}

fn collect(value: &serde_json::Value, found: &mut Vec<Variable>) {
    match value {
        serde_json::Value::String(text) => variables_of(text, found),
        serde_json::Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        serde_json::Value::Object(object) => object.values().for_each(|value| collect(value, found)),
        _ => {}
    }
}

/// The variables that a text uses, also those in defaults.
fn variables_of(text: &str, found: &mut Vec<Variable>) {
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            rest = tail;
        } else if let Some(braced) = after.strip_prefix('{') {
            let Some(end) = closing(braced) else { return };
            if let Some((name, use_)) = parse(&braced[..end]) {
                let mut variable = Variable {
                    name: name.to_owned(),
                    default: String::new(),
                    alternate: String::new(),
                    required: false,
                };
                match use_ {
                    Some((Operator::Default, _, word)) => {
                        variable.default = word.to_owned();
                        variables_of(word, found);
                    }
                    Some((Operator::Replacement, _, word)) => {
                        variable.alternate = word.to_owned();
                        variables_of(word, found);
                    }
                    Some((Operator::Required, ..)) => variable.required = true,
                    None => {}
                }
                found.push(variable);
            }
            rest = &braced[end + 1..];
        } else {
            let end = name_length(after);
            if end > 0 {
                found.push(Variable {
                    name: after[..end].to_owned(),
                    default: String::new(),
                    alternate: String::new(),
                    required: false,
                });
            }
            rest = &after[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Env(Vec<String>);

    impl Lookup for Env {
        fn value(&mut self, name: &str) -> Option<String> {
            match name {
                "SET" => Some("set".to_owned()),
                "EMPTY" => Some(String::new()),
                _ => None,
            }
        }

        fn unset(&mut self, name: &str) {
            self.0.push(name.to_owned());
        }
    }

    #[test]
    fn every_operator_and_nesting() {
        for (text, wanted) in [
            ("a$$b", "a$b"),
            ("$SET-${SET}", "set-set"),
            ("$1 $ $", "$1 $ $"),
            ("${NO:-x}${NO-y}", "xy"),
            ("${EMPTY:-x}|${EMPTY-y}", "x|"),
            ("${SET:+x}|${EMPTY:+x}|${EMPTY+x}|${NO+x}", "x||x|"),
            ("${SET:?no}${EMPTY?no}", "set"),
            ("${NO:-${EMPTY:-${SET}}}", "set"),
            ("${NO-a:-b?c}", "a:-b?c"),
            ("${NO:-{a}}", "{a}"),
            ("${NO:-{}}", "{}"),
            ("${NO:-$$x}", "$x"),
            ("${NO:-}", ""),
        ] {
            let mut env = Env(Vec::new());
            assert_eq!(substitute(text, &mut env).as_deref(), Ok(wanted), "{text}");
            assert!(env.0.is_empty(), "{text}");
        }
    }

    #[test]
    fn unset_variables_are_told() {
        let mut env = Env(Vec::new());
        assert_eq!(substitute("$NO ${NEIN:-$NON}", &mut env).as_deref(), Ok(" "));
        assert_eq!(env.0, ["NO", "NON"]);
    }

    #[test]
    fn err_no_variable_and_none_given() {
        for text in [
            "${",
            "${}",
            "${a/b}",
            "${1}",
            "${a:-x",
            "${a:=b}",
            "${a:-x\ny}",
            "${ a}",
            "${SET:-${}}",
        ] {
            assert_eq!(
                substitute(text, &mut Env(Vec::new())),
                Err(TemplateFault::Invalid),
                "{text}"
            );
        }
        assert_eq!(
            substitute("${NO:?set ${SET}}", &mut Env(Vec::new())),
            Err(TemplateFault::Required {
                variable: "NO".to_owned(),
                message: "set set".to_owned()
            })
        );
    }

    #[test]
    fn variables_are_listed_with_those_inside() {
        let mut found = Vec::new();
        variables_of("$A ${B:-${C}} ${D:?x}", &mut found);
        let names: Vec<_> = found
            .iter()
            .map(|variable| {
                (
                    variable.name.as_str(),
                    variable.default.as_str(),
                    variable.required,
                )
            })
            .collect();
        assert_eq!(
            names,
            [
                ("A", "", false),
                ("C", "", false),
                ("B", "${C}", false),
                ("D", "", true)
            ]
        );
    }
}
