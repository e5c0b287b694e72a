//! Clients that must not be served: each must be cut, and in time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// More than the deadlines that the sidecar is given here, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// What somebody does who has no right to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stranger {
    Silent,
    /// Begins as TLS does, and says no more.
    Stops,
    /// Sends what begins as TLS does and is none.
    Garbage,
    Http,
    /// Resets at once.
    Gone,
    /// Begins, and resets.
    BreaksOff,
    WithoutCertificate,
}

impl Stranger {
    pub(super) const ALL: [Self; 7] = [
        Self::Silent,
        Self::Stops,
        Self::Garbage,
        Self::Http,
        Self::Gone,
        Self::BreaksOff,
        Self::WithoutCertificate,
    ];

    /// Tries, and is content once it was cut.
    pub(super) async fn tries(
        self,
        at: SocketAddr,
        without: &Arc<ClientConfig>,
    ) -> anyhow::Result<()> {
        let tried = async {
            let mut stream = TcpStream::connect(at).await.context("connecting")?;
            let said: &[u8] = match self {
                Self::Silent => &[],
                Self::Stops | Self::BreaksOff => &[0x16, 3, 1, 2, 0, 1, 0],
                Self::Garbage => &[0x16, 3, 1, 0, 8, 9, 9, 9, 9, 9, 9, 9, 9],
                Self::Http => b"GET / HTTP/1.1\r\nHost: soak\r\n\r\n",
                Self::Gone => return Ok(stream.set_zero_linger()?),
                Self::WithoutCertificate => return anonymous(stream, without).await,
            };
            stream.write_all(said).await.context("writing")?;
            if matches!(self, Self::BreaksOff) {
                return Ok(stream.set_zero_linger()?);
            }
            is_cut(&mut stream).await
        };
        let cut = tokio::time::timeout(PATIENCE, tried).await;
        cut.with_context(|| format!("{self:?}: still there after {PATIENCE:?}"))?
            .with_context(|| format!("{self:?}"))
    }
}

async fn is_cut(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut heard = Vec::new();
    // An alert may come first.
    if stream.read_to_end(&mut heard).await.is_ok() && heard.len() > 64 {
        bail!("{} bytes were said to it", heard.len());
    }
    Ok(())
}

/// In TLS 1.3 a client hears only behind its own handshake that it is refused.
async fn anonymous(stream: TcpStream, without: &Arc<ClientConfig>) -> anyhow::Result<()> {
    let connector = TlsConnector::from(without.clone());
    let Ok(mut stream) = connector.connect("soak.test".try_into()?, stream).await else {
        return Ok(());
    };
    match stream.read(&mut [0; 16]).await {
        Err(_) => Ok(()),
        Ok(len) => bail!("it was served: {len} bytes"),
    }
}
