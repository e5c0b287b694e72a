//! The certificate by which sidecars know the operator: the identity of its own service account, from
//! the issuer of all identities. The controller has it issued; every replica that serves mounts it.

use std::sync::Arc;
use std::time::Duration;

use countersign_contract::identity::InvalidIdentity;
use countersign_contract::{SpiffeId, names};
use countersign_crds::Certificate;
use futures::StreamExt;
use kube::api::{Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::short_chains::ShortChains;
use crate::certificate::names::{CA_CRT, TLS_CRT, TLS_KEY};
use crate::context::{Context, FIELD_MANAGER, Settings};
use crate::identity::desired;
use crate::own_credentials::{Credentials, DISCOVERY, Source};
use crate::pki::{KeyError, PemError, certificates_from_pem, private_key_for_tls};

/// How often the leader sees whether the Certificate is as it should be.
const PERIOD: Duration = Duration::from_secs(30);

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("reading {0}")]
    Pem(&'static str, #[source] PemError),
    #[error("reading {TLS_KEY}")]
    Key(#[source] KeyError),
    #[error("the authority in ca.crt")]
    Authority(#[source] rustls::server::VerifierBuilderError),
    #[error("TLS")]
    Tls(#[from] rustls::Error),
}

/// What discovery answers with, and what a replica calls the leader with.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) server: Arc<ServerConfig>,
    pub(super) client: Arc<ClientConfig>,
}

/// Who the operator is, to sidecars and to its own replicas.
pub(super) fn operator(settings: &Settings) -> Result<SpiffeId, InvalidIdentity> {
    let home = &settings.cluster_resource_namespace;
    let domain = settings.trust_domain.clone();
    SpiffeId::of_service_account(domain, home, names::OPERATOR_SERVICE_ACCOUNT)
}

/// The name that its certificate has.
pub(super) fn server_name(settings: &Settings) -> String {
    format!("{}.{}.svc", names::DISCOVERY_SERVICE, settings.cluster_resource_namespace)
}

fn secret_name() -> String {
    names::identity_name(names::OPERATOR_SERVICE_ACCOUNT)
}

/// The Certificate as it should be.
fn wanted(settings: &Settings) -> Result<Certificate, InvalidIdentity> {
    let home = &settings.cluster_resource_namespace;
    let short = server_name(settings);
    let long = format!("{short}.{}", settings.cluster_domain);
    let account = names::OPERATOR_SERVICE_ACCOUNT;
    desired::certificate(settings, home, account, vec![short, long])
}

/// Sees to the Certificate, until `stop` is cancelled.
pub async fn keep(context: Arc<Context>, stop: CancellationToken) {
    let wanted = match wanted(&context.settings) {
        Ok(wanted) => wanted,
        Err(error) => return warn!(%error, "discovery has no identity"),
    };
    let key = ObjectRef::from_obj(&wanted);
    let namespace = wanted.namespace().unwrap_or_default();
    let api: Api<Certificate> = Api::namespaced(context.client.clone(), &namespace);
    loop {
        let found = context.seen.certificates.get(&key);
        if found.is_none_or(|found| found.spec != wanted.spec) {
            let parameters = PatchParams::apply(FIELD_MANAGER).force();
            let applied = api.patch(&wanted.name_any(), &parameters, &Patch::Apply(&wanted)).await;
            if let Err(error) = applied {
                warn!(error = crate::story::story(&error), certificate = %key, "applying the certificate of discovery");
            }
        }
        tokio::select! { () = tokio::time::sleep(PERIOD) => {} () = stop.cancelled() => return }
    }
}

/// Publishes what discovery serves with, for as long as it is polled. What cannot be used leaves what
/// was before.
pub(super) async fn follow(
    context: &Context,
    provider: Arc<CryptoProvider>,
    to: watch::Sender<Option<Arc<Own>>>,
) {
    let source = Source::new(context, DISCOVERY, &secret_name());
    let mut found = std::pin::pin!(source.follow());
    while let Some(credentials) = found.next().await {
        match configuration(&credentials, &provider) {
            Ok(own) => {
                info!("discovery serves with its identity");
                to.send_replace(Some(Arc::new(own)));
            }
            Err(error) => {
                let cause = crate::story::cause(&error);
                warn!(%error, cause, "the credentials of discovery cannot be used");
            }
        }
    }
}

/// Either side must chain to the roots of identities.
fn configuration(own: &Credentials, provider: &Arc<CryptoProvider>) -> Result<Own, Unusable> {
    let all = |name: &'static str, pem: &[u8]| {
        certificates_from_pem(pem).map_err(|source| Unusable::Pem(name, source))
    };
    let key = private_key_for_tls(own.key.expose()).map_err(Unusable::Key)?;
    let mut roots = RootCertStore::empty();
    for root in all(CA_CRT, &own.roots)? {
        roots.add(root)?;
    }
    let (roots, chain) = (Arc::new(roots), all(TLS_CRT, &own.chain)?);
    let client = client(roots.clone(), chain.clone(), key.clone_key(), provider.clone())?;
    let clients = clients(roots, provider.clone())?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, key)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    // A session that is resumed would skip the check of who the client is.
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(Own { server: Arc::new(server), client: Arc::new(client) })
}

