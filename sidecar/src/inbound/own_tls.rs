//! Permissive ports whose application speaks TLS itself: clients outside of the mesh go on to reach it.
//!
//! A sidecar offers the mesh's own protocol in its ClientHello. Any other hello is shown to the application
//! first. If the answer is TLS, the connection passes as it is, as plaintext does. If it is not, the client
//! has no other partner than the sidecar: older ones that do not offer the protocol, and partners with
//! certificates, are served as ever.

use std::time::Duration;

use countersign_contract::policy::{Mode, PortPolicy};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::opening::{of_handshake, speaking};
use super::{Ends, Inbound};
use crate::connection::Refused;
use crate::detect::{answers_as_tls, is_of_mesh};
use crate::policy::is_allowed;
use crate::tls::handshake;

/// How long an application may take until it answers a hello. One that waits for a line that does not end
/// never does.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The application, if it answers this client's hello as TLS does; it has been sent the hello. More of it
/// may be read from the client.
pub(super) async fn answered(
    inbound: &Inbound,
    policy: &PortPolicy,
    stream: &TcpStream,
    hello: &mut Vec<u8>,
    ends: Ends,
) -> Result<Option<TcpStream>, Refused> {
    if !may_pass(policy) {
        return Ok(None);
    }
    let is_of_mesh = loop {
        match is_of_mesh(hello) {
            Some(known) => break known,
            None => {
                let read = handshake::read_hello(stream, hello).await;
                read.map_err(|error| of_handshake(&error))?;
            }
        }
    };
    if is_of_mesh {
        return Ok(None);
    }
    let asked = timeout(ANSWER_TIMEOUT, ask(inbound, policy, hello, ends));
    Ok(Box::pin(asked).await.ok().flatten())
}

/// Whether a client without a certificate of the mesh may pass, whatever it says inside. Where the
/// application is told in HTTP who calls, TLS of its own would hide from us what a client claims.
fn may_pass(policy: &PortPolicy) -> bool {
    policy.mode == Mode::Permissive && !policy.forwarded_client_cert && is_allowed(policy, None)
}

async fn ask(
    inbound: &Inbound,
    policy: &PortPolicy,
    hello: &[u8],
    ends: Ends,
) -> Option<TcpStream> {
    let app = speaking(hello, inbound, policy, ends).await.ok()?;
    let mut first = [0; 2];
    let len = app.peek(&mut first).await.ok()?;
    answers_as_tls(&first[..len]).then_some(app)
}
