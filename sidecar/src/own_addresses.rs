//! Which addresses are the pod's own: connections are passed on to no other.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The pod's own addresses, but for loopback.
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses {
    /// Those that were named. Others, of further interfaces, are looked up.
    named: Vec<IpAddr>,
}

impl OwnAddresses {
    pub(crate) fn new(named: Vec<IpAddr>) -> Self {
        Self { named }
    }

    /// Whether an address is one of them. What only loopback listeners serve is not for callers from
    /// outside, and what another host serves is not ours to call.
    pub(crate) fn contain(&self, address: SocketAddr) -> bool {
        is_unicast(address.ip()) && (self.named.contains(&address.ip()) || is_local(address))
    }

    /// The address from which the application is called where it listens on loopback: many
    /// applications trust callers that come from there.
    pub(crate) fn source_towards(&self, to: SocketAddr) -> Option<IpAddr> {
        let is_own = |ip: &&IpAddr| ip.is_ipv4() == to.is_ipv4() && is_unicast(**ip);
        self.named.iter().find(is_own).copied().filter(|_| to.ip().is_loopback())
    }
}

/// An address that one interface has, and that is not one of loopback. Pure.
fn is_unicast(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || is_broadcast)
}

/// The kernel binds sockets to local addresses only.
fn is_local(mut address: SocketAddr) -> bool {
    address.set_port(0);
    UdpSocket::bind(address).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), 80)
    }

    #[test]
    fn refuses_loopback_and_foreign_addresses() {
        let named = ["10.203.9.9", "127.0.0.1", "fd03::9"].map(|ip| ip.parse().unwrap());
        let own = OwnAddresses::new(named.to_vec());
        let cases = [
            ("10.203.9.9", true),
            ("fd03::9", true),
            ("127.0.0.1", false),
            ("127.0.0.6", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("0.0.0.0", false),
            ("::", false),
            ("255.255.255.255", false),
            ("224.0.0.1", false),
            ("ff02::1", false),
            // TEST-NET-1 and documentation (RFC 5737, RFC 3849): addresses that no host has.
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ];
        for (ip, expected) in cases {
            assert_eq!(own.contain(at(ip)), expected, "{ip}");
        }
    }

    #[test]
    fn an_application_on_loopback_is_called_from_the_pods_own_address() {
        let named = ["fd03::9", "10.203.9.9"].map(|ip| ip.parse().unwrap());
        let own = OwnAddresses::new(named.to_vec());
        assert_eq!(own.source_towards(at("127.0.0.1")), Some(named[1]));
        assert_eq!(own.source_towards(at("::1")), Some(named[0]));
        assert_eq!(own.source_towards(at("10.203.9.9")), None, "the kernel's choice is right");
        assert_eq!(OwnAddresses::default().source_towards(at("127.0.0.1")), None);
    }
}
