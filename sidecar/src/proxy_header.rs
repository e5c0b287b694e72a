//! Who is calling, told to the application before anything that the caller says (PROXY protocol,
//! version 2, section 2.2); pure.
//!
//! Beside addresses: the protocol inside TLS (ALPN), the name that was asked for (authority), and
//! what TLS verified (SSL: flags, version, common name). What the protocol has no field for is in
//! two of its fields for applications: 0xE0, each URI of the peer's certificate, which is its SPIFFE ID
//! where it has one; 0xE1, each DNS name.

use std::net::SocketAddr;

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
    let mut header = ProxyHeader::with_address(addresses(from, to));
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

/// The header has room for two addresses of one family. Where they are of two, which happens when
/// `--to` is of the other one, the older is written as the newer (RFC 4291, 2.5.5.2): without a
/// whole header, what the client says would be read as the rest of it.
fn addresses(from: SocketAddr, to: SocketAddr) -> ProxiedAddress {
    if from.is_ipv4() == to.is_ipv4() {
        return ProxiedAddress::stream(from, to);
    }
    ProxiedAddress::stream(mapped(from), mapped(to))
}

fn mapped(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
        SocketAddr::V6(_) => address,
    }
}

fn ssl(version: &'static str, peer: Option<&Peer>) -> SslInfo<'static> {
    let has_certificate = peer.is_some();
    let mut ssl = SslInfo::new(true, has_certificate, has_certificate, 0);
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

    #[test]
    fn a_header_is_whole_where_the_application_is_of_the_other_family() {
        let policy =
            PortPolicy { proxy_protocol: Some(ProxyProtocol::V2), ..PortPolicy::default() };
        let client =
            Client { session: None, early: vec![], peer: None, alpn: None, server_name: None };
        let addresses = ["192.0.2.1:7", "[2001:db8::1]:7"];
        let as_ipv6 = ["[::ffff:192.0.2.1]:7", "[2001:db8::1]:7"];
        for (from, to) in [(0, 1), (1, 0)] {
            let parsed = |list: [&str; 2], place: usize| list[place].parse::<SocketAddr>().unwrap();
            let header = of(&policy, parsed(addresses, from), parsed(addresses, to), &client);
            let (read, len) = ProxyHeader::parse(&header, ParseConfig::default()).unwrap();
            let found = read.proxied_address().unwrap();
            assert_eq!(
                (found.source, found.destination),
                (parsed(as_ipv6, from), parsed(as_ipv6, to))
            );
            assert_eq!(len, header.len());
        }
    }
}
