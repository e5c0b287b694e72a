//! What a key may be used for, by the names that cert-manager gave them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use x509_parser::asn1_rs::Oid;
use x509_parser::extensions::{ExtendedKeyUsage, KeyUsage};

use self::Purpose::{Bit, Extended};

/// A key usage or an extended key usage (RFC 5280, 4.2.1.3 and 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each name is the usage's own")]
pub enum Usage {
    Signing,
    DigitalSignature,
    ContentCommitment,
    KeyEncipherment,
    KeyAgreement,
    DataEncipherment,
    CertSign,
    CrlSign,
    EncipherOnly,
    DecipherOnly,
    Any,
    ServerAuth,
    ClientAuth,
    CodeSigning,
    EmailProtection,
    SMime,
    IpsecEndSystem,
    IpsecTunnel,
    IpsecUser,
    Timestamping,
    OcspSigning,
    MicrosoftSgc,
    NetscapeSgc,
}

/// Where a usage stands in a certificate.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Bit(KeyUsagePurpose),
    Extended(&'static [u64]),
}

/// Two names share a place where cert-manager has two: the first of them is what is read back.
const ALL: [(Usage, &str, Purpose); 23] = [
    (Usage::DigitalSignature, "digital signature", Bit(KeyUsagePurpose::DigitalSignature)),
    (Usage::Signing, "signing", Bit(KeyUsagePurpose::DigitalSignature)),
    (Usage::ContentCommitment, "content commitment", Bit(KeyUsagePurpose::ContentCommitment)),
    (Usage::KeyEncipherment, "key encipherment", Bit(KeyUsagePurpose::KeyEncipherment)),
    (Usage::KeyAgreement, "key agreement", Bit(KeyUsagePurpose::KeyAgreement)),
    (Usage::DataEncipherment, "data encipherment", Bit(KeyUsagePurpose::DataEncipherment)),
    (Usage::CertSign, "cert sign", Bit(KeyUsagePurpose::KeyCertSign)),
    (Usage::CrlSign, "crl sign", Bit(KeyUsagePurpose::CrlSign)),
    (Usage::EncipherOnly, "encipher only", Bit(KeyUsagePurpose::EncipherOnly)),
    (Usage::DecipherOnly, "decipher only", Bit(KeyUsagePurpose::DecipherOnly)),
    (Usage::Any, "any", Extended(&[2, 5, 29, 37, 0])),
    (Usage::ServerAuth, "server auth", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 1])),
    (Usage::ClientAuth, "client auth", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 2])),
    (Usage::CodeSigning, "code signing", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 3])),
    (Usage::EmailProtection, "email protection", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 4])),
    (Usage::SMime, "s/mime", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 4])),
    (Usage::IpsecEndSystem, "ipsec end system", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 5])),
    (Usage::IpsecTunnel, "ipsec tunnel", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 6])),
    (Usage::IpsecUser, "ipsec user", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 7])),
    (Usage::Timestamping, "timestamping", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 8])),
    (Usage::OcspSigning, "ocsp signing", Extended(&[1, 3, 6, 1, 5, 5, 7, 3, 9])),
    (Usage::MicrosoftSgc, "microsoft sgc", Extended(&[1, 3, 6, 1, 4, 1, 311, 10, 3, 3])),
    (Usage::NetscapeSgc, "netscape sgc", Extended(&[2, 16, 840, 1, 113_730, 4, 1])),
];

/// A name that is no usage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key usage")]
pub struct UnknownUsage(
    /// The name.
    pub String,
);

