//! The one place where a cryptographic provider is made.

use std::sync::{Arc, LazyLock};

use rustls::SupportedCipherSuite;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};

/// aws-lc, TLS 1.3 suites, and key exchange that a quantum computer does not undo first.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(make(TLS13)));
    PROVIDER.clone()
}

/// The same, and the suites of TLS 1.2 that are as good: ephemeral keys, authenticated ciphers. For
/// ports whose partners cannot do better.
#[must_use]
pub fn provider_of_both_versions() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(make(&[TLS13, TLS12].concat())));
    PROVIDER.clone()
}

const TLS13: &[SupportedCipherSuite] = &[
    cipher_suite::TLS13_AES_128_GCM_SHA256,
    cipher_suite::TLS13_AES_256_GCM_SHA384,
    cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
];

const TLS12: &[SupportedCipherSuite] = &[
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    cipher_suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
];

fn make(cipher_suites: &[SupportedCipherSuite]) -> CryptoProvider {
    CryptoProvider {
        cipher_suites: cipher_suites.to_vec(),
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1],
        ..aws_lc_rs::default_provider()
    }
}

/// Draws a first random number: it costs tens of milliseconds once in a process, which are not the
/// first client's to wait.
///
/// # Errors
/// When the machine gives none.
pub fn warm_up(provider: &CryptoProvider) -> Result<(), rustls::crypto::GetRandomFailed> {
    provider.secure_random.fill(&mut [0; 32])
}
