//! What all measurements share: the certificates, the backend, and the programs.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::sign::CertifiedKey;

use super::contender::Contender;
use super::credentials::Authority;
use super::load::backend::Backend;
use super::load::client::{Client, Group};
use super::peers::{self, Program};
use super::terminator::{Setting, Terminator, free};

/// Everything that stands for the whole run.
pub(super) struct Site {
    pub(super) folder: PathBuf,
    pub(super) authority: Authority,
    pub(super) backend: Backend,
    pub(super) programs: Vec<Program>,
    /// Why others are not measured.
    pub(super) missing: Vec<String>,
    /// What the client presents whom everybody has seen before.
    pub(super) client: Arc<CertifiedKey>,
    /// Clients that present their certificate once to each terminator.
    pub(super) strangers: Vec<Arc<CertifiedKey>>,
}

impl Site {
    pub(super) fn start(sidecar: PathBuf, strangers: usize) -> anyhow::Result<Self> {
        let folder = std::env::temp_dir().join(format!("countersign-bench-{}", std::process::id()));
        let authority = Authority::new()?;
        authority.write(&authority.leaf()?, &folder.join("credentials"))?;
        let (mut programs, missing) = peers::found()?;
        let version = env!("CARGO_PKG_VERSION").to_owned();
        programs.insert(0, Program { contender: Contender::Countersign, path: sidecar, version });
        Ok(Self {
            client: authority.leaf()?.certified()?,
            strangers: authority.clients(strangers)?,
            backend: Backend::start()?,
            folder,
            authority,
            programs,
            missing,
        })
    }

    /// Starts a program; it need not serve yet.
    pub(super) fn spawn(&self, program: &Program, credentials: &str) -> anyhow::Result<Terminator> {
        let folder = self.folder.join(program.contender.name());
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let credentials = self.folder.join(credentials);
        let setting = Setting {
            listen: free()?,
            to: self.backend.address,
            credentials: &credentials,
            folder: &folder,
        };
        Terminator::start(&program.launch(&setting)?, &setting)
    }

    /// Starts a program that serves.
    pub(super) fn serve(&self, program: &Program) -> anyhow::Result<Terminator> {
        let mut terminator = self.spawn(program, "credentials")?;
        terminator.serves(&self.client(Group::X25519, &terminator)?)?;
        Ok(terminator)
    }

    pub(super) fn client(&self, group: Group, to: &Terminator) -> anyhow::Result<Client> {
        Client::new(group, Arc::clone(&self.client), to.listen)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _gone = fs::remove_dir_all(&self.folder);
    }
}
