//! The command line, which is also the whole configuration.

mod limits;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use countersign_contract::{ExpectedPeer, Served, SpiffeId, Upstream, names, upstream};

use crate::probe::ProbeArgs;
use crate::sweep::Deadlines;
pub use limits::LimitArgs;

/// Terminates and originates mutual TLS.
#[derive(Clone, Debug, Parser)]
#[command(name = "countersign-sidecar", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What to log: a level, or a filter such as `info,countersign_sidecar=debug`.
    #[arg(long, env = "COUNTERSIGN_LOG", default_value = "info", global = true)]
    pub log: String,
    /// How to log.
    #[arg(long, env = "COUNTERSIGN_LOG_FORMAT", value_enum, default_value_t = LogFormat::Human, global = true)]
    pub log_format: LogFormat,
}

/// How to log.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// One line of text, for people.
    Human,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Accepts mutual TLS, and passes on what comes in it.
    Inbound(InboundArgs),
    /// Accepts plain connections, and passes them on over mutual TLS.
    Outbound(OutboundArgs),
    /// Both, as the sidecar of a pod.
    Pod(PodArgs),
    /// Lays the nftables rules of the network namespace that it runs in.
    Redirect(RedirectArgs),
}

/// What every proxy is told.
#[derive(Clone, Debug, Args)]
pub struct Common {
    /// The folder with tls.crt, tls.key and ca.crt.
    #[arg(long, value_name = "DIR")]
    pub credentials: PathBuf,
    /// Health and metrics, plain HTTP.
    #[arg(long, value_name = "ADDR")]
    pub admin: SocketAddr,
    /// Tell this OpenTelemetry collector of each connection: http://HOST:PORT/v1/traces.
    #[arg(long, value_name = "URL")]
    pub traces: Option<Collector>,
    /// The SPIFFE ID that our own certificate must bear; any, if unset.
    #[arg(long, value_name = "ID")]
    pub identity: Option<SpiffeId>,
    /// How many threads serve connections, or `auto`: one for each core that we may use, 4 at most.
    #[arg(long, default_value = "auto")]
    pub workers: Workers,
    /// How long a client may take until it sends its first byte.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub first_byte_timeout: Duration,
    /// How long a peer may take until its handshake is done.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub handshake_timeout: Duration,
    /// How long a connection to the application, or to an upstream, may take.
    #[arg(long, default_value = "5s", value_parser = duration)]
    pub dial_timeout: Duration,
    /// How long a connection may last over which nothing passes.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub idle_timeout: Duration,
    /// The same, once one of its ends is done.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub half_closed_timeout: Duration,
    /// How long either end may leave unread, or unacknowledged, what it was sent.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub stall_timeout: Duration,
    /// All three for clients that proved no identity, while such clients hold half of the connections
    /// that they may.
    #[arg(long, default_value = "5m", value_parser = duration)]
    pub unidentified_idle_timeout: Duration,
    /// How long a connection may go on after its peer's certificate has ended.
    #[arg(long, default_value = "24h", value_parser = duration)]
    pub peer_expiry_grace: Duration,
    /// How long live connections may go on after SIGTERM.
    #[arg(long, default_value = "25s", value_parser = duration)]
    pub drain_timeout: Duration,
    /// How many connections and handshakes there may be.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl Common {
    /// The kernel gives up a peer that acknowledges nothing only when a sweep would have cut one that
    /// does not read: to the kernel both look alike, and only we know the name. By itself it retransmits
    /// for about 15 minutes (tcp_retries2), which no longer timeout of ours must prolong.
    pub(crate) fn kernel_patience(&self) -> Option<Duration> {
        let stall = self.stall_timeout;
        let patience = stall.saturating_add(stall.min(Duration::from_secs(4)));
        (stall < Duration::from_secs(15 * 60)).then_some(patience)
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        Deadlines {
            idle: self.idle_timeout,
            half_closed: self.half_closed_timeout,
            stall: self.stall_timeout,
            unidentified: self.unidentified_idle_timeout,
            grace: self.peer_expiry_grace,
        }
    }
}

/// Where spans go: a collector's address, plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    /// Host and port.
    pub authority: String,
    /// The path, with its first slash.
    pub path: String,
}

impl fmt::Display for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

impl FromStr for Collector {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "it is not http://HOST:PORT/PATH";
        let rest = text.strip_prefix("http://").ok_or(WANTED)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, "v1/traces"));
        upstream::split_host_port(authority).ok_or(WANTED)?;
        Ok(Self { authority: authority.to_owned(), path: format!("/{path}") })
    }
}

/// How many threads serve connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// As many as there are cores for us.
    Auto,
    /// So many.
    Count(u16),
}

