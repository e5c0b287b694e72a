//! What people are told of a Secret.

use super::*;
use crate::support::{World, now, pem};

const END: &str = "2026-06-05T12:00:00Z";

fn secret(bundle: Bundle) -> Seen {
    Seen {
        title: "Secret shop/web".to_owned(),
        type_: Some("kubernetes.io/tls".to_owned()),
        certificate_name: Some("web".to_owned()),
        bundle,
    }
}

/// Serial numbers and fingerprints differ with each run.
fn without_numbers(text: &str) -> String {
    let kept = text.lines().filter(|line| !line.contains("Serial:") && !line.contains("SHA-256:"));
    kept.map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_chain_is_drawn_from_the_root_down() {
    let report = report(&secret(World::new().bundle(END)), now());
    let expected = "\
Secret shop/web, kubernetes.io/tls, of Certificate web

CN=root (root)
│  Valid:    2026-01-01T00:00:00Z to 2036-01-01T00:00:00Z (in 3527d)
│  Key:      ECDSA 256
│  From:     ca.crt
└─ CN=intermediate (intermediate)
   │  Valid:    2026-01-01T00:00:00Z to 2027-01-01T00:00:00Z (in 240d)
   │  Key:      ECDSA 256
   │  From:     tls.crt
   └─ CN=web (leaf)
         Valid:      2026-01-01T00:00:00Z to 2026-06-05T12:00:00Z (in 31d)
         Key:        ECDSA 256
         Issuer:     CN=intermediate
         DNS names:  web.test
         Usages:     digital signature, key encipherment
         From:       tls.crt

Key:    matches the certificate
Chain:  verifies up to ca.crt
";
    assert_eq!(without_numbers(&text(&report, now())), expected);
}

#[test]
fn what_is_wrong_stands_at_the_end() {
    let bundle = Bundle { roots: None, ..World::new().bundle("2026-05-04T00:00:00Z") };
    let told = text(&report(&secret(bundle), now()), now());
    let expected = "\
Key:    matches the certificate
Chain:  there is no ca.crt to verify it against

2 warnings:
  ! ca.crt is missing: whoever verifies must have the root already
  ! CN=web expired at 2026-05-04T00:00:00Z
";
    assert!(told.ends_with(expected), "{told}");
}

#[test]
fn neither_form_of_the_answer_holds_the_key() {
    let bundle = World::new().bundle(END);
    let key = String::from_utf8(bundle.key.clone().expect("a key").expose().clone()).expect("PEM");
    let lines: Vec<_> = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let report = report(&secret(bundle.clone()), now());
    let json = serde_json::to_string(&report).expect("JSON");
    for told in [text(&report, now()), json.clone(), format!("{report:?} {bundle:?}")] {
        assert!(!told.contains("PRIVATE KEY"));
        assert!(lines.iter().all(|line| !told.contains(line)));
    }
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["chain"][0]["names"]["dnsNames"][0], "web.test");
    assert_eq!(json["chain"][2]["source"], "ca.crt");
    assert_eq!((&json["key"], &json["chainState"]), (&"matches".into(), &"verified".into()));
}

#[test]
fn files_are_read_alone_or_as_the_folder_of_a_request() {
    let folder = std::env::temp_dir().join(format!("countersign-inspect-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let bundle = World::new().bundle(END);
    let write =
        |name: &str, bytes: &[u8]| std::fs::write(folder.join(name), bytes).expect("a file");
    let chain = bundle.certificate.expect("a chain");
    write("tls.crt", &chain);
    write("ca.crt", bundle.roots.as_deref().expect("a root"));
    write("all.pem", &[pem(&crate::support::key()), chain].concat());
    let of = |path: &Path| report(&from_files(path).expect("readable"), now()).findings;
    let whole = of(&folder);
    assert_eq!((whole.key, whole.chain_state), (KeyState::Missing, ChainState::Verified));
    assert_eq!(whole.warnings, []);
    let alone = of(&folder.join("tls.crt"));
    assert_eq!((alone.chain.len(), alone.chain_state), (2, ChainState::NoRoots));
    assert_eq!(alone.warnings, []);
    assert_eq!(of(&folder.join("all.pem")).key, KeyState::Mismatch);
    write("large", &vec![b'-'; (MOST_BYTES + 1) as usize]);
    for (name, why) in [("large", "larger than 1 MiB"), ("nothing", "cannot be read")] {
        let Err(error) = from_files(&folder.join(name)) else { panic!("{name}") };
        assert!(error.to_string().contains(why), "{error}");
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