fn client(
    roots: Arc<RootCertStore>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, Unusable> {
    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
    let servers: Arc<dyn ServerCertVerifier> = servers.map_err(Unusable::Authority)?;
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ShortChains(servers)))
        .with_client_auth_cert(chain, key)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    client.resumption = Resumption::disabled();
    Ok(client)
}

fn clients(
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Unusable> {
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
    Ok(Arc::new(ShortChains(clients.map_err(Unusable::Authority)?)))
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::UnixTime;

    use super::*;
    use crate::certificate::support::Press;
    use crate::pki::{self, KeyAlgorithm, Request, Template, Usage, Validity, self_sign};

    /// One of CAs that could all have signed each other.
    fn signed_by_itself(name: &str) -> CertificateDer<'static> {
        let key = pki::generate_key(KeyAlgorithm::EcdsaP256).unwrap();
        let common_name = Some(name.to_owned());
        let request = Request { common_name, is_ca: true, ..Request::default() };
        self_sign(&Template::new(request, validity()).unwrap(), &key).unwrap()
    }

    fn validity() -> Validity {
        let at = |text: &str| text.parse().unwrap();
        Validity { not_before: at("2020-01-01T00:00:00Z"), not_after: at("2120-01-01T00:00:00Z") }
    }

    #[test]
    fn peers_that_present_too_many_certificates_are_refused_before_they_are_verified() {
        let ca = Press::new().into_inner();
        let request = Request {
            dns_names: vec!["web.test".to_owned()],
            usages: vec![Usage::ClientAuth, Usage::ServerAuth],
            ..Request::default()
        };
        let key = pki::generate_key(KeyAlgorithm::EcdsaP256).unwrap();
        let template = Template::new(request, validity()).unwrap();
        let leaf = pki::sign(&template, &key.public_key_spki(), &ca).unwrap();
        let chain = certificates_from_pem(ca.leaf_chain_pem(&leaf).as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        for root in certificates_from_pem(ca.ca_pem().as_bytes()).unwrap() {
            roots.add(root).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(roots);
        let clients = clients(roots.clone(), provider.clone()).unwrap();
        let servers = WebPkiServerVerifier::builder_with_provider(roots, provider).build().unwrap();
        let servers = ShortChains::<dyn ServerCertVerifier>(servers);
        let (name, now) = ("web.test".try_into().unwrap(), UnixTime::now());
        let cases = [
            ("x", 0, None),
            ("x", 8, None),
            ("x", 9, Some("TooManyCertificates(11)")),
            ("x", 130, Some("TooManyCertificates(132)")),
            ("press", 7, Some("TooManyPaths")),
        ];
        for (subject, more, refused) in cases {
            let more = std::iter::repeat_with(|| signed_by_itself(subject)).take(more);
            let above: Vec<_> = chain[1..].iter().cloned().chain(more).collect();
            let as_client = clients.verify_client_cert(&chain[0], &above, now).map(|_| ());
            let as_server =
                servers.verify_server_cert(&chain[0], &above, &name, &[], now).map(|_| ());
            for verified in [as_client, as_server] {
                let problem = verified.err().map(|error| error.to_string());
                assert_eq!(problem.is_some(), refused.is_some(), "{problem:?}");
                assert!(refused.is_none_or(|why| problem.is_some_and(|all| all.contains(why))));
            }
        }
    }
}
