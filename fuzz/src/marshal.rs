//! What the fuzz target of Python's marshal does with its input. The python crate's tests feed it on a stable compiler.

use celeriac_protocol::repr;
use celeriac_python::host::marshal::{dumps, loads};

/// What a Python process says; returns whether it is a value.
pub fn read(data: &[u8]) -> bool {
    let Ok(value) = loads(data) else { return false };
    if let Ok(written) = dumps(&value) {
        let again = loads(&written).map(|again| repr::value(&again));
        assert_eq!(again.as_ref(), Ok(&repr::value(&value)), "not what we wrote");
    }
    true
}
