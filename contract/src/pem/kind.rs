//! Which labels hold what is wanted.

/// What is read out of a PEM text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// X.509 certificates.
    Certificate,
    /// A private key that is not encrypted.
    PrivateKey,
    /// A certificate signing request (PKCS#10).
    Request,
    /// Certificate revocation lists.
    RevocationList,
}

/// What a label means for a reader of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is read, under this label.
    Read(&'static str),
    /// It holds something else.
    Other,
    /// It holds what is wanted, in a form that is not read.
    Refused(&'static str),
}

use Standing::{Other, Read, Refused};

impl Kind {
    /// The label that is named where none is found.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::PrivateKey => "PRIVATE KEY",
            Self::Request => "CERTIFICATE REQUEST",
            Self::RevocationList => "X509 CRL",
        }
    }

    pub(super) fn standing(self, label: &str) -> Standing {
        match self {
            Self::Certificate => certificate(label),
            Self::PrivateKey => private_key(label),
            Self::Request => request(label),
            Self::RevocationList => revocation_list(label),
        }
    }
}

fn certificate(label: &str) -> Standing {
    match label {
        // The second one is what OpenSSL wrote at first.
        "CERTIFICATE" | "X509 CERTIFICATE" => Read("CERTIFICATE"),
        "TRUSTED CERTIFICATE" => {
            Refused("holds trust settings of OpenSSL: write it as CERTIFICATE with 'openssl x509'")
        }
        "PKCS7" | "CMS" | "PKCS #7 SIGNED DATA" => Refused(
            "holds certificates in another form: write them with 'openssl pkcs7 -print_certs'",
        ),
        "ATTRIBUTE CERTIFICATE" => Other,
        _ if label.contains("CERT") && !label.contains("REQUEST") => {
            Refused("is unknown: the label of a certificate is CERTIFICATE")
        }
        _ => Other,
    }
}

fn private_key(label: &str) -> Standing {
    match label {
        "PRIVATE KEY" => Read("PRIVATE KEY"),
        "RSA PRIVATE KEY" => Read("RSA PRIVATE KEY"),
        "EC PRIVATE KEY" => Read("EC PRIVATE KEY"),
        "ENCRYPTED PRIVATE KEY" => {
            Refused("is encrypted: decrypt it, for example with 'openssl pkey'")
        }
        _ if label.contains("PRIVATE KEY") => Refused(
            "holds a key of a kind that is not read: RSA, ECDSA and Ed25519 are, as PRIVATE KEY",
        ),
        _ => Other,
    }
}

fn request(label: &str) -> Standing {
    match label {
        // The second one is what Netscape and older Windows wrote.
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Read("CERTIFICATE REQUEST"),
        _ if label.contains("REQUEST") => {
            Refused("is unknown: the label of a signing request is CERTIFICATE REQUEST")
        }
        _ => Other,
    }
}

fn revocation_list(label: &str) -> Standing {
    match label {
        "X509 CRL" => Read("X509 CRL"),
        _ if label.contains("CRL") || label.contains("REVOCATION") => {
            Refused("is unknown: the label of a revocation list is X509 CRL")
        }
        _ => Other,
    }
}
