//! What people are told when it worked.

use std::path::PathBuf;

use super::*;
use crate::support::{World, key, now, text as pem};

#[test]
fn the_answer_says_what_was_signed_and_where_it_is() {
    let (world, own) = (World::new(), key());
    let leaf = world.leaf("laptop", "2026-06-05T12:00:00Z", &own);
    let chain = pem(&[&leaf, &world.intermediate]);
    let facts = countersign_pki::CertificateFacts::from_pem(&chain).expect("a leaf");
    let signed = Signed { chain, ca: Some(pem(&[&world.root])) };
    let report = Report {
        namespace: "shop".to_owned(),
        name: "laptop-1".to_owned(),
        issuer: "ClusterIssuer countersign".to_owned(),
        files: Written {
            key: Some(PathBuf::from("d/tls.key")),
            certificate: PathBuf::from("d/tls.crt"),
            ca: Some(PathBuf::from("d/ca.crt")),
        },
        certificate: CertificateReport::of(&facts),
        warnings: warnings(&signed, now()),
    };
    let expected = "\
CertificateRequest shop/laptop-1 was signed by ClusterIssuer countersign

  Subject:      CN=laptop
  DNS names:    laptop.test
  Usages:       digital signature, key encipherment
  Valid until:  2026-06-05T12:00:00Z (in 31d)
  Key:          d/tls.key
  Certificate:  d/tls.crt
  Root:         d/ca.crt
";
    assert_eq!(text(&report, now()), expected);
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["files"]["key"], "d/tls.key");
    assert_eq!(json["certificate"]["notAfter"], "2026-06-05T12:00:00Z");
    let alone = Signed { ca: None, ..signed };
    let codes: Vec<_> = warnings(&alone, now()).iter().map(|it| it.code).collect();
    assert_eq!(codes, ["caMissing"]);
}
