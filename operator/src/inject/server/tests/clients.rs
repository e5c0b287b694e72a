//! A webhook whose clients need a certificate.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{PrivateKeyDer, UnixTime};

use super::*;
use crate::clock::Clock;
use crate::pki::{
    self, Authority, KeyAlgorithm, KeyEncoding, PrivateKey, Request as CertificateRequest,
    Template, Usage, generate_key,
};

const API_SERVER: &str = "kube-apiserver-webhook";

/// The CA of clients.
struct Ca {
    pem: String,
    authority: Authority,
    validity: pki::Validity,
}

type Pair = (CertificateDer<'static>, PrivateKey);

impl Ca {
    fn new() -> Self {
        let day = Duration::from_secs(24 * 3600);
        let now = Clock::system().now();
        let validity = pki::clamp_lifetime(now, day, Duration::from_secs(300), None);
        let key = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
        let ca = CertificateRequest {
            common_name: Some("clients".to_owned()),
            is_ca: true,
            ..CertificateRequest::default()
        };
        let der = pki::self_sign(&Template::new(ca, validity).unwrap(), &key).unwrap();
        let pem = pki::certificates_to_pem([&der]);
        let key = key.to_pem(KeyEncoding::Pkcs8).unwrap();
        let authority = Authority::from_pems(pem.as_bytes(), key.expose().as_bytes(), None);
        Self { authority: authority.unwrap(), pem, validity }
    }

    fn client(&self, name: &str, usage: Usage) -> Pair {
        let key = generate_key(KeyAlgorithm::EcdsaP256).unwrap();
        let leaf = CertificateRequest {
            common_name: Some(name.to_owned()),
            dns_names: vec![format!("{name}.example.org")],
            usages: vec![Usage::DigitalSignature, usage],
            ..CertificateRequest::default()
        };
        let template = Template::new(leaf, self.validity).unwrap();
        (pki::sign(&template, &key.public_key_spki(), &self.authority).unwrap(), key)
    }
}

/// A file with a CA, which goes with this.
struct File(PathBuf);

impl File {
    fn new(pem: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("countersign-client-ca-{}-{number}", std::process::id());
        let file = Self(std::env::temp_dir().join(name));
        std::fs::write(&file.0, pem).unwrap();
        file
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

async fn clients(
    file: &File,
    names: &[&str],
) -> Result<Arc<ClientAuthority>, ClientAuthorityError> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientAuthority::read(&file.0, &names, provider).await
}

/// A webhook whose clients need a certificate, and all that it says to one that asks at once.
struct Guarded {
    webhook: Webhook,
    roots: String,
}

impl Guarded {
    async fn start(clients: Arc<ClientAuthority>) -> Self {
        let (webhook, roots) = Webhook::start_trusted(LIMITS, BUDGET, Some(clients)).await;
        Self { webhook, roots }
    }

    /// Whether a client is answered; if not, the connection ends without a byte of an answer.
    async fn answers(&self, client: Option<&Pair>) -> bool {
        let tcp = TcpStream::connect(self.webhook.address).await.unwrap();
        let connector = with_certificate(&self.roots, client);
        let shaken = connector.connect(ServerName::try_from(NAME).unwrap(), tcp).await;
        // In TLS 1.3 a client is done before the server has verified it.
        let Ok(mut tls) = shaken else { return false };
        let body = review_of_a_pod();
        let head = format!(
            "POST /inject HTTP/1.1\r\nhost: {NAME}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let _ = tls.write_all(&[head.as_bytes(), &body].concat()).await;
        let _ = tls.flush().await;
        let said = until_the_end(tls).await;
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 200"), "{said:?}");
        !said.is_empty()
    }
}

fn with_certificate(roots: &str, client: Option<&Pair>) -> TlsConnector {
    let mut store = rustls::RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(authority.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_details(provider, Arc::new(NewYear))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store);
    let config = match client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let pem = key.to_pem(KeyEncoding::Pkcs8).unwrap();
            let key = PrivateKeyDer::from_pem_slice(pem.expose().as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate.clone()], key).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

#[tokio::test]
async fn only_a_client_with_a_certificate_of_the_ca_and_an_allowed_name_is_answered() {
    let (ca, other) = (Ca::new(), Ca::new());
    let file = File::new(&ca.pem);
    let dns = format!("{API_SERVER}.example.org");
    let good = ca.client(API_SERVER, Usage::ClientAuth);
    for (names, expected) in [
        (&[][..], true),
        (&["another", API_SERVER], true),
        (&[&dns], true),
        (&["kube-apiserver"], false),
    ] {
        let guarded = Guarded::start(clients(&file, names).await.unwrap()).await;
        assert_eq!(guarded.answers(Some(&good)).await, expected, "{names:?}");
        let refused = [
            None,
            Some(other.client(API_SERVER, Usage::ClientAuth)),
            Some(ca.client(API_SERVER, Usage::ServerAuth)),
        ];
        for client in refused {
            assert!(!guarded.answers(client.as_ref()).await, "{names:?}");
        }
    }
}

#[tokio::test]
async fn a_renewed_ca_is_taken_up_and_a_broken_file_leaves_the_one_before() {
    let (before, after) = (Ca::new(), Ca::new());
    let [old, new] = [&before, &after].map(|ca| ca.client(API_SERVER, Usage::ClientAuth));
    let file = File::new(&before.pem);
    let authority = clients(&file, &[]).await.unwrap();
    let guarded = Guarded::start(authority.clone()).await;
    assert!(guarded.answers(Some(&old)).await);
    authority.take(Ok(b"no certificate"));
    assert!(guarded.answers(Some(&old)).await && !guarded.answers(Some(&new)).await);
    let following = tokio::spawn(authority.follow());
    std::fs::write(&file.0, &after.pem).unwrap();
    let renewed = async {
        while !guarded.answers(Some(&new)).await {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), renewed).await.expect("the new CA is in use");
    assert!(!guarded.answers(Some(&old)).await, "no session of the CA before goes on");
    following.abort();
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named_at_the_start() {
    for pem in ["", "no certificate"] {
        let file = File::new(pem);
        let error = clients(&file, &[]).await.unwrap_err().to_string();
        assert!(error.contains("--webhook-client-ca") && error.contains("CAs"), "{error}");
    }
    let missing = File::new("");
    std::fs::remove_file(&missing.0).unwrap();
    let error = clients(&missing, &[]).await.unwrap_err().to_string();
    assert!(error.starts_with("reading --webhook-client-ca"), "{error}");
}

#[tokio::test]
async fn client_with_too_many_certificates_is_refused_before_they_are_verified() {
    let ca = Ca::new();
    let file = File::new(&ca.pem);
    let authority = clients(&file, &[]).await.unwrap();
    let (leaf, _) = ca.client(API_SERVER, Usage::ClientAuth);
    let root = pki::certificates_from_pem(ca.pem.as_bytes()).unwrap().remove(0);
    for (count, is_refused) in [(0, false), (9, false), (10, true), (130, true)] {
        let above = vec![root.clone(); count];
        let verified = authority.verify_client_cert(&leaf, &above, UnixTime::now());
        assert_eq!(verified.is_err(), is_refused, "{count}: {verified:?}");
    }
}
