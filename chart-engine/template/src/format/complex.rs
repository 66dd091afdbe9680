//! Complex numbers: nobody computes with them in a chart, but the syntax has them.

use std::any::Any;
use std::borrow::Cow;

use crate::value::{Kind, Object, Value};

/// A `complex128`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Complex {
    pub(crate) real: f64,
    pub(crate) imaginary: f64,
}

impl Object for Complex {
    fn type_name(&self) -> Cow<'_, str> {
        Cow::Borrowed("complex128")
    }

    fn kind(&self) -> Kind {
        Kind::Complex128
    }

    fn print(&self) -> Cow<'_, str> {
        let sign = if self.imaginary.is_sign_negative() {
            ""
        } else {
            "+"
        };
        Cow::Owned(format!(
            "({}{sign}{}i)",
            super::shortest(self.real),
            super::shortest(self.imaginary)
        ))
    }

    fn truth(&self) -> bool {
        self.real != 0.0 || self.imaginary != 0.0
    }

    fn export(&self) -> Value {
        Value::object(*self)
    }

    fn equals(&self, other: &dyn Object) -> bool {
        other.as_any().downcast_ref() == Some(self)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
