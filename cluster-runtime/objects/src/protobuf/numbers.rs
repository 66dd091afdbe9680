//! Which field a number stands for, read from a text that `generate` writes.

use std::collections::HashMap;
use std::sync::OnceLock;

static TEXT: &str = include_str!("numbers.txt");

/// What the number of a field stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A field of this name.
    Field(&'static str),
    /// A message of this type whose fields JSON has one level higher.
    Inline(&'static str),
}

/// The fields of a message by number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places(&'static str);

impl Places {
    /// What a number stands for. Messages have few fields: the text is searched.
    pub(super) fn get(self, number: u32) -> Option<Place> {
        self.0.split(' ').find_map(|field| {
            let (found, name) = field.split_once('=')?;
            let place = match name.strip_prefix('*') {
                Some(message) => Place::Inline(message),
                None => Place::Field(name),
            };
            (found.parse() == Ok(number)).then_some(place)
        })
    }
}

/// The fields of the message of a type, as `core.v1.Pod`.
pub(super) fn places(type_name: &str) -> Option<Places> {
    static INDEX: OnceLock<HashMap<&'static str, &'static str>> = OnceLock::new();
    let index = INDEX.get_or_init(|| {
        TEXT.lines()
            .map(|line| line.split_once(' ').unwrap_or((line, "")))
            .collect()
    });
    index.get(type_name).copied().map(Places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_for_fields_and_inlined_messages() {
        let volume = places("core.v1.Volume").unwrap();
        assert_eq!(volume.get(1), Some(Place::Field("name")));
        assert_eq!(volume.get(2), Some(Place::Inline("core.v1.VolumeSource")));
        assert_eq!(volume.get(3), None);
        assert!(places("core.v1.Nothing").is_none());
    }
}
