//! The wall clock, as Celery's messages tell it.

use chrono::{Local, Offset, Utc};

/// Seconds since 1970.
pub fn now() -> f64 {
    Utc::now().timestamp_micros() as f64 / 1e6
}

/// Our offset from UTC in whole hours, west of Greenwich positive and rounded down (`celery/utils/time.py`,
/// `utcoffset`).
pub fn utcoffset() -> i32 {
    west().div_euclid(3600)
}

/// The same, not rounded: what Celery 5.7 says of itself.
pub fn exact_utcoffset() -> f64 {
    f64::from(west()) / 3600.0
}

fn west() -> i32 {
    Local::now().offset().fix().utc_minus_local()
}
