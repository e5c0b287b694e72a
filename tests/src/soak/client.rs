//! Good clients, by what they do; each is right to be served, whatever else goes on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use super::application::{AFTERWARDS, ECHO, FIRST, GREETING, RESET};

/// Longer than any of them waits for one answer, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// How much a bulk client sends, and gets back.
const BULK: usize = 4 << 20;

/// Where to call, and how.
#[derive(Clone)]
pub(super) enum Door {
    /// The inbound sidecar, with a certificate.
    Mutual(SocketAddr, Arc<ClientConfig>),
    /// The outbound sidecar, which calls the inbound one.
    Plain(SocketAddr),
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Story {
    /// A small request, and its answer.
    Fresh,
    /// Small requests for some seconds.
    Live,
    /// Megabytes, both ways at once.
    Bulk,
    /// It ends its half, and is answered then.
    EndsFirst,
    /// The application ends its half, and is still told something.
    EndsLast,
    /// The application resets.
    IsReset,
    /// The client resets.
    Resets,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}
type Stream = Box<dyn Duplex>;

impl Door {
    async fn open(&self, is_reset_at_the_end: bool) -> anyhow::Result<Stream> {
        let stream = match self {
            Self::Plain(at) => TcpStream::connect(at).await,
            Self::Mutual(at, _) => from_somewhere(*at).await,
        };
        let stream = stream.context("connecting")?;
        stream.set_nodelay(true)?;
        if is_reset_at_the_end {
            stream.set_zero_linger()?;
        }
        match self {
            Self::Plain(_) => Ok(Box::new(stream)),
            Self::Mutual(_, config) => {
                let name = "soak.test".try_into()?;
                let connector = TlsConnector::from(config.clone());
                Ok(Box::new(connector.connect(name, stream).await.context("the handshake")?))
            }
        }
    }
}

/// Clients of a pod are of many addresses, for each of which there is a bound of its own.
async fn from_somewhere(to: SocketAddr) -> std::io::Result<TcpStream> {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let last = 2 + NEXT.fetch_add(1, Relaxed) % 32;
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, last], 0).into())?;
    socket.connect(to).await
}

/// Plays a story to its end.
pub(super) async fn play(door: &Door, story: Story) -> anyhow::Result<()> {
    let played = async {
        let stream = door.open(story == Story::Resets);
        let mut stream = tokio::time::timeout(PATIENCE, stream).await.context("opening")??;
        match story {
            Story::Fresh => exchange(&mut stream, 1, Duration::ZERO).await,
            Story::Live => exchange(&mut stream, 100, Duration::from_millis(50)).await,
            Story::Bulk => bulk(stream).await,
            Story::EndsFirst => ends_first(&mut stream).await,
            Story::EndsLast => ends_last(&mut stream).await,
            Story::IsReset => is_reset(&mut stream).await,
            Story::Resets => Ok(stream.write_all(&[ECHO; 3000]).await?),
        }
    };
    let patience = 3 * PATIENCE;
    tokio::time::timeout(patience, played).await.with_context(|| format!("in {patience:?}"))?
}

async fn exchange(stream: &mut Stream, times: u32, pause: Duration) -> anyhow::Result<()> {
    stream.write_u8(ECHO).await.context("asking")?;
    for number in 0..times {
        let request = [number.to_be_bytes(); 64].concat();
        stream.write_all(&request).await.context("asking")?;
        stream.flush().await.context("asking")?;
        let mut answer = vec![0; request.len()];
        stream.read_exact(&mut answer).await.context("reading an answer")?;
        ensure!(answer == request, "the answer is another's");
        tokio::time::sleep(pause).await;
    }
    ends(stream).await
}

/// Ends, and wants nothing but the end.
async fn ends(stream: &mut Stream) -> anyhow::Result<()> {
    stream.shutdown().await.context("ending")?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.context("reading the end")?;
    ensure!(rest.is_empty(), "{} bytes behind the end", rest.len());
    Ok(())
}

async fn bulk(stream: Stream) -> anyhow::Result<()> {
    let byte = |place: usize| (place % 251) as u8;
    let (mut reader, mut writer) = split(stream);
    let sends = async {
        writer.write_u8(ECHO).await?;
        let request: Vec<u8> = (0..BULK).map(byte).collect();
        writer.write_all(&request).await?;
        writer.shutdown().await
    };
    let reads = async {
        let mut answer = Vec::with_capacity(BULK);
        reader.read_to_end(&mut answer).await.map(|_| answer)
    };
    let ((), answer) = tokio::try_join!(sends, reads).context("bulk")?;
    ensure!(answer.len() == BULK, "{} bytes of {BULK} came back", answer.len());
    ensure!(answer.iter().enumerate().all(|(place, found)| *found == byte(place)), "not the same");
    Ok(())
}

async fn ends_first(stream: &mut Stream) -> anyhow::Result<()> {
    let request = [AFTERWARDS; 5001];
    stream.write_all(&request).await.context("asking")?;
    stream.shutdown().await.context("ending first")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.context("reading the answer")?;
    ensure!(answer == 5000_u64.to_be_bytes(), "the answer is {answer:?}");
    Ok(())
}

async fn ends_last(stream: &mut Stream) -> anyhow::Result<()> {
    stream.write_u8(FIRST).await.context("asking")?;
    stream.flush().await.context("asking")?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.context("reading the first end")?;
    ensure!(said == GREETING, "it said {said:?}");
    stream.write_all(&[0; 20_000]).await.context("writing on after the first end")?;
    stream.shutdown().await.context("ending last")
}

async fn is_reset(stream: &mut Stream) -> anyhow::Result<()> {
    stream.write_u8(RESET).await.context("asking")?;
    stream.flush().await.context("asking")?;
    match stream.read(&mut [0; 16]).await {
        Err(_) => Ok(()),
        Ok(len) => bail!("a reset came as an end, or as {len} bytes"),
    }
}
