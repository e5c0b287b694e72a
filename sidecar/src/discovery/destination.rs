//! What is known of one destination.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use countersign_contract::discovery::{Answer, Endpoint as Told, Kind, Protocol};
use countersign_contract::{ExpectedPeer, Refusal};

/// An endpoint that failed is tried last for so many seconds.
const SPARED: u64 = 5;

/// The same of one that did not answer in time: each try costs its caller that time.
const SPARED_AFTER_TIMEOUT: u64 = 30;

/// What is known of one destination.
#[derive(Debug)]
pub(crate) struct Destination {
    /// Whose it is, for people; empty for what is outside.
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    /// Who answers for it.
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    /// Whether we always call the same one.
    pub(crate) is_sticky: bool,
}

/// Somebody who answers.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    /// Who it must prove to be; nothing where it is called as it is.
    pub(crate) peer: Option<ExpectedPeer>,
    /// How many connections of ours it has.
    load: AtomicU32,
    /// Until when it is tried last, in seconds since 1970.
    spared: AtomicU64,
}

/// A connection's share of an endpoint's load.
#[derive(Debug)]
pub(crate) struct Load(Arc<Endpoint>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Relaxed);
    }
}

impl Endpoint {
    /// An endpoint that nothing is known of.
    fn new(address: SocketAddr, peer: Option<ExpectedPeer>) -> Self {
        Self { address, peer, load: AtomicU32::new(0), spared: AtomicU64::new(0) }
    }

    /// One more connection.
    pub(crate) fn take(self: &Arc<Self>) -> Load {
        self.load.fetch_add(1, Relaxed);
        Load(self.clone())
    }

    pub(crate) fn load(&self) -> u32 {
        self.load.load(Relaxed)
    }

    /// It did not answer, or was not who it should have been.
    pub(crate) fn failed(&self, now: u64, reason: Refusal) {
        let spared = match reason {
            Refusal::DialTimeout | Refusal::HandshakeTimeout => SPARED_AFTER_TIMEOUT,
            _ => SPARED,
        };
        // Of calls that go on beside each other, the one that ends last may know less.
        self.spared.fetch_max(now + spared, Relaxed);
    }

    pub(crate) fn is_spared(&self, now: u64) -> bool {
        self.spared.load(Relaxed) > now
    }
}

impl Destination {
    /// What is outside of the cluster.
    pub(super) fn outside() -> Self {
        Self { name: "".into(), kind: Kind::Outside, endpoints: Vec::new(), is_sticky: false }
    }

    /// Of an answer; nothing of one that we do not understand, which is none. What is known of an
    /// endpoint that was there before is kept.
    pub(crate) fn of(answer: &Answer, before: Option<&Self>) -> Option<Self> {
        let kind = answer.kind();
        if kind == Kind::Unspecified {
            return None;
        }
        let known = before.map_or(&[][..], |before| &before.endpoints);
        let told = answer.endpoints.iter();
        let endpoints: Option<Vec<_>> = told.map(|told| endpoint(told, known)).collect();
        let name = answer.name.as_str().into();
        Some(Self { name, kind, endpoints: endpoints?, is_sticky: answer.sticky })
    }
}

fn endpoint(told: &Told, known: &[Arc<Endpoint>]) -> Option<Arc<Endpoint>> {
    let address: SocketAddr = told.address.parse().ok()?;
    let peer = match told.protocol() {
        Protocol::Plain if told.identity.is_empty() => None,
        Protocol::Mutual => Some(told.identity.parse().ok()?),
        Protocol::Plain | Protocol::Unspecified => return None,
    };
    let same = known.iter().find(|known| known.address == address && known.peer == peer);
    Some(same.cloned().unwrap_or_else(|| Arc::new(Endpoint::new(address, peer))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: Kind, told: &[(&str, Protocol, &str)]) -> Answer {
        let endpoints = told.iter().map(|(address, protocol, identity)| Told {
            address: (*address).to_owned(),
            protocol: (*protocol).into(),
            identity: (*identity).to_owned(),
        });
        Answer { kind: kind.into(), endpoints: endpoints.collect(), ..Answer::default() }
    }

    #[test]
    fn an_answer_that_is_not_understood_whole_is_none() {
        const WEB: &str = "spiffe://d/ns/shop/sa/web";
        let cases = [
            (answer(Kind::Outside, &[]), true),
            (answer(Kind::Unspecified, &[]), false),
            (answer(Kind::Pod, &[("10.0.0.1:80", Protocol::Mutual, WEB)]), true),
            (answer(Kind::Pod, &[("10.0.0.1:80", Protocol::Plain, "")]), true),
            // Whom should it prove to be?
            (answer(Kind::Pod, &[("10.0.0.1:80", Protocol::Mutual, "")]), false),
            // In the mesh, and yet not to be asked who it is?
            (answer(Kind::Pod, &[("10.0.0.1:80", Protocol::Plain, WEB)]), false),
            (answer(Kind::Pod, &[("10.0.0.1:80", Protocol::Unspecified, "")]), false),
            (answer(Kind::Pod, &[("web:80", Protocol::Plain, "")]), false),
            (
                answer(
                    Kind::Service,
                    &[
                        ("10.0.0.1:80", Protocol::Mutual, WEB),
                        ("10.0.0.2:80", Protocol::Mutual, "x"),
                    ],
                ),
                false,
            ),
        ];
        for (answer, is_understood) in cases {
            assert_eq!(Destination::of(&answer, None).is_some(), is_understood, "{answer:?}");
        }
    }

    #[test]
    fn what_is_known_of_an_endpoint_outlives_an_answer_and_not_a_change_of_its_identity() {
        let told = |identity| answer(Kind::Pod, &[("10.0.0.1:80", Protocol::Mutual, identity)]);
        let first = Destination::of(&told("spiffe://d/ns/shop/sa/web"), None).unwrap();
        let load = first.endpoints[0].take();
        first.endpoints[0].failed(100, Refusal::DialFailed);
        let again = Destination::of(&told("spiffe://d/ns/shop/sa/web"), Some(&first)).unwrap();
        assert_eq!((again.endpoints[0].load(), again.endpoints[0].is_spared(104)), (1, true));
        assert!(!again.endpoints[0].is_spared(105));
        let other = Destination::of(&told("spiffe://d/ns/shop/sa/api"), Some(&again)).unwrap();
        assert_eq!((other.endpoints[0].load(), other.endpoints[0].is_spared(104)), (0, false));
        drop(load);
        assert_eq!(again.endpoints[0].load(), 0);
    }

    #[test]
    fn endpoint_that_does_not_answer_in_time_is_spared_for_longer() {
        for (reason, seconds) in [
            (Refusal::DialFailed, 5),
            (Refusal::PeerUntrusted, 5),
            (Refusal::DialTimeout, 30),
            (Refusal::HandshakeTimeout, 30),
        ] {
            let endpoint = Endpoint::new(([10, 0, 0, 1], 80).into(), None);
            endpoint.failed(100, reason);
            endpoint.failed(100, Refusal::DialFailed);
            let spared = [99 + seconds, 100 + seconds].map(|now| endpoint.is_spared(now));
            assert_eq!(spared, [true, false], "{reason:?}");
        }
    }
}
