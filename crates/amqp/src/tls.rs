//! TLS by rustls, with the system's certificates or those that the URL names.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use amqprs::tls::TlsAdaptor;
use celeriac_broker::BrokerUrl;
use celeriac_broker::url::UrlError;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// What the URL says of TLS.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    authorities: Option<PathBuf>,
    identity: Option<(PathBuf, PathBuf)>,
    name: String,
    verify: bool,
}

impl Settings {
    pub(crate) fn new(url: &BrokerUrl) -> Result<Self, UrlError> {
        let fail = |reason: &str| UrlError { url: url.to_string(), reason: reason.to_owned() };
        let identity = match (url.parameter("certfile"), url.parameter("keyfile")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
            _ => return Err(fail("certfile and keyfile go together")),
        };
        let verify = match url.parameter("verify") {
            None | Some("verify_peer") => true,
            Some("verify_none") => false,
            Some(_) => return Err(fail("verify must be verify_peer or verify_none")),
        };
        Ok(Settings {
            authorities: url.parameter("cacertfile").map(Into::into),
            identity,
            name: url.parameter("server_name_indication").unwrap_or(&url.host).to_owned(),
            verify,
        })
    }

    /// Reads the files; they may be renewed between two connections.
    pub(crate) fn adaptor(&self) -> Result<TlsAdaptor, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = if self.verify {
            builder.with_root_certificates(self.roots()?)
        } else {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anything(provider)))
        };
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("{}: {error}", key.display()))?;
                builder
                    .with_client_auth_cert(certificates(certificate)?, key)
                    .map_err(|error| error.to_string())?
            }
        };
        Ok(TlsAdaptor::new(TlsConnector::from(Arc::new(config)), self.name.clone()))
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        let found = match &self.authorities {
            Some(file) => certificates(file)?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(found);
        if roots.is_empty() {
            return Err("no certificate authority was found; name one by cacertfile".to_owned());
        }
        Ok(roots)
    }
}

fn certificates(file: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let fail = |error: &dyn fmt::Display| format!("{}: {error}", file.display());
    CertificateDer::pem_file_iter(file)
        .map_err(|error| fail(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| fail(&error))
}

/// `verify=verify_none`: the line is encrypted, to whom is not known.
#[derive(Debug)]
struct Anything(Arc<CryptoProvider>);

impl ServerCertVerifier for Anything {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, tokio_rustls::rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, tokio_rustls::rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
