//! One place, by one URL or several.

use celeriac_broker::BrokerUrl;
use celeriac_broker::url::UrlError;

const SOCKETS: [&str; 4] = ["redis+socket", "socket", "unix", "redis+unix"];
const SERVERS: [&str; 2] = ["redis", "rediss"];
const CLUSTERS: [&str; 2] = ["redis+cluster", "rediss+cluster"];
const SENTINEL: &str = "sentinel";

/// Whether a URL, or the first of several, is for Redis, by its scheme.
pub fn serves(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| Kind::of(&scheme.to_ascii_lowercase()).is_some())
}

/// What a scheme stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Server,
    Socket,
    Sentinel,
    Cluster,
}

impl Kind {
    fn of(scheme: &str) -> Option<Self> {
        Some(match scheme {
            _ if SERVERS.contains(&scheme) => Kind::Server,
            _ if SOCKETS.contains(&scheme) => Kind::Socket,
            _ if CLUSTERS.contains(&scheme) => Kind::Cluster,
            SENTINEL => Kind::Sentinel,
            _ => return None,
        })
    }
}

/// URLs that name one place: one server, or some of the sentinels or of the nodes of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urls {
    /// The first URL, by which user, password and database go, with the parameters of all.
    pub first: BrokerUrl,
    /// All hosts with their ports, those of the first URL too.
    pub hosts: Vec<(String, Option<u16>)>,
    pub(crate) kind: Kind,
    display: String,
}

impl Urls {
    /// Takes URLs apart: kombu's list with semicolons between them, `sentinel://a:26379;sentinel://b:26379/0`, or several
    /// hosts in one, `redis+cluster://a:6379,b:6379`.
    ///
    /// # Errors
    /// When one makes no sense, or several name what has one host.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let mut urls = Vec::new();
        for url in split(text) {
            for url in hosts(&url) {
                urls.push(BrokerUrl::parse(&url)?);
            }
        }
        Self::new(urls)
    }

    fn new(urls: Vec<BrokerUrl>) -> Result<Self, UrlError> {
        let display = urls.iter().map(BrokerUrl::to_string).collect::<Vec<_>>().join(";");
        let fail = |reason: &str| UrlError { url: display.clone(), reason: reason.to_owned() };
        let hosts: Vec<_> = urls.iter().map(|url| (url.host.clone(), url.port)).collect();
        let mut urls = urls.into_iter();
        let mut first = urls.next().ok_or_else(|| fail("it is empty"))?;
        let kind = Kind::of(&first.scheme).ok_or_else(|| {
            fail("its scheme is none of Redis: redis, rediss, redis+socket, sentinel or redis+cluster")
        })?;
        for other in urls {
            if other.scheme != first.scheme {
                return Err(fail("its parts have different schemes"));
            }
            for (name, value) in other.query {
                if first.parameter(&name).is_none() {
                    first.query.push((name, value));
                }
            }
        }
        if hosts.len() > 1 && !matches!(kind, Kind::Sentinel | Kind::Cluster) {
            return Err(fail("several hosts are for sentinel:// and redis+cluster:// only"));
        }
        Ok(Urls { first, hosts, kind, display })
    }

    /// A parameter of any of them, unless it is empty; the first that has it counts.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.first.parameter(name).filter(|value| !value.is_empty())
    }

    /// What is wrong with them.
    pub fn error(&self, reason: impl ToString) -> UrlError {
        UrlError { url: self.display.clone(), reason: reason.to_string() }
    }

    /// For people: without passwords and parameters.
    pub fn display_url(&self) -> &str {
        &self.display
    }
}

impl TryFrom<BrokerUrl> for Urls {
    type Error = UrlError;

    fn try_from(url: BrokerUrl) -> Result<Self, UrlError> {
        Self::new(vec![url])
    }
}

/// Where a semicolon has another URL behind it; else it is part of a password.
fn split(text: &str) -> Vec<String> {
    let mut urls: Vec<String> = Vec::new();
    for piece in text.split(';') {
        match urls.last_mut() {
            Some(url) if !piece.contains("://") => {
                url.push(';');
                url.push_str(piece);
            }
            _ => urls.push(piece.to_owned()),
        }
    }
    urls
}

/// A URL for each host of one that has several, with commas between them.
fn hosts(url: &str) -> Vec<String> {
    let Some((scheme, rest)) = url.split_once("://") else { return vec![url.to_owned()] };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let (credentials, addresses) = match authority.rfind('@') {
        Some(at) => authority.split_at(at + 1),
        None => ("", authority),
    };
    addresses.split(',').map(|address| format!("{scheme}://{credentials}{address}{rest}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_hosts_are_one_place() {
        for text in [
            "sentinel://me:p%2C;w@a:1/2;sentinel://b/?master_name=m",
            "sentinel://me:p%2C;w@a:1,b/2?master_name=m",
        ] {
            let urls = Urls::parse(text).unwrap();
            assert_eq!(urls.hosts, [("a".to_owned(), Some(1)), ("b".to_owned(), None)], "{text}");
            assert_eq!((urls.first.password.as_deref(), urls.first.path.as_str()), (Some("p,;w"), "2"));
            assert_eq!(urls.parameter("master_name"), Some("m"));
            let display = urls.display_url();
            assert!(display.starts_with("sentinel://me:**@a:1/2;sentinel://"), "{display}");
        }
        assert_eq!(Urls::parse("redis://h:1/5?x=1").unwrap().display_url(), "redis://h:1/5");
    }

    #[test]
    fn what_is_not_one_place_is_told() {
        for text in ["redis://a,b", "sentinel://u:secret@a;redis://b", "amqp://a", "redis://u:secret@a:x", ""]
        {
            let error = Urls::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn schemes_are_known() {
        for url in ["redis://", "REDISS://h", "redis+socket:///x", "unix:///x", "sentinel://a;sentinel://b"] {
            assert!(serves(url), "{url}");
        }
        assert!(!serves("amqp://h") && !serves("redis"));
    }
}
