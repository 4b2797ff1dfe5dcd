//! Where Redis is, as URLs say it, and where it is now.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::url::UrlError;
use redis::{Client, RedisConnectionInfo, RedisResult};

use crate::Urls;
use crate::access::Access;
use crate::cluster::{self, Cluster};
use crate::sentinel::Sentinels;
use crate::tls::Tls;
use crate::urls::Kind;

/// Whose reading of a URL counts; they differ in small things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// A broker's (`kombu/transport/redis.py`, `Channel._connparams`): user and password of the URL go before those among
    /// the parameters, and sentinels listen to port 26379.
    Kombu,
    /// A result store's (`celery/backends/redis.py`, `_params_from_url`): parameters go before, and the port of a sentinel
    /// is 6379 like any.
    Celery,
}

impl Dialect {
    /// Where a URL names no host.
    fn host(self) -> &'static str {
        match self {
            Dialect::Kombu => "127.0.0.1",
            Dialect::Celery => "localhost",
        }
    }

    fn port(self, kind: Kind) -> u16 {
        match (self, kind) {
            (Dialect::Kombu, Kind::Sentinel) => 26379,
            _ => 6379,
        }
    }
}

/// Where Redis is. Nothing is open.
#[derive(Debug, Clone)]
pub struct Target {
    place: Place,
    database: i64,
    prefix: String,
    display: String,
}

#[derive(Debug, Clone)]
enum Place {
    Server(Arc<Client>),
    Sentinel(Arc<Sentinels>),
    Cluster(Arc<Cluster>),
}

impl Target {
    /// Whether sentinels say where it is.
    pub fn is_sentinel(&self) -> bool {
        matches!(self.place, Place::Sentinel(_))
    }

    /// Reads URLs; the prefix is what is to stand before every key (`global_keyprefix`).
    ///
    /// # Errors
    /// When they make no sense, or a file that they name cannot be read, or a cluster's prefix has no hash tag.
    pub fn read(urls: &Urls, dialect: Dialect, prefix: Option<&str>) -> Result<Self, UrlError> {
        let database = database(urls, dialect)?;
        let access = Access { server: login(urls, dialect).set_db(database), tls: tls(urls)? };
        let hosts = || {
            let host = |(host, port): &(String, Option<u16>)| {
                let host = if host.is_empty() { dialect.host() } else { host };
                (host.to_owned(), port.unwrap_or(dialect.port(urls.kind)))
            };
            urls.hosts.iter().map(host).collect::<Vec<_>>()
        };
        let mut prefix = prefix.unwrap_or_default().to_owned();
        let place = match urls.kind {
            Kind::Socket => {
                Place::Server(Arc::new(access.socket(&urls.first.path).map_err(|error| urls.error(error))?))
            }
            Kind::Server => {
                let hosts = hosts();
                let (host, port) = hosts.first().ok_or_else(|| urls.error("it names no host"))?;
                Place::Server(Arc::new(access.client(host, *port).map_err(|error| urls.error(error))?))
            }
            Kind::Sentinel => Place::Sentinel(Arc::new(Sentinels::read(urls, hosts(), access)?)),
            Kind::Cluster => {
                if database != 0 {
                    return Err(urls.error("a cluster has the database 0 only"));
                }
                prefix = cluster::prefix(&prefix).map_err(|reason| urls.error(reason))?;
                Place::Cluster(Arc::new(Cluster { nodes: hosts(), access, key: prefix.clone() }))
            }
        };
        Ok(Target { place, database, prefix, display: urls.display_url().to_owned() })
    }

    /// The number of the database.
    pub fn database(&self) -> i64 {
        self.database
    }

    /// What stands before every key: what was given, or what a cluster needs.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// For people: without passwords and parameters.
    pub fn display_url(&self) -> &str {
        &self.display
    }

    /// A client of the server that has the keys now. Sentinels and clusters are asked, all at once, with patience for each
    /// connection and each answer.
    ///
    /// # Errors
    /// When nobody knows, with what each said.
    pub async fn find(&self, patience: Duration) -> RedisResult<Client> {
        match &self.place {
            Place::Server(client) => Ok(Client::clone(client)),
            Place::Sentinel(sentinels) => sentinels.master(patience).await,
            Place::Cluster(cluster) => cluster.master(patience).await,
        }
    }
}

fn database(urls: &Urls, dialect: Dialect) -> Result<i64, UrlError> {
    let (one, other) = match dialect {
        Dialect::Kombu => ("virtual_host", "db"),
        Dialect::Celery => ("db", "virtual_host"),
    };
    let path = if urls.kind == Kind::Socket { "" } else { urls.first.path.as_str() };
    match urls.parameter(one).or(urls.parameter(other)).unwrap_or(path).trim_matches('/') {
        "" => Ok(0),
        digits => {
            let number = digits.parse().ok().filter(|database: &i64| *database >= 0);
            number.ok_or_else(|| urls.error(format!("the database must be a number, not {digits:?}")))
        }
    }
}

