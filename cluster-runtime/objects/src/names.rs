//! Checks of names and labels, and names made from a prefix.
//!
//! The checks give Kubernetes' messages (`k8s.io/apimachinery/pkg/util/validation`), none for a good name.

/// Most characters of a DNS-1123 label.
pub const LABEL_LENGTH_MAX: usize = 63;
/// Most characters of a DNS-1123 subdomain.
pub const SUBDOMAIN_LENGTH_MAX: usize = 253;

/// Faults of a DNS-1123 label: container names, namespaces.
pub fn dns1123_label_faults(name: &str) -> Vec<String> {
    let mut faults = too_long(name, LABEL_LENGTH_MAX);
    if !is_dns1123_label(name) {
        let why = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character";
        faults.push(pattern_fault(
            why,
            "[a-z0-9]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "123-abc"],
        ));
    }
    faults
}

/// Faults of a DNS-1123 subdomain: the names of most objects.
pub fn dns1123_subdomain_faults(name: &str) -> Vec<String> {
    let mut faults = too_long(name, SUBDOMAIN_LENGTH_MAX);
    if !name.split('.').all(is_dns1123_label) {
        let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character";
        let pattern = "[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*";
        faults.push(pattern_fault(why, pattern, &["example.com"]));
    }
    faults
}

