//! A command line into values, as click reads it.

use std::env;

use celeriac_protocol::{Map, Value};

use super::options::{self, GROUPS, Opt, Takes, To};

/// What a command line says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// For the app's process: options by Celery's names of them.
    pub app: Map,
    /// For this process.
    pub own: Map,
    /// Trailing `setting=value`s.
    pub settings: Vec<String>,
    /// What only the app can know: options that it adds.
    pub user: Vec<String>,
}

/// The sub-command of a command line, and where it stands: its first word that is neither option nor value.
pub fn command(words: &[String]) -> Option<(usize, &str)> {
    let mut index = 0;
    while let Some(word) = words.get(index) {
        match option(word) {
            _ if !word.starts_with('-') => return Some((index, word)),
            // `-b` with its value in a word of its own.
            Some((found, None)) if found.takes != Takes::Flag => index += 2,
            _ => index += 1,
        }
    }
    None
}

/// The option that a word is, and the value in the same word. Letters of flags may stand together.
fn option(word: &str) -> Option<(&'static Opt, Option<&str>)> {
    if let Some(name) = word.strip_prefix("--") {
        let (name, value) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value)));
        return options::long(name).map(|option| (option, value));
    }
    let rest = word.strip_prefix('-')?;
    let letter = rest.chars().next()?;
    let rest = &rest[letter.len_utf8()..];
    options::short(letter).map(|option| (option, Some(rest).filter(|rest| !rest.is_empty())))
}

/// Reads the words, which have no sub-command among them any more, then the environment.
///
/// # Errors
/// What is wrong, as click tells it.
pub fn parse(words: &[String]) -> Result<Given, String> {
    let mut given = Given::default();
    let mut words = words.iter().map(String::as_str);
    let mut after_unknown = false;
    while let Some(word) = words.next() {
        let unknown = std::mem::take(&mut after_unknown);
        if !word.starts_with('-') || word == "-" {
            let list = if unknown && !word.contains('=') { &mut given.user } else { &mut given.settings };
            list.push(word.to_owned());
            continue;
        }
        let mut word = word.to_owned();
        loop {
            let Some((found, value)) = option(&word) else {
                after_unknown = !word.contains('=');
                given.user.push(word);
                break;
            };
            if found.takes == Takes::Flag {
                if value.is_some() && word.starts_with("--") {
                    return Err(format!("Option {} does not take a value.", found.names()));
                }
                given.put(found, true.into());
                let Some(rest) = value else { break };
                word = format!("-{rest}");
                continue;
            }
            let value = value.or_else(|| words.next());
            let value = value.ok_or_else(|| format!("Option {} requires an argument.", found.names()))?;
            given.put(found, read(found, value)?);
            break;
        }
    }
    given.environment(|name| env::var(name).ok())?;
    Ok(given)
}

impl Given {
    fn put(&mut self, option: &Opt, value: Value) {
        let map = if option.to == To::App { &mut self.app } else { &mut self.own };
        map.insert(option.key, value);
    }

    /// What the environment says and the command line does not.
    fn environment(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        for group in GROUPS {
            let Some(prefix) = group.environment else { continue };
            for option in group.options {
                let name = format!("{prefix}{}", option.key.to_uppercase());
                let text = variable(&name).filter(|text| !text.is_empty());
                let Some(text) = text.filter(|_| !self.has(option.key)) else { continue };
                match option.takes {
                    Takes::Flag if !truth(option, &text)? => {}
                    Takes::Flag => self.put(option, true.into()),
                    _ => self.put(option, read(option, &text)?),
                }
            }
        }
        Ok(())
    }

    fn has(&self, key: &str) -> bool {
        self.app.get(key).is_some() || self.own.get(key).is_some()
    }

    /// Whether a flag is given.
    pub fn flag(&self, key: &str) -> bool {
        [&self.app, &self.own].iter().any(|map| map.get(key).is_some_and(Value::is_true))
    }

    /// The text of an option of this process.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.own.get(key).and_then(Value::as_str)
    }
}

fn truth(option: &Opt, text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "1" | "true" | "t" | "yes" | "y" | "on" => Ok(true),
        "0" | "false" | "f" | "no" | "n" | "off" => Ok(false),
        _ => Err(invalid(option, &format!("'{text}' is not a valid boolean."))),
    }
}

fn read(option: &Opt, text: &str) -> Result<Value, String> {
    let wrong = |reason: String| invalid(option, &reason);
    Ok(match option.takes {
        Takes::Flag => true.into(),
        Takes::Text => text.into(),
        Takes::Count if text.trim().eq_ignore_ascii_case("auto") => "auto".into(),
        Takes::Whole | Takes::Count => {
            whole(text).ok_or_else(|| wrong(format!("'{text}' is not a valid integer.")))?.into()
        }
        Takes::Number => {
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| wrong(format!("'{text}' is not a valid float.")))?.into()
        }
        Takes::List => Value::List(
            text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(Value::from).collect(),
        ),
        Takes::Level => {
            let level = text.to_uppercase();
            let known = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL"];
            one_of(&known, &level).map_err(wrong)?.into()
        }
        Takes::OneOf(known) => one_of(known, text).map_err(wrong)?.into(),
        Takes::Autoscale => {
            let bounds: Option<Vec<i64>> = text.split(',').map(whole).collect();
            let mut bounds = bounds.filter(|bounds| bounds.len() <= 2).ok_or_else(|| {
                wrong(format!("Expected two comma separated integers or one integer. Got '{text}' instead."))
            })?;
            bounds.resize(2, 0);
            bounds.sort_unstable_by(|a, b| b.cmp(a));
            Value::List(bounds.into_iter().map(Value::Int).collect())
        }
    })
}