fn login(urls: &Urls, dialect: Dialect) -> RedisConnectionInfo {
    let part = |part: &Option<String>, name| {
        let part = part.clone().filter(|part| !part.is_empty());
        let parameter = urls.parameter(name).map(str::to_owned);
        match dialect {
            Dialect::Kombu => part.or(parameter),
            Dialect::Celery => parameter.or(part),
        }
    };
    let mut server = RedisConnectionInfo::default();
    if let Some(user) = part(&urls.first.user, "username") {
        server = server.set_username(user);
    }
    if let Some(password) = part(&urls.first.password, "password") {
        server = server.set_password(password);
    }
    server
}

/// `rediss`, or what says the same where the scheme cannot.
fn tls(urls: &Urls) -> Result<Option<Tls>, UrlError> {
    let is_asked = match urls.kind {
        Kind::Sentinel => wants_tls(urls, ""),
        Kind::Server | Kind::Cluster => urls.first.scheme.starts_with("rediss"),
        Kind::Socket => false,
    };
    is_asked.then(|| Tls::read(urls, "")).transpose()
}

/// Whether `ssl` is true or one of the others is there, behind this prefix.
pub(crate) fn wants_tls(urls: &Urls, prefix: &str) -> bool {
    match urls.parameter(&format!("{prefix}ssl")) {
        Some(flag) => matches!(flag.to_ascii_lowercase().as_str(), "true" | "1" | "yes"),
        None => ["ssl_cert_reqs", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"]
            .iter()
            .any(|name| urls.parameter(&format!("{prefix}{name}")).is_some()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, dialect: Dialect) -> Result<Target, UrlError> {
        Target::read(&Urls::parse(url)?, dialect, None)
    }

    fn client(target: &Target) -> &Client {
        match &target.place {
            Place::Server(client) => client,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn urls_are_read_as_kombu_and_celery_do() {
        use Dialect::{Celery, Kombu};
        for (url, dialect, address, database) in [
            ("redis://", Kombu, "127.0.0.1:6379", 0),
            ("redis://", Celery, "localhost:6379", 0),
            ("redis://h:1/5", Kombu, "h:1", 5),
            ("redis://h:1/5", Celery, "h:1", 5),
            ("redis://h//7", Kombu, "h:6379", 7),
            ("redis://h/5?db=6", Celery, "h:6379", 6),
            ("redis+socket:///run/r.sock?virtual_host=3", Kombu, "/run/r.sock", 3),
            ("redis+socket:///run/r.sock?virtual_host=3", Celery, "/run/r.sock", 3),
            ("unix:///run/r.sock", Kombu, "/run/r.sock", 0),
            ("socket:///run/r.sock", Celery, "/run/r.sock", 0),
        ] {
            let target = read(url, dialect).unwrap();
            let info = client(&target).get_connection_info();
            assert_eq!(info.addr().to_string(), address, "{url}");
            assert_eq!((info.redis_settings().db(), target.database()), (database, database), "{url}");
        }
        for (dialect, user, password) in [(Kombu, "us@er", "p/w"), (Celery, "u", "p")] {
            let target = read("redis://us%40er:p%2Fw@h?username=u&password=p", dialect).unwrap();
            let server = client(&target).get_connection_info().redis_settings();
            assert_eq!((server.username(), server.password()), (Some(user), Some(password)));
        }
    }

    #[test]
    fn what_makes_no_sense_is_told_without_the_password() {
        for (url, reason) in [
            ("redis://u:secret@h/x", "must be a number"),
            ("redis://u:secret@h/-1", "must be a number"),
            ("redis+cluster://u:secret@h/1", "database 0"),
            ("redis+cluster://u:secret@h,i", ""),
            ("sentinel://u:secret@h", "master_name"),
            ("sentinel://u:secret@h?master_name=m&min_other_sentinels=x", "min_other_sentinels"),
        ] {
            match read(url, Dialect::Kombu) {
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains(reason) && !error.contains("secret"), "{error}");
                }
                Ok(target) => assert!(reason.is_empty() && !target.display_url().contains("secret"), "{url}"),
            }
        }
    }

    #[test]
    fn all_keys_of_a_cluster_have_one_tag() {
        let urls = Urls::parse("redis+cluster://h").unwrap();
        let prefix =
            |given| Target::read(&urls, Dialect::Kombu, given).map(|target| target.prefix().to_owned());
        assert_eq!(prefix(None).unwrap(), "{celeriac}");
        assert_eq!(prefix(Some("my{app}:")).unwrap(), "my{app}:");
        for wrong in ["app:", "{}app", "}{"] {
            assert!(prefix(Some(wrong)).unwrap_err().to_string().contains("global_keyprefix"), "{wrong}");
        }
    }
}
