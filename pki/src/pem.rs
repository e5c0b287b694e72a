//! PEM in and out. What stands where is found by the strict reader that the sidecar shares
//! (`countersign_contract::pem`); here it is decoded.

pub use countersign_contract::pem::{PemError, Problem as PemProblem};

pub(crate) use countersign_contract::pem::Kind;
use countersign_contract::pem::sections as find;
use pem::{EncodeConfig, LineEnding, Pem};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

/// Every section of a kind, decoded, in order; one at least, `limit` at most.
pub(crate) fn sections(
    text: &[u8],
    kind: Kind,
    limit: usize,
) -> Result<Vec<(SectionKind, Vec<u8>)>, PemError> {
    let found = find(text, kind, limit)?;
    let decode = |section: countersign_contract::pem::Section| {
        let (label, line) = (section.label.to_owned(), section.line);
        // It may be of a key. The decoder's own error is left out, since it quotes the text.
        let text = Zeroizing::new(section.text);
        let decoded = <(SectionKind, Vec<u8>)>::from_pem_slice(&text);
        decoded.map_err(|_| PemError::Line { line, problem: PemProblem::Content { label } })
    };
    found.into_iter().map(decode).collect()
}

/// One certificate or several, in the order in which they stand.
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    const LIMIT: usize = 1000;
    let found = sections(text, Kind::Certificate, LIMIT)?;
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
        let missing = |other: Option<&str>| PemError::Missing {
            label: "CERTIFICATE",
            other: other.map(str::to_owned),
        };
        let of = |line, problem| PemError::Line { line, problem };
        let label = || "CERTIFICATE".to_owned();
        let cases: [(&[u8], PemError); 5] = [
            (b"", missing(None)),
            (b"garbage \xff\x00", missing(None)),
            (b"-----BEGIN CERTIFICATE-----\nMII", of(1, PemProblem::NoEnd { label: label() })),
            (
                b"\n-----BEGIN CERTIFICATE-----\nMI=I\n-----END CERTIFICATE-----\n",
                of(2, PemProblem::Content { label: label() }),
            ),
            (
                b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                missing(Some("PUBLIC KEY")),
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
