//! Broker URLs, as Celery's users write them.

use std::fmt;

/// A broker's URL, taken apart. Its `Display` and `Debug` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// What stands before `://`, in lower case.
    pub scheme: String,
    /// User name, percent-decoded.
    pub user: Option<String>,
    /// Password, percent-decoded.
    pub password: Option<String>,
    /// Host name or address, without brackets; empty when there is none.
    pub host: String,
    /// Port.
    pub port: Option<u16>,
    /// What follows the host's slash, percent-decoded: a virtual host or a file.
    pub path: String,
    /// The parameters behind `?`, percent-decoded.
    pub query: Vec<(String, String)>,
}

/// A URL that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad broker URL {url}: {reason}")]
pub struct UrlError {
    /// The URL with its password hidden.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

impl BrokerUrl {
    /// Takes a URL apart.
    ///
    /// # Errors
    /// When there is no scheme, or the port is no number from 1 to 65535, or a percent escape is broken.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let fail = |reason: &str| UrlError { url: sanitize(url), reason: reason.to_owned() };
        // `sqlite:file.db` and `memory:` may go without slashes.
        let (scheme, rest) = url.split_once(':').ok_or_else(|| fail("it has no scheme, such as amqp://"))?;
        if scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c)) {
            return Err(fail("its scheme is empty or has odd characters"));
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.strip_prefix("//") {
            Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
            None => ("", rest),
        };
        let (credentials, address) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (Some(user), Some(password)),
            None => (Some(credentials).filter(|user| !user.is_empty()), None),
        };
        let (host, port) = match address.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, rest)) => (host, rest.strip_prefix(':')),
            None => match address.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (address, None),
            },
        };
        let port = match port {
            None | Some("") => None,
            Some(digits) => {
                let port = digits.parse().ok().filter(|port| *port > 0);
                Some(port.ok_or_else(|| fail("its port is no number from 1 to 65535"))?)
            }
        };
        let decode = |text: &str| percent_decode(text).ok_or_else(|| fail("a percent escape is broken"));
        Ok(BrokerUrl {
            scheme: scheme.to_ascii_lowercase(),
            user: user.map(decode).transpose()?,
            password: password.map(decode).transpose()?,
            host: decode(host)?,
            port,
            path: decode(path)?,
            query: query
                .split('&')
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    Ok((decode(key)?, decode(value)?))
                })
                .collect::<Result<_, UrlError>>()?,
        })
    }

    /// A parameter behind `?`.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if let Some(user) = &self.user {
            write!(f, "{user}:**@")?;
        }
        if self.host.contains(':') { write!(f, "[{}]", self.host) } else { write!(f, "{}", self.host) }?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "/{}", self.path)
    }
}

impl fmt::Debug for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerUrl({self})")
    }
}

/// A URL that may be shown: its password is hidden, even where it cannot be parsed.
pub fn sanitize(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_once('/').map_or((rest, None), |(head, tail)| (head, Some(tail)));
    let authority = match authority.rsplit_once('@') {
        Some((credentials, host)) => {
            format!("{}:**@{host}", credentials.split_once(':').map_or(credentials, |(user, _)| user))
        }
        None => authority.to_owned(),
    };
    let path = path.map(|path| format!("/{path}")).unwrap_or_default();
    format!("{scheme}://{authority}{path}")
}

fn percent_decode(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first != b'%' {
            bytes.push(*first);
            rest = tail;
            continue;
        }
        let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail.get(2..)?;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_amqp_url() {
        let url = BrokerUrl::parse("amqp://us%40er:p%2Fw@[::1]:5673/my%2Fhost?heartbeat=10").unwrap();
        assert_eq!(url.user.as_deref(), Some("us@er"));
        assert_eq!(url.password.as_deref(), Some("p/w"));
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), ("::1", Some(5673), "my/host"));
        assert_eq!(url.parameter("heartbeat"), Some("10"));
    }

    #[test]
    fn slashes_tell_relative_from_absolute_files() {
        for (url, path) in [
            ("sqlite:jobs.db", "jobs.db"),
            ("sqlite:///jobs.db", "jobs.db"),
            ("sqlite:////var/jobs.db", "/var/jobs.db"),
            ("memory:", ""),
            ("amqp://host", ""),
            ("amqp://host//", "/"),
        ] {
            assert_eq!(BrokerUrl::parse(url).unwrap().path, path, "{url}");
        }
    }

    #[test]
    fn bad_urls_are_told_without_the_password() {
        for url in
            ["localhost", "amqp://u:secret@host:99999/", "amqp://u:secret@host:x", "amqp://u:secret%4@h"]
        {
            let error = BrokerUrl::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let shown = format!("{:?}", BrokerUrl::parse("amqp://u:secret@h/").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
