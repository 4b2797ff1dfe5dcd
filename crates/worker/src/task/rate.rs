use std::str::FromStr;

/// How often a task may start on one worker (`celery/utils/time.py`, `rate`).
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    text: String,
    per_second: f64,
}

/// A rate that cannot be read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("could not convert string to float: '{0}'")]
pub struct RateError(String);

impl Rate {
    /// Starts a second; more than 0.
    pub fn per_second(&self) -> f64 {
        self.per_second
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads `10/s`, `100/m`, `5/h` or a number of starts a second; `None` is no limit (`0`, or nothing).
    ///
    /// # Errors
    /// When it is no number, is negative or not finite, or has another unit behind the slash.
    pub fn parse(text: &str) -> Result<Option<Rate>, RateError> {
        let wrong = || RateError(text.to_owned());
        let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit {
            "s" | "" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        if text.is_empty() {
            return Ok(None);
        }
        let count = f64::from_str(count.trim()).map_err(|_| wrong())?;
        if !count.is_finite() || count < 0.0 {
            return Err(wrong());
        }
        Ok((count > 0.0).then(|| Rate { text: text.to_owned(), per_second: count / seconds }))
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        Rate::parse(text)?.ok_or_else(|| RateError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_celery_reads_them() {
        let per_second = |text| Rate::parse(text).map(|rate| rate.map(|rate| rate.per_second()));
        assert_eq!(per_second("10/s"), Ok(Some(10.0)));
        assert_eq!(per_second("2.5"), Ok(Some(2.5)));
        assert_eq!(per_second("30/m"), Ok(Some(0.5)));
        assert_eq!(per_second("36/h"), Ok(Some(0.01)));
        assert_eq!(per_second("0/m"), Ok(None));
        assert_eq!(per_second(""), Ok(None));
        for wrong in ["ten/m", "10/d", "-1/s", "inf", "nan", "/"] {
            assert!(Rate::parse(wrong).is_err(), "{wrong}");
        }
    }
}
