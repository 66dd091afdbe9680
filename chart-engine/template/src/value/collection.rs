//! Lists and maps, shared by all who hold them.

use std::cell::{OnceCell, Ref, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Text, Value, changes};
use crate::functions::Outcome;
use crate::signature::Signature;

/// The element type of a list, as Go declares it.
///
/// It shows in `typeOf`, in `deepEqual` (a `[]string` never equals a `[]interface {}`) and in error texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// `interface {}`.
    Any,
    /// `string`.
    String,
    /// `int`.
    Int,
    /// `[]interface {}`, as `chunk` makes them.
    List,
    /// A map, as a TOML array of tables.
    Map,
}

impl Element {
    /// The name of the list type with these elements.
    pub fn list_type(self) -> &'static str {
        match self {
            Element::Any => "[]interface {}",
            Element::String => "[]string",
            Element::Int => "[]int",
            Element::List => "[][]interface {}",
            Element::Map => "[]map[string]interface {}",
        }
    }
}

/// A list; its items never change, except that `sortAlpha` sorts a list of strings in place as Go does.
#[derive(Debug)]
pub struct List {
    element: Element,
    nil: bool,
    items: Vec<Value>,
    sorted: OnceCell<Vec<Value>>,
}

impl List {
    /// A list of any values.
    pub fn new(items: Vec<Value>) -> Self {
        Self::typed(Element::Any, items)
    }

    /// A list with an element type; the caller vouches for the items.
    pub fn typed(element: Element, items: Vec<Value>) -> Self {
        List {
            element,
            nil: false,
            items,
            sorted: OnceCell::new(),
        }
    }

    /// The list that Go calls nil: empty like any other, but `null` in JSON and YAML.
    pub fn nil(element: Element) -> Self {
        List {
            element,
            nil: true,
            items: Vec::new(),
            sorted: OnceCell::new(),
        }
    }

    /// Whether this is the nil list.
    pub fn is_nil(&self) -> bool {
        self.nil
    }

    /// The declared type of the elements.
    pub fn element(&self) -> Element {
        self.element
    }

    /// The items in order.
    pub fn items(&self) -> &[Value] {
        self.sorted.get().unwrap_or(&self.items)
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Sorts a list of strings where it stands: everyone who holds the list sees it.
    pub(crate) fn sort_in_place(&self) {
        changes::changed(0);
        self.sorted.get_or_init(|| {
            let mut sorted = self.items.clone();
            sorted.sort_by(|a, b| match (a, b) {
                (Value::String(a), Value::String(b)) => a.cmp(b),
                _ => std::cmp::Ordering::Equal,
            });
            sorted
        });
    }
}

impl Drop for List {
    fn drop(&mut self) {
        let mut doomed = std::mem::take(&mut self.items);
        doomed.extend(self.sorted.take().into_iter().flatten());
        bury(doomed);
    }
}

/// A named map type, which may have methods.
#[derive(Debug)]
pub struct NamedMap {
    /// The type's name, such as `common.Values`.
    pub name: &'static str,
    /// The parameters of a method, when the type has one of that name.
    pub method: fn(&str) -> Option<Signature>,
    /// Calls a method with checked arguments.
    pub call: fn(&Rc<Map>, &str, &[Value]) -> Outcome,
}

/// The type of a map, as Go declares it.
#[derive(Clone, Copy, Debug)]
pub enum MapType {
    /// `map[string]interface {}`.
    Any,
    /// `map[string]string`, as `split` makes them.
    Strings,
    /// A named map type with `interface {}` elements, such as `common.Values`.
    Named(&'static NamedMap),
}

impl MapType {
    /// The name of the type.
    pub fn name(self) -> &'static str {
        match self {
            MapType::Any => "map[string]interface {}",
            MapType::Strings => "map[string]string",
            MapType::Named(named) => named.name,
        }
    }
}

impl PartialEq for MapType {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

/// A map from strings to values, iterated in key order.
///
/// `set`, `unset` and `merge` change the map itself, and all who hold it see the change.
#[derive(Debug)]
pub struct Map {
    map_type: MapType,
    nil: bool,
    made: u64,
    /// The key whose value the caller replaces from one execution to the next.
    fleeting: OnceCell<Text>,
    entries: RefCell<BTreeMap<Text, Value>>,
}

impl Map {
    /// A map of any values.
    pub fn new(entries: BTreeMap<Text, Value>) -> Self {
        Self::typed(MapType::Any, entries)
    }

