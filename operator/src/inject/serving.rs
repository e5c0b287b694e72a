//! The certificate with which this replica serves the webhook.

use std::sync::Arc;

use futures::StreamExt;
use rustls::crypto::CryptoProvider;
use tracing::warn;

use super::keep::{Current, KeepError, certified};
use super::own_certificate::{SECRET, Served};
use crate::admin::Readiness;
use crate::context::Context;
use crate::own_credentials::{Credentials, Source, WEBHOOK};

/// Serves with what the controller issued, for as long as it is polled. Credentials that cannot be used
/// leave the ones before in use.
pub(super) async fn follow(
    context: &Context,
    provider: &CryptoProvider,
    current: &Arc<Current>,
    readiness: &Readiness,
) {
    let mut found = std::pin::pin!(Source::new(context, WEBHOOK, SECRET).follow());
    while let Some(credentials) = found.next().await {
        match load(credentials, provider) {
            Ok(key) => {
                current.serve(key);
                readiness.webhook_is_ready();
            }
            Err(error) => {
                let cause = crate::story::cause(&error);
                warn!(%error, cause, "the webhook's certificate cannot be used");
            }
        }
    }
}

fn load(
    credentials: Credentials,
    provider: &CryptoProvider,
) -> Result<rustls::sign::CertifiedKey, KeepError> {
    let Credentials { chain, key, roots } = credentials;
    let authorities = String::from_utf8_lossy(&roots).into_owned();
    certified(&Served { chain, key, authorities }, provider)
}
