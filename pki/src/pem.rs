//! PEM in and out, with a limit on what is read.

use pem::{EncodeConfig, LineEnding, Pem};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{PemObject, SectionKind};

/// The API server keeps no object larger than about 1.5 MiB, hence nothing honest is larger.
const MAX_BYTES: usize = 1 << 20;

/// Why a PEM text was not accepted.
///
/// The reader's own error is left out on purpose: it quotes the line, which may be of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// More than is ever read.
    #[error("{bytes} bytes of PEM are more than the {limit} that are read")]
    TooLong {
        /// How many there are.
        bytes: usize,
        /// How many are read.
        limit: usize,
    },
    /// Nothing of the wanted kind.
    #[error("there is no PEM section {label}")]
    Missing {
        /// The wanted label.
        label: &'static str,
    },
    /// More sections of the wanted kind than are read.
    #[error("there are more than {limit} PEM sections {label}")]
    TooMany {
        /// The label.
        label: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// A section without an end, or that is not base64.
    #[error("a PEM section is damaged")]
    Damaged,
}

/// Every section of `text` whose kind is wanted, in order; one at least, `limit` at most.
pub(crate) fn sections(
    text: &[u8],
    label: &'static str,
    limit: usize,
    wanted: &[SectionKind],
) -> Result<Vec<(SectionKind, Vec<u8>)>, PemError> {
    if text.len() > MAX_BYTES {
        return Err(PemError::TooLong { bytes: text.len(), limit: MAX_BYTES });
    }
    let mut found = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        let Ok(section) = section else { return Err(PemError::Damaged) };
        if !wanted.contains(&section.0) {
            continue;
        }
        if found.len() == limit {
            return Err(PemError::TooMany { label, limit });
        }
        found.push(section);
    }
    if found.is_empty() { Err(PemError::Missing { label }) } else { Ok(found) }
}

/// One certificate or several, in the order in which they stand.
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    const LIMIT: usize = 1000;
    let found = sections(text, "CERTIFICATE", LIMIT, &[SectionKind::Certificate])?;
    Ok(found.into_iter().map(|(_, der)| CertificateDer::from(der)).collect())
}

/// The certificates one after the other, each with its label.
pub fn certificates_to_pem<'a>(
    certificates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> String {
    certificates.into_iter().map(|der| section("CERTIFICATE", der.to_vec())).collect()
}

/// One section with line feeds only, as OpenSSL and Go write it.
pub(crate) fn section(label: &str, der: Vec<u8>) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    pem::encode_config(&Pem::new(label, der), config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused_by_name() {
        let huge = vec![b'-'; MAX_BYTES + 1];
        let cases: [(&[u8], PemError); 5] = [
            (b"", PemError::Missing { label: "CERTIFICATE" }),
            (b"garbage \xff\x00", PemError::Missing { label: "CERTIFICATE" }),
            (&huge, PemError::TooLong { bytes: MAX_BYTES + 1, limit: MAX_BYTES }),
            (b"-----BEGIN CERTIFICATE-----\nMII", PemError::Damaged),
            (
                b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                PemError::Missing { label: "CERTIFICATE" },
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(certificates_from_pem(text), Err(wanted));
        }
    }

    #[test]
    fn more_sections_than_the_limit_are_refused() {
        let text = section("CERTIFICATE", vec![0; 3]).repeat(1001);
        let wanted = PemError::TooMany { label: "CERTIFICATE", limit: 1000 };
        assert_eq!(certificates_from_pem(text.as_bytes()), Err(wanted));
    }
}
