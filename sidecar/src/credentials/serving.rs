//! What handshakes are made with: credentials, policy, and the configuration of every port.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
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

/// What was read: equal if nothing changed. The policy is read apart: one that cannot be read never
/// stops credentials from being renewed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) files: Files,
    policy: Text,
    others: BTreeMap<String, Files>,
}

/// A policy and the pod's labels, unparsed.
#[derive(Clone, PartialEq, Eq)]
enum Text {
    There { policy: Vec<u8>, labels: Vec<u8> },
    Unreadable(String),
}

impl Default for Text {
    fn default() -> Self {
        Self::There { policy: Vec::new(), labels: Vec::new() }
    }
}

/// Everything that a handshake needs, of one moment.
#[derive(Debug)]
pub struct Serving {
    /// Our own credentials.
    pub credentials: Arc<Credentials>,
    /// The policy.
    pub policy: PolicyDocument,
    others: Others,
    default: Arc<ServerConfig>,
    ports: BTreeMap<u16, Arc<ServerConfig>>,
}

impl Serving {
    /// How a port answers.
    #[must_use]
    pub fn of_port(&self, port: u16) -> &Arc<ServerConfig> {
        self.ports.get(&port).unwrap_or(&self.default)
    }

    /// What can be made of what was read, and what is wrong with the rest. Credentials and policy are taken
    /// apart: of the one that cannot be used, the one before stays, and the other is taken.
    ///
    /// # Errors
    /// When nothing new can be used.
    pub(super) fn of(
        read: &Read,
        sources: &Sources,
        before: Option<&Self>,
        now: UnixTime,
    ) -> Result<(Self, Option<Error>), Error> {
        let policy = read.policy(sources);
        let (policy, problem) = match (policy, before) {
            (Ok(policy), _) => (policy, None),
            (Err(problem), Some(before)) => (before.policy.clone(), Some(problem)),
            (Err(problem), None) => return Err(problem),
        };
        match (Self::with(read, sources, policy.clone(), before, now), before, problem) {
            (Ok(made), _, problem) => Ok((made, problem)),
            // The further certificates that it names may be what is missing.
            (Err(error @ Error::NoSuchCertificate(_)), Some(before), None) => {
                let kept = Self::with(read, sources, before.policy.clone(), Some(before), now)?;
                Ok((kept, Some(error)))
            }
            (Err(error), Some(before), None) if before.policy != policy => {
                let credentials = Arc::new(before.credentials.with(policy.authorities.as_ref())?);
                let made = Self::made(credentials, policy, &before.others)?;
                Ok((made, Some(error)))
            }
            (Err(error), ..) => Err(error),
        }
    }

    fn with(
        read: &Read,
        sources: &Sources,
        policy: PolicyDocument,
        before: Option<&Self>,
        now: UnixTime,
    ) -> Result<Self, Error> {
        let before = before.map(|before| &*before.credentials);
        let identity = sources.identity.as_deref();
        let authorities = policy.authorities.as_ref();
        let credentials = Credentials::of(&read.files, identity, authorities, before, now)?;
        if let Some(unfit) = &credentials.unfit
            && sources.roles.contains(&unfit.role)
        {
            return Err(Error::Unfit(unfit.clone()));
        }
        Self::made(Arc::new(credentials), policy, &others(read)?)
    }

    fn made(
        credentials: Arc<Credentials>,
        policy: PolicyDocument,
        others: &Others,
    ) -> Result<Self, Error> {
        // Ports that answer alike share one configuration.
        let mut made: BTreeMap<Answering<'_>, Arc<ServerConfig>> = BTreeMap::new();
        for policy in policy.ports.values().chain([&policy.default]) {
            if let Entry::Vacant(place) = made.entry(answering(policy)) {
                place.insert(configuration(policy, &credentials, others)?);
            }
        }
        let config = |policy| made[&answering(policy)].clone();
        let default = config(&policy.default);
        let ports = policy.ports.iter().map(|(port, policy)| (*port, config(policy))).collect();
        Ok(Self { credentials, policy, others: others.clone(), default, ports })
    }
}

/// Further certificates, by the names of their folders.
type Others = BTreeMap<String, Arc<CertifiedKey>>;

/// What of a policy makes its configuration.
type Answering<'a> = (bool, bool, &'a [String], &'a [String]);

fn answering(policy: &PortPolicy) -> Answering<'_> {
    let allows_tls12 = policy.min_version == TlsVersion::V1_2;
    (policy.mode == Mode::Server, allows_tls12, &policy.alpn, &policy.certificates)
}

fn configuration(
    policy: &PortPolicy,
    credentials: &Credentials,
    others: &Others,
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

fn others(read: &Read) -> Result<Others, Error> {
    let one = |(name, files): (&String, &Files)| match pair(files) {
        Ok(key) => Ok((name.clone(), key)),
        Err(source) => Err(Error::Other { name: name.clone(), source: Box::new(source) }),
    };
    read.others.iter().map(one).collect()
}

impl Read {
    pub(super) fn new(sources: &Sources) -> Result<Self, Error> {
        let files = Files::read(&sources.credentials)?;
        let folders = sources.certificates.as_deref().map(folders).transpose()?;
        let mut others = BTreeMap::new();
        for folder in folders.into_iter().flatten() {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let files = Files::read_pair(&folder)
                .map_err(|source| Error::Other { name: name.clone(), source: Box::new(source) })?;
            others.insert(name, files);
        }
        Ok(Self { files, policy: Text::read(sources), others })
    }

    /// Whether there is more that is new than the policy.
    pub(super) fn has_other_files(&self, than: &Self) -> bool {
        self.files != than.files || self.others != than.others
    }

    fn policy(&self, sources: &Sources) -> Result<PolicyDocument, Error> {
        let (policy, labels) = match &self.policy {
            Text::There { policy, labels } => (policy, labels),
            Text::Unreadable(problem) => return Err(Error::Policy(problem.clone())),
        };
        let policy = match (&sources.policy, &sources.compiled) {
            (Some(_), _) => policy::parse(policy),
            (None, Some(_)) => policy::of_namespace(policy, labels),
            (None, None) => Ok(PolicyDocument::default()),
        };
        policy.map_err(|error| Error::Policy(error.to_string()))
    }
}

impl Text {
    fn read(sources: &Sources) -> Self {
        let read = |path: &Path| {
            file::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
        };
        let read = || match (&sources.policy, &sources.compiled) {
            (Some(path), _) => Ok(Self::There { policy: read(path)?, labels: Vec::new() }),
            (None, Some((policies, labels))) => {
                Ok(Self::There { policy: read(policies)?, labels: read(labels)? })
            }
            (None, None) => Ok(Self::default()),
        };
        read().unwrap_or_else(|problem: Error| Self::Unreadable(problem.to_string()))
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
