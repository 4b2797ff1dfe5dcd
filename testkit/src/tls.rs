//! Certificates for `localhost` and for who connects to it.

use std::path::PathBuf;
use std::process::Command;

use crate::TempDir;

/// What `openssl req` is told of a new key.
const NEW: &str = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";

/// A certificate authority of its own and a server certificate for `localhost` and 127.0.0.1, all PEM files.
#[derive(Debug)]
pub struct Tls {
    dir: TempDir,
}

impl Tls {
    /// Makes them with the `openssl` command.
    ///
    /// # Panics
    /// When it is not installed.
    pub fn generate() -> Self {
        let tls = Self { dir: TempDir::new() };
        tls.openssl(&format!(
            "req -x509 {NEW} -keyout ca.key -out ca.pem -days 30 -subj /CN=celeriac-test-authority"
        ));
        tls.signed("server", "localhost", "subjectAltName=DNS:localhost,IP:127.0.0.1");
        tls
    }

    /// A certificate for a client of this name, and its key.
    ///
    /// # Panics
    /// When the `openssl` command fails.
    pub fn client(&self, name: &str) -> (PathBuf, PathBuf) {
        self.signed(name, name, "extendedKeyUsage=clientAuth");
        (self.dir.path().join(format!("{name}.pem")), self.dir.path().join(format!("{name}.key")))
    }

    /// The authority's certificate, for the client.
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("server.pem")
    }

    /// The server's key.
    pub fn key(&self) -> PathBuf {
        self.dir.path().join("server.key")
    }

    /// Makes the files `FILE.pem` and `FILE.key`, signed by the authority.
    fn signed(&self, file: &str, name: &str, extension: &str) {
        self.dir.write(&format!("{file}.ext"), format!("{extension}\nbasicConstraints=CA:FALSE\n"));
        self.openssl(&format!("req {NEW} -keyout {file}.key -out {file}.csr -subj /CN={name}"));
        self.openssl(&format!(
            "x509 -req -in {file}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile {file}.ext \
             -out {file}.pem"
        ));
    }

    fn openssl(&self, words: &str) {
        let output =
            Command::new("openssl").args(words.split_whitespace()).current_dir(self.dir.path()).output();
        let output = output.unwrap_or_else(|error| panic!("openssl (run `cargo xtask setup`): {error}"));
        assert!(output.status.success(), "openssl {words}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
}
