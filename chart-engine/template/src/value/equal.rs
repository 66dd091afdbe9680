//! Deep equality, by which `deepEqual`, `has`, `without` and `uniq` compare.

use super::Value;

impl Value {
    /// Whether both are of the same type and hold the same, all the way down.
    ///
    /// As Go's `reflect.DeepEqual`: `4` and `4.0` differ, so do a `[]string` and a `[]interface {}`, and NaN
    /// differs from itself.
    pub fn deep_equal(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Invalid | Value::Nil, Value::Invalid | Value::Nil) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a, x), Value::Int(b, y)) => a == b && x == y,
            (Value::Float(a), Value::Float(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::List(a), Value::List(b)) => {
                std::rc::Rc::ptr_eq(a, b)
                    || a.element() == b.element()
                        && a.is_nil() == b.is_nil()
                        && a.len() == b.len()
                        && a.items().iter().zip(b.items()).all(|(a, b)| a.deep_equal(b))
            }
            (Value::Map(a), Value::Map(b)) => {
                if std::rc::Rc::ptr_eq(a, b) {
                    return true;
                }
                if a.map_type() != b.map_type() || a.is_nil() != b.is_nil() || a.len() != b.len() {
                    return false;
                }
                let (a, b) = (a.entries(), b.entries());
                a.iter()
                    .zip(b.iter())
                    .all(|((k, a), (l, b))| k == l && a.deep_equal(b))
            }
            (Value::Object(a), Value::Object(b)) => std::rc::Rc::ptr_eq(a, b) || a.equals(b.as_ref()),
            _ => false,
        }
    }
}
