//! Python's `marshal` format, version 2, as far as plain data needs it.
//!
//! Version 2 has neither references nor interned or short forms, so there is one code for each type:
//! `N T F i l g u s ( [ {` (Python's `Python/marshal.c`, the same from 3.9 to 3.14).

mod integer;
mod read;
mod write;

pub use read::loads;
pub use write::{Writer, dumps};

/// The codes of types.
mod code {
    pub const NONE: u8 = b'N';
    pub const TRUE: u8 = b'T';
    pub const FALSE: u8 = b'F';
    pub const INT: u8 = b'i';
    pub const LONG: u8 = b'l';
    pub const FLOAT: u8 = b'g';
    pub const STR: u8 = b'u';
    pub const BYTES: u8 = b's';
    pub const TUPLE: u8 = b'(';
    pub const LIST: u8 = b'[';
    pub const DICT: u8 = b'{';
    pub const END: u8 = b'0';
}

/// Why bytes are no value, or a value cannot be written.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MarshalError {
    /// The bytes end within a value.
    #[error("it ends too early")]
    Short,
    /// There is more after the value.
    #[error("there is more than one value")]
    Trailing,
    /// A type that is no plain data.
    #[error("a value of type {:?}", char::from(*.0))]
    Type(u8),
    /// Containers in containers, too deep.
    #[error("it is nested too deep")]
    Deep,
    /// A key that JSON would not have, either.
    #[error("a key of a dict that is no text")]
    Key,
    /// A number of thousands of digits, or more bytes than the format can count.
    #[error("it is too large")]
    Large,
}
