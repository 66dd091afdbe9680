//! JSON as a schema is read quickly: texts are parts of the file, tables are lists.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value of JSON.
#[derive(Debug, PartialEq)]
pub(super) enum Json<'t> {
    Null,
    Bool(bool),
    Number(f64),
    /// A whole number that is written as a fraction, or too large for a float to hold exactly.
    OddNumber,
    String(Cow<'t, str>),
    Array(Vec<Json<'t>>),
    /// The entries in the order of the file, no two with the same key.
    Object(Vec<(Cow<'t, str>, Json<'t>)>),
}

impl<'t> Json<'t> {
    /// Whole numbers below this are held exactly by a float.
    pub(super) const EXACT_MAX: u64 = 1 << 53;

    /// The entry of a table.
    pub(super) fn get(&self, key: &str) -> Option<&Json<'t>> {
        let Json::Object(entries) = self else {
            return None;
        };
        let found = entries.iter().find(|(known, _)| known == key);
        found.map(|(_, value)| value)
    }

    /// How many entries a table has.
    pub(super) fn len(&self) -> usize {
        match self {
            Json::Object(entries) => entries.len(),
            _ => 0,
        }
    }
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(flag))
    }

    #[expect(clippy::cast_precision_loss, reason = "checked to be small")]
    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(match number {
            ..Json::EXACT_MAX => Json::Number(number as f64),
            _ => Json::OddNumber,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "checked to be small")]
    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(match number.unsigned_abs() {
            ..Json::EXACT_MAX => Json::Number(number as f64),
            _ => Json::OddNumber,
        })
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json<'de>, E> {
        Ok(if number.fract() == 0.0 {
            Json::OddNumber
        } else {
            Json::Number(number)
        })
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json<'de>, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element()? {
            found.push(item);
        }
        Ok(Json::Array(found))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json<'de>, A::Error> {
        let mut found = Vec::new();
        while let Some((Key(key), value)) = entries.next_entry()? {
            found.push((key, value));
        }
        if has_equal_keys(&found) {
            return Err(serde::de::Error::custom("equal keys"));
        }
        Ok(Json::Object(found))
    }
}

fn has_equal_keys(entries: &[(Cow<'_, str>, Json<'_>)]) -> bool {
    /// More are compared in order.
    const FEW: usize = 8;
    if entries.len() > FEW {
        let mut keys: Vec<&str> = entries.iter().map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        return keys.windows(2).any(|two| two[0] == two[1]);
    }
    let is_known =
        |(at, (key, _)): (usize, &(Cow<'_, str>, _))| entries[..at].iter().any(|(known, _)| known == key);
    entries.iter().enumerate().any(is_known)
}

/// A key; borrowed, unlike what the library makes of a `Cow`.
struct Key<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyReader;

        impl<'de> Visitor<'de> for KeyReader {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(KeyReader)
    }
}