impl Usage {
    /// Every usage there is.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().map(|(usage, ..)| *usage)
    }

    /// The name in a manifest.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// The usage that is read back from a certificate with this one: `signing` is
    /// `digital signature`, and `s/mime` is `email protection`.
    pub fn canonical(self) -> Self {
        match self {
            Self::Signing => Self::DigitalSignature,
            Self::SMime => Self::EmailProtection,
            other => other,
        }
    }

    pub(crate) fn purpose(self) -> Purpose {
        self.entry().2
    }

    fn entry(self) -> &'static (Self, &'static str, Purpose) {
        // Every variant stands in the table (a test holds it), so the first is never the answer
        // for another.
        ALL.iter().find(|(usage, ..)| *usage == self).unwrap_or(&ALL[0])
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Usage {
    type Err = UnknownUsage;

    fn from_str(name: &str) -> Result<Self, UnknownUsage> {
        let found = ALL.iter().find(|(_, known, _)| *known == name);
        found.map(|(usage, ..)| *usage).ok_or_else(|| UnknownUsage(name.to_owned()))
    }
}

/// The two extensions' worth of usages, as rcgen takes them.
pub(crate) fn purposes(
    usages: &BTreeSet<Usage>,
) -> (Vec<KeyUsagePurpose>, Vec<ExtendedKeyUsagePurpose>) {
    let (mut bits, mut extended) = (Vec::new(), Vec::new());
    for usage in usages {
        match usage.canonical().purpose() {
            Bit(bit) => bits.push(bit),
            Extended(oid) => extended.push(ExtendedKeyUsagePurpose::Other(oid.to_vec())),
        }
    }
    (bits, extended)
}

/// The usages in a KeyUsage extension.
pub(crate) fn from_bits(bits: &KeyUsage) -> impl Iterator<Item = Usage> {
    let set = [
        (bits.digital_signature(), Usage::DigitalSignature),
        (bits.non_repudiation(), Usage::ContentCommitment),
        (bits.key_encipherment(), Usage::KeyEncipherment),
        (bits.data_encipherment(), Usage::DataEncipherment),
        (bits.key_agreement(), Usage::KeyAgreement),
        (bits.key_cert_sign(), Usage::CertSign),
        (bits.crl_sign(), Usage::CrlSign),
        (bits.encipher_only(), Usage::EncipherOnly),
        (bits.decipher_only(), Usage::DecipherOnly),
    ];
    set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, usage)| usage)
}

/// What people call purposes that have no name in a spec, where they are met.
const UNNAMED: [(&str, &str); 6] = [
    ("1.3.6.1.4.1.311.20.2.2", "Microsoft smart card logon"),
    ("1.3.6.1.4.1.311.10.3.4", "Microsoft encrypting file system"),
    ("1.3.6.1.4.1.311.10.3.12", "Microsoft document signing"),
    ("1.3.6.1.5.2.3.4", "Kerberos client authentication"),
    ("1.3.6.1.5.2.3.5", "Kerberos key distribution center"),
    ("1.3.6.1.5.5.7.3.17", "IPsec IKE"),
];

/// The purposes in an ExtendedKeyUsage extension that have no name in a spec.
pub(crate) fn unknown_purposes(extended: &ExtendedKeyUsage<'_>) -> impl Iterator<Item = String> {
    extended.other.iter().filter(|oid| named(oid).is_none()).map(|oid| {
        let oid = oid.to_id_string();
        match UNNAMED.iter().find(|(known, _)| *known == oid) {
            Some((_, name)) => format!("{oid} ({name})"),
            None => oid,
        }
    })
}

/// The usages in an ExtendedKeyUsage extension that have a name.
pub(crate) fn from_extended(extended: &ExtendedKeyUsage<'_>) -> impl Iterator<Item = Usage> {
    let set = [
        (extended.any, Usage::Any),
        (extended.server_auth, Usage::ServerAuth),
        (extended.client_auth, Usage::ClientAuth),
        (extended.code_signing, Usage::CodeSigning),
        (extended.email_protection, Usage::EmailProtection),
        (extended.time_stamping, Usage::Timestamping),
        (extended.ocsp_signing, Usage::OcspSigning),
    ];
    let named = set.into_iter().filter(|(is_set, _)| *is_set).map(|(_, usage)| usage);
    named.chain(extended.other.iter().filter_map(self::named))
}

fn named(oid: &Oid<'_>) -> Option<Usage> {
    let arcs: Vec<u64> = oid.iter()?.collect();
    let is_it = |purpose: &Purpose| matches!(purpose, Extended(known) if *known == arcs);
    ALL.iter().find(|(.., purpose)| is_it(purpose)).map(|(usage, ..)| *usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usage_has_its_own_name_and_comes_back_from_it() {
        for (usage, name, _) in ALL {
            assert_eq!(usage.to_string(), name);
            assert_eq!(name.parse(), Ok(usage));
        }
        let names: BTreeSet<_> = ALL.iter().map(|(_, name, _)| name).collect();
        let usages: BTreeSet<_> = ALL.iter().map(|(usage, ..)| usage).collect();
        assert_eq!((names.len(), usages.len()), (23, 23));
        assert_eq!("Server Auth".parse::<Usage>(), Err(UnknownUsage("Server Auth".to_owned())));
    }
}
