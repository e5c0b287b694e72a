//! The one place where a cryptographic provider is made.

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// aws-lc, TLS 1.3 suites, and key exchange that a quantum computer does not undo first.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(make()));
    PROVIDER.clone()
}

fn make() -> CryptoProvider {
    use aws_lc_rs::{cipher_suite, kx_group};
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
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
