//! The syntax of an explicit upstream, as people write it in an annotation or on a command line.
//!
//! `9001=web.shop.svc.cluster.local:8080`: connections to 127.0.0.1:9001 in the pod go to port
//! 8080 of that host over mutual TLS, and whoever answers must prove to be
//! `dns:web.shop.svc.cluster.local`. `9001=HOST:PORT=PEER` names another identity to expect:
//! `spiffe://...` or `dns:NAME`. Several are separated by commas or white space.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::identity::{ExpectedPeer, is_dns_name};

/// One upstream of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// The port on loopback that the application calls.
    pub listen: u16,
    /// The host to dial: a DNS name or an IP address, without brackets.
    pub host: String,
    /// The port to dial.
    pub port: u16,
    /// Who must answer.
    pub peer: ExpectedPeer,
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { listen, host, port, peer } = self;
        if host.contains(':') {
            write!(f, "{listen}=[{host}]:{port}={peer}")
        } else {
            write!(f, "{listen}={host}:{port}={peer}")
        }
    }
}

impl FromStr for Upstream {
    type Err = InvalidUpstream;

    fn from_str(text: &str) -> Result<Self, InvalidUpstream> {
        let invalid = |why: &str| InvalidUpstream(text.to_owned(), why.to_owned());
        let mut parts = text.splitn(3, '=');
        let listen = parts.next().and_then(port).ok_or_else(|| invalid("has no port before ="))?;
        let target = parts.next().ok_or_else(|| invalid("has no HOST:PORT after ="))?;
        let (host, target_port) =
            split_host_port(target).ok_or_else(|| invalid("has no HOST:PORT after ="))?;
        let peer = match parts.next() {
            Some(peer) => peer.parse().map_err(|error| {
                InvalidUpstream(text.to_owned(), format!("expects a peer that {error}"))
            })?,
            None if host.parse::<IpAddr>().is_ok() => {
                return Err(invalid(
                    "dials an IP address: add =spiffe://... or =dns:NAME, who must answer",
                ));
            }
            None => ExpectedPeer::Dns(host.to_ascii_lowercase()),
        };
        Ok(Self { listen, host: host.to_owned(), port: target_port, peer })
    }
}

/// Reads a whole annotation: upstreams separated by commas or white space.
///
/// # Errors
/// When one of them is malformed, or two listen on the same port.
pub fn parse_list(text: &str) -> Result<Vec<Upstream>, InvalidUpstream> {
    let mut upstreams: Vec<Upstream> = Vec::new();
    let items = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty());
    for item in items {
        let upstream: Upstream = item.parse()?;
        if upstreams.iter().any(|other| other.listen == upstream.listen) {
            let why = format!("listens on port {}, as another does", upstream.listen);
            return Err(InvalidUpstream(item.to_owned(), why));
        }
        upstreams.push(upstream);
    }
    Ok(upstreams)
}

/// Splits `host:port` or `[v6]:port`; the host must be a DNS name or an IP address.
#[must_use]
pub fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port_text) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').filter(|v6| v6.contains(':'))?,
        None if host.contains(':') => return None,
        None => host,
    };
    let known = is_dns_name(host) || host.parse::<IpAddr>().is_ok();
    port(port_text).filter(|_| known).map(|port| (host, port))
}

fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// A text that should be an upstream and is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("upstream {0:?} {1} (PORT=HOST:PORT or PORT=HOST:PORT=PEER is wanted)")]
pub struct InvalidUpstream(String, String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_upstream_expects_the_name_that_it_dials() {
        let upstream: Upstream = "9001=Web.shop.svc.cluster.local:8080".parse().unwrap();
        assert_eq!((upstream.listen, upstream.port), (9001, 8080));
        assert_eq!(upstream.peer, ExpectedPeer::Dns("web.shop.svc.cluster.local".into()));
    }

    #[test]
    fn an_upstream_may_name_who_must_answer() {
        let text = "9001=[fd00::1]:8080=spiffe://cluster.local/ns/shop/sa/web";
        let upstream: Upstream = text.parse().unwrap();
        assert_eq!(upstream.host, "fd00::1");
        assert_eq!(upstream.to_string(), text);
    }

    #[test]
    fn a_list_is_separated_by_commas_or_white_space() {
        let list = parse_list("9001=a.b:1, 9002=c.d:2\n9003=e.f:3").unwrap();
        assert_eq!(list.iter().map(|u| u.listen).collect::<Vec<_>>(), [9001, 9002, 9003]);
    }

    #[test]
    fn what_is_not_an_upstream_is_refused_by_name() {
        for bad in [
            "9001",
            "=a:1",
            "x=a:1",
            "0=a:1",
            "9001=a",
            "9001=a:0",
            "9001=a:b",
            "9001=10.0.0.1:80",
            "9001=a:1=web",
            "70000=a:1",
            "9001=::1:80",
            "+1=a:1",
        ] {
            let error = bad.parse::<Upstream>().expect_err(bad).to_string();
            assert!(error.contains(bad), "{error}");
        }
        assert!(parse_list("9001=a:1,9001=b:1").is_err());
    }
}