impl Workers {
    /// Without a limit on its CPU, a sidecar on a large node still is a small program.
    const MOST: usize = 4;

    /// How many that are here: what the limits of the container, or taskset, leave us.
    #[must_use]
    pub fn count(self) -> usize {
        match self {
            Self::Count(count) => usize::from(count),
            Self::Auto => {
                std::thread::available_parallelism().map_or(1, |cores| cores.get().min(Self::MOST))
            }
        }
    }
}

impl FromStr for Workers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let count = text.parse().ok().filter(|count| (1..=256).contains(count));
        count
            .map(Self::Count)
            .ok_or_else(|| "it is neither auto nor a number from 1 to 256".to_owned())
    }
}

/// Who may pass, and what they are shown.
#[derive(Clone, Debug, Default, Args)]
pub struct PolicyArgs {
    /// How each port answers, and which peers may pass; JSON.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The policies of the pod's namespace, as the operator compiles them; JSON.
    #[arg(long, value_name = "FILE", requires = "labels", conflicts_with = "policy")]
    pub policies: Option<PathBuf>,
    /// The pod's labels, by which policies select it, as the kubelet writes them.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// A folder with a folder for each certificate that the policy names.
    #[arg(long, value_name = "DIR")]
    pub certificates: Option<PathBuf>,
}

/// `inbound`
#[derive(Clone, Debug, Args)]
pub struct InboundArgs {
    /// Where to accept TLS.
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where to pass connections on.
    #[arg(long, value_name = "ADDR", required_unless_present = "transparent")]
    pub to: Option<SocketAddr>,
    /// Pass connections on to where they went before they were redirected here.
    #[arg(long, conflicts_with = "to")]
    pub transparent: bool,
    /// Who may pass, and what they are shown.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// What every proxy is told.
    #[command(flatten)]
    pub common: Common,
}

/// `outbound`
#[derive(Clone, Debug, Args)]
pub struct OutboundArgs {
    /// Where to accept plain connections.
    #[arg(long, value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Where to pass them on.
    #[arg(long, value_name = "HOST:PORT", value_parser = target)]
    pub to: Target,
    /// Who must answer: spiffe://... or dns:NAME.
    #[arg(long)]
    pub peer: ExpectedPeer,
    /// Protocols to offer inside TLS, best first, comma separated: h2, http/1.1.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub alpn: Vec<String>,
    /// What every proxy is told.
    #[command(flatten)]
    pub common: Common,
}

/// `pod`
#[derive(Clone, Debug, Args)]
pub struct PodArgs {
    /// The port to which the pod's inbound connections are redirected; 0 where none are.
    #[arg(long, default_value_t = names::INBOUND_PORT)]
    pub inbound: u16,
    /// PORT=HOST:PORT or PORT=HOST:PORT=PEER; may be given several times.
    #[arg(long = "upstream", value_name = "UPSTREAM")]
    pub upstreams: Vec<Upstream>,
    /// Who is behind the addresses that the application calls.
    #[command(flatten)]
    pub mesh: MeshArgs,
    /// LISTEN=TARGET: mutual TLS on port LISTEN, under its policy, goes to port TARGET on loopback; may
    /// be given several times.
    #[arg(long = "serve", value_name = "LISTEN=TARGET")]
    pub served: Vec<Served>,
    /// Probes of the pod's containers.
    #[command(flatten)]
    pub probes: ProbeArgs,
    /// Who may pass, and what they are shown.
    #[command(flatten)]
    pub policy: PolicyArgs,
    /// What every proxy is told.
    #[command(flatten)]
    pub common: Common,
}

/// How a pod takes part in the mesh.
#[derive(Clone, Debug, Default, Args)]
pub struct MeshArgs {
    /// The port to which the pod's outbound connections are redirected.
    #[arg(long, value_name = "PORT", requires = "discovery")]
    pub outbound: Option<u16>,
    /// Where the operator says who is behind an address.
    #[arg(long, value_name = "HOST:PORT", value_parser = target, requires = "discovery_peer")]
    pub discovery: Option<Target>,
    /// Who must answer there: spiffe://... or dns:NAME.
    #[arg(long, value_name = "PEER")]
    pub discovery_peer: Option<ExpectedPeer>,
    /// How long a connection to a destination that is not known yet may wait for the answer.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub discovery_timeout: Duration,
    /// The name of the pod.
    #[arg(long, env = "COUNTERSIGN_POD", default_value = "")]
    pub pod: String,
    /// The addresses of the pod, comma separated: calls to itself do not leave it.
    #[arg(long, env = "COUNTERSIGN_POD_IPS", value_delimiter = ',')]
    pub pod_ips: Vec<IpAddr>,
}

