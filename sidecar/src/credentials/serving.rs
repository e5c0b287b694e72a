//! What handshakes are made with: credentials, policy, and the configuration of every port.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_contract::names::ALPN;
use countersign_contract::policy::{Mode, PolicyDocument, PortPolicy, TlsVersion};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::UnixTime;

use super::files::Files;
use super::load::{Credentials, Error, Role, pair};
use crate::tls::{self, Peer};
use crate::{file, policy};

/// Where everything is read from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The folder of our own credentials.
    pub credentials: PathBuf,
    /// Whose they must be.
    pub identity: Option<String>,
    /// The policy document.
    pub policy: Option<PathBuf>,
    /// The policies of a namespace, and the labels by which they select us.
    pub compiled: Option<(PathBuf, PathBuf)>,
    /// A folder with a folder for each further certificate.
    pub certificates: Option<PathBuf>,
    /// The roles in which our own certificate is shown: peers must accept it there.
    pub roles: Vec<Role>,
}

/// What was read: equal if nothing changed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) files: Files,
    policy: Vec<u8>,
    labels: Vec<u8>,
    others: BTreeMap<String, Files>,
}

/// Everything that a handshake needs, of one moment.
#[derive(Debug)]
pub struct Serving {
    /// Our own credentials.
    pub credentials: Arc<Credentials>,
    /// The policy.
    pub policy: PolicyDocument,
    default: Arc<ServerConfig>,
    ports: BTreeMap<u16, Arc<ServerConfig>>,
}

impl Serving {
    /// How a port answers.
    #[must_use]
    pub fn of_port(&self, port: u16) -> &Arc<ServerConfig> {
        self.ports.get(&port).unwrap_or(&self.default)
    }

    pub(super) fn of(
        read: &Read,
        sources: &Sources,
        before: Option<&Self>,
        now: UnixTime,
    ) -> Result<Self, Error> {
        let before = before.map(|before| &*before.credentials);
        let identity = sources.identity.as_deref();
        let credentials = Arc::new(Credentials::of(&read.files, identity, before, now)?);
        if let Some(unfit) = &credentials.unfit
            && sources.roles.contains(&unfit.role)
        {
            return Err(Error::Unfit(unfit.clone()));
        }
        let policy = match (&sources.policy, &sources.compiled) {
            (Some(_), _) => policy::parse(&read.policy),
            (None, Some(_)) => policy::of_namespace(&read.policy, &read.labels),
            (None, None) => Ok(PolicyDocument::default()),
        };
        let policy = policy.map_err(|error| Error::Policy(error.to_string()))?;
        let others = others(read)?;
        let config = |policy| configuration(policy, &credentials, &others);
        let default = config(&policy.default)?;
        let ports = policy.ports.iter().map(|(port, policy)| Ok((*port, config(policy)?)));
        let ports = ports.collect::<Result<_, Error>>()?;
        Ok(Self { credentials, policy, default, ports })
    }
}

fn configuration(
    policy: &PortPolicy,
    credentials: &Credentials,
    others: &BTreeMap<String, Arc<CertifiedKey>>,
) -> Result<Arc<ServerConfig>, Error> {
    let named = policy.certificates.iter().map(|name| {
        let found = others.get(name).cloned().map(Shown::of);
        found.ok_or_else(|| Error::NoSuchCertificate(name.clone()))
    });
    let named = named.collect::<Result<Vec<_>, Error>>()?;
    let certificates: Arc<dyn ResolvesServerCert> = match named.is_empty() {
        true => Arc::new(SingleCertAndKey::from(credentials.key.clone())),
        false => Arc::new(ByName { named, own: credentials.key.clone() }),
    };
    let clients = (policy.mode != Mode::Server).then(|| credentials.trust.clone());
    let allows_tls12 = policy.min_version == TlsVersion::V1_2;
    let mut alpn: Vec<_> = policy.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    if !alpn.is_empty() {
        // Other sidecars offer nothing else.
        alpn.push(ALPN.as_bytes().to_vec());
    }
    let answer = tls::Answer { certificates, clients, allows_tls12, alpn };
    tls::server_configuration(answer).map_err(Error::Tls)
}

fn others(read: &Read) -> Result<BTreeMap<String, Arc<CertifiedKey>>, Error> {
    let one = |(name, files): (&String, &Files)| match pair(files) {
        Ok(key) => Ok((name.clone(), key)),
        Err(source) => Err(Error::Other { name: name.clone(), source: Box::new(source) }),
    };
    read.others.iter().map(one).collect()
}

impl Read {
    pub(super) fn new(sources: &Sources) -> Result<Self, Error> {
        let files = Files::read(&sources.credentials)?;
        let read = |path: &Path| {
            file::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
        };
        let (policy, labels) = match (&sources.policy, &sources.compiled) {
            (Some(path), _) => (read(path)?, Vec::new()),
            (None, Some((policies, labels))) => (read(policies)?, read(labels)?),
            (None, None) => (Vec::new(), Vec::new()),
        };
        let folders = sources.certificates.as_deref().map(folders).transpose()?;
        let mut others = BTreeMap::new();
        for folder in folders.into_iter().flatten() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let files = Files::read_pair(&folder)
                .map_err(|source| Error::Other { name: name.clone(), source: Box::new(source) })?;
            others.insert(name, files);
        }
        Ok(Self { files, policy, labels, others })
    }
}

/// The folders in a folder, without those that begin with a dot: the kubelet's own.
pub(super) fn folders(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error::Read { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_hidden = entry_name(&path).starts_with('.');
        if path.is_dir() && !is_hidden {
            found.push(path);
        }
    }
    Ok(found)
}

fn entry_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A certificate, and the names that it is shown for.
#[derive(Debug)]
struct Shown {
    names: Vec<String>,
    key: Arc<CertifiedKey>,
}

impl Shown {
    fn of(key: Arc<CertifiedKey>) -> Self {
        let names = key.cert.first().map(|leaf| Peer::of(leaf).dns_names).unwrap_or_default();
        Self { names, key }
    }

    /// Whether it is for a name; a wildcard stands for one label (RFC 9525, 6.3).
    fn is_for(&self, asked: &str) -> bool {
        let above = asked.split_once('.').map(|(_, above)| above);
        self.names.iter().any(|name| match name.strip_prefix("*.") {
            Some(rest) => above.is_some_and(|above| above.eq_ignore_ascii_case(rest)),
            None => name.eq_ignore_ascii_case(asked),
        })
    }
}

/// The first certificate that is for the name that the client asks for; the first, otherwise. Other
/// sidecars are shown our own: they know us by our identity.
#[derive(Debug)]
struct ByName {
    named: Vec<Shown>,
    own: Arc<CertifiedKey>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(|mut offered| offered.any(|name| name == ALPN.as_bytes())) {
            return Some(self.own.clone());
        }
        let asked = hello.server_name();
        let is_for = |shown: &&Shown| asked.is_some_and(|asked| shown.is_for(asked));
        let named = self.named.iter().find(is_for).or_else(|| self.named.first());
        named.map(|shown| shown.key.clone())
    }
}