fn whole(text: &str) -> Option<i64> {
    text.trim().parse().ok()
}

fn one_of<'a>(known: &[&str], text: &'a str) -> Result<&'a str, String> {
    let wrong = || {
        let known: Vec<_> = known.iter().map(|word| format!("'{word}'")).collect();
        format!("'{text}' is not one of {}.", known.join(", "))
    };
    known.contains(&text).then_some(text).ok_or_else(wrong)
}

fn invalid(option: &Opt, reason: &str) -> String {
    format!("Invalid value for {}: {reason}", option.names())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn parsed(line: &str) -> Given {
        parse(&words(line)).unwrap()
    }

    #[test]
    fn values_stand_as_click_takes_them() {
        let expected = parsed("--concurrency 4 --loglevel INFO --task-events --queues a,b -C");
        for line in [
            "-c4 -l info -E -Q a,b -C",
            "-c 4 -linfo --events --queues=a,b --no-color",
            "-CEc4 --loglevel=Info -Q a, -Q a,,b",
        ] {
            assert_eq!(parsed(line), expected, "{line}");
        }
        assert_eq!(expected.app.get("concurrency"), Some(&Value::Int(4)));
        assert_eq!(expected.app.get("queues"), Some(&Value::List(vec!["a".into(), "b".into()])));
    }

    #[test]
    fn settings_and_what_the_app_adds_are_kept_apart() {
        let given = parsed("worker.pool=solo --mine word --flag -c 2 task.acks_late=1 --other=3 x=y");
        assert_eq!(given.user, words("--mine word --flag --other=3"));
        assert_eq!(given.settings, words("worker.pool=solo task.acks_late=1 x=y"));
    }

    #[test]
    fn a_concurrency_is_a_number_or_automatic() {
        for (text, value) in [("4", 4.into()), ("Auto", "auto".into())] {
            assert_eq!(parsed(&format!("-c {text}")).app.get("concurrency"), Some(&value));
        }
        assert!(parse(&words("-c many")).is_err());
    }

    #[test]
    fn bounds_come_in_any_order() {
        for (text, most, fewest) in [("3,10", 10, 3), ("10,3", 10, 3), ("4", 4, 0)] {
            let bounds = Value::List(vec![Value::Int(most), Value::Int(fewest)]);
            assert_eq!(parsed(&format!("--autoscale {text}")).app.get("autoscale"), Some(&bounds));
        }
    }

    #[test]
    fn what_is_wrong_is_told_as_click_does() {
        for (line, error) in [
            ("-c x", "Invalid value for '-c' / '--concurrency': 'x' is not a valid integer."),
            ("-l loud", "'LOUD' is not one of 'DEBUG', 'INFO'"),
            ("--time-limit soon", "'soon' is not a valid float."),
            ("-Q", "Option '-Q' / '--queues' requires an argument."),
            ("--purge=1", "Option '--purge' / '--discard' does not take a value."),
            ("--autoscale 1,2,3", "Expected two comma separated integers"),
            ("--gossip loud", "'loud' is not one of 'watch'"),
        ] {
            let told = parse(&words(line)).unwrap_err();
            assert!(told.contains(error), "{line}: {told}");
        }
    }

    #[test]
    fn the_environment_fills_what_is_not_given() {
        let mut given = parsed("-c 2");
        let variable = |name: &str| match name {
            "CELERY_WORKER_CONCURRENCY" => Some("9".to_owned()),
            "CELERY_WORKER_TASK_EVENTS" => Some("yes".to_owned()),
            "CELERY_WORKER_WITHOUT_MINGLE" => Some("0".to_owned()),
            "CELERY_WORKER_POOL" => Some("solo".to_owned()),
            "CELERY_QUIET" => Some("1".to_owned()),
            _ => None,
        };
        given.environment(variable).unwrap();
        assert_eq!(given.app.get("concurrency"), Some(&Value::Int(2)));
        assert_eq!(given.app.get("pool"), Some(&"solo".into()));
        assert!(given.flag("task_events") && given.flag("quiet") && !given.flag("without_mingle"));
        assert!(
            given.environment(|name| (name == "CELERY_WORKER_PURGE").then(|| "maybe".to_owned())).is_err()
        );
    }

    #[test]
    fn the_command_is_the_first_word_that_is_no_value() {
        for (line, found) in [
            ("-A proj worker -c 2", Some((2, "worker"))),
            ("-Aproj --broker=x worker", Some((2, "worker"))),
            ("--workdir / -q shell", Some((3, "shell"))),
            ("-A proj", None),
            ("--help", None),
        ] {
            assert_eq!(command(&words(line)), found, "{line}");
        }
    }
}
