//! Makes a handshake, and nothing after it.
//!
//! rustls is given one record at a time, and no more once the handshake is done: what lies behind it
//! is the connection's, and opened by `record`. A flight of ours is one write.

#[cfg(feature = "fuzzing")]
pub(crate) mod offline;

use std::io;
use std::time::Duration;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::record::{Frame, HEADER, MAX_PLAINTEXT, frame};
use crate::relay::socket;

/// How much a peer may send before it has said who it is: a ClientHello of one full record.
const MAX_HELLO: usize = HEADER + MAX_PLAINTEXT;

/// How much one flight may be: chains of certificates that long make no sense.
const MAX_FLIGHT: usize = 2 * MAX_HELLO;

/// What a client hears whose hello is longer: an alert, illegal_parameter, before there are keys (RFC
/// 8446, 5.1 and 6.2).
const TOO_LONG: [u8; 7] = [21, 3, 3, 0, 2, 2, 47];

/// How long, and how much, we listen to a peer after we told it that it is refused: what lies
/// unread when a socket is closed would make the kernel take back what was said.
const LAST_WORD: Duration = Duration::from_millis(250);

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the peer broke off")]
    Ended,
    #[error("more than {0} bytes in one flight")]
    TooLong(usize),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{}", super::refusal::text(.0))]
    Tls(#[from] rustls::Error),
}

/// A side of a handshake.
pub(crate) trait Side {
    type Data;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data>;
    /// Whether it has something to say.
    fn has_to_say(&self) -> bool;
    /// It is about to send what it has to say to a peer that said enough for that.
    fn answers(&self) {}
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn has_to_say(&self) -> bool {
        self.wants_write()
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;
    fn process<'c, 'i>(
        &'c mut self,
        incoming: &'i mut [u8],
    ) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }
    fn has_to_say(&self) -> bool {
        self.wants_write()
    }
}

/// What a handshake wants next.
enum Step {
    Write,
    Read,
    Done,
}

/// What came, and what is to go.
struct Flights {
    incoming: Vec<u8>,
    /// How much of it rustls was shown.
    shown: usize,
    outgoing: Vec<u8>,
}

/// Makes a handshake; `incoming` is what came already. What came behind the handshake is returned.
///
/// # Errors
/// When there is none to be made. The peer was told why, where TLS has an alert for it.
pub(crate) async fn shake(
    stream: &mut TcpStream,
    side: &mut impl Side,
    incoming: Vec<u8>,
) -> Result<Vec<u8>, Error> {
    let mut flights = Flights { incoming, shown: 0, outgoing: Vec::new() };
    let mut most = MAX_HELLO;
    loop {
        match step(side, &mut flights) {
            Ok(Step::Done) => return Ok(flights.incoming),
            Ok(Step::Write) => {
                side.answers();
                stream.write_all(&flights.outgoing).await?;
                flights.outgoing.clear();
                most = MAX_FLIGHT;
            }
            Ok(Step::Read) => match read(stream, &mut flights.incoming, most).await {
                Err(error @ Error::TooLong(MAX_HELLO)) => {
                    last_word(stream, &TOO_LONG).await;
                    return Err(error);
                }
                read => read?,
            },
            Err(error) => {
                tell(stream, side, &mut flights).await;
                return Err(error.into());
            }
        }
    }
}

/// Reads the first bytes of a client.
pub(crate) async fn read_hello(stream: &TcpStream, incoming: &mut Vec<u8>) -> Result<(), Error> {
    read(stream, incoming, MAX_HELLO).await
}

/// Reads more. The buffer is on the stack, and only while there is something to read: a silent peer
/// costs none.
async fn read(stream: &TcpStream, incoming: &mut Vec<u8>, most: usize) -> Result<(), Error> {
    if incoming.len() >= most {
        return Err(Error::TooLong(most));
    }
    loop {
        stream.readable().await?;
        match socket::read_onto(stream, incoming, most)? {
            Some(0) => return Err(Error::Ended),
            Some(_) => return Ok(()),
            None => {}
        }
    }
}

/// Lets rustls go on until it needs something.
fn step(side: &mut impl Side, flights: &mut Flights) -> Result<Step, rustls::Error> {
    loop {
        let UnbufferedStatus { discard, state, .. } =
            side.process(&mut flights.incoming[..flights.shown]);
        let next = state.and_then(|state| next(state, &mut flights.outgoing));
        flights.incoming.drain(..discard);
        flights.shown -= discard;
        match next? {
            Some(Step::Read) if flights.show() => {}
            Some(step) => return Ok(step),
            None => {}
        }
    }
}

/// What one state of rustls' asks for; nothing if it is to be asked again.
fn next<Data>(
    state: ConnectionState<'_, '_, Data>,
    outgoing: &mut Vec<u8>,
) -> Result<Option<Step>, rustls::Error> {
    match state {
        ConnectionState::EncodeTlsData(data) => encode(data, outgoing).map(|()| None),
        ConnectionState::TransmitTlsData(sent) => {
            sent.done();
            Ok(Some(Step::Write))
        }
        ConnectionState::WriteTraffic(_) => Ok(Some(Step::Done)),
        ConnectionState::BlockedHandshake => Ok(Some(Step::Read)),
        _ => Err(rustls::Error::General("the handshake was left".to_owned())),
    }
}

impl Flights {
    /// Shows rustls one record more, if it is there. What is no record is for rustls to refuse.
    fn show(&mut self) -> bool {
        let hidden = &self.incoming[self.shown..];
        let more = match frame(hidden) {
            Ok(Frame::Whole { len, .. }) => len,
            Ok(Frame::Partial(_)) => 0,
            Err(_) => hidden.len(),
        };
        self.shown += more;
        more > 0
    }
}

fn encode<Data>(
    mut data: EncodeTlsData<'_, Data>,
    outgoing: &mut Vec<u8>,
) -> Result<(), rustls::Error> {
    let start = outgoing.len();
    let mut room = 2048;
    loop {
        outgoing.resize(start + room, 0);
        match data.encode(&mut outgoing[start..]) {
            Ok(len) => {
                outgoing.truncate(start + len);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) => room = size.required_size,
            Err(error) => return Err(rustls::Error::General(error.to_string())),
        }
    }
}

/// Sends the alert that rustls has for its last error, and waits until the peer can have read it.
async fn tell(stream: &mut TcpStream, side: &mut impl Side, flights: &mut Flights) {
    if let Some(said) = parting(side, flights) {
        last_word(stream, &said).await;
    }
}

/// What was to be said, and the alert behind it. rustls is not asked once more than that: it would
/// find the same fault again, and have another alert for it.
fn parting(side: &mut impl Side, flights: &mut Flights) -> Option<Vec<u8>> {
    let mut said = std::mem::take(&mut flights.outgoing);
    let shown = &mut flights.incoming[..flights.shown];
    while side.has_to_say()
        && let Ok(ConnectionState::EncodeTlsData(data)) = side.process(shown).state
    {
        encode(data, &mut said).ok()?;
    }
    Some(said)
}

/// Says something, and closes once the peer can have read it.
pub(crate) async fn last_word(stream: &mut TcpStream, said: &[u8]) {
    let talk = async {
        stream.write_all(said).await?;
        stream.shutdown().await?;
        let mut unread = [0; 4096];
        for _ in 0..16 {
            if stream.read(&mut unread).await? == 0 {
                break;
            }
        }
        io::Result::Ok(())
    };
    drop(tokio::time::timeout(LAST_WORD, talk).await);
}
