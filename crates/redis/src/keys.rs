//! How keys and channels are named (`kombu/transport/redis.py`, `kombu/transport/virtual/exchange.py`).

use std::fmt::Write;

use celeriac_broker::ExchangeKind;

use crate::Options;

/// kombu takes a higher priority for this one, and a lower one for 0.
const MAX_PRIORITY: u8 = 9;

/// The names that the options of a transport lead to.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub options: Options,
    fanout_prefix: String,
    /// What kombu before 5.4 has for it behind sentinels, where that is listened to as well.
    old_fanout_prefix: Option<String>,
}

/// What is listened to for a binding of a fanout exchange.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Channel {
    /// One channel.
    Exact(String),
    /// All channels that fit a glob.
    Pattern(String),
}

impl Keys {
    pub fn new(options: Options, database: i64, is_sentinel: bool) -> Self {
        let fanout_prefix = options.fanout_prefix.replace("{db}", &database.to_string());
        let is_compatible = is_sentinel && options.sentinel_fanout_compat;
        let old = Some(&options.fanout_prefix).filter(|old| is_compatible && **old != fanout_prefix);
        let old_fanout_prefix = old.cloned();
        Keys { options, fanout_prefix, old_fanout_prefix }
    }

    /// The step of a priority.
    pub fn step(&self, priority: Option<u8>) -> u8 {
        let priority = priority.unwrap_or(0).min(MAX_PRIORITY);
        let steps = &self.options.priority_steps;
        // kombu's index of -1 is the last one.
        let above = steps.partition_point(|step| *step <= priority);
        let index = above.checked_sub(1).unwrap_or(steps.len().saturating_sub(1));
        steps.get(index).copied().unwrap_or(0)
    }

    /// The lists of a queue, the one that is served first first.
    pub fn lists(&self, queue: &str) -> impl Iterator<Item = String> {
        let Options { global_keyprefix, sep, priority_steps, .. } = &self.options;
        priority_steps.iter().map(move |step| match step {
            0 => format!("{global_keyprefix}{queue}"),
            step => format!("{global_keyprefix}{queue}{sep}{step}"),
        })
    }

    /// A key of ours.
    pub fn own(&self, name: &str) -> String {
        format!("{}celeriac.{name}", self.options.global_keyprefix)
    }

    /// A key of kombu's.
    pub fn prefixed(&self, name: &str) -> String {
        format!("{}{name}", self.options.global_keyprefix)
    }

    /// A key of kombu's as a glob that only it fits.
    pub fn glob(&self, name: &str) -> String {
        escape_glob(&self.prefixed(name))
    }

    /// Where a fanout exchange publishes.
    pub fn channel(&self, exchange: &str, routing_key: &str) -> String {
        let mut channel = format!("{}{}{exchange}", self.options.global_keyprefix, self.fanout_prefix);
        if !routing_key.is_empty() && self.options.fanout_patterns {
            channel.push('/');
            channel.push_str(routing_key);
        }
        channel
    }

    /// What a binding of a fanout exchange listens to. A `*` is any text, a `#` too, as in kombu.
    pub fn listens(&self, exchange: &str, binding_key: &str) -> Channel {
        let key = if self.options.fanout_patterns { binding_key } else { "" };
        if !key.contains(['*', '#']) {
            return Channel::Exact(self.channel(exchange, key));
        }
        let base = escape_glob(&self.channel(exchange, ""));
        Channel::Pattern(format!("{base}/{}", escape_glob(key).replace('#', "*").replace("\\*", "*")))
    }

    /// The same channel as kombu before 5.4 calls it, if anybody shall.
    pub fn old_channel(&self, channel: &str) -> Option<String> {
        self.renamed(channel, &self.fanout_prefix, self.old_fanout_prefix.as_ref()?)
    }

    /// What is listened to as well.
    pub fn listens_to_old(&self, channel: &Channel) -> Option<Channel> {
        let (now, old) = (&self.fanout_prefix, self.old_fanout_prefix.as_ref()?);
        self.renamed_ear(channel, now, old)
    }

    /// What stands for a channel that may be an old one.
    pub fn new_ear(&self, channel: &Channel) -> Option<Channel> {
        let (now, old) = (&self.fanout_prefix, self.old_fanout_prefix.as_ref()?);
        self.renamed_ear(channel, old, now)
    }

    /// Whether a message may come twice, by an old channel too.
    pub fn hears_twice(&self) -> bool {
        self.old_fanout_prefix.is_some()
    }

    fn renamed_ear(&self, channel: &Channel, from: &str, to: &str) -> Option<Channel> {
        Some(match channel {
            Channel::Exact(name) => Channel::Exact(self.renamed(name, from, to)?),
            Channel::Pattern(glob) => {
                let prefix = &self.options.global_keyprefix;
                let rest = glob.strip_prefix(&escape_glob(&format!("{prefix}{from}")))?;
                Channel::Pattern(format!("{}{rest}", escape_glob(&format!("{prefix}{to}"))))
            }
        })
    }

    fn renamed(&self, channel: &str, from: &str, to: &str) -> Option<String> {
        let prefix = &self.options.global_keyprefix;
        let rest = channel.strip_prefix(prefix.as_str())?.strip_prefix(from)?;
        Some(format!("{prefix}{to}{rest}"))
    }

    /// What stands for a binding key in kombu's table: for a topic, the expression by which Python matches.
    pub fn pattern(kind: ExchangeKind, binding_key: &str) -> String {
        if kind != ExchangeKind::Topic {
            return String::new();
        }
        let words = binding_key.split('.').map(|word| match word {
            "*" => r"[^\.]+".to_owned(),
            "#" => ".*?".to_owned(),
            word => escape_regex(word),
        });
        format!("^{}$", words.collect::<Vec<_>>().join(r"\."))
    }

