//! The cluster's own certificates and kubeconfigs; nothing of Countersign's.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

/// The authority of a cluster.
pub(super) struct ClusterAuthority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl ClusterAuthority {
    /// A new one: `ca.crt`, `ca.key`, and the pair that signs service account tokens.
    pub(super) fn new(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "kubernetes");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        fs::write(folder.join("ca.crt"), certificate.pem())?;
        fs::write(folder.join("ca.key"), key.serialize_pem())?;
        let accounts = KeyPair::generate()?;
        fs::write(folder.join("sa.key"), accounts.serialize_pem())?;
        fs::write(folder.join("sa.pub"), accounts.public_key_pem())?;
        Ok(Self { folder: folder.to_owned(), issuer: Issuer::new(params, key) })
    }

    /// A client's certificate, `<name>.crt` and `<name>.key`.
    pub(super) fn client(&self, name: &str, user: &str, group: Option<&str>) -> anyhow::Result<()> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.write(name, params)
    }

    /// A server's certificate.
    pub(super) fn server(&self, name: &str, dns: &[&str], ips: &[IpAddr]) -> anyhow::Result<()> {
        let names: Vec<String> = dns.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names.extend(ips.iter().map(|ip| SanType::IpAddress(*ip)));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.write(name, params)
    }

    fn write(&self, name: &str, params: CertificateParams) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        fs::write(self.folder.join(format!("{name}.crt")), certificate.pem())?;
        fs::write(self.folder.join(format!("{name}.key")), key.serialize_pem())?;
        Ok(())
    }
}

/// Writes a kubeconfig that refers to the certificates of a client.
pub(super) fn kubeconfig(
    path: &Path,
    server: &str,
    pki: &Path,
    client: &str,
) -> anyhow::Result<()> {
    let pki = pki.display();
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: countersign\n\
         clusters:\n- name: countersign\n  cluster:\n    server: {server}\n    certificate-authority: {pki}/ca.crt\n\
         users:\n- name: countersign\n  user:\n    client-certificate: {pki}/{client}.crt\n    client-key: {pki}/{client}.key\n\
         contexts:\n- name: countersign\n  context:\n    cluster: countersign\n    user: countersign\n"
    );
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(())
}
