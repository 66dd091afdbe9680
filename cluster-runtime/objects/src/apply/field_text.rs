//! Sets of fields as text: what stored objects keep of them.
//!
//! On the wire `fieldsV1` is a tree of maps that are nearly empty, and it is most of many an object. In memory it is one
//! string, the JSON of that tree: copied and compared at once, and read back only where somebody else writes.
//! [`Object`](crate::Object) writes it as the tree again whenever it is serialized.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use serde::ser::{Error as _, Serialize, SerializeMap, Serializer};
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
    FieldsText::of(text)?;
    serde_json::from_str(text).ok()
}

/// A text that serializes as the tree that it stands for.
pub(crate) struct FieldsText<'a>(&'a str);

impl<'a> FieldsText<'a> {
    /// Takes a text that stands for a tree; anything else is what a client wrote by itself.
    pub(crate) fn of(text: &'a str) -> Option<Self> {
        let rest = Cell::new(text);
        Below(&rest).skip(crate::nesting::DEPTH_MAX)?;
        rest.get().is_empty().then_some(Self(text))
    }
}

impl Serialize for FieldsText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Below(&Cell::new(self.0)).serialize(serializer)
    }
}

/// The map that begins where the rest of the text does.
struct Below<'a, 'text>(&'a Cell<&'text str>);

impl Serialize for Below<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let malformed = || S::Error::custom("a set of fields is no map of maps");
        let mut map = serializer.serialize_map(None)?;
        self.take("{").ok_or_else(malformed)?;
        if self.take("}").is_some() {
            return map.end();
        }
        loop {
            map.serialize_key(&*self.key().ok_or_else(malformed)?)?;
            self.take(":").ok_or_else(malformed)?;
            map.serialize_value(self)?;
            if self.take("}").is_some() {
                return map.end();
            }
            self.take(",").ok_or_else(malformed)?;
        }
    }
}

impl<'text> Below<'_, 'text> {
    /// Goes to the end of the map.
    fn skip(&self, depth: usize) -> Option<()> {
        self.take("{")?;
        if self.take("}").is_some() {
            return Some(());
        }
        loop {
            self.key()?;
            self.take(":")?;
            self.skip(depth.checked_sub(1)?)?;
            if self.take("}").is_some() {
                return Some(());
            }
            self.take(",")?;
        }
    }

    fn take(&self, token: &str) -> Option<()> {
        self.0.set(self.0.get().strip_prefix(token)?);
        Some(())
    }

    fn key(&self) -> Option<Cow<'text, str>> {
        let text = self.0.get();
        let inside = text.strip_prefix('"')?;
        let mut escaped = false;
        let end = inside.bytes().position(|byte| match byte {
            _ if escaped => {
                escaped = false;
                false
            }
            b'\\' => {
                escaped = true;
                false
            }
            byte => byte == b'"',
        })?;
        let (key, rest) = inside.split_at(end);
        self.0.set(&rest[1..]);
        if key.contains('\\') {
            return serde_json::from_str(&text[..end + 2]).ok().map(Cow::Owned);
        }
        Some(Cow::Borrowed(key))
    }
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
            assert_eq!(
                serde_json::to_string(&FieldsText::of(&text).unwrap()).unwrap(),
                tree.to_string()
            );
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
            assert!(FieldsText::of(text).is_none(), "{text}");
        }
    }
}
