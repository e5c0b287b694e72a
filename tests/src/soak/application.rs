//! The application behind the sidecar: what it does with a connection is the first byte's to say.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// Sends back what comes, at once, until the end.
pub(super) const ECHO: u8 = b'e';
/// Waits for the end, and then answers in pieces how much it was.
pub(super) const AFTERWARDS: u8 = b'a';
/// Says something, ends its own half first, and reads on.
pub(super) const FIRST: u8 = b'f';
/// Resets the connection.
pub(super) const RESET: u8 = b'r';

/// What `FIRST` says.
pub(super) const GREETING: &[u8] = b"that is all from here";

/// Goes away, with all of its connections, and comes back.
pub(super) struct Application {
    pub(super) address: SocketAddr,
    running: Option<JoinHandle<()>>,
}

impl Application {
    pub(super) async fn start(address: SocketAddr) -> anyhow::Result<Self> {
        let mut application = Self { address, running: None };
        application.comes().await?;
        Ok(application)
    }

    pub(super) async fn comes(&mut self) -> anyhow::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        self.running = Some(tokio::spawn(serve(listener)));
        Ok(())
    }

    pub(super) async fn goes(&mut self) {
        if let Some(running) = self.running.take() {
            running.abort();
            drop(running.await);
        }
    }
}

async fn serve(listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(answer(stream));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What the other end does not want to hear of is the other end's to judge.
async fn answer(mut stream: TcpStream) {
    let done = async {
        stream.set_nodelay(true)?;
        match stream.read_u8().await? {
            ECHO => {
                let (mut reader, mut writer) = stream.split();
                copy(&mut reader, &mut writer).await?;
                writer.shutdown().await
            }
            AFTERWARDS => afterwards(&mut stream).await,
            FIRST => {
                stream.write_all(GREETING).await?;
                stream.shutdown().await?;
                copy(&mut stream, &mut tokio::io::sink()).await.map(drop)
            }
            _ => stream.set_zero_linger(),
        }
    };
    drop(done.await);
}

async fn afterwards(stream: &mut TcpStream) -> std::io::Result<()> {
    let len = copy(stream, &mut tokio::io::sink()).await?;
    for byte in len.to_be_bytes() {
        stream.write_u8(byte).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stream.shutdown().await
}
