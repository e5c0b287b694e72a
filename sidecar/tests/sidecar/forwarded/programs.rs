//! With programs that many people have at either end: curl, nginx, busybox.

use rcgen::{CertificateParams, DnType};

use super::stage::{POLICY, Server, Stage, hash, told};
use crate::authority::{Folder, WEB};

#[test]
fn nginx_is_told_by_both_versions_of_http_who_calls_and_nothing_that_the_client_says() {
    for (how, version) in [("", "--http1.1"), ("http2", "--http2")] {
        let server = Server::nginx(how);
        let stage = Stage::before(server.at, POLICY);
        let set = stage.authority.issue(WEB);
        let forged: &[&[&str]] = &[
            &[],
            &["X-Forwarded-Client-Cert: By=a;Hash=b"],
            &["x-forwarded-CLIENT-cert: Hash=b", "X-FORWARDED-CLIENT-CERT: Hash=c"],
            &["x_forwarded_client_cert: Hash=b", "X-Forwarded_Client_Cert: Hash=c"],
        ];
        let url = stage.url("/");
        for headers in forged {
            let headers = headers.iter().flat_map(|header| ["-H", header]);
            let args: Vec<_> = [version, &url].into_iter().chain(headers).collect();
            assert_eq!(stage.curl(Some(&set), &args), told(&set, WEB) + "\n", "{args:?}");
        }
    }
}

#[test]
fn a_partner_is_known_by_the_subject_and_the_names_of_its_certificate() {
    let server = Server::nginx("");
    let mut params = CertificateParams::new(vec!["a.partner.test".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::OrganizationName, "Partner, \"Inc.\"");
    params.distinguished_name.push(DnType::CommonName, "terminal 7");
    let policy = r#"{"default":{"forwardedClientCert":true,"minVersion":"1.2","allow":["dns:a.partner.test"]}}"#;
    let stage = Stage::before(server.at, policy);
    let set = stage.authority.issue_to(params);
    let said = stage.curl(Some(&set), &["--tls-max", "1.2", &stage.url("/")]);
    let subject = r"O=Partner\, \22Inc.\22,CN=terminal 7";
    let told = format!("By={WEB};Hash={};Subject=\"{subject}\";DNS=a.partner.test\n", hash(&set));
    assert_eq!(said, told);
}

#[test]
fn nobody_is_told_of_a_client_without_a_certificate_whatever_it_says() {
    let server = Server::nginx("");
    let stage =
        Stage::before(server.at, r#"{"default":{"mode":"server","forwardedClientCert":true}}"#);
    let said = stage.curl(None, &["-H", "X-Forwarded-Client-Cert: Hash=b", &stage.url("/")]);
    assert_eq!(said, "\n");
    let stage =
        Stage::before(server.at, r#"{"default":{"mode":"permissive","forwardedClientCert":true}}"#);
    let url = stage.url("/").replace("https", "http");
    assert_eq!(stage.curl(None, &["-H", "X-Forwarded-Client-Cert: Hash=b", &url]), "\n");
}

#[test]
fn one_connection_serves_many_requests_and_each_one_says_who_calls() {
    let server = Server::nginx("");
    let mut stage = Stage::before(server.at, POLICY);
    let (set, url) = (stage.authority.issue(WEB), stage.url("/"));
    let said = stage.curl(Some(&set), &["--http1.1", &url, &url, &url, "-w", "%{num_connects}\n"]);
    let line = told(&set, WEB);
    assert_eq!(said, format!("{line}\n1\n{line}\n0\n{line}\n0\n"));
    let line = stage.sidecar.line("message", "connection");
    assert_eq!((&line["end"], &line["peer"]), (&"closed".into(), &WEB.into()), "{line}");
    assert!(line["bytes_in"].as_u64() > Some(150) && line["bytes_out"].as_u64() > Some(600));
    let answered = "countersign_sidecar_http_requests_total{code=\"2xx\"}";
    assert_eq!(stage.sidecar.metric(answered), Some(3.0));
}

#[test]
fn whatever_has_no_body_has_none_and_what_is_said_of_it_stays() {
    let server = Server::nginx("");
    let mut stage = Stage::before(server.at, POLICY);
    let (set, url) = (stage.authority.issue(WEB), |path: &str| stage.url(path));
    let head = stage.curl(Some(&set), &["--http1.1", "-I", &url("/file")]);
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains("Content-Length: 7000\r\n"));
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
    let unchanged = format!("If-None-Match: {tag}");
    let args = ["--http1.1", "-i", "-H", &unchanged, &url("/file"), &url("/empty"), &url("/file")];
    let said = stage.curl(Some(&set), &args);
    let statuses = said.lines().filter(|line| line.starts_with("HTTP/1.1"));
    let statuses: Vec<_> = statuses.map(|line| &line[9..12]).collect();
    assert_eq!(statuses, ["304", "204", "304"]);
    assert_eq!(stage.curl(Some(&set), &["--http1.0", "--no-alpn", &url("/close")]), "bye\n");
    for _ in 0..3 {
        let line = stage.sidecar.line("message", "connection");
        assert_eq!(line["end"], "closed", "{line}");
    }
}

#[test]
fn a_body_that_waits_for_the_application_s_word_is_sent_once_that_is_there() {
    let server = Server::nginx("");
    let stage = Stage::before(server.at, POLICY);
    let set = stage.authority.issue(WEB);
    let body = Folder::new();
    let file = body.path().join("body");
    std::fs::write(&file, vec![b'x'; 3 << 20]).unwrap();
    let file = file.to_str().unwrap();
    let url = stage.url("/");
    let args = ["--http1.1", "-v", "-H", "Expect: 100-continue", "-T", file, &url, "--stderr", "-"];
    let said = stage.curl(Some(&set), &args);
    assert!(
        said.contains("< HTTP/1.1 100 Continue") && said.contains("< HTTP/1.1 200 OK"),
        "{said}"
    );
}

#[test]
fn a_server_of_http_1_0_serves_files_one_to_a_connection() {
    let server = Server::busybox();
    let stage = Stage::before(server.at, POLICY);
    let (set, url) = (stage.authority.issue(WEB), stage.url("/served.txt"));
    let said = stage.curl(Some(&set), &["--http1.1", &url, &url]);
    assert_eq!(said.len(), 14_000);
}

#[test]
fn an_application_that_does_not_speak_the_version_of_its_client_is_named_as_what_failed() {
    let server = Server::nginx("");
    let mut stage = Stage::before(server.at, POLICY);
    let set = stage.authority.issue(WEB);
    let status = stage.try_curl(Some(&set), &["--http2", &stage.url("/")]).status;
    assert!(!status.success());
    let line = stage.sidecar.line("message", "connection");
    assert_eq!(line["end"], "app_reset", "{line}");
}