    /// The lines of Lua before every script.
    pub fn lua(&self) -> String {
        let Options { global_keyprefix, sep, priority_steps, unacked_key, unacked_index_key, .. } =
            &self.options;
        let steps = priority_steps.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
        let mut lua = format!("local STEPS = {{ {steps} }}\n");
        for (name, value) in [
            ("PREFIX", global_keyprefix),
            ("SEP", sep),
            ("UNACKED", &self.prefixed(unacked_key)),
            ("INDEX", &self.prefixed(unacked_index_key)),
        ] {
            lua.push_str(&format!("local {name} = '"));
            for byte in value.bytes() {
                let _ = write!(lua, "\\{byte:03}");
            }
            lua.push_str("'\n");
        }
        lua
    }
}

fn escape_glob(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, letter| {
        if r"*?[]\".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
        escaped
    })
}

fn escape_regex(word: &str) -> String {
    word.chars().fold(String::new(), |mut escaped, letter| {
        match letter {
            letter if letter.is_alphanumeric() || "*#".contains(letter) => escaped.push(letter),
            '\0' => escaped.push_str("\\000"),
            letter => {
                escaped.push('\\');
                escaped.push(letter);
            }
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(change: impl FnOnce(&mut Options)) -> Keys {
        let mut options = Options::default();
        change(&mut options);
        Keys::new(options, 7, true)
    }

    #[test]
    fn steps_are_found_as_kombu_finds_them() {
        let keys_of = |steps: &[u8]| keys(|options| options.priority_steps = steps.to_vec());
        for (steps, priority, step) in [
            (&[0, 3, 6, 9][..], None, 0),
            (&[0, 3, 6, 9], Some(0), 0),
            (&[0, 3, 6, 9], Some(2), 0),
            (&[0, 3, 6, 9], Some(3), 3),
            (&[0, 3, 6, 9], Some(8), 6),
            (&[0, 3, 6, 9], Some(255), 9),
            (&[2, 5], Some(1), 5),
            (&[2, 5], Some(4), 2),
        ] {
            assert_eq!(keys_of(steps).step(priority), step, "{steps:?} {priority:?}");
        }
        let lists: Vec<_> = keys(|options| options.global_keyprefix = "p:".to_owned()).lists("q").collect();
        assert_eq!(lists, ["p:q", "p:q\x06\x163", "p:q\x06\x166", "p:q\x06\x169"]);
    }

    #[test]
    fn channels_are_kombu_s() {
        let with = keys(|options| options.global_keyprefix = "p:".to_owned());
        assert_eq!(with.channel("celery.pidbox", ""), "p:/7.celery.pidbox");
        let plain = keys(|_| {});
        assert_eq!(plain.channel("celeryev", "worker.online"), "/7.celeryev/worker.online");
        for (key, channel) in [
            ("", Channel::Exact("/7.ev".to_owned())),
            ("lead", Channel::Exact("/7.ev/lead".to_owned())),
            ("worker.*", Channel::Pattern("/7.ev/worker.*".to_owned())),
            ("worker.#", Channel::Pattern("/7.ev/worker.*".to_owned())),
            ("#", Channel::Pattern("/7.ev/*".to_owned())),
            ("[a].#", Channel::Pattern(r"/7.ev/\[a\].*".to_owned())),
        ] {
            assert_eq!(plain.listens("ev", key), channel, "{key}");
        }
        let without = keys(|options| options.fanout_patterns = false);
        assert_eq!(without.channel("ev", "worker.online"), "/7.ev");
        assert_eq!(without.listens("ev", "worker.#"), Channel::Exact("/7.ev".to_owned()));
        assert_eq!(keys(|options| options.fanout_prefix.clear()).channel("ev", ""), "ev");
    }

    #[test]
    fn old_channels_are_those_of_kombu_before_5_4() {
        let keys = keys(|options| {
            options.global_keyprefix = "p*:".to_owned();
            options.sentinel_fanout_compat = true;
        });
        let channel = keys.channel("ev", "a");
        assert_eq!(keys.old_channel(&channel).as_deref(), Some("p*:/{db}.ev/a"));
        for (key, old) in
            [("a", Channel::Exact("p*:/{db}.ev/a".into())), ("#", Channel::Pattern(r"p\*:/{db}.ev/*".into()))]
        {
            let now = keys.listens("ev", key);
            assert_eq!(keys.listens_to_old(&now).as_ref(), Some(&old));
            assert_eq!(keys.new_ear(&old), Some(now.clone()));
            assert_eq!(keys.new_ear(&now), None);
        }
        let plain = super::Keys::new(keys.options.clone(), 7, false);
        assert!(plain.old_channel(&channel).is_none() && !plain.hears_twice());
    }

    #[test]
    fn topics_have_kombu_s_expressions() {
        for (key, pattern) in
            [("worker.*", r"^worker\.[^\.]+$"), ("#", "^.*?$"), ("a_b.#.ü", r"^a\_b\..*?\.ü$"), ("", "^$")]
        {
            assert_eq!(Keys::pattern(ExchangeKind::Topic, key), pattern);
        }
        assert_eq!(Keys::pattern(ExchangeKind::Direct, "a.*"), "");
    }

    #[test]
    fn odd_names_do_not_leave_their_lua_string() {
        let lua = keys(|options| options.global_keyprefix = "'\\\n".to_owned()).lua();
        assert!(lua.contains(r"local PREFIX = '\039\092\010'"), "{lua}");
    }
}
