//! A handshake without a socket, for the fuzz targets: the same steps and the same bounds.

use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::{ClientConfig, ServerConfig};

use super::{Error, Flights, MAX_FLIGHT, MAX_HELLO, Side, Step, parting, step};

/// What one side says.
#[derive(Default)]
pub(crate) struct Said {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_done: bool,
}

/// One side, between what it is given.
pub(crate) struct Offline<S> {
    pub(crate) side: S,
    flights: Flights,
    most: usize,
}

impl Offline<UnbufferedServerConnection> {
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self::of(UnbufferedServerConnection::new(config)?))
    }
}

impl Offline<UnbufferedClientConnection> {
    pub(crate) fn client(config: Arc<ClientConfig>) -> Result<Self, rustls::Error> {
        let name = std::net::IpAddr::from([127, 0, 0, 1]).into();
        Ok(Self::of(UnbufferedClientConnection::new(config, name)?))
    }
}

impl<S: Side> Offline<S> {
    fn of(side: S) -> Self {
        let flights = Flights { incoming: Vec::new(), shown: 0, outgoing: Vec::new() };
        Self { side, flights, most: MAX_HELLO }
    }

    /// Takes what came; what is answered. A side that failed also says by which alert.
    pub(crate) fn push(&mut self, came: &[u8]) -> Result<Said, (Error, Vec<u8>)> {
        if self.flights.incoming.len() + came.len() > self.most {
            return Err((Error::TooLong(self.most), Vec::new()));
        }
        self.flights.incoming.extend_from_slice(came);
        let mut said = Said::default();
        loop {
            match step(&mut self.side, &mut self.flights) {
                Ok(Step::Done) => return Ok(Said { is_done: true, ..said }),
                Ok(Step::Read) => return Ok(said),
                Ok(Step::Write) => {
                    said.bytes.append(&mut self.flights.outgoing);
                    self.most = MAX_FLIGHT;
                }
                Err(error) => {
                    let alert = parting(&mut self.side, &mut self.flights);
                    return Err((error.into(), alert.unwrap_or_default()));
                }
            }
        }
    }
}