    /// A map of a declared type; the caller vouches for the entries.
    pub fn typed(map_type: MapType, entries: BTreeMap<Text, Value>) -> Self {
        Map {
            map_type,
            nil: false,
            made: changes::tick(),
            fleeting: OnceCell::new(),
            entries: RefCell::new(entries),
        }
    }

    /// The map that Go calls nil: empty like any other, but `null` in JSON and YAML.
    ///
    /// Only maps of strings are: what templates can change is never nil.
    pub fn nil() -> Self {
        let mut map = Self::typed(MapType::Strings, BTreeMap::new());
        map.nil = true;
        map
    }

    /// Whether this is the nil map.
    pub fn is_nil(&self) -> bool {
        self.nil
    }

    /// The declared type.
    pub fn map_type(&self) -> MapType {
        self.map_type
    }

    /// The value of a key.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Value> {
        if self
            .fleeting_key()
            .is_some_and(|fleeting| **fleeting == *key.as_ref())
        {
            changes::saw_fleeting();
        }
        self.entries.borrow().get(key.as_ref()).cloned()
    }

    /// Whether there is such a key, be its value nil.
    pub fn contains(&self, key: impl AsRef<[u8]>) -> bool {
        self.entries.borrow().contains_key(key.as_ref())
    }

    /// Sets a key; an untyped nil is stored as the nil that maps hold.
    pub fn set(&self, key: Text, value: Value) {
        changes::changed(self.made);
        self.entries.borrow_mut().insert(key, value.boxed());
    }

    /// Sets the one key whose value is another for each execution, as `.Template` is: only what is computed from
    /// this value becomes void.
    ///
    /// # Panics
    /// When another key of the map was set so.
    pub fn set_fleeting(&self, key: Text, value: Value) {
        let fleeting = self.fleeting.get_or_init(|| {
            changes::changed(self.made);
            key.clone()
        });
        assert_eq!(*fleeting, key, "a map has one fleeting key");
        self.entries.borrow_mut().insert(key, value.boxed());
    }

    pub(crate) fn fleeting_key(&self) -> Option<&Text> {
        self.fleeting.get()
    }

    /// Removes a key and gives its value.
    pub fn remove(&self, key: impl AsRef<[u8]>) -> Option<Value> {
        changes::changed(self.made);
        self.entries.borrow_mut().remove(key.as_ref())
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.borrow().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.borrow().is_empty()
    }

    /// The keys in order, as they are now.
    pub fn keys(&self) -> Vec<Text> {
        self.entries.borrow().keys().cloned().collect()
    }

    /// Keys and values in order, as they are now.
    pub fn to_vec(&self) -> Vec<(Text, Value)> {
        self.entries()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }

    /// The entries themselves, to read; nothing may change the map meanwhile.
    pub(crate) fn entries(&self) -> Ref<'_, BTreeMap<Text, Value>> {
        if self.fleeting_key().is_some() {
            changes::saw_fleeting();
        }
        self.entries.borrow()
    }

    /// As [`Map::entries`], for those who do not pass on what they see.
    pub(crate) fn peek(&self) -> Ref<'_, BTreeMap<Text, Value>> {
        self.entries.borrow()
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        bury(self.entries.take().into_values().collect());
    }
}

/// Drops values without recursion: templates can nest lists deeper than the stack is.
fn bury(mut doomed: Vec<Value>) {
    if !doomed.iter().any(Value::is_collection) {
        return;
    }
    while let Some(value) = doomed.pop() {
        match value {
            Value::List(list) => {
                if let Some(mut list) = Rc::into_inner(list) {
                    doomed.append(&mut list.items);
                    doomed.extend(list.sorted.take().into_iter().flatten());
                }
            }
            Value::Map(map) => {
                if let Some(map) = Rc::into_inner(map) {
                    doomed.extend(map.entries.take().into_values());
                }
            }
            _ => {}
        }
    }
}
