//! Sets of fields as text: what stored objects keep of them.
//!
//! On the wire `fieldsV1` is a tree of maps that are nearly empty, and it is most of many an object. In memory it is one
//! string, the JSON of that tree: copied and compared at once, and read back only where somebody else writes.
//! [`Object`](crate::Object) writes it as the tree again whenever it is serialized.

use std::cell::RefCell;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use serde_json::Value;

use super::field_set::{FieldSet, FieldSetError};

/// Texts that a thread has read lately. Objects made from one template have the same ones.
const KEPT: usize = 64;
/// Longer texts are not kept.
const KEPT_BYTES_MAX: usize = 8 << 10;

type Kept = Vec<Option<(Box<str>, Arc<FieldSet>)>>;

thread_local! {
    static LATELY: RefCell<Kept> = const { RefCell::new(Vec::new()) };
}

/// Reads `fieldsV1`, as a tree or as text.
pub(super) fn read(value: &Value) -> Result<Arc<FieldSet>, FieldSetError> {
    let Value::String(text) = value else {
        return FieldSet::from_value(value).map(Arc::new);
    };
    let place = BuildHasherDefault::<DefaultHasher>::default().hash_one(text) as usize % KEPT;
    LATELY.with_borrow_mut(|kept| {
        kept.resize(KEPT, None);
        if let Some((known, set)) = &kept[place]
            && **known == **text
        {
            return Ok(set.clone());
        }
        let tree = expand(text).ok_or_else(|| FieldSetError::NoMap(String::new()))?;
        let set = Arc::new(FieldSet::from_value(&tree)?);
        if text.len() <= KEPT_BYTES_MAX {
            kept[place] = Some((text.as_str().into(), set.clone()));
        }
        Ok(set)
    })
}

/// Writes a set as text.
pub(super) fn write(set: &FieldSet) -> String {
    let mut text = String::with_capacity(512);
    set.write_set(&mut text);
    text
}

/// The tree that a text stands for.
pub(crate) fn expand(text: &str) -> Option<Value> {
    is_tree(text).then(|| serde_json::from_str(text).ok())?
}

/// Whether a text stands for a tree; anything else is what a client wrote by itself.
pub(crate) fn is_tree(text: &str) -> bool {
    skip_map(text, crate::nesting::DEPTH_MAX) == Some("")
}

/// What comes after the map of maps that a text begins with.
fn skip_map(text: &str, depth: usize) -> Option<&str> {
    let depth = depth.checked_sub(1)?;
    let mut rest = text.strip_prefix('{')?;
    if let Some(after) = rest.strip_prefix('}') {
        return Some(after);
    }
    loop {
        rest = skip_map(skip_key(rest)?.strip_prefix(':')?, depth)?;
        if let Some(after) = rest.strip_prefix('}') {
            return Some(after);
        }
        rest = rest.strip_prefix(',')?;
    }
}

fn skip_key(text: &str) -> Option<&str> {
    let inside = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inside.bytes().position(|byte| {
        let is_end = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        is_end
    })?;
    Some(&inside[end + 1..])
}

/// Writes a string as JSON.
pub(super) fn write_text(text: &str, out: &mut String) {
    if text
        .bytes()
        .any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\'))
    {
        out.push_str(&Value::from(text).to_string());
    } else {
        out.push('"');
        out.push_str(text);
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_text_is_the_tree_that_it_was_written_from() {
        for tree in [
            json!({}),
            json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}, "f:spec": {"f:replicas": {}}}),
            json!({"f:ports": {"k:{\"name\":\"a \\\"b\\\\\",\"port\":1}": {".": {}, "f:x": {}}}, "f:z": {}}),
            json!({"f:data": {"f:with \u{1} and ü": {}, "v:\"x\"": {}}}),
        ] {
            let set = FieldSet::from_value(&tree).unwrap();
            let text = write(&set);
            assert_eq!(expand(&text).as_ref(), Some(&tree), "{text}");
            assert_eq!(text, tree.to_string());
            for _ in 0..2 {
                assert_eq!(*read(&text.clone().into()).unwrap(), set, "{text}");
            }
        }
    }

    #[test]
    fn err_a_text_that_is_no_set() {
        let deep = "{\"f:a\":".repeat(500);
        for text in [
            &*deep,
            "",
            "{",
            "[]",
            "{}x",
            "{ }",
            "{\"f:a\"}",
            "{\"f:a\":1}",
            "{\"f:a\":{}",
            "x",
        ] {
            assert!(!is_tree(text), "{text}");
        }
    }
}
