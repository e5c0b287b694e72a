//! Policy documents of another version, and names that are not vouched for.

use std::net::TcpStream;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, DnType, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::authority::{Authority, Folder, Set, Validity, WEB};
use crate::ends::{Ends, Kind};
use crate::peer::{application, ask, client, client_side, connect, server_side};
use crate::program::{Port, Sidecar, until};
use crate::stream::{Peer, is_reset, rest};

/// How a document names the key of a CA.
fn key_of(ca: &Authority) -> String {
    let der = CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let digest = digest(&SHA256, parsed.tbs_certificate.subject_pki.raw);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A policy that admits namespace `shop` and tills, where `devices` may vouch for the latter.
fn policy(devices: &Authority) -> String {
    serde_json::json!({
        "default": { "allow": [{ "namespaces": ["shop"] }, { "commonNames": ["till-*"] }] },
        "authorities": {
            "trustDomain": "cluster.local",
            "deviceRoots": devices.pem(),
            "deviceKeys": [key_of(devices)],
        },
    })
    .to_string()
}

/// What a client shows of whom `ca` says that it is `till-666`.
fn till(ca: &Authority, uri: Option<&str>) -> Set {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "till-666");
    params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
    ca.issue_to(params)
}

#[test]
fn device_name_counts_only_if_the_devices_ca_signed_it() {
    let devices = Authority::new("devices");
    let mut ends = Ends::with_policy(&policy(&devices), &[]);
    let (_peer, _app) = ends.connect();
    let (_peer, _app) = ends.connect_as(&till(&devices, None));
    // The CA of identities vouches for no device.
    let forged = till(&ends.authority, None);
    ends.refuses(&forged, "peer_not_allowed");
    // Nor does it with an identity that is not admitted beside.
    let forged = till(&ends.authority, Some("spiffe://cluster.local/ns/evil/sa/x"));
    ends.refuses(&forged, "peer_not_allowed");
}

#[test]
fn spiffe_id_signed_by_the_devices_ca_is_not_believed() {
    let devices = Authority::new("devices");
    let mut ends = Ends::with_policy(&policy(&devices), &[]);
    for uri in [WEB, "spiffe://cluster.local/ns/countersign-system/sa/countersign-operator"] {
        ends.refuses(&till(&devices, Some(uri)), "peer_invalid");
    }
    ends.refuses(&devices.issue(WEB), "peer_invalid");
}

#[test]
fn connection_of_a_device_ends_once_its_ca_is_no_longer_in_the_document() {
    let devices = Authority::new("devices");
    let mut ends = Ends::with_policy(&policy(&devices), &[]);
    let (_peer, _app) = ends.connect_as(&till(&devices, None));
    ends.folder.put("policy.json", &policy(&Authority::new("another")));
    ends.ended("peer_untrusted");
}

/// A policy that admits tills, where both CAs share this root and the key of devices is this one's.
fn policy_with_shared_root(root: &Authority, devices: &Authority) -> String {
    serde_json::json!({
        "default": { "allow": [{ "commonNames": ["till-*"] }] },
        "authorities": {
            "trustDomain": "cluster.local",
            "deviceRoots": root.pem(),
            "deviceKeys": [key_of(devices)],
        },
    })
    .to_string()
}

#[test]
fn connection_of_a_device_ends_once_its_key_is_no_longer_in_the_document() {
    let mut ends = Ends::with_policy("{}", &[]);
    ends.sidecar.line("message", "credentials in use");
    let (devices, next) = (ends.authority.below("devices"), ends.authority.below("next"));
    ends.folder.put("policy.json", &policy_with_shared_root(&ends.authority, &devices));
    ends.sidecar.line("message", "credentials in use");
    let set = till(&devices, None);
    let set = Set { crt: set.crt.clone() + &devices.pem(), ..set };
    let (_peer, _app) = ends.connect_as(&set);
    ends.folder.put("policy.json", &policy_with_shared_root(&ends.authority, &next));
    ends.ended("peer_not_allowed");
    ends.refuses(&set, "peer_not_allowed");
}

/// Connects a peer, and waits until its certificate has expired for those that come now.
fn outlived(ends: &Ends, set: &Set) -> (Peer, TcpStream) {
    let (peer, app) = ends.connect_as(set);
    until("it has expired", || {
        let tls = client_side(&ends.authority.pem(), Some(set));
        drop(Peer::try_shaken(connect(ends.at), tls));
        (ends.sidecar.refusals("inbound", "peer_expired") >= Some(1.0)).then_some(())
    });
    (peer, app)
}

