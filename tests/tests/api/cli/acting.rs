//! What changes something: renew, approve, deny, request.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use countersign_crds::{Certificate, CertificateRequest, ConditionStatus, Issuer};
use countersign_operator::pki::{CertificateFacts, PrivateKey};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};

use super::{Ended, has, kubeconfig_of, run};
use crate::approval;
use crate::external::sign_as_external_issuer;
use crate::issuance::folder;
use crate::requests::openssl_csr;
use crate::space::{Space, revision};

pub(crate) async fn a_renewal_is_asked_for_by_name_by_label_and_for_all(space: Space) {
    space.authority().await;
    for name in ["a", "b", "c"] {
        space.certificate(name, json!({})).await;
    }
    let label = json!({ "metadata": { "labels": { "of": space.namespace } } });
    space.change::<Certificate>("b", label).await;
    let named = |answer: &Value| {
        let all = answer["certificates"].as_array().unwrap().clone();
        assert!(all.iter().all(|it| it["outcome"] == "asked"), "{all:?}");
        let names = all.iter().map(|it| it["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let renewed = async |name: &str, times: i64| {
        let is_renewed = |it: &Certificate| revision(it) == Some(times);
        space.certificate_when(name, "is renewed", is_renewed).await;
        assert_eq!(revision(&space.ready(name).await), Some(times), "{name}");
    };
    let told = run(&space, &["renew", "a"]).well();
    assert_eq!(
        told,
        format!("Certificate {}/a: a new certificate was asked for\n", space.namespace)
    );
    renewed("a", 2).await;
    let selector = format!("of={}", space.namespace);
    let line = ["renew", "-A", "-l", &selector, "-o", "json"];
    assert_eq!(named(&run(&space, &line).json()), ["b"]);
    renewed("b", 2).await;
    // One is not there: none is renewed.
    let failed = run(&space, &["renew", "c", "nobody"]).failed();
    has(&failed, &["there is no Certificate nobody in namespace"]);
    assert_eq!(revision(&space.ready("c").await), Some(1));
    let all = named(&run(&space, &["renew", "--all", "-o", "json"]).json());
    assert_eq!(all, ["a", "b", "c", "intermediate", "root"]);
    let is_renewed = |it: &Certificate| revision(it) >= Some(2);
    space.certificate_when("c", "is renewed", is_renewed).await;
    let none = run(&space, &["renew", "-l", "no=such"]).well();
    has(&none, &["No such Certificates in namespace", &space.namespace]);
}

/// A request to an issuer of others, about which nobody has said anything.
async fn asked(space: &Space, name: &str) {
    approval::made(space, name, "Issuer").await;
}

async fn word(space: &Space, name: &str, type_: &str) -> Option<(String, String)> {
    let request: CertificateRequest = space.api().get(name).await.unwrap();
    let conditions = request.status.unwrap_or_default().conditions;
    let said = conditions.into_iter().find(|it| it.type_ == type_)?;
    assert_eq!(said.status, ConditionStatus::True);
    Some((said.reason.unwrap(), said.message.unwrap()))
}

pub(crate) async fn who_may_approve_does_so_once(space: Space) {
    let nobody = approval::installed(&space).await;
    let rights = approval::approves(&["issuers.example.org/*"]);
    let approver = approval::user(&space, "approver", rights).await;
    asked(&space, "laptop").await;
    let by = |user: &str, line: &[&str]| -> Ended {
        let file = kubeconfig_of(&space, user).display().to_string();
        run(&space, &[line, &["--kubeconfig", &file]].concat())
    };
    let refused = by(&nobody, &["approve", "laptop"]).failed();
    has(&refused, &["approving CertificateRequest", "you may not", &nobody, "verb approve"]);
    assert_eq!(word(&space, "laptop", "Approved").await, None);
    let told = by(&approver, &["approve", "laptop"]).well();
    let expected = format!("CertificateRequest {}/laptop is approved\n", space.namespace);
    assert_eq!(told, expected);
    let (reason, message) = word(&space, "laptop", "Approved").await.unwrap();
    assert_eq!(reason, "KubectlCountersign");
    has(&message, &["Approved with kubectl countersign"]);
    for line in [["approve", "laptop"], ["deny", "laptop"]] {
        has(&by(&approver, &line).failed(), &["is already approved (KubectlCountersign: "]);
    }
    std::fs::remove_dir_all(folder(&space)).unwrap();
}

pub(crate) async fn a_denial_stays(space: Space) {
    for name in ["one", "two"] {
        asked(&space, name).await;
    }
    let words = ["--reason", "NoLaptops", "--message", "Ask the desk", "-o", "json"];
    let told = run(&space, &[&["deny", "one", "two"], &words[..]].concat()).json();
    assert_eq!((&told["verdict"], &told["reason"]), (&json!("Denied"), &json!("NoLaptops")));
    assert_eq!(told["certificateRequests"][1]["name"], "two");
    for name in ["one", "two"] {
        let (reason, message) = word(&space, name, "Denied").await.unwrap();
        assert_eq!((reason.as_str(), message.as_str()), ("NoLaptops", "Ask the desk"));
        let failed = run(&space, &["approve", name]).failed();
        has(&failed, &["is already denied (NoLaptops: Ask the desk)", "new CertificateRequest"]);
    }
}

fn file(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Whether openssl takes chain and key for what they should be.
fn openssl_accepts(folder: &Path) {
    let openssl = |line: &str| {
        let output = Command::new("openssl").args(line.split(' ')).current_dir(folder).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    openssl("verify -x509_strict -CAfile ca.crt -untrusted tls.crt tls.crt");
    let of_certificate = openssl("x509 -in tls.crt -noout -pubkey");
    assert_eq!(of_certificate, openssl("pkey -in tls.key -pubout"));
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let names = entries.map(|it| it.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Where a request writes to.
fn out(space: &Space) -> (PathBuf, String) {
    let out = folder(space).join("laptop");
    let name = out.display().to_string();
    (out, name)
}

pub(crate) async fn a_request_is_signed_and_its_key_stays_here(space: Space) {
    space.authority().await;
    let (out, out_name) = out(&space);
    let line = ["request", "--issuer", "ca", "--dns", "laptop.test", "--ip", "192.0.2.7"];
    let more = ["--usage", "client-auth,digital-signature", "--duration", "1h", "--out", &out_name];
    let line = [&line[..], &more].concat();
    let told = run(&space, &line).well();
    has(&told, &["was signed by Issuer ca", "laptop.test", "192.0.2.7", "client auth", "tls.key"]);
    openssl_accepts(&out);
    assert_eq!(names(&out), ["ca.crt", "tls.crt", "tls.key"]);
    let mode = std::fs::metadata(out.join("tls.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let first = CertificateFacts::from_pem(&file(&out, "tls.crt")).unwrap();
    let requests = space.api::<CertificateRequest>().list(&ListParams::default()).await.unwrap();
    let name = requests.items[0].name_any();
    assert!(name.starts_with("laptop-test-"), "{name}");
    let inspected = run(&space, &["inspect", "secret", "-f", &out_name, "-o", "json"]).json();
    assert_eq!((&inspected["key"], &inspected["warnings"]), (&json!("matches"), &json!([])));
    // What is there is not overwritten, unless that is asked for.
    let key = file(&out, "tls.key");
    has(&run(&space, &line).failed(), &["tls.key exists already", "--force"]);
    assert_eq!(file(&out, "tls.key"), key);
    let forced = run(&space, &[&line[..], &["--force", "-o", "json"]].concat()).json();
    openssl_accepts(&out);
    let second = CertificateFacts::from_pem(&file(&out, "tls.crt")).unwrap();
    assert_eq!(forced["certificate"]["serial"], second.serial_hex().as_str());
    assert_ne!(first.public_key_spki, second.public_key_spki);
    assert_eq!(forced["warnings"], json!([]));
    std::fs::remove_dir_all(folder(&space)).unwrap();
}

pub(crate) async fn a_csr_of_another_key_is_signed_too(space: Space) {
    space.authority().await;
    let csr = openssl_csr(&space, "laptop.test");
    let (out, out_name) = out(&space);
    let path = folder(&space).join("csr.pem");
    std::fs::write(&path, csr).unwrap();
    let path = path.display().to_string();
    let line = ["request", "by-hand", "--issuer", "Issuer/ca", "--csr", &path, "--out", &out_name];
    has(&run(&space, &line).well(), &["/by-hand was signed by Issuer ca"]);
    assert_eq!(names(&out), ["ca.crt", "tls.crt"]);
    let again = run(&space, &[&line[..], &["--force"]].concat()).failed();
    has(&again, &["by-hand exists already", "--resume"]);
    std::fs::write(&path, "garbage").unwrap();
    has(&run(&space, &[&line[..], &["--force"]].concat()).failed(), &["is no CSR"]);
    std::fs::remove_dir_all(folder(&space)).unwrap();
}

pub(crate) async fn a_request_that_is_denied_leaves_nothing_behind(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let rule = json!({ "name": "only-shop", "dnsNames": ["*.shop.test"] });
    let ca = json!({ "secretName": "intermediate", "policy": { "allow": [rule] } });
    space.make::<Issuer>("strict", json!({ "spec": { "ca": ca } })).await;
    let (out, out_name) = out(&space);
    let line = ["request", "--issuer", "strict", "--dns", "bank.test", "--out", &out_name];
    let failed = run(&space, &line).failed();
    has(&failed, &["CertificateRequest", "was denied: ", "bank.test", "ask again"]);
    assert_eq!(names(&out), [""; 0]);
    let allowed = ["request", "--issuer", "strict", "--dns", "a.shop.test", "--out", &out_name];
    run(&space, &allowed).well();
    openssl_accepts(&out);
    std::fs::remove_dir_all(folder(&space)).unwrap();
}

pub(crate) async fn a_request_that_takes_its_time_is_gone_on_with(space: Space) {
    space.authority().await;
    space.ready("intermediate").await;
    let (out, out_name) = out(&space);
    let issuer = "StepIssuer.example.org/theirs";
    let line = ["request", "slow", "--issuer", issuer, "--common-name", "laptop"];
    let more = ["--email", "a@b.test", "--timeout", "100ms", "--out", &out_name];
    let failed = run(&space, &[&line[..], &more].concat()).failed();
    let resume = ["request", "--resume", "slow", "--out", &out_name];
    has(&failed, &["is not signed after", "nobody has approved it yet", &resume[..3].join(" ")]);
    assert_eq!(names(&out), ["tls.key.pending"]);
    let key = PrivateKey::from_pem(&file(&out, "tls.key.pending")).unwrap();
    // Another request in the same folder does not take the place of the one that waits.
    let other = ["request", "--issuer", "ca", "--dns", "x.test", "--out", &out_name];
    has(&run(&space, &other).failed(), &["tls.key.pending", "--resume"]);
    let request: CertificateRequest = space.api().get("slow").await.unwrap();
    sign_as_external_issuer(&space, &request).await;
    let told = run(&space, &resume).well();
    has(&told, &["was signed by StepIssuer.example.org theirs", "a@b.test"]);
    openssl_accepts(&out);
    assert_eq!(names(&out), ["ca.crt", "tls.crt", "tls.key"]);
    let facts = CertificateFacts::from_pem(&file(&out, "tls.crt")).unwrap();
    assert!(facts.matches_key(&key));
    // The key of another.
    let before = file(&out, "tls.crt");
    std::fs::rename(out.join("tls.key"), out.join("kept")).unwrap();
    std::fs::write(out.join("tls.key.pending"), other_key(&space).await).unwrap();
    let forced = run(&space, &[&resume[..], &["--force"]].concat()).failed();
    has(&forced, &["is about another key"]);
    assert_eq!(file(&out, "tls.crt"), before);
    std::fs::remove_dir_all(folder(&space)).unwrap();
}

async fn other_key(space: &Space) -> Vec<u8> {
    crate::space::text(&space.secret("intermediate").await, "tls.key").to_vec()
}
