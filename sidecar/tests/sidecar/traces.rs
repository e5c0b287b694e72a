//! Spans, as an OpenTelemetry collector gets them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use crate::authority::{Authority, Folder, WEB};
use crate::peer::{application, ask, client, connect};
use crate::program::{PATIENCE, Port, Sidecar, until};

/// Takes one request, and answers it with a status; its path and its body.
fn collected(collector: &TcpListener, status: &str) -> (String, Value) {
    let (stream, _) = collector.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    write!(reader.get_mut(), "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    (path, serde_json::from_slice(&body).unwrap())
}

#[test]
fn each_connection_is_a_span_and_what_the_collector_does_not_take_is_counted() {
    let collector = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", collector.local_addr().unwrap());
    let authority = Authority::new("root");
    let folder = Folder::of(&authority.issue(WEB));
    let (port, admin) = (Port::new(), Port::new());
    let (at, to) = (port.address.to_string(), application().to_string());
    let credentials = folder.path().to_str().unwrap();
    let args = ["inbound", "--listen", &at, "--to", &to, "--credentials", credentials];
    let args = [&args[..], &["--traces", &url]].concat();
    let sidecar = Sidecar::start(&args, admin.address).ready();
    let call = || {
        let mut caller =
            client(connect(port.address), &authority.pem(), Some(&authority.issue(WEB)));
        assert_eq!(ask(&mut caller, b"x").unwrap(), "heard: x");
    };

    call();
    let (path, told) = collected(&collector, "200 OK");
    assert_eq!(path, "/v1/traces");
    let span = &told["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!((&span["name"], &span["kind"]), (&"inbound".into(), &2.into()), "{told}");
    assert_eq!(span["traceId"].as_str().unwrap().len(), 32);
    assert_eq!(span["spanId"].as_str().unwrap().len(), 16);
    assert_eq!(span["status"]["code"], 1);
    let number = |name: &str| span[name].as_str().unwrap().parse::<u64>().unwrap();
    assert!(number("startTimeUnixNano") < number("endTimeUnixNano"), "{told}");
    let attributes = span["attributes"].as_array().unwrap();
    let peer = attributes.iter().find(|one| one["key"] == "countersign.peer").unwrap();
    assert_eq!(peer["value"]["stringValue"], WEB);

    call();
    collected(&collector, "503 Service Unavailable");
    let dropped = "countersign_sidecar_spans_dropped_total";
    until("it is counted", || (sidecar.metric(dropped) == Some(1.0)).then_some(()));
}
