//! What stands between a store and its server, and loses an answer when it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub struct Proxy {
    port: u16,
    loses: Arc<AtomicBool>,
}

impl Proxy {
    /// Passes on to a port of this machine what comes to another, for as long as the runtime lives.
    pub async fn start(port: u16, server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let loses = Arc::new(AtomicBool::new(false));
        let lose = Arc::clone(&loses);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&lose)));
            }
        });
        Proxy { port, loses }
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// The next answer is lost, and its connection with it.
    pub fn lose_an_answer(&self) {
        self.loses.store(true, Ordering::Release);
    }

    pub fn has_lost_it(&self) -> bool {
        !self.loses.load(Ordering::Acquire)
    }
}

async fn pass(client: TcpStream, server: TcpStream, loses: Arc<AtomicBool>) {
    let ((mut asked, mut told), (mut answers, mut asks)) = (client.into_split(), server.into_split());
    let back = async {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = answers.read(&mut buffer).await {
            if loses.swap(false, Ordering::AcqRel) || told.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = tokio::io::copy(&mut asked, &mut asks) => {}
        () = back => {}
    }
}