/// Faults of a DNS-1035 label: names of services.
pub fn dns1035_label_faults(name: &str) -> Vec<String> {
    let mut faults = too_long(name, LABEL_LENGTH_MAX);
    if !is_dns1123_label(name) || !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        let why = "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character";
        faults.push(pattern_fault(
            why,
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    faults
}

/// Faults of a qualified name: keys of labels and annotations, `example.com/name`.
pub fn qualified_name_faults(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let parts: Vec<&str> = name.split('/').collect();
    let local = match parts.as_slice() {
        [local] => *local,
        [prefix, local] => {
            if prefix.is_empty() {
                faults.push("prefix part must be non-empty".to_owned());
            } else {
                let prefix_faults = dns1123_subdomain_faults(prefix);
                faults.extend(
                    prefix_faults
                        .into_iter()
                        .map(|fault| format!("prefix part {fault}")),
                );
            }
            *local
        }
        _ => {
            let why = "a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
            let fault = pattern_fault(why, QUALIFIED_PATTERN, &["MyName", "my.name", "123-abc"]);
            faults.push(format!(
                "{fault} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return faults;
        }
    };
    if local.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if local.len() > LABEL_LENGTH_MAX {
        faults.push(format!("name part must be no more than {LABEL_LENGTH_MAX} bytes"));
    }
    if !is_qualified(local) {
        let why = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        let fault = pattern_fault(why, QUALIFIED_PATTERN, &["MyName", "my.name", "123-abc"]);
        faults.push(format!("name part {fault}"));
    }
    faults
}

const QUALIFIED_PATTERN: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// Faults of the value of a label.
pub fn label_value_faults(value: &str) -> Vec<String> {
    let mut faults = too_long(value, LABEL_LENGTH_MAX);
    if !value.is_empty() && !is_qualified(value) {
        let why = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";
        let pattern = "(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?";
        faults.push(pattern_fault(why, pattern, &["MyValue", "my_value", "12345"]));
    }
    faults
}

/// Faults of a key in the data of a config map or secret.
pub fn config_key_faults(key: &str) -> Vec<String> {
    let mut faults = too_long(key, SUBDOMAIN_LENGTH_MAX);
    if key.is_empty()
        || !key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    {
        let why = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
        faults.push(pattern_fault(
            why,
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    if key == "." {
        faults.push("must not be '.'".to_owned());
    } else if key == ".." {
        faults.push("must not be '..'".to_owned());
    } else if key.starts_with("..") {
        faults.push("must not start with '..'".to_owned());
    }
    faults
}

/// Faults of the name of a port: `http`.
pub fn port_name_faults(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.len() > 15 {
        faults.push("must be no more than 15 characters".to_owned());
    }
    if !name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    {
        faults.push("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned());
    }
    if !name.contains(|c: char| c.is_ascii_lowercase()) {
        faults.push("must contain at least one letter (a-z)".to_owned());
    }
    if name.contains("--") {
        faults.push("must not contain consecutive hyphens".to_owned());
    }
    if name.starts_with('-') || name.ends_with('-') {
        faults.push("must not begin or end with a hyphen".to_owned());
    }
    faults
}

/// Faults of the name of an environment variable: anything printable in ASCII but `=`.
pub fn environment_name_faults(name: &str) -> Vec<String> {
    if !name.is_empty() && name.chars().all(|c| (' '..='~').contains(&c) && c != '=') {
        return Vec::new();
    }
    let why =
        "a valid environment variable name must consist only of printable ASCII characters other than '='";
    vec![why.to_owned()]
}

/// Faults of a name that is one segment of a path: roles, bindings.
pub fn path_segment_faults(name: &str) -> Vec<String> {
    if name == "." || name == ".." {
        return vec![format!("may not be '{name}'")];
    }
    let bad = ["/", "%"].iter().filter(|part| name.contains(**part));
    bad.map(|part| format!("may not contain '{part}'")).collect()
}

fn is_dns1123_label(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    let ends = bytes.first().is_some_and(|c| inner(*c)) && bytes.last().is_some_and(|c| inner(*c));
    ends && bytes.iter().all(|c| inner(*c) || *c == b'-')
}

fn is_qualified(name: &str) -> bool {
    let bytes = name.as_bytes();
    let end = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    end(bytes.first())
        && end(bytes.last())
        && bytes
            .iter()
            .all(|c| c.is_ascii_alphanumeric() || b"-_.".contains(c))
}

fn too_long(name: &str, most: usize) -> Vec<String> {
    if name.len() > most {
        vec![format!("must be no more than {most} bytes")]
    } else {
        Vec::new()
    }
}

/// The message of a name that does not fit a pattern, with examples.
fn pattern_fault(why: &str, pattern: &str, examples: &[&str]) -> String {
    let examples: Vec<String> = examples.iter().map(|example| format!("'{example}'")).collect();
    format!(
        "{why} (e.g. {}, regex used for validation is '{pattern}')",
        examples.join(",  or ")
    )
}

/// Makes the name of an object that asks for one by `metadata.generateName`.
///
/// The prefix is cut so that the name has at most 63 characters; `randomness` gives five characters of Kubernetes'
/// alphabet without vowels.
pub fn generate_name(prefix: &str, randomness: u64) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    const SUFFIX: usize = 5;
    let room = LABEL_LENGTH_MAX - SUFFIX;
    let ends = prefix.char_indices().map(|(at, c)| at + c.len_utf8());
    let end = ends.take_while(|end| *end <= room).last().unwrap_or(0);
    let mut name = prefix[..end].to_owned();
    let mut rest = randomness;
    for _ in 0..SUFFIX {
        let index = usize::try_from(rest % 27).unwrap_or_default();
        name.push(char::from(ALPHABET[index]));
        rest /= 27;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_judged() {
        let long = "a".repeat(64);
        type Check = fn(&str) -> Vec<String>;
        let cases: &[(Check, &str, bool)] = &[
            (dns1123_label_faults, "a-1", true),
            (dns1123_label_faults, "-a", false),
            (dns1123_label_faults, "", false),
            (dns1123_label_faults, &long, false),
            (dns1123_subdomain_faults, "a.b-c", true),
            (dns1123_subdomain_faults, "a..b", false),
            (dns1035_label_faults, "1a", false),
            (dns1035_label_faults, "a1", true),
            (qualified_name_faults, "example.com/A_b", true),
            (qualified_name_faults, "a/b/c", false),
            (qualified_name_faults, "/b", false),
            (qualified_name_faults, "é", false),
            (label_value_faults, "", true),
            (label_value_faults, "a b", false),
            (config_key_faults, ".hidden", true),
            (config_key_faults, "..", false),
            (port_name_faults, "http", true),
            (port_name_faults, "80", false),
            (port_name_faults, "a--b", false),
            (path_segment_faults, "system:node", true),
            (path_segment_faults, "a/b", false),
        ];
        for (check, name, good) in cases {
            assert_eq!(check(name).is_empty(), *good, "{name:?}: {:?}", check(name));
        }
    }

    #[test]
    fn generated_names_keep_within_a_label() {
        assert_eq!(generate_name("web-", 0), "web-bbbbb");
        assert_ne!(generate_name("web-", 1), generate_name("web-", 2));
        assert_eq!(generate_name(&"é".repeat(80), u64::MAX).chars().count(), 29 + 5);
        assert_eq!(generate_name(&"a".repeat(80), 3).len(), 63);
    }
}
