//! Probes and lifecycle handlers of the pod's containers, made in the place of the kubelet: it has
//! no certificate, and mutual ports would turn it away.
//!
//! Nothing is asked but what was configured, and only for whoever knows the token. `http` and `grpc`
//! ask as the kubelet does; `exchange` is what both have in common.

mod args;
mod exchange;
mod grpc;
mod http;
mod redirect;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use countersign_contract::ProbeDocument;
use countersign_contract::probe::{Check, InvalidProbes, LONGEST, Probe};
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tracing::{info, warn};

pub use self::args::ProbeArgs;
use self::exchange::Failure;

/// So much sooner than the kubelet gives up we do, so that it hears why.
const SOONER: Duration = Duration::from_millis(100);

/// Why probes cannot be made.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each variant's text says what it is")]
pub enum Error {
    #[error("they are longer than {LONGEST} bytes")]
    TooLong,
    #[error("line {} column {} is not as it should be", .0.line(), .0.column())]
    Json(serde_json::Error),
    #[error(transparent)]
    Invalid(#[from] InvalidProbes),
    #[error("--pod-ip is wanted beside them")]
    NoAddress,
    #[error("setting up TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// How a probe went: what there is to say of it.
pub(crate) type Outcome = Result<String, String>;

/// Every probe that may be asked for.
#[derive(Default)]
pub(crate) struct Probes {
    token: String,
    all: BTreeMap<String, Entry>,
}

/// One probe.
struct Entry {
    asking: Asking,
    /// The question that is under way: whoever asks meanwhile hears the same answer, so that nobody
    /// has an application asked more than once at a time.
    running: Mutex<Option<WeakShared<BoxFuture<'static, Outcome>>>>,
    told: Arc<Told>,
}

/// What the log has of a probe, which the kubelet tells nobody: why it fails.
struct Told {
    path: String,
    why: Mutex<String>,
}

impl Told {
    /// Tells what is new.
    fn tell(&self, outcome: &Outcome) {
        let now = outcome.as_ref().err().map_or("", String::as_str);
        let mut why = self.why.lock().unwrap_or_else(PoisonError::into_inner);
        if *why == now {
            return;
        }
        match outcome {
            Ok(said) => info!(probe = self.path, said, "probe succeeds again"),
            Err(why) => warn!(probe = self.path, why, "probe failed"),
        }
        now.clone_into(&mut why);
    }
}

/// All that a question takes.
#[derive(Clone)]
struct Asking {
    probe: Arc<Probe>,
    at: IpAddr,
    tls: Arc<rustls::ClientConfig>,
}

/// Names and tokens of a pod are not for logs.
impl fmt::Debug for Probes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probes").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

impl Probes {
    /// Reads what was configured.
    pub(crate) fn of(args: &ProbeArgs) -> Result<Self, Error> {
        let Some(text) = args.probes.as_deref().filter(|text| !text.is_empty()) else {
            return Ok(Self::default());
        };
        if text.len() > LONGEST {
            return Err(Error::TooLong);
        }
        let document: ProbeDocument = serde_json::from_str(text).map_err(Error::Json)?;
        document.check()?;
        let tls = tls::config()?;
        let entry = |(path, probe): (String, Probe)| {
            let loopback = probe.loopback.then_some(Ipv4Addr::LOCALHOST.into());
            let at = loopback.or(args.pod_ip).ok_or(Error::NoAddress)?;
            let asking = Asking { probe: Arc::new(probe), at, tls: tls.clone() };
            let told = Arc::new(Told { path: path.clone(), why: Mutex::default() });
            Ok((path, Entry { asking, running: Mutex::default(), told }))
        };
        let all = document.probes.into_iter().map(entry).collect::<Result<_, Error>>()?;
        Ok(Self { token: document.token, all })
    }

    /// Whether somebody may ask.
    pub(crate) fn admits(&self, token: &[u8]) -> bool {
        !self.token.is_empty() && verify_slices_are_equal(self.token.as_bytes(), token).is_ok()
    }

    /// Asks, in the kubelet's name; nothing where there is no such probe.
    pub(crate) fn ask(
        &self,
        path: &str,
        agent: &str,
    ) -> Option<Shared<BoxFuture<'static, Outcome>>> {
        let entry = self.all.get(path)?;
        let mut running = entry.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = running.as_ref().and_then(WeakShared::upgrade) {
            return Some(question);
        }
        let (asking, told) = (entry.asking.clone(), entry.told.clone());
        let agent = agent.to_owned();
        let question = async move {
            let outcome = answer(asking, agent).await;
            told.tell(&outcome);
            outcome
        };
        let question = question.boxed().shared();
        *running = question.downgrade();
        Some(question)
    }
}

/// Asks, in time.
async fn answer(asking: Asking, agent: String) -> Outcome {
    let given = Duration::from_secs(u64::from(asking.probe.timeout_seconds));
    let answered = timeout(given.saturating_sub(SOONER), asking.ask(&agent)).await;
    let late = || Err(format!("no answer within {given:?}"));
    let answered = answered.map_or_else(|_| late(), |it| it.map_err(|failure| failure.to_string()));
    // One line, whatever stands in it.
    let line = |text: String| text.replace(|c: char| c.is_control(), " ");
    answered.map(line).map_err(line)
}

impl Asking {
    async fn ask(&self, agent: &str) -> Result<String, Failure> {
        match &self.probe.check {
            Check::Http(check) => http::ask(self, check, agent).await,
            Check::Grpc(check) => grpc::ask(self.at, check, agent).await,
            Check::Tcp(check) => connect(self.at, check.port).await.map(|_| "connected".to_owned()),
        }
    }
}

/// Connects as the kubelet would.
async fn connect(at: IpAddr, port: u16) -> Result<TcpStream, Failure> {
    let connected = TcpStream::connect((at, port)).await;
    connected.map_err(|source| Failure::Connect { at, port, source })
}
