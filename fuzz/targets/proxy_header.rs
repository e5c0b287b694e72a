//! Whoever a caller is, the application is told of it in a header that can be read.
//!
//! The input: how, two addresses with their ports, and lines: the protocol, the name that was asked
//! for, the common name, and the names of the certificate, URIs and DNS names in turn.
#![no_main]

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use countersign_fuzz::{credentials, port};
use countersign_sidecar::fuzzing::{Caller, sessions};
use countersign_sidecar::tls::{Peer, client_configuration};
use libfuzzer_sys::fuzz_target;
use proxy_header::{ParseConfig, ProxyHeader, Tlv};

thread_local! {
    static WITH_SESSION: RefCell<Caller> = RefCell::new(with_session());
    static WITHOUT: RefCell<Caller> = RefCell::new(Caller::new(None));
}

fn with_session() -> Caller {
    let set = credentials();
    let expected = countersign_fuzz::WHO.parse().expect("an identity");
    let client = client_configuration(set.key.clone(), set.trust.clone(), expected, vec![]);
    let (_, server) = sessions(client.expect("it is ours"), port(true, false)).expect("they agree");
    Caller::new(Some(server))
}

fn address(is_v4: bool, bytes: &[u8]) -> SocketAddr {
    let mut ip = [0; 16];
    ip.copy_from_slice(&bytes[..16]);
    let ip: IpAddr = match is_v4 {
        true => Ipv4Addr::new(ip[0], ip[1], ip[2], ip[3]).into(),
        false => Ipv6Addr::from(ip).into(),
    };
    SocketAddr::new(ip, u16::from_be_bytes([bytes[16], bytes[17]]))
}

/// The names, many times over if it is asked for: certificates with hundreds of names exist.
fn peer<'a>(lines: impl Iterator<Item = &'a str>, times: usize) -> Peer {
    let mut lines = lines;
    let common_name = lines.next().map(str::to_owned);
    let names: Vec<_> = lines.map(str::to_owned).collect();
    let each = |from: usize| names.iter().skip(from).step_by(2).cloned();
    let times = |from| (0..times).flat_map(|_| each(from)).collect();
    Peer { uris: times(0), dns_names: times(1), common_name, ..Peer::default() }
}

fuzz_target!(|input: &[u8]| {
    let Some(([how, head @ ..], text)) = input.split_first_chunk::<37>() else { return };
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines();
    let alpn = lines.next().filter(|name| (1..256).contains(&name.len()));
    let name = lines.next().filter(|name| (1..256).contains(&name.len()));
    let peer = (how & 8 != 0).then(|| peer(lines, 1 << (how >> 5)));
    let addresses = [address(how & 1 != 0, &head[..18]), address(how & 2 != 0, &head[18..])];
    let caller = if how & 4 != 0 { &WITH_SESSION } else { &WITHOUT };
    let alpn = alpn.map(str::as_bytes);
    let bytes = caller.with_borrow_mut(|caller| caller.header(addresses, peer.clone(), alpn, name));

    let (read, len) = ProxyHeader::parse(&bytes, ParseConfig::default()).expect("a header");
    assert_eq!(len, bytes.len(), "the application would read on in what the client says");
    let said = read.proxied_address().expect("addresses");
    let same = |a: SocketAddr, b: SocketAddr| {
        (a.ip().to_canonical(), a.port()) == (b.ip().to_canonical(), b.port())
    };
    assert!(same(said.source, addresses[0]) && same(said.destination, addresses[1]));
    let tlvs: Vec<_> = read.tlvs().map(|tlv| tlv.expect("a field")).collect();
    let of = |kind| {
        let tlvs = tlvs.iter();
        tlvs.filter_map(move |tlv| match tlv {
            Tlv::Custom(found, text) if *found == kind => str::from_utf8(text).ok(),
            _ => None,
        })
    };
    if tlvs.is_empty() {
        return;
    }
    assert_eq!((read.alpn(), read.authority()), (alpn, name));
    let peer = peer.unwrap_or_default();
    assert!(of(0xe0).eq(&peer.uris) && of(0xe1).eq(&peer.dns_names));
    if how & 4 != 0 {
        let ssl = read.ssl().expect("what TLS verified");
        assert_eq!((ssl.client_cert_conn(), ssl.cn()), (how & 8 != 0, peer.common_name.as_deref()));
    }
});
