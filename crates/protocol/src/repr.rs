//! Python's `repr` of values, as `argsrepr` and `kwargsrepr` show them (`celery/utils/saferepr.py`).

use crate::{Map, Value};

/// `(2, 2)`.
pub fn args(args: &[Value]) -> String {
    let _ = args;
    unimplemented!()
}

/// `{'x': 2}`.
pub fn kwargs(kwargs: &Map) -> String {
    let _ = kwargs;
    unimplemented!()
}

/// The `repr` of one value.
pub fn value(value: &Value) -> String {
    let _ = value;
    unimplemented!()
}
