//! Probes that are made in the kubelet's place, against servers as users have them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::authority::{Authority, Folder, WEB};
use crate::healthy::{health_server, tls_server};
use crate::network::{Cable, POD, inside};
use crate::peer::{ask, ask_plainly, client, connect, serve_application};
use crate::program::{PATIENCE, Port, Sidecar, program, until};
use crate::redirect::redirect;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A sidecar with probes of containers at 127.0.0.1.
struct Probed {
    sidecar: Sidecar,
    _folder: Folder,
    _ports: [Port; 2],
}

impl Probed {
    fn of(probes: &Value) -> Self {
        let folder = Folder::of(&Authority::new("root").issue(WEB));
        let ports = [Port::new(), Port::new()];
        let document = json!({ "token": TOKEN, "probes": probes }).to_string();
        let inbound = ports[0].address.port().to_string();
        let credentials = folder.path().to_str().unwrap();
        let args = ["pod", "--credentials", credentials, "--inbound", &inbound];
        let probes = ["--probes", &document, "--pod-ip", "127.0.0.1"];
        let sidecar = Sidecar::start(&[&args[..], &probes].concat(), ports[1].address).ready();
        Self { sidecar, _folder: folder, _ports: ports }
    }

    /// One that is asked for as the liveness of container `app`.
    fn app(check: &Value) -> Self {
        Self::of(&json!({ "/probe/app/liveness": { "timeoutSeconds": 2, "check": check } }))
    }

    fn liveness(&self) -> (u16, String) {
        probe(self.sidecar.admin(), "/probe/app/liveness", TOKEN)
    }
}

/// What the kubelet is answered.
fn probe(admin: SocketAddr, path: &str, token: &str) -> (u16, String) {
    let mut stream = until("the admin port answers", || TcpStream::connect(admin).ok());
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: a\r\nUser-Agent: kube-probe/1.37\r\nConnection: close\r\n\
         Countersign-Probe: {token}\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// An application that speaks HTTP: what it answers depends on the head of the request, which it
/// passes on.
fn http_app(answer: fn(&str) -> String) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heads) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || answer_one(stream, answer, &sender));
        }
    });
    (port, heads)
}

fn answer_one(mut stream: TcpStream, answer: fn(&str) -> String, heads: &Sender<String>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let answered = answer(&head);
    drop(heads.send(head));
    // Whoever hung up meanwhile had enough.
    drop(stream.write_all(answered.as_bytes()));
}

fn status(status: &str, more: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{more}Content-Length: 2\r\nConnection: close\r\n\r\nok")
}

fn by_path(head: &str) -> String {
    let path = head.split(' ').nth(1).unwrap();
    match path {
        "/ok" => status("200 OK", ""),
        "/odd" => status("399 Odd", ""),
        "/sick" => status("500 Internal Server Error", ""),
        "/to-ok" => status("302 Found", "Location: /ok\r\n"),
        "/to-sick" => status("307 Temporary Redirect", "Location: sick\r\n"),
        "/away" => status("302 Found", "Location: http://shop.example/sick\r\n"),
        "/round" => status("301 Moved Permanently", "Location: /round\r\n"),
        "/long" => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned() + &"x".repeat(1 << 20),
        "/broken" => "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx".to_owned(),
        "/noise" => "220 smtp.example ESMTP\r\n".to_owned(),
        other => status("404 Not Found", &format!("X-Asked: {other}\r\n")),
    }
}

#[test]
fn an_http_probe_is_judged_as_the_kubelet_would() {
    let (port, _heads) = http_app(by_path);
    let cases = [
        ("/ok", 200, "HTTP status 200"),
        ("/odd", 200, "HTTP status 399"),
        ("/sick", 503, "HTTP status 500"),
        ("/to-ok", 200, "HTTP status 200"),
        ("/to-sick", 503, "HTTP status 500"),
        // Another host is not called: the redirect itself is the answer.
        ("/away", 200, "HTTP status 302"),
        ("/round", 503, "10 redirects"),
        ("/long", 200, "HTTP status 200"),
        ("/broken", 503, "HTTP: "),
        ("/noise", 503, "HTTP: "),
    ];
    for (path, expected, said) in cases {
        let probed = Probed::app(&json!({ "http": { "port": port, "path": path } }));
        let (status, body) = probed.liveness();
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body.contains(said) && body.trim_end().lines().count() == 1, "{path}: {body}");
    }
}

