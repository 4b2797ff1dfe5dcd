//! Sentinels, which know who the master is (`kombu/transport/redis.py`, `SentinelChannel`; `celery/backends/redis.py`,
//! `SentinelBackend`; redis-py's `Sentinel.discover_master`).

use std::collections::HashMap;
use std::time::Duration;

use celeriac_broker::url::UrlError;
use redis::{Client, Cmd, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, Value};

use crate::access::{Access, ask_all, at, connect};
use crate::target::wants_tls;
use crate::tls::Tls;
use crate::{Urls, is_refused};

/// The sentinels of one master.
#[derive(Debug)]
pub(crate) struct Sentinels {
    hosts: Vec<(String, u16)>,
    /// How they are entered themselves.
    own: Access,
    master: Access,
    master_name: String,
    min_other_sentinels: usize,
}

impl Sentinels {
    /// `master_name` must be there, `min_other_sentinels` may. What is in `sentinel_kwargs` is a parameter each:
    /// `sentinel_username`, `sentinel_password`, `sentinel_ssl` and so on; without them sentinels are entered without.
    pub fn read(urls: &Urls, hosts: Vec<(String, u16)>, master: Access) -> Result<Self, UrlError> {
        let missing = || urls.error("it needs master_name, the name that the sentinels have for the master");
        let master_name = urls.parameter("master_name").ok_or_else(missing)?.to_owned();
        let min_other_sentinels = match urls.parameter("min_other_sentinels") {
            None => 0,
            Some(count) => count
                .parse()
                .map_err(|_| urls.error(format!("min_other_sentinels is a number, not {count:?}")))?,
        };
        let mut server = RedisConnectionInfo::default();
        if let Some(user) = urls.parameter("sentinel_username") {
            server = server.set_username(user);
        }
        if let Some(password) = urls.parameter("sentinel_password") {
            server = server.set_password(password);
        }
        let tls = wants_tls(urls, "sentinel_").then(|| Tls::read(urls, "sentinel_")).transpose()?;
        Ok(Sentinels { hosts, own: Access { server, tls }, master, master_name, min_other_sentinels })
    }

    /// A client of the master: of the first that a sentinel names and that is one.
    pub async fn master(&self, patience: Duration) -> RedisResult<Client> {
        let failure = (ErrorKind::MasterNameNotFoundBySentinel, "no sentinel has a master for us");
        ask_all(&self.hosts, failure, |host, port| self.ask(host, port, patience)).await
    }

    async fn ask(&self, host: &str, port: u16, patience: Duration) -> RedisResult<Client> {
        let mut sentinel = connect(&self.own.client(host, port)?, patience).await?;
        let mut masters = Cmd::new();
        let masters: Vec<HashMap<String, String>> =
            masters.arg("SENTINEL").arg("MASTERS").query_async(&mut sentinel).await?;
        let none = |reason| RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, "no master", reason));
        let (host, port) = self.pick(&masters).map_err(none)?;
        let client = self.master.client(&host, port)?;
        let mut master = connect(&client, patience).await.map_err(|error| at(&host, port, error))?;
        let mut role = Cmd::new();
        match role.arg("ROLE").query_async::<Value>(&mut master).await {
            Ok(Value::Array(role)) if role.first() != Some(&Value::BulkString(b"master".into())) => {
                Err(none(format!("{host}:{port} is called the master, but is none yet, or no more")))
            }
            // The sentinel said so, and this user may not ask.
            Err(error) if !is_refused(&error) => Err(at(&host, port, error)),
            _ => Ok(client),
        }
    }

    /// The master's address, if a sentinel takes it for well.
    fn pick(&self, masters: &[HashMap<String, String>]) -> Result<(String, u16), String> {
        let name = &self.master_name;
        let found = masters.iter().find(|master| master.get("name") == Some(name));
        let master = found.ok_or_else(|| format!("knows no master of the name {name:?} (master_name)"))?;
        let field = |field: &str| master.get(field).map_or("", String::as_str);
        let flags: Vec<_> = field("flags").split(',').collect();
        if !flags.contains(&"master") || flags.contains(&"s_down") || flags.contains(&"o_down") {
            return Err(format!("takes the master {name} for down"));
        }
        let others = field("num-other-sentinels").parse().unwrap_or(0);
        if others < self.min_other_sentinels {
            return Err(format!(
                "sees {others} others, not {} (min_other_sentinels)",
                self.min_other_sentinels
            ));
        }
        let port = field("port").parse().map_err(|_| format!("gives {:?} for a port", field("port")))?;
        Ok((field("ip").to_owned(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentinels(query: &str) -> Sentinels {
        let urls = Urls::parse(&format!("sentinel://a:1?{query}")).unwrap();
        let master = Access { server: RedisConnectionInfo::default(), tls: None };
        Sentinels::read(&urls, vec![("a".to_owned(), 1)], master).unwrap()
    }

    fn master(fields: &[(&str, &str)]) -> HashMap<String, String> {
        let usual = [("name", "m"), ("ip", "10.0.0.1"), ("port", "7"), ("flags", "master")];
        let all = usual.iter().chain(fields);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn only_a_master_in_good_health_is_taken() {
        let lone = sentinels("master_name=m");
        let other = master(&[("name", "other"), ("port", "9")]);
        assert_eq!(lone.pick(&[other.clone(), master(&[])]), Ok(("10.0.0.1".to_owned(), 7)));
        for (wrong, reason) in [
            (other, "no master of the name"),
            (master(&[("flags", "master,s_down")]), "down"),
            (master(&[("flags", "s_down,master,o_down,disconnected")]), "down"),
            (master(&[("flags", "slave")]), "down"),
            (master(&[("port", "x")]), "port"),
        ] {
            assert!(lone.pick(&[wrong]).unwrap_err().contains(reason), "{reason}");
        }
        let several = sentinels("master_name=m&min_other_sentinels=2");
        assert!(several.pick(&[master(&[("num-other-sentinels", "2")])]).is_ok());
        assert!(several.pick(&[master(&[("num-other-sentinels", "1")])]).unwrap_err().contains("sees 1"));
        assert!(several.pick(&[master(&[])]).is_err());
    }

    #[test]
    fn sentinels_have_passwords_of_their_own() {
        let bare = sentinels("master_name=m&password=theirs");
        assert_eq!((bare.own.server.username(), bare.own.server.password()), (None, None));
        let own = sentinels("master_name=m&sentinel_username=u&sentinel_password=p");
        assert_eq!((own.own.server.username(), own.own.server.password()), (Some("u"), Some("p")));
    }
}
