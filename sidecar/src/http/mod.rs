//! Ports whose application is told with each HTTP request who calls.
//!
//! Elsewhere bytes are carried as they are; here hyper reads requests from the client and writes them
//! anew to the application, so that nothing passes which the two of them could read differently. One
//! connection of a client's is one connection to the application, whose answers come in the order
//! and by the rules of that one. HTTP/2 stays HTTP/2, and HTTP/1.1 stays HTTP/1.1. Nothing is
//! answered here in the application's place but what is not HTTP.

mod app;
mod blame;
mod body;
mod drive;
mod exchange;
mod expectation;
mod flow;
mod forwarded;
mod headers;
mod heads;
mod line;
mod peer;
mod requests;
mod serve;
mod side;
mod subject;
mod tasks;
mod upgrade;

use std::sync::Arc;

use countersign_contract::Ending;
use hyper::header::HeaderValue;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use self::app::App;
pub(crate) use self::forwarded::of as told;
#[cfg(feature = "fuzzing")]
pub(crate) use self::forwarded::strip;
pub(crate) use self::line::Line;
use self::peer::Peer;
use crate::http_memory::Share;
use crate::inbound::Inbound;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::record::Session;
use crate::relay::Ended;

/// Both ends of a connection, after its handshake.
pub(crate) struct Ends {
    pub(crate) app: TcpStream,
    pub(crate) peer: TcpStream,
    pub(crate) session: Option<Box<Session>>,
    /// What came behind the handshake.
    pub(crate) early: Vec<u8>,
    /// What the application is sent before any request.
    pub(crate) greeting: Vec<u8>,
}

/// One connection whose requests are looked at.
pub(crate) struct Http {
    line: Arc<Line>,
    app: App,
    peer: Peer,
    greeting: Vec<u8>,
    /// Who calls; nothing of a client that presented no certificate.
    told: Option<HeaderValue>,
    /// The memory that is reserved for it.
    share: Share,
    metrics: Metrics,
    stop: CancellationToken,
}

impl Http {
    pub(crate) fn new(
        ends: Ends,
        told: Option<HeaderValue>,
        share: Share,
        live: Live,
        inbound: &Inbound,
    ) -> Box<Self> {
        let line = Arc::new(Line::new(live, inbound.handshake_timeout));
        let Ends { app, peer, session, early, greeting } = ends;
        let app = App::new(app, line.clone());
        let peer = Peer::new(peer, session, early, line.clone());
        let (metrics, stop) = (inbound.metrics.clone(), inbound.stop.clone());
        Box::new(Self { line, app, peer, greeting, told, share, metrics, stop })
    }

    /// Carries until the end, and makes sure that each side sees it as what it is.
    pub(crate) async fn run(self: Box<Self>) -> (Arc<Line>, Ended) {
        let (line, app, peer) = (self.line.clone(), self.app.clone(), self.peer.clone());
        let ended = serve::serve(*self).await;
        match ended.how {
            Ending::Closed => peer.linger().await,
            Ending::HttpProtocol => {
                app.reset();
                peer.close().await;
            }
            // It had its farewell, and nothing was cut off.
            _ if peer.is_shut() => peer.linger().await,
            _ => {
                app.reset();
                peer.break_off(&ended);
            }
        }
        (line, ended)
    }
}
