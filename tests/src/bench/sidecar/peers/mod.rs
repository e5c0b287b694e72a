//! The terminators, and how each is set up: one worker, TLS 1.3 alone, a client's certificate
//! required, no resumption, no log of connections, and otherwise what suits it best, the same in all
//! rows. One file a program, with why each setting is there.

mod countersign;
mod envoy;
mod ghostunnel;
mod haproxy;
mod nginx;
mod stunnel;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::contender::Contender;
use super::terminator::{Launch, Setting};
use crate::cluster::cache;

/// A program that is there.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) contender: Contender,
    pub(super) path: PathBuf,
    pub(super) version: String,
}

impl Program {
    pub(super) fn launch(&self, setting: &Setting<'_>) -> anyhow::Result<Launch> {
        let (arguments, environment) = match self.contender {
            Contender::Envoy => envoy::arguments(setting),
            Contender::HaProxy => haproxy::arguments(setting)?,
            Contender::Nginx => nginx::arguments(setting)?,
            Contender::Stunnel => stunnel::arguments(setting)?,
            Contender::Ghostunnel => ghostunnel::arguments(setting),
            Contender::Countersign | Contender::Floor => countersign::arguments(setting)?,
        };
        let arguments = arguments.into_iter().map(Into::into).collect();
        Ok(Launch { program: self.path.clone(), arguments, environment })
    }

    /// Debian's three have OpenSSL 3.0, which has no such group.
    pub(super) fn is_post_quantum(&self) -> bool {
        use Contender::{Countersign, Envoy, Ghostunnel};
        matches!(self.contender, Countersign | Envoy | Ghostunnel)
    }
}

/// Arguments, and variables of the environment.
type Arguments = (Vec<String>, Vec<(&'static str, &'static str)>);

/// All peers that are there, and why others are not.
pub(super) fn found() -> anyhow::Result<(Vec<Program>, Vec<String>)> {
    let folder = cache()?.join("peers");
    let places = [
        (Contender::Envoy, folder.join("envoy/envoy/_bin/envoy"), "--version"),
        (Contender::HaProxy, PathBuf::from("/usr/sbin/haproxy"), "-v"),
        (Contender::Nginx, PathBuf::from("/usr/sbin/nginx"), "-v"),
        (Contender::Stunnel, PathBuf::from("/usr/bin/stunnel4"), "-version"),
        (Contender::Ghostunnel, folder.join("ghostunnel"), "--version"),
    ];
    let (mut programs, mut missing) = (Vec::new(), Vec::new());
    for (contender, path, flag) in places {
        match version(&path, flag) {
            Ok(version) => programs.push(Program { contender, path, version }),
            Err(error) => missing.push(format!("no {contender}: {error:#}")),
        }
    }
    Ok((programs, missing))
}

/// The first word with a dot and a digit in what the program says of itself.
fn version(path: &Path, flag: &str) -> anyhow::Result<String> {
    let output = Command::new(path).arg(flag).output();
    let output = output.with_context(|| format!("starting {}", path.display()))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    version_in(&said).with_context(|| format!("{} tells no version", path.display()))
}

/// Pure.
fn version_in(said: &str) -> Option<String> {
    let words = said.split(|c: char| c.is_whitespace() || c == '/');
    let versions = words.filter(|word| {
        let word = word.trim_start_matches('v');
        word.contains('.') && word.starts_with(|c: char| c.is_ascii_digit())
    });
    versions.map(ToOwned::to_owned).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        let cases = [
            ("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https", "2.6.12-1+deb12u4"),
            ("nginx version: nginx/1.22.1", "1.22.1"),
            ("Initializing inetd mode\nstunnel 5.68 on x86_64", "5.68"),
            ("/a/b/envoy  version: 9e55/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0"),
            ("v1.11.0", "v1.11.0"),
        ];
        for (said, expected) in cases {
            assert_eq!(version_in(said).as_deref(), Some(expected), "{said}");
        }
    }
}
