//! Chains that verified a moment ago are not verified again.
//!
//! Whether a chain verifies, and whose it is, depends on its bytes, the roots, the keys by which CAs are told
//! apart, the revocation lists, the use and the time. A set of these belongs to one set of roots and lists and to one use, and goes when they
//! do. What is left is the bytes, which are the key, and the time, which is an interval: while
//! every certificate in the chain is valid and the lists are current, verifying again would find
//! what it found. Only the holder of the leaf's key can use an entry: `CertificateVerify` is
//! always checked. Only a chain that verified is ever remembered, so that strangers fill nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use countersign_contract::access::Signer;
use rustls::{CertificateError, Error};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::digest::{Key, key};
use super::peer::{Peer, SignedBy, validity};

/// How many chains are remembered.
const MOST: usize = 1024;

/// Chains that verified under one set of roots and lists, for one use.
#[derive(Debug)]
pub(super) struct Verified {
    /// When the first of the revocation lists ends, in seconds since 1970.
    lists_until: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    chains: HashMap<Key, Chain>,
    /// Oldest first.
    order: VecDeque<Key>,
    /// The peer that was met last, whose connection is about to ask for it: nobody else holds it yet.
    last: Option<Arc<Peer>>,
}

/// What verifying a chain found.
#[derive(Debug)]
pub(super) struct Proven {
    /// Those of its certificates that lead to a root, the leaf first.
    pub(super) path: Vec<CertificateDer<'static>>,
    /// The CA whose it is, where CAs are told apart.
    pub(super) signed_by: Option<SignedBy>,
}

impl Proven {
    pub(super) fn is_of_devices(&self) -> bool {
        self.signed_by.as_ref().is_some_and(|by| by.signer == Signer::Devices)
    }
}

#[derive(Clone, Debug)]
struct Chain {
    from: u64,
    /// When its first certificate ends.
    not_after: u64,
    /// The CA whose it is: the same chain keeps it for as long as it is remembered.
    signed_by: Option<SignedBy>,
    /// Which of the certificates that were presented lead to a root, the leaf first.
    path: Arc<[usize]>,
    /// The peer, as long as somebody of that name is connected.
    peer: Weak<Peer>,
}

impl Verified {
    pub(super) fn new(lists_until: u64) -> Self {
        Self { lists_until, known: Mutex::default() }
    }

    /// The peer of a chain, which is verified if it was not.
    ///
    /// # Errors
    /// What `verify` says.
    pub(super) fn peer(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
        verify: impl FnOnce() -> Result<Proven, Error>,
    ) -> Result<Arc<Peer>, Error> {
        let key = key(chain.iter().map(|certificate| &**certificate));
        let known = self.lock().chains.get(&key).cloned();
        let known = known.filter(|chain| self.holds(chain, now));
        if let Some(peer) = known.as_ref().and_then(|chain| chain.peer.upgrade()) {
            return Ok(peer);
        }
        let found = match known {
            Some(known) => known,
            None => Chain::of(chain, verify()?)?,
        };
        let peer = Arc::new(found.describe(chain)?);
        let mut known = self.lock();
        known.remember(key, Chain { peer: Arc::downgrade(&peer), ..found });
        known.last = Some(peer.clone());
        drop(known);
        Ok(peer)
    }

    /// Whether verifying a chain again would find what it found.
    fn holds(&self, chain: &Chain, now: UnixTime) -> bool {
        let until = chain.not_after.min(self.lists_until);
        (chain.from..until).contains(&now.as_secs())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let known = self.lock();
        assert_eq!(known.chains.len(), known.order.len());
        known.chains.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remember(&mut self, key: Key, chain: Chain) {
        if self.chains.insert(key, chain).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.chains.remove(&oldest);
        }
    }
}

impl Chain {
    /// What is remembered of the certificates that were presented.
    fn of(presented: &[CertificateDer<'_>], proven: Proven) -> Result<Self, Error> {
        let Proven { path, signed_by } = proven;
        let (from, not_after) = validity(&path).ok_or(CertificateError::BadEncoding)?;
        let place = |one: &CertificateDer<'_>| presented.iter().position(|other| other == one);
        let path = path.iter().filter_map(place).collect();
        Ok(Self { from, not_after, signed_by, path, peer: Weak::new() })
    }

    /// The peer, with the certificates that are needed, and no others that it sent along.
    fn describe(&self, presented: &[CertificateDer<'_>]) -> Result<Peer, Error> {
        let leaf = presented.first().ok_or(Error::NoCertificatesPresented)?;
        let path = self.path.iter().filter_map(|place| presented.get(*place));
        let chain = path.map(|certificate| certificate.clone().into_owned()).collect();
        let (signed_by, not_after) = (self.signed_by.clone(), self.not_after);
        Ok(Peer { signed_by, not_after, chain, ..Peer::of(leaf) })
    }
}
