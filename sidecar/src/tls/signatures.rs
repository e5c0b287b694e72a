//! Signatures that verified a moment ago are not verified again.
//!
//! That one key made one signature over one message is a fact that no time, root or revocation list
//! changes: only what follows from it is judged anew, each time, by whoever verifies a chain. Peers
//! that were never met come with an authority that was, so that of their chain one signature is
//! left to verify. A path is verified from its root downwards, and stops at the first signature that
//! is wrong: strangers fill nothing.
//!
//! Signatures that are wrong are remembered for one verification. A stranger's chain may have many paths,
//! and each of them begins with the same few signatures.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};

use super::digest::{Key, key};
use super::provider::provider;

/// How many signatures are remembered: those of authorities and their revocation lists, which are
/// asked for all the time, stay; those of leaves make room for each other.
const MOST: usize = 64;

/// Algorithms that remember what verified.
#[derive(Debug)]
pub(super) struct Signatures(Arc<Memory>);

/// The same, for the verification of one chain.
#[derive(Debug)]
pub(super) struct OfOneChain(Vec<Remembering>);

impl Signatures {
    /// All algorithms of our provider, with one memory.
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// For one chain.
    pub(super) fn of_one_chain(&self) -> OfOneChain {
        let wrong = Arc::<Memory>::default();
        let all = provider().signature_verification_algorithms.all;
        let remembering = |inner: &&'static dyn SignatureVerificationAlgorithm| Remembering {
            inner: *inner,
            memory: self.0.clone(),
            wrong: wrong.clone(),
        };
        OfOneChain(all.iter().map(remembering).collect())
    }
}

impl OfOneChain {
    /// As `webpki` wants them.
    pub(super) fn algorithms(&self) -> Vec<&dyn SignatureVerificationAlgorithm> {
        self.0.iter().map(|one| one as _).collect()
    }
}

#[derive(Debug)]
struct Remembering {
    inner: &'static dyn SignatureVerificationAlgorithm,
    memory: Arc<Memory>,
    /// Signatures of this chain that are wrong.
    wrong: Arc<Memory>,
}

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        let (key_id, signature_id) = (self.public_key_alg_id(), self.signature_alg_id());
        let key = key([&*key_id, &*signature_id, public_key, message, signature]);
        if self.memory.knows(&key) {
            return Ok(());
        }
        if self.wrong.knows(&key) {
            return Err(InvalidSignature);
        }
        let verified = self.inner.verify_signature(public_key, message, signature);
        let memory = if verified.is_ok() { &self.memory } else { &self.wrong };
        memory.remember(key);
        verified
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.inner.signature_alg_id()
    }
}

/// What verified, and when it was last asked for.
#[derive(Debug, Default)]
struct Memory(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    signatures: HashMap<Key, u64>,
    asked: u64,
}

impl Memory {
    fn knows(&self, key: &Key) -> bool {
        let mut known = self.lock();
        known.asked += 1;
        let asked = known.asked;
        known.signatures.get_mut(key).map(|last| *last = asked).is_some()
    }

    /// Forgets what was asked for least lately, where there is no room.
    fn remember(&self, key: Key) {
        let mut known = self.lock();
        if known.signatures.len() >= MOST {
            let oldest = known.signatures.iter().min_by_key(|(_, last)| **last);
            let oldest = oldest.map(|(key, _)| *key);
            oldest.map(|oldest| known.signatures.remove(&oldest));
        }
        let asked = known.asked;
        known.signatures.insert(key, asked);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    use super::*;

    /// Whether a signature is its message, backwards; and how often that was looked at.
    #[derive(Debug, Default)]
    struct Backwards(AtomicU32);

    impl SignatureVerificationAlgorithm for Backwards {
        fn verify_signature(
            &self,
            _: &[u8],
            message: &[u8],
            signature: &[u8],
        ) -> Result<(), InvalidSignature> {
            self.0.fetch_add(1, Relaxed);
            let matches = message.iter().eq(signature.iter().rev());
            matches.then_some(()).ok_or(InvalidSignature)
        }
        fn public_key_alg_id(&self) -> AlgorithmIdentifier {
            AlgorithmIdentifier::from_slice(b"key")
        }
        fn signature_alg_id(&self) -> AlgorithmIdentifier {
            AlgorithmIdentifier::from_slice(b"signature")
        }
    }

    /// One that remembers, and how often what is behind it was asked.
    fn remembering() -> (Remembering, impl Fn() -> u32) {
        let inner: &'static Backwards = Box::leak(Box::default());
        let (memory, wrong) = Default::default();
        (Remembering { inner, memory, wrong }, || inner.0.load(Relaxed))
    }

    #[test]
    fn a_signature_is_verified_once_and_any_other_is_another() {
        let (algorithm, looked) = remembering();
        let good = (&b"key"[..], &b"abc"[..], &b"cba"[..]);
        for _ in 0..3 {
            assert!(algorithm.verify_signature(good.0, good.1, good.2).is_ok());
        }
        assert_eq!(looked(), 1);
        // The same bytes in other places are something else.
        for (key, message, signature) in [(&b"keya"[..], &b"bc"[..], &b"cba"[..]), good] {
            let refused = message != good.1;
            assert_eq!(algorithm.verify_signature(key, message, signature).is_err(), refused);
        }
        assert_eq!(looked(), 2);
    }

    #[test]
    fn a_signature_that_is_wrong_is_remembered_for_one_chain() {
        let (mut algorithm, looked) = remembering();
        for chains in 1..=3 {
            algorithm.wrong = Arc::default();
            for _ in 0..3 {
                assert!(algorithm.verify_signature(b"key", b"abc", b"abc").is_err());
            }
            assert_eq!(looked(), chains);
        }
        assert!(algorithm.memory.lock().signatures.is_empty());
    }

    #[test]
    fn an_authority_is_remembered_however_many_leaves_come() {
        let (algorithm, looked) = remembering();
        for leaf in 0..1000_u32 {
            let leaf = leaf.to_be_bytes();
            let signature: Vec<u8> = leaf.iter().rev().copied().collect();
            assert!(algorithm.verify_signature(b"root", b"authority", b"ytirohtua").is_ok());
            assert!(algorithm.verify_signature(b"authority", &leaf, &signature).is_ok());
        }
        assert_eq!(looked(), 1001);
        assert_eq!(algorithm.memory.lock().signatures.len(), MOST);
    }
}
