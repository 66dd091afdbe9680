//! Labels as `key=value,key=value`.

use std::collections::BTreeMap;

use crate::failure::Failure;

/// Reads labels; `key=null` removes one.
pub(crate) fn parse_labels(texts: &[String]) -> Result<BTreeMap<String, Option<String>>, Failure> {
    let mut labels = BTreeMap::new();
    for text in texts {
        let Some((key, value)) = text.split_once('=') else {
            return Err(Failure::new(format!("cannot read label `{text}`")).because("expected KEY=VALUE"));
        };
        let value = Some(value).filter(|value| *value != "null").map(str::to_owned);
        labels.insert(key.to_owned(), value);
    }
    Ok(labels)
}

/// The labels that are set, of a new release.
pub(crate) fn labels_to_set(labels: BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
    labels
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_removes() {
        let labels = parse_labels(&["a=b".into(), "c=null".into()]).unwrap();
        assert_eq!(labels["a"].as_deref(), Some("b"));
        assert_eq!(labels["c"], None);
        assert_eq!(labels_to_set(labels).len(), 1);
    }

    #[test]
    fn err_no_equals_sign() {
        let failure = parse_labels(&["a".into()]).unwrap_err();
        assert_eq!(failure.heading(), "cannot read label `a`");
    }
}