#[test]
fn an_http_probe_sends_what_the_kubelet_would() {
    let (port, heads) = http_app(by_path);
    let headers = json!([
        { "name": "Host", "value": "shop.example" }, { "name": "X-Probe", "value": "a b" },
    ]);
    let probed =
        Probed::app(&json!({ "http": { "port": port, "path": "ok", "headers": headers } }));
    assert_eq!(probed.liveness().0, 200);
    let head = heads.recv_timeout(PATIENCE).unwrap().to_ascii_lowercase();
    for line in [
        "get /ok http/1.1\r\n",
        "\r\nhost: shop.example\r\n",
        "\r\nx-probe: a b\r\n",
        "\r\nuser-agent: kube-probe/1.37\r\n",
        "\r\naccept: */*\r\n",
    ] {
        assert!(head.contains(line), "no {line:?} in {head}");
    }
    assert!(!head.contains(TOKEN), "the application is not told the token: {head}");
    let plain = Probed::app(&json!({ "http": { "port": port, "path": "/ok" } }));
    assert_eq!(plain.liveness().0, 200);
    let head = heads.recv_timeout(PATIENCE).unwrap().to_ascii_lowercase();
    assert!(head.contains(&format!("\r\nhost: 127.0.0.1:{port}\r\n")), "{head}");
}

#[test]
fn over_tls_any_certificate_will_do_in_both_versions_of_http() {
    let set = Authority::new("nobody's").issue_named("elsewhere.test");
    for alpn in [&[][..], &["http/1.1"], &["h2"], &["h2", "http/1.1"]] {
        let port = tls_server(&set, alpn);
        let check = json!({ "http": { "port": port, "path": "/ok", "https": true } });
        assert_eq!(
            Probed::app(&check).liveness(),
            (200, "HTTP status 200 OK\n".into()),
            "{alpn:?}"
        );
        let plain = Probed::app(&json!({ "http": { "port": port, "path": "/ok" } }));
        assert_eq!(plain.liveness().0, 503, "{alpn:?}");
    }
    // Who waits for a request that never comes, and says nothing.
    let (plain, _heads) = http_app(by_path);
    let check = json!({ "http": { "port": plain, "path": "/ok", "https": true } });
    assert_eq!(Probed::app(&check).liveness(), (503, "no answer within 2s\n".to_owned()));
}

#[test]
fn a_tcp_probe_is_a_connection_and_why_it_fails_is_logged_once() {
    // Bound, but not listened on.
    let held = Port::new();
    let port = held.address.port();
    let mut probed = Probed::app(&json!({ "tcp": { "port": port } }));
    let (status, body) = probed.liveness();
    assert!(
        status == 503 && body.contains("refused") && body.contains(&port.to_string()),
        "{body}"
    );
    assert_eq!(probed.liveness(), (503, body.clone()));
    // The kubelet keeps to itself why.
    let line = probed.sidecar.line("message", "probe failed");
    assert_eq!(
        (&line["probe"], &line["why"]),
        (&"/probe/app/liveness".into(), &body.trim().into())
    );
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_reuse_port(true).unwrap();
    listener.set_reuse_address(true).unwrap();
    listener.bind(&held.address.into()).unwrap();
    listener.listen(8).unwrap();
    assert_eq!(probed.liveness(), (200, "connected\n".to_owned()));
    probed.sidecar.line("message", "probe succeeds again");
    drop(listener);
}

#[test]
fn a_grpc_probe_asks_the_health_service() {
    let port = health_server();
    let cases = [
        ("", 200, "SERVING"),
        ("sick", 503, "NOT_SERVING"),
        ("unknown", 503, "gRPC status 5"),
        ("garbled", 503, "none of grpc.health"),
    ];
    for (service, expected, said) in cases {
        let check = json!({ "grpc": { "port": port, "service": service } });
        let (status, body) = Probed::app(&check).liveness();
        assert_eq!(status, expected, "{service}: {body}");
        assert!(body.contains(said), "{service}: {body}");
    }
    let (http, _heads) = http_app(by_path);
    let check = json!({ "grpc": { "port": http } });
    assert_eq!(Probed::app(&check).liveness().0, 503, "it speaks HTTP/1.1 only");
}

