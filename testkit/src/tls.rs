//! Certificates for `localhost`.

use std::path::PathBuf;
use std::process::Command;

use crate::TempDir;

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
        let dir = TempDir::new();
        dir.write("server.ext", "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let steps = [
            format!("req -x509 {key} -keyout ca.key -out ca.pem -days 30 -subj /CN=celeriac-test-authority"),
            format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile server.ext \
             -out server.pem"
                .to_owned(),
        ];
        for step in steps {
            let output =
                Command::new("openssl").args(step.split_whitespace()).current_dir(dir.path()).output();
            let output = output.unwrap_or_else(|error| panic!("openssl (run `cargo xtask setup`): {error}"));
            assert!(output.status.success(), "openssl {step}:\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Self { dir }
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
}
