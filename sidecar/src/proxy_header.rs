//! Who is calling, told to the application before anything that the caller says (PROXY protocol,
//! version 2, section 2.2); pure.
//!
//! Beside addresses: the protocol inside TLS (ALPN), the name that was asked for (authority), and
//! what TLS verified (SSL: flags, version, common name). What the protocol has no field for is in
//! two of its fields for applications: 0xE0, each URI of the peer's certificate, which is its SPIFFE ID
//! where it has one; 0xE1, each DNS name.

use std::net::{IpAddr, SocketAddr};

use countersign_contract::policy::{PortPolicy, ProxyProtocol};
use proxy_header::{ProxiedAddress, ProxyHeader, SslInfo, Tlv};

use crate::inbound::Client;
use crate::tls::Peer;

const URI: u8 = 0xe0;
const DNS_NAME: u8 = 0xe1;

/// What the application is sent first; nothing where its port's policy does not ask for it.
pub(crate) fn of(
    policy: &PortPolicy,
    from: SocketAddr,
    to: SocketAddr,
    client: &Client,
) -> Vec<u8> {
    match policy.proxy_protocol {
        None => Vec::new(),
        Some(ProxyProtocol::V2) => encoded(&header(from, to, client)),
    }
}

fn header(from: SocketAddr, to: SocketAddr, client: &Client) -> ProxyHeader<'static> {
    let (from, to) = of_one_family(from, to);
    let mut header = ProxyHeader::with_address(ProxiedAddress::stream(from, to));
    if let Some(alpn) = &client.alpn {
        header.append_tlv(Tlv::Alpn(alpn.into()));
    }
    if let Some(name) = &client.server_name {
        header.append_tlv(Tlv::Authority(name.into()));
    }
    if let Some(session) = &client.session {
        header.append_tlv(Tlv::Ssl(ssl(session.version(), client.peer.as_deref())));
    }
    for peer in client.peer.iter() {
        let uris = peer.uris.iter().map(|uri| (URI, uri));
        let names = peer.dns_names.iter().map(|name| (DNS_NAME, name));
        for (kind, text) in uris.chain(names) {
            header.append_tlv(Tlv::Custom(kind, text.as_bytes().into()));
        }
    }
    header
}

/// The protocol has room for two addresses of one family: of two, the IPv4 address goes as the IPv6
/// address that stands for it (RFC 4291, 2.5.5.2).
fn of_one_family(from: SocketAddr, to: SocketAddr) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if from.is_ipv4() == to.is_ipv4() { (from, to) } else { (mapped(from), mapped(to)) }
}

fn ssl(version: &'static str, peer: Option<&Peer>) -> SslInfo<'static> {
    let has_certificate = peer.is_some();
    // 0 says that a certificate was verified, and not merely that nothing was wrong.
    let verify = u32::from(!has_certificate);
    let mut ssl = SslInfo::new(true, has_certificate, has_certificate, verify);
    ssl.append_tlv(Tlv::SslVersion(version.into()));
    if let Some(name) = peer.and_then(|peer| peer.common_name.as_ref()) {
        ssl.append_tlv(Tlv::SslCn(name.into()));
    }
    ssl
}

/// A header that is too long for its length field names the addresses only: certificates with
/// hundreds of names exist.
fn encoded(header: &ProxyHeader<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if header.encode_v2(&mut bytes).is_ok() {
        return bytes;
    }
    bytes.clear();
    let address = header.proxied_address().cloned();
    let bare = address.map_or_else(ProxyHeader::with_local, ProxyHeader::with_address);
    drop(bare.encode_v2(&mut bytes));
    bytes
}

#[cfg(test)]
mod tests {
    use proxy_header::ParseConfig;

    use super::*;

    fn client(uris: usize) -> Client {
        let uris = (0..uris).map(|uri| format!("spiffe://cluster.local/{uri:0>100}")).collect();
        let peer = Some(Peer { uris, ..Peer::default() }.into());
        Client { session: None, early: Vec::new(), peer, alpn: None, server_name: None, app: None }
    }

    /// The addresses in the header, and how much else is in it. There always is a header: an
    /// application that waits for one would take the client's first bytes for it.
    fn told(from: &str, to: &str, client: &Client) -> (String, String, usize) {
        let policy =
            PortPolicy { proxy_protocol: Some(ProxyProtocol::V2), ..PortPolicy::default() };
        let bytes = of(&policy, from.parse().unwrap(), to.parse().unwrap(), client);
        let (header, used) = ProxyHeader::parse(&bytes, ParseConfig::default()).unwrap();
        assert_eq!(used, bytes.len());
        let told = header.proxied_address().unwrap();
        (told.source.to_string(), told.destination.to_string(), header.tlvs().count())
    }

    #[test]
    fn addresses_of_both_families_are_told_even_together() {
        let cases = [
            ("1.2.3.4:5", "6.7.8.9:10", "1.2.3.4:5", "6.7.8.9:10"),
            ("[fd00::1]:5", "[fd00::2]:10", "[fd00::1]:5", "[fd00::2]:10"),
            ("1.2.3.4:5", "[::1]:10", "[::ffff:1.2.3.4]:5", "[::1]:10"),
            ("[fd00::1]:5", "6.7.8.9:10", "[fd00::1]:5", "[::ffff:6.7.8.9]:10"),
        ];
        for (from, to, source, destination) in cases {
            let expected = (source.to_owned(), destination.to_owned(), 1);
            assert_eq!(told(from, to, &client(1)), expected);
        }
    }

    #[test]
    fn names_that_do_not_fit_are_left_out_and_the_addresses_are_not() {
        let (few, many) = (client(500), client(1000));
        assert_eq!(told("1.2.3.4:5", "[::1]:10", &few).2, 500);
        for to in ["6.7.8.9:10", "[::1]:10"] {
            let (_, destination, names) = told("1.2.3.4:5", to, &many);
            assert_eq!((destination.as_str(), names), (to, 0));
        }
    }
}