#[test]
fn expired_peer_does_not_outlive_its_revocation_or_its_root() {
    for is_revoked in [true, false] {
        let mut ends = Ends::of(Kind::Inbound);
        ends.sidecar.line("message", "credentials in use");
        let set = ends.authority.issue_for(WEB, Validity::Seconds(2));
        let (mut peer, app) = outlived(&ends, &set);
        if is_revoked {
            let list = ends.authority.revokes(&set);
            ends.folder.swap_with("listed", &ends.authority.issue(WEB), Some(&list));
        } else {
            ends.folder.swap("another", &Authority::new("another").issue(WEB));
        }
        ends.sidecar.line("end", "peer_untrusted");
        assert!(is_reset(&rest(&app)) && peer.rest().is_err(), "revoked: {is_revoked}");
    }
}

fn inbound(folder: &Folder, port: &Port, admin: &Port) -> Sidecar {
    let (at, to) = (port.address.to_string(), application().to_string());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (policies, labels) = (file("policies.json"), file("labels"));
    let credentials = folder.path().to_str().unwrap();
    let args = [
        "inbound",
        "--listen",
        &at,
        "--to",
        &to,
        "--credentials",
        credentials,
        "--policies",
        &policies,
        "--labels",
        &labels,
    ];
    Sidecar::start(&args, admin.address)
}

const NOW: &str = r#"{"version":2,"needs":1,"revision":"now","defaultAllow":[{"namespaces":["shop"]}],
    "authorities":{"trustDomain":"cluster.local"},"policies":[]}"#;

#[test]
fn policy_of_a_future_version_keeps_credentials_renewing() {
    let (authority, folder) = (Authority::new("root"), Folder::new());
    folder.swap("one", &authority.issue(WEB));
    folder.put("policies.json", NOW);
    folder.put("labels", "app=\"web\"\n");
    let (port, admin) = (Port::new(), Port::new());
    let mut sidecar = inbound(&folder, &port, &admin).ready();
    sidecar.line("message", "credentials in use");
    let (set, ca) = (authority.issue(WEB), authority.pem());
    let shown = || {
        let mut caller = client(connect(port.address), &ca, Some(&set));
        assert_eq!(ask(&mut caller, b"x").unwrap(), "heard: x", "the policy before is in force");
        caller.conn.peer_certificates().unwrap()[0].to_vec()
    };
    let mut before = shown();
    let wrong = [
        r#"{"version":99,"needs":99,"revision":"future","anything":{}}"#,
        r#"{"revision":"future","defaultAllow":{"a":"map"}}"#,
        "no JSON",
    ];
    for (number, text) in wrong.iter().enumerate() {
        folder.put("policies.json", text);
        let line = sidecar.line("message", "policy rejected");
        assert_eq!(line["keeps_old"], true, "{line}");
        folder.swap(&format!("renewed-{number}"), &authority.issue(WEB));
        sidecar.line("message", "credentials in use");
        let after = shown();
        assert_ne!(after, before, "{text}: the renewed certificate is not in use");
        before = after;
    }
    let rejected = "countersign_sidecar_credential_reloads_total{result=\"policy_rejected\"}";
    assert!(sidecar.metric(rejected).is_some_and(|count| count >= 3.0));
    let (status, said) = sidecar.get("/readyz");
    assert!(status == 200 && said.contains("--policy"), "{status} {said}");
    // A file that is gone is no reason, either.
    std::fs::remove_file(folder.path().join("policies.json")).unwrap();
    sidecar.line("message", "policy rejected");
    folder.swap("without", &authority.issue(WEB));
    sidecar.line("message", "credentials in use");
    assert_ne!(shown(), before);
    folder.put("policies.json", NOW);
    until("it is up to date", || (sidecar.get("/readyz").1 == "ok\n").then_some(()));
}

