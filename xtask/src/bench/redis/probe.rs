//! A socket that asks Redis for numbers.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpStream};

use anyhow::{Context, Result};

/// An open connection.
pub struct Probe(BufReader<TcpStream>);

impl Probe {
    /// Opens one to a server on 127.0.0.1.
    pub fn open(port: u16) -> Result<Self> {
        Ok(Self(BufReader::new(TcpStream::connect((Ipv4Addr::LOCALHOST, port))?)))
    }

    /// What a command answers that answers a number.
    pub fn number(&mut self, command: &str) -> Result<u32> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let number = line.trim().strip_prefix(':').and_then(|digits| digits.parse().ok());
        number.with_context(|| format!("{command}: {line}"))
    }
}
