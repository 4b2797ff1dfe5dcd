//! Broker URLs, as Celery's users write them.

use std::fmt;

/// What stands for a password, as in kombu.
const MASK: &str = "**";

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
        let fail = |reason: &str| UrlError { url: sanitize(url, MASK), reason: reason.to_owned() };
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
            write!(f, "{user}:{MASK}@")?;
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

/// URLs that may be shown, one or several with semicolons between them: `mask` stands for each password, before the
/// host or among the parameters. Another text stays as it is.
pub fn sanitize(urls: &str, mask: &str) -> String {
    let mut list: Vec<String> = Vec::new();
    for piece in urls.split(';') {
        match list.last_mut() {
            // A semicolon that nobody escaped, perhaps in a password.
            Some(url) if !piece.contains("://") => {
                url.push(';');
                url.push_str(piece);
            }
            _ => list.push(piece.to_owned()),
        }
    }
    list.iter().map(|url| sanitize_one(url, mask)).collect::<Vec<_>>().join(";")
}

fn sanitize_one(url: &str, mask: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    let is_address = |text: &str| {
        text.rsplit_once(':').is_none_or(|(host, port)| host.starts_with('[') || port.parse::<u16>().is_ok())
    };
    let credentials = match authority.rfind('@') {
        // What follows the colon is no port, so it is a password with a slash that nobody escaped.
        None if !is_address(authority) => rest.rfind('@'),
        at => at,
    };
    let (credentials, rest) = credentials.map_or(("", rest), |at| rest.split_at(at));
    let credentials = match credentials.split_once(':') {
        Some((user, _)) => format!("{user}:{mask}"),
        None => credentials.to_owned(),
    };
    let (address, query) =
        rest.split_once('?').map_or((rest, None), |(address, query)| (address, Some(query)));
    let query = query.map(|query| {
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, _)) if is_secret(name) => format!("{name}={mask}"),
            _ => pair.to_owned(),
        });
        format!("?{}", pairs.collect::<Vec<_>>().join("&"))
    });
    format!("{scheme}://{credentials}{address}{}", query.unwrap_or_default())
}

/// Whether a parameter's value is for nobody's eyes.
fn is_secret(name: &str) -> bool {
    let name = percent_decode(name).unwrap_or_else(|| name.to_owned()).to_ascii_lowercase();
    name.ends_with("key") || ["pass", "secret", "token"].iter().any(|word| name.contains(word))
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
        for url in [
            "localhost",
            "amqp://u:secret@host:99999/",
            "amqp://u:secret@host:x",
            "amqp://u:secret%4@h",
            "amqp://u:secret/secret@h",
        ] {
            let error = BrokerUrl::parse(url).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        let shown = format!("{:?}", BrokerUrl::parse("amqp://u:secret@h/").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }

    #[test]
    fn no_password_is_shown_wherever_it_stands() {
        for (url, shown) in [
            ("amqp://me:p@host:5672/v", "amqp://me:--@host:5672/v"),
            ("amqp://me:p:p@p@host//", "amqp://me:--@host//"),
            ("amqp://a:p@h;amqps://b:p@i//", "amqp://a:--@h;amqps://b:--@i//"),
            ("amqp://a:p;p@h", "amqp://a:--@h"),
            ("amqp://a:p/p?p#p@h:1/v", "amqp://a:--@h:1/v"),
            ("redis://:p@h/9", "redis://:--@h/9"),
            ("redis://h:6379?password=p&db=1&x", "redis://h:6379?password=--&db=1&x"),
            ("redis://h/?Auth_Tok%65n=p", "redis://h/?Auth_Tok%65n=--"),
            ("amqp://guest@[::1]:5672/a@b", "amqp://guest@[::1]:5672/a@b"),
            ("amqp://[::1]/a@b", "amqp://[::1]/a@b"),
            ("sqlite:///a:b@c.db", "sqlite:///a:b@c.db"),
            ("rpc://", "rpc://"),
            ("a:b@c;d", "a:b@c;d"),
        ] {
            assert_eq!(sanitize(url, "--"), shown);
        }
    }
}