#[test]
fn stricter_policy_holds_though_the_credentials_beside_it_are_broken() {
    let (authority, folder) = (Authority::new("root"), Folder::new());
    folder.swap("one", &authority.issue(WEB));
    folder.put("policies.json", NOW);
    folder.put("labels", "");
    let (port, admin) = (Port::new(), Port::new());
    let mut sidecar = inbound(&folder, &port, &admin).ready();
    sidecar.line("message", "credentials in use");
    folder.swap("broken", &Set { crt: String::new(), ..authority.issue(WEB) });
    sidecar.line("message", "credentials rejected");
    folder.put("policies.json", r#"{"revision":"none","defaultAllow":[]}"#);
    let set = authority.issue(WEB);
    until("the policy is in force", || {
        let tls = client_side(&authority.pem(), Some(&set));
        let mut peer = Peer::try_shaken(connect(port.address), tls).ok()?;
        peer.end();
        peer.rest().is_err_and(|error| error.to_string().contains("AccessDenied")).then_some(())
    });
    assert_eq!(sidecar.get("/readyz").0, 200);
}

#[test]
fn future_rule_admits_nobody_and_the_rules_beside_it_hold() {
    let (authority, folder) = (Authority::new("root"), Folder::new());
    folder.swap("one", &authority.issue(WEB));
    folder.put("labels", "app=\"web\"\n");
    let policies = |allow: &str| {
        format!(
            r#"{{"version":9,"needs":1,"revision":"r","defaultAllow":[],"policies":[{{"name":"p","allow":{allow}}}]}}"#
        )
    };
    folder.put("policies.json", &policies(r#"[{"namespaces":["shop"],"notAfterHours":[18]}]"#));
    let (port, admin) = (Port::new(), Port::new());
    let mut sidecar = inbound(&folder, &port, &admin).ready();
    let set = authority.issue(WEB);
    let mut caller = client(connect(port.address), &authority.pem(), Some(&set));
    assert!(ask(&mut caller, b"x").is_err(), "half of a rule was believed");
    assert_eq!(sidecar.line("message", "refused")["reason"], "peer_not_allowed");
    folder.put("policies.json", &policies(r#"[{"new":1},{"namespaces":["shop"]}]"#));
    until("the rule that is known holds", || {
        let mut caller = client(connect(port.address), &authority.pem(), Some(&set));
        ask(&mut caller, b"x").ok()
    });
}

/// What a stranger presents: a leaf, and CAs each of which could have signed every other.
fn endless_chain(cas: usize) -> Set {
    let stranger = Authority::new("x");
    let leaf = stranger.issue(WEB);
    let cas: String = (0..cas).map(|_| Authority::new("x").pem()).collect();
    Set { crt: leaf.crt.clone() + &cas, ..leaf }
}

#[test]
fn chain_with_endless_paths_is_refused_before_it_is_verified() {
    let cases = [(40, "41 certificates are presented"), (9, "more than 64 paths")];
    for (kind, (cas, why)) in Kind::TLS.into_iter().flat_map(|kind| cases.map(|case| (kind, case)))
    {
        let set = endless_chain(cas);
        let mut ends = Ends::of(kind);
        let ca = ends.authority.pem();
        let answer = match kind {
            Kind::Outbound => {
                let _app = connect(ends.at);
                Peer::try_shaken(ends.accept(), server_side(&set, &ca)).and_then(|mut p| p.rest())
            }
            _ => Peer::try_shaken(connect(ends.at), client_side(&ca, Some(&set)))
                .and_then(|mut peer| peer.rest()),
        };
        assert!(answer.is_err(), "{answer:?}");
        let line = ends.sidecar.line("message", "refused");
        let detail = line["detail"].as_str().unwrap();
        assert_eq!(line["reason"], "peer_invalid", "{line}");
        assert!(detail.contains(why), "{line}");
    }
}

#[test]
fn future_part_of_a_policy_closes_its_pods_whatever_other_policies_admit() {
    let (authority, folder) = (Authority::new("root"), Folder::new());
    folder.swap("one", &authority.issue(WEB));
    folder.put("labels", "");
    let policies = |new: &str| {
        format!(
            r#"{{"version":9,"needs":1,"revision":"r","defaultAllow":[],"policies":[
                {{"name":"tells","allow":[]{new}}},{{"name":"wide","allow":[{{"namespaces":["shop"]}}]}}]}}"#
        )
    };
    folder.put("policies.json", &policies(r#","tellsCaller":"InAnotherHeader""#));
    let (port, admin) = (Port::new(), Port::new());
    let mut sidecar = inbound(&folder, &port, &admin).ready();
    let set = authority.issue(WEB);
    let mut caller = client(connect(port.address), &authority.pem(), Some(&set));
    assert!(ask(&mut caller, b"x").is_err(), "another policy admits it");
    assert_eq!(sidecar.line("message", "refused")["reason"], "peer_not_allowed");
    folder.put("policies.json", &policies(""));
    until("both policies are understood", || {
        let mut caller = client(connect(port.address), &authority.pem(), Some(&set));
        ask(&mut caller, b"x").ok()
    });
}