#[test]
fn an_application_that_does_not_answer_fails_in_time_and_is_asked_once_at_a_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let check = json!({ "http": { "port": port, "path": "/" } });
    let probed = Probed::app(&check);
    let admin = probed.sidecar.admin();
    let asking: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(move || probe(admin, "/probe/app/liveness", TOKEN)))
        .collect();
    for asked in asking {
        let (status, body) = asked.join().unwrap();
        assert_eq!((status, body.as_str()), (503, "no answer within 2s\n"));
    }
    listener.set_nonblocking(true).unwrap();
    let came = std::iter::from_fn(|| listener.accept().ok()).count();
    assert!(came <= 2, "{came} connections for eight questions at once");
}

#[test]
fn a_handler_is_content_with_any_answer_but_not_with_none() {
    let (port, heads) = http_app(by_path);
    let handler = |path: &str, port: u16| json!({ "timeoutSeconds": 2, "anyStatus": true, "check": { "http": { "port": port, "path": path } } });
    let probed = Probed::of(&json!({
        "/lifecycle/app/preStop": handler("/sick", port),
        "/lifecycle/app/postStart": handler("/ok", 1),
    }));
    let admin = probed.sidecar.admin();
    assert_eq!(probe(admin, "/lifecycle/app/preStop", TOKEN).0, 200);
    assert!(heads.recv_timeout(PATIENCE).unwrap().starts_with("GET /sick "));
    assert_eq!(probe(admin, "/lifecycle/app/postStart", TOKEN).0, 503);
}

#[test]
fn nobody_without_the_token_asks_anything_and_nothing_is_asked_that_was_not_configured() {
    let (port, heads) = http_app(by_path);
    let probed = Probed::app(&json!({ "http": { "port": port, "path": "/ok" } }));
    let admin = probed.sidecar.admin();
    for token in ["", "0", &TOKEN.replace('0', "1")] {
        for path in ["/probe/app/liveness", "/probe/app/readiness"] {
            assert_eq!(probe(admin, path, token).0, 403, "{path} with {token:?}");
        }
    }
    assert_eq!(probed.sidecar.get("/probe/app/liveness").0, 403);
    for path in ["/probe/app/readiness", "/probe/other/liveness", "/lifecycle/app/preStop"] {
        assert_eq!(probe(admin, path, TOKEN).0, 404, "{path}");
    }
    assert!(heads.recv_timeout(Duration::ZERO).is_err(), "the application was asked");
    let without = Probed::of(&json!({}));
    assert_eq!(probe(without.sidecar.admin(), "/probe/app/liveness", TOKEN).0, 404);
}

#[test]
fn a_probe_of_the_kubelets_gives_way_to_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let probes = json!({ "/lifecycle/app/preStop": { "timeoutSeconds": 60, "anyStatus": true,
        "check": { "http": { "port": port, "path": "/ok" } } } });
    let probed = Probed::of(&probes);
    let admin = probed.sidecar.admin();
    let stopping = std::thread::spawn(move || probe(admin, "/lifecycle/app/preStop", TOKEN));
    let (stream, _) = listener.accept().unwrap();
    // Far more than there is room for, from the same address.
    let crowd: Vec<_> = (0..100).map(|_| connect(admin)).collect();
    assert_eq!(probed.sidecar.get("/livez").0, 200);
    let (sender, _heads) = channel();
    answer_one(stream, by_path, &sender);
    assert_eq!(stopping.join().unwrap().0, 200);
    drop(crowd);
}

