use super::*;

const ONE: &str = "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n";

fn read(text: &str) -> Result<Vec<(usize, String)>, PemError> {
    let found = sections(text.as_bytes(), Kind::Certificate, 3)?;
    Ok(found
        .into_iter()
        .map(|section| (section.line, String::from_utf8(section.text).expect("ASCII")))
        .collect())
}

fn problem(text: &str) -> (usize, Problem) {
    match read(text) {
        Err(PemError::Line { line, problem }) => (line, problem),
        other => panic!("{text:?}: {other:?}"),
    }
}

#[test]
fn reads_every_section_whatever_stands_around_it() {
    let cases = [
        (format!("{ONE}{ONE}"), vec![1, 4]),
        (format!("{}{ONE}", ONE.trim_end()), vec![1, 3]),
        (format!("{} {ONE}", ONE.trim_end()), vec![1, 3]),
        (format!("{ONE}  {ONE}"), vec![1, 4]),
        (format!("\u{feff}{ONE}\u{feff}{ONE}"), vec![1, 4]),
        (format!("\u{feff}  {ONE}"), vec![1]),
        (ONE.replace('\n', "\r\n"), vec![1]),
        (ONE.replace('\n', "\r"), vec![1]),
        (ONE.replace('\n', " \n"), vec![1]),
        (ONE.replace("QUJD", " QU\n\n\tJD "), vec![1]),
        (ONE.replace("CERT", "X509 CERT"), vec![1]),
        (format!("subject=CN = a\n\n{ONE}# the END of it - BEGINNING\n{ONE}"), vec![3, 7]),
        (format!("-----BEGIN EC PARAMETERS-----\n!\n-----END EC PARAMETERS-----\n{ONE}"), vec![4]),
        (ONE.trim_end().to_owned(), vec![1]),
    ];
    for (text, lines) in cases {
        let wanted: Vec<_> = lines.into_iter().map(|line| (line, ONE.to_owned())).collect();
        assert_eq!(read(&text), Ok(wanted), "{text:?}");
    }
}

#[test]
fn names_the_line_that_would_lose_a_section() {
    let cut = "-----BEGIN CERTIFICATE-----\nQUJD\n";
    let label = || "CERTIFICATE".to_owned();
    let cases = [
        (format!("{ONE}see {ONE}"), 4, Problem::Mark),
        (format!("{ONE}\u{a0}{ONE}"), 4, Problem::Mark),
        (format!("{ONE}-{ONE}"), 4, Problem::Mark),
        (format!("{ONE}{}", ONE.replacen("-----BEGIN", "----BEGIN", 1)), 4, Problem::Mark),
        (format!("{ONE}{}", ONE.replacen("-----BEGIN", "\u{2014}BEGIN", 1)), 4, Problem::Mark),
        (format!("{ONE}{}", ONE.replacen("CERT", "cert", 1)), 4, Problem::Mark),
        (format!("{ONE}{}", ONE.replacen("-----\n", "----\n", 1)), 4, Problem::Mark),
        (ONE.replace('\n', "\\n"), 1, Problem::Mark),
        (ONE.replace('\n', " "), 1, Problem::Mark),
        (format!("{} # root\n{ONE}", ONE.trim_end()), 3, Problem::Mark),
        (ONE.replace("QUJD\n", "QUJD"), 2, Problem::Mark),
        (format!("{cut}{ONE}"), 1, Problem::NoEnd { label: label() }),
        (format!("{ONE}{cut}"), 4, Problem::NoEnd { label: label() }),
        ("QUJD\n-----END CERTIFICATE-----\n".to_owned(), 2, Problem::NoBegin),
        (format!("{cut}-----END X509 CRL-----"), 3, Problem::OtherEnd { label: label() }),
        (ONE.replace("QUJD", "QU*D"), 2, Problem::Content { label: label() }),
        (ONE.replace("QUJD", ""), 1, Problem::Content { label: label() }),
    ];
    for (text, line, wanted) in cases {
        assert_eq!(problem(&text), (line, wanted), "{text:?}");
    }
}

#[test]
fn refuses_labels_that_hold_what_is_wanted_in_another_form() {
    use Kind::{Certificate, PrivateKey, Request, RevocationList};
    let cases = [
        (Certificate, "TRUSTED CERTIFICATE", "trust settings of OpenSSL"),
        (Certificate, "PKCS7", "pkcs7 -print_certs"),
        (Certificate, "CERTIFCATE", "CERTIFCATE is unknown"),
        (Certificate, "X.509 CERTIFICATE", "the label of a certificate is CERTIFICATE"),
        (PrivateKey, "ENCRYPTED PRIVATE KEY", "is encrypted"),
        (PrivateKey, "DSA PRIVATE KEY", "RSA, ECDSA and Ed25519"),
        (PrivateKey, "OPENSSH PRIVATE KEY", "RSA, ECDSA and Ed25519"),
        (Request, "X509 REQUEST", "CERTIFICATE REQUEST"),
        (RevocationList, "CRL", "X509 CRL"),
        (PrivateKey, "CERTIFICATE", "there is no PEM section PRIVATE KEY, only CERTIFICATE"),
        (Certificate, "PRIVATE KEY", "there is no PEM section CERTIFICATE, only PRIVATE KEY"),
    ];
    for (kind, label, wanted) in cases {
        let text = ONE.replace("CERTIFICATE", label);
        let refused = sections(text.as_bytes(), kind, 1).expect_err(label).to_string();
        assert!(refused.contains(wanted), "{label}: {refused}");
    }
}

#[test]
fn says_what_is_no_pem() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "there is no PEM section CERTIFICATE"),
        (b"see the vault\n", "there is no PEM section CERTIFICATE"),
        (b"\xff\xfe-\0-\0", "UTF-16"),
        (b"\x30\x82\x01\x0a\x02", "DER"),
        (&[b'-'; MAX_BYTES + 1], "are more than the 1048576"),
        (b"-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n", "line 2: section CERTIFICATE"),
    ];
    for (text, wanted) in cases {
        let refused = sections(text, Kind::Certificate, 1).expect_err("no PEM").to_string();
        assert!(refused.contains(wanted), "{refused}");
    }
    let two = format!("{ONE}{ONE}");
    let refused = sections(two.as_bytes(), Kind::Certificate, 1);
    assert_eq!(refused, Err(PemError::TooMany { label: "CERTIFICATE", limit: 1 }));
}

#[test]
fn an_error_shows_no_content() {
    let secret = "c2VjcmV0IGtleQ";
    let texts = [
        format!("-----BEGIN {secret}-----\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}!\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{secret}\n"),
        format!("-----BEGIN PRIVATE KEY-----{secret}\n"),
        format!("{secret}-----END PRIVATE KEY-----\n"),
    ];
    for text in texts {
        let refused = sections(text.as_bytes(), Kind::PrivateKey, 1).expect_err("damaged");
        assert!(!format!("{refused} {refused:?}").contains("c2Vj"), "{refused}");
    }
}