/// `redirect`
#[derive(Clone, Debug, Args)]
pub struct RedirectArgs {
    /// Send inbound TCP connections to this port.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub inbound: Option<u16>,
    /// Send outbound TCP connections to this port.
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub outbound: Option<u16>,
    /// Inbound ports that are left alone, comma separated.
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub skip_inbound: Vec<u16>,
    /// Outbound ports that are left alone, comma separated.
    #[arg(long, value_name = "PORTS", value_delimiter = ',')]
    pub skip_outbound: Vec<u16>,
    /// Outbound connections to this address and port are left alone: the API server's.
    #[arg(long, value_name = "IP:PORT", value_parser = address)]
    pub leave: Vec<SocketAddr>,
    /// The file whose name servers are left alone, on port 53.
    #[arg(long, value_name = "FILE", default_value = "/etc/resolv.conf")]
    pub resolv_conf: PathBuf,
    /// The user whose connections are left alone: the sidecar itself.
    #[arg(long, default_value_t = names::SIDECAR_UID)]
    pub uid: u32,
    /// Take the rules away again.
    #[arg(long, conflicts_with_all = ["inbound", "outbound"])]
    pub undo: bool,
}

/// A host, by name or address, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A DNS name or an IP address.
    pub host: String,
    /// The port.
    pub port: u16,
}

fn target(text: &str) -> Result<Target, String> {
    let (host, port) = upstream::split_host_port(text).ok_or("it is not HOST:PORT")?;
    Ok(Target { host: host.to_owned(), port })
}

/// An address and a port; IPv6 with or without brackets, since it is put together of two variables.
fn address(text: &str) -> Result<SocketAddr, String> {
    let parsed = text.rsplit_once(':').and_then(|(ip, port)| {
        let ip = ip.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(ip);
        Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?))
    });
    parsed.ok_or_else(|| "it is not IP:PORT".to_owned())
}

/// `500ms`, `10s`, `2m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| "it is not a duration such as 10s".to_owned())?;
    match unit {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number.saturating_mul(60))),
        "h" => Ok(Duration::from_secs(number.saturating_mul(3600))),
        _ => Err("it is not a duration such as 10s".to_owned()),
    }
}

impl Cli {
    /// Reads the command line; a wrong one ends the program with status 2 and one sentence.
    #[must_use]
    pub fn parse_or_exit() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            if !error.use_stderr() {
                error.exit();
            }
            let text = error.to_string();
            // clap names missing arguments on lines of their own.
            let said: Vec<&str> = text
                .lines()
                .take_while(|line| !line.starts_with("Usage") && !line.starts_with("For more"))
                .map(str::trim)
                .collect();
            let sentence = said.join(" ");
            eprintln!("countersign-sidecar: {}", sentence.trim().trim_start_matches("error: "));
            std::process::exit(2);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(more: &[&str]) -> Common {
        let args = ["sidecar", "inbound", "--listen", "127.0.0.1:1", "--to", "127.0.0.1:2"];
        let files = ["--credentials", "/", "--admin", "127.0.0.1:3"];
        match Cli::try_parse_from([&args[..], &files, more].concat()).unwrap().command {
            Command::Inbound(args) => args.common,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn timeouts_are_by_default_as_long_as_tcp_allows() {
        let common = common(&[]);
        let (deadlines, day) = (common.deadlines(), Duration::from_secs(24 * 3600));
        let Deadlines { idle, half_closed, stall, grace, unidentified } = deadlines;
        assert_eq!([idle, half_closed, stall, grace], [day; 4]);
        assert_eq!(unidentified, Duration::from_secs(300));
        assert_eq!(common.kernel_patience(), None, "the kernel's own");
    }

    #[test]
    fn the_kernel_gives_up_a_peer_after_a_sweep_would_have() {
        let cases =
            [("5m", Some(304_000)), ("1500ms", Some(3000)), ("14m", Some(844_000)), ("15m", None)];
        for (stall, expected) in cases {
            let patience = common(&["--stall-timeout", stall]).kernel_patience();
            assert_eq!(patience, expected.map(Duration::from_millis), "{stall}");
        }
    }

    #[test]
    fn limits_follow_from_the_number_of_connections() {
        let limits = common(&[]).limits;
        let inbound = limits.inbound(1792);
        assert_eq!((inbound.all, inbound.of_source, inbound.unidentified), (1792, 896, 1344));
        assert_eq!(limits.handshakes(1792), (896, 256));
        assert_eq!(limits.handshakes(16384), (1024, 256));
        let (inbound, outbound) = (limits.inbound(1), LimitArgs::outbound(1));
        assert_eq!((inbound.all, inbound.of_source, inbound.unidentified), (1, 1, 1));
        assert_eq!((outbound.all, outbound.of_source), (1, 1));
        assert_eq!(limits.handshakes(1), (1, 1));
    }
}
