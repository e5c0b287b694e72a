//! Clients: they connect, and shake hands with rustls. The terminator's certificate is taken as it
//! is: verifying it would cost the load more than the terminator is to take for everything.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use socket2::{Domain, Socket, Type};

use super::channel::Channel;
use super::record::Half;

/// No answer in this time is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the key is agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    X25519,
    X25519MlKem768,
}

impl Group {
    /// The provider that offers this group and one suite alone, so that all negotiate the same.
    pub(crate) fn provider(self) -> Arc<CryptoProvider> {
        let group = match self {
            Self::X25519 => aws_lc_rs::kx_group::X25519,
            Self::X25519MlKem768 => aws_lc_rs::kx_group::X25519MLKEM768,
        };
        Arc::new(CryptoProvider {
            cipher_suites: vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256],
            kx_groups: vec![group],
            ..aws_lc_rs::default_provider()
        })
    }
}

/// What a client needs to know.
#[derive(Clone)]
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    target: SocketAddr,
}

/// A connection, and whose it is.
pub(crate) struct Opened {
    pub(crate) channel: Channel,
    /// The leaf that the terminator presented.
    pub(crate) server: CertificateDer<'static>,
}

impl Client {
    pub(crate) fn new(
        group: Group,
        leaf: Arc<CertifiedKey>,
        target: SocketAddr,
    ) -> anyhow::Result<Self> {
        let mut config = ClientConfig::builder_with_provider(group.provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AsItIs))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(leaf)));
        config.resumption = Resumption::disabled();
        config.enable_secret_extraction = true;
        Ok(Self { config: Arc::new(config), target })
    }

    /// The same client with another leaf.
    pub(crate) fn presenting(&self, leaf: Arc<CertifiedKey>) -> Self {
        let mut config = ClientConfig::clone(&self.config);
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(leaf));
        Self { config: Arc::new(config), target: self.target }
    }

    /// Connects from an address of the loopback's, of which each has its own ports, and shakes hands.
    pub(crate) fn open(&self, from: u8) -> anyhow::Result<Opened> {
        let mut stream = connect(from, self.target)?;
        let mut tls = self.in_memory()?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream).context("shaking hands")?;
        }
        let server = tls.peer_certificates().and_then(|chain| chain.first().cloned());
        let server = server.context("the terminator presented no certificate")?;
        let secrets = tls.dangerous_extract_secrets()?;
        let (sealing, opening) = (Half::new(secrets.tx)?, Half::new(secrets.rx)?);
        Ok(Opened { channel: Channel::new(stream, sealing, opening), server })
    }

    /// A client's side of a handshake, without a connection.
    pub(crate) fn in_memory(&self) -> anyhow::Result<ClientConnection> {
        let name = ServerName::try_from("localhost")?;
        Ok(ClientConnection::new(Arc::clone(&self.config), name)?)
    }

    /// Connects, and says what the backend is to do.
    pub(crate) fn ask(&self, from: u8, what: u8) -> anyhow::Result<Channel> {
        let mut channel = self.open(from)?.channel;
        channel.write(&[what])?;
        Ok(channel)
    }

    /// One connection from its first byte to its last, with one byte echoed.
    pub(crate) fn echo(&self, from: u8) -> anyhow::Result<CertificateDer<'static>> {
        let Opened { mut channel, server } = self.open(from)?;
        channel.write(&[super::backend::ECHO])?;
        channel.read_exact(1)?;
        channel.close()?;
        Ok(server)
    }
}

/// A connection from 127.0.0.(2 + from).
fn connect(from: u8, target: SocketAddr) -> anyhow::Result<TcpStream> {
    let source = Ipv4Addr::new(127, 0, 0, 2 + from % 250);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((source, 0)).into()).context("binding a source address")?;
    super::unpaced((&socket).into()).context("choosing the congestion control")?;
    socket.connect(&target.into()).with_context(|| format!("connecting to {target}"))?;
    socket.set_tcp_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// Takes whatever the terminator presents.
#[derive(Debug)]
struct AsItIs;

impl ServerCertVerifier for AsItIs {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
