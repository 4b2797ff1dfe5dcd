//! TLS by rustls, with redis-py's parameters: `ssl_cert_reqs`, `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`. Unlike there,
//! certificates are checked when nothing is said.

#[cfg(feature = "tls")]
pub(crate) use with_tls::Tls;
#[cfg(not(feature = "tls"))]
pub(crate) use without_tls::Tls;

#[cfg(feature = "tls")]
mod with_tls {
    use celeriac_broker::url::UrlError;
    use redis::{Client, ClientTlsConfig, ConnectionAddr, RedisConnectionInfo, RedisResult, TlsCertificates};

    use crate::Urls;
    use crate::access::info;

    /// What is shown, and whom is trusted.
    #[derive(Debug, Clone)]
    pub(crate) struct Tls {
        certificates: TlsCertificates,
        insecure: bool,
    }

    impl Tls {
        /// Reads the files that the parameters name, which begin with this prefix.
        pub fn read(urls: &Urls, prefix: &str) -> Result<Self, UrlError> {
            let parameter = |name: &str| urls.parameter(&format!("{prefix}{name}"));
            let file = |name: &str| {
                let told = |file, error| urls.error(format!("{prefix}{name} {file}: {error}"));
                parameter(name).map(|file| std::fs::read(file).map_err(|error| told(file, error))).transpose()
            };
            let insecure = match parameter("ssl_cert_reqs") {
                None | Some("required" | "CERT_REQUIRED") => false,
                Some("none" | "CERT_NONE") => true,
                Some(other) => {
                    return Err(urls.error(format!("ssl_cert_reqs must be required or none, not {other:?}")));
                }
            };
            let client_tls = match (file("ssl_certfile")?, file("ssl_keyfile")?) {
                (Some(client_cert), Some(client_key)) => Some(ClientTlsConfig { client_cert, client_key }),
                (None, None) => None,
                _ => return Err(urls.error("ssl_certfile and ssl_keyfile belong together")),
            };
            // The client takes the process's provider; it panics when there is none and the build has two.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let tls = Tls {
                certificates: TlsCertificates { client_tls, root_cert: file("ssl_ca_certs")? },
                insecure,
            };
            // What the files hold is looked at now, not when somebody connects.
            let looked = tls.client("localhost", 1, RedisConnectionInfo::default());
            looked.map_err(|error| urls.error(error))?;
            Ok(tls)
        }

        pub fn client(&self, host: &str, port: u16, server: RedisConnectionInfo) -> RedisResult<Client> {
            let address = ConnectionAddr::TcpTls {
                host: host.to_owned(),
                port,
                insecure: self.insecure,
                tls_params: None,
            };
            Client::build_with_tls(info(address, server)?, self.certificates.clone())
        }
    }
}

#[cfg(not(feature = "tls"))]
mod without_tls {
    use celeriac_broker::url::UrlError;
    use redis::{Client, RedisConnectionInfo, RedisResult};

    use crate::Urls;

    /// There is none in this build.
    #[derive(Debug, Clone)]
    pub(crate) enum Tls {}

    impl Tls {
        pub fn read(urls: &Urls, _prefix: &str) -> Result<Self, UrlError> {
            Err(urls.error("this build has no TLS for Redis (feature `tls`)"))
        }

        pub fn client(&self, _host: &str, _port: u16, _server: RedisConnectionInfo) -> RedisResult<Client> {
            match *self {}
        }
    }
}
