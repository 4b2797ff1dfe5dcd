//! Signals by name (`celery/platforms.py`, `Signals.signum`).

use celeriac_protocol::Value;
use rustix::process::Signal;

use super::arguments::cut;
use super::command::{CommandError, other};

/// The largest number of a signal on Linux.
const MAX: i64 = 64;

const SIGNALS: &[(&str, Signal)] = &[
    ("ABRT", Signal::ABORT),
    ("ALRM", Signal::ALARM),
    ("BUS", Signal::BUS),
    ("CHLD", Signal::CHILD),
    ("CONT", Signal::CONT),
    ("FPE", Signal::FPE),
    ("HUP", Signal::HUP),
    ("ILL", Signal::ILL),
    ("INT", Signal::INT),
    ("IO", Signal::IO),
    ("KILL", Signal::KILL),
    ("PIPE", Signal::PIPE),
    ("PROF", Signal::PROF),
    ("QUIT", Signal::QUIT),
    ("SEGV", Signal::SEGV),
    ("STOP", Signal::STOP),
    ("SYS", Signal::SYS),
    ("TERM", Signal::TERM),
    ("TRAP", Signal::TRAP),
    ("TSTP", Signal::TSTP),
    ("TTIN", Signal::TTIN),
    ("TTOU", Signal::TTOU),
    ("URG", Signal::URG),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("VTALRM", Signal::VTALARM),
    ("WINCH", Signal::WINCH),
    ("XCPU", Signal::XCPU),
    ("XFSZ", Signal::XFSZ),
];

/// The number of a signal that is given by name or number; nothing is `SIGTERM`.
pub(super) fn signum(signal: &Value) -> Result<i32, CommandError> {
    if !signal.is_true() {
        return Ok(Signal::TERM.as_raw());
    }
    if let Value::Int(number) = signal {
        let known = (1..=MAX).contains(number).then(|| i32::try_from(*number).ok()).flatten();
        return known.ok_or_else(|| CommandError::Value(format!("signal number out of range [1; {MAX}]")));
    }
    let is_upper =
        |name: &&str| !name.chars().any(char::is_lowercase) && name.chars().any(char::is_uppercase);
    let name = signal
        .as_str()
        .filter(is_upper)
        .ok_or_else(|| CommandError::Argument("signal name must be uppercase string.".to_owned()))?;
    let name = name.strip_prefix("SIG").unwrap_or(name);
    let known = SIGNALS.iter().find(|(known, _)| *known == name);
    known.map(|(_, signal)| signal.as_raw()).ok_or_else(|| {
        other("AttributeError", format!("module 'signal' has no attribute 'SIG{}'", cut(name)))
    })
}

/// The name of a signal, without its `SIG`.
pub fn signal_name(signum: i32) -> Option<&'static str> {
    SIGNALS.iter().find(|(_, signal)| signal.as_raw() == signum).map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_celery_reads_them() {
        for (signal, number) in [("SIGTERM".into(), 15), ("TERM".into(), 15), ("KILL".into(), 9)] {
            assert_eq!(signum(&signal), Ok(number), "{signal:?}");
        }
        for (signal, number) in
            [(Value::Int(15), 15), (Value::Null, 15), ("".into(), 15), (Value::Int(64), 64)]
        {
            assert_eq!(signum(&signal), Ok(number), "{signal:?}");
        }
        for (signal, error) in [
            ("kill".into(), "TypeError('signal name must be uppercase string.')"),
            ("15".into(), "TypeError('signal name must be uppercase string.')"),
            (Value::List(vec![Value::Null]), "TypeError('signal name must be uppercase string.')"),
            ("FOO".into(), "AttributeError(\"module 'signal' has no attribute 'SIGFOO'\")"),
            (Value::Int(-9), "ValueError('signal number out of range [1; 64]')"),
            (Value::Int(1 << 40), "ValueError('signal number out of range [1; 64]')"),
        ] {
            assert_eq!(signum(&signal).unwrap_err().to_string(), error, "{signal:?}");
        }
    }
}