#[test]
fn what_is_no_configuration_of_probes_is_said_and_nothing_of_its_contents() {
    let folder = Folder::of(&Authority::new("root").issue(WEB));
    let credentials = folder.path().to_str().unwrap();
    let tcp = json!({ "timeoutSeconds": 1, "check": { "tcp": { "port": 1 } } });
    let whole = json!({ "token": TOKEN, "probes": { "/probe/app/liveness": tcp } }).to_string();
    let cases = [
        (whole.clone(), "--pod-ip"),
        (whole.replace("tcp", "udp"), "line 1"),
        (whole.replace(TOKEN, "secret"), "token"),
        (" ".repeat(65 * 1024), "longer"),
    ];
    for (text, said) in cases {
        let admin = Port::new().address.to_string();
        let output = program(&["pod", "--credentials", credentials, "--admin", &admin])
            .env("COUNTERSIGN_PROBES", &text)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(said) && !told.contains(TOKEN), "{told}");
    }
}

/// The kubelet stands outside; the pod's ports are mutual to it, and its probe comes through.
#[test]
fn probes_come_through_where_every_port_is_redirected() {
    let cable = Cable::new();
    let folder = Folder::of(&Authority::new("root").issue(WEB));
    let credentials = folder.path().to_str().unwrap();
    for ip in POD {
        // Bound to the pod's address alone, where the kubelet would find it.
        let at = SocketAddr::new(ip.parse().unwrap(), 0);
        let app = inside(&cable.pod, || serve_application(TcpListener::bind(at).unwrap()));
        let tcp = json!({ "timeoutSeconds": 2, "check": { "tcp": { "port": app.port() } } });
        let probes = json!({ "token": TOKEN, "probes": { "/probe/app/liveness": tcp } });
        let args = ["pod", "--credentials", credentials, "--probes", &probes.to_string()];
        let admin = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 0], 14190));
        let sidecar = inside(&cable.pod, || {
            Sidecar::start(&[&args[..], &["--pod-ip", ip]].concat(), admin).ready()
        });
        redirect(&cable, &["--inbound", "14143"]);
        let admin = SocketAddr::new(ip.parse().unwrap(), 14190);
        let answer = inside(&cable.outside, || probe(admin, "/probe/app/liveness", TOKEN));
        assert_eq!(answer, (200, "connected\n".to_owned()), "{ip}");
        assert!(inside(&cable.outside, || ask_plainly(&mut connect(app), b"x")).is_err());
        drop(sidecar);
    }
}

#[test]
fn a_served_port_is_mutual_under_its_own_policy_without_any_redirect() {
    let authority = Authority::new("root");
    let set = authority.issue(WEB);
    let folder = Folder::of(&set);
    let app = serve_application(TcpListener::bind("127.0.0.1:0").unwrap());
    let [served, closed, admin] = [Port::new(), Port::new(), Port::new()];
    let ports = [&served, &closed].map(|port| port.address.port());
    let policy = json!({ "ports": { ports[1].to_string(): { "allow": [] } } });
    folder.put("policy.json", &policy.to_string());
    let serve = ports.map(|port| format!("{port}={}", app.port()));
    let policy = folder.path().join("policy.json");
    let args = [
        "pod",
        "--credentials",
        folder.path().to_str().unwrap(),
        "--policy",
        policy.to_str().unwrap(),
        "--inbound",
        "0",
        "--serve",
        &serve[0],
        "--serve",
        &serve[1],
    ];
    let mut sidecar = Sidecar::start(&args, admin.address).ready();
    let mut caller = client(connect(served.address), &authority.pem(), Some(&set));
    assert_eq!(ask(&mut caller, b"x").unwrap(), "heard: x");
    let mut refused = client(connect(closed.address), &authority.pem(), Some(&set));
    assert!(ask(&mut refused, b"x").is_err());
    let line = sidecar.line("reason", "peer_not_allowed");
    assert!(line.to_string().contains(&format!("on port {}", ports[1])), "{line}");
    assert!(ask_plainly(&mut connect(served.address), b"x").is_err());
    sidecar.line("reason", "plaintext");
    // A live connection is ended by the policy of the port that it was made to.
    let mut live = client(connect(served.address), &authority.pem(), Some(&set));
    live.write_all(b"x").unwrap();
    live.flush().unwrap();
    let policy = json!({ "ports": { ports[0].to_string(): { "allow": [] } } });
    folder.put("policy.json", &policy.to_string());
    assert!(live.read_to_end(&mut Vec::new()).is_err());
}
