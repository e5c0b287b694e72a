//! What ends a connection, and what may still end on it.

use std::io::{Read, Write};

use hyper::{Request, Response, StatusCode};

use super::hyper2::{Frames, Pieces, application, call, runtime, stage};
use super::stage::{POLICY, both_ends, callers, goes, head};
use crate::authority::{Authority, Set, Validity, WEB};
use crate::ends::Ends;
use crate::program::until;

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn policy(ids: &str) -> String {
    format!(r#"{{"default":{{"forwardedClientCert":true,"alpn":["h2"],"allow":[{ids}]}}}}"#)
}

#[test]
fn whoever_is_not_allowed_any_longer_asks_no_more_and_others_do() {
    const OTHER: &str = "spiffe://cluster.local/ns/shop/sa/other";
    let mut ends = Ends::with_policy(&policy(&format!("\"{WEB}\",\"{OTHER}\"")), &[]);
    ends.sidecar.line("message", "credentials in use");
    let (mut peer, mut app) = ends.connect_as(&ends.authority.issue(OTHER));
    let (mut kept, mut kept_app, told) = both_ends(&ends);
    // One rests, one waits for an answer that never comes.
    let (mut waits, mut waits_app) = ends.connect_as(&ends.authority.issue(OTHER));
    peer.send(ASK).unwrap();
    head(&mut app);
    app.write_all(ANSWER).unwrap();
    head(&mut peer);
    waits.send(ASK).unwrap();
    head(&mut waits_app);
    ends.folder.put("policy.json", &policy(&format!("\"{WEB}\"")));
    assert_eq!(peer.rest().unwrap(), b"");
    goes(peer);
    drop(app.read(&mut [0]));
    assert!(waits.rest().is_err());
    assert!(waits_app.read(&mut [0]).is_err());
    ends.ended("peer_not_allowed");
    ends.ended("peer_not_allowed");
    kept.send(ASK).unwrap();
    assert_eq!(callers(&head(&mut kept_app)), [&told]);
    kept_app.write_all(ANSWER).unwrap();
    head(&mut kept);
}

#[test]
fn an_answer_that_is_on_its_way_may_arrive_after_a_change_and_is_the_last() {
    let mut ends = Ends::with_policy(&policy("\"spiffe://cluster.local/*\""), &[]);
    ends.sidecar.line("message", "credentials in use");
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(ASK).unwrap();
    head(&mut app);
    let (mut rests, mut rests_app, _) = both_ends(&ends);
    rests.send(ASK).unwrap();
    head(&mut rests_app);
    rests_app.write_all(ANSWER).unwrap();
    head(&mut rests);
    ends.folder.put("policy.json", &policy(""));
    // The same sweep has judged both.
    rests.rest().unwrap();
    app.write_all(ANSWER).unwrap();
    let answer = head(&mut peer).to_lowercase();
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    drop(peer.send(ASK));
    drop(peer.rest());
    let mut more = Vec::new();
    drop(app.read_to_end(&mut more));
    assert!(more.is_empty(), "{:?}", String::from_utf8_lossy(&more));
}

#[test]
fn a_certificate_that_ends_or_is_revoked_ends_its_connections() {
    let mut ends = Ends::with_policy(POLICY, &["--peer-expiry-grace", "0s"]);
    ends.sidecar.line("message", "credentials in use");
    let short = ends.authority.issue_for(WEB, Validity::Seconds(3));
    let (mut peer, mut app) = ends.connect_as(&short);
    peer.send(ASK).unwrap();
    head(&mut app);
    let said = peer.rest().unwrap_err().to_string();
    assert!(said.contains("CertificateExpired"), "{said}");
    assert!(app.read(&mut [0]).is_err());
    ends.ended("peer_expired");
    let revoked = ends.authority.issue(WEB);
    let (mut peer, _app) = ends.connect_as(&revoked);
    peer.send(b"GET / HT").unwrap();
    let list = ends.authority.revokes(&revoked);
    ends.folder.swap_with("listed", &ends.authority.issue(WEB), Some(&list));
    drop(peer.rest());
    ends.ended("peer_untrusted");
    ends.leaks_nothing();
}

#[test]
fn a_connection_is_listed_with_its_peer_and_its_bytes() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(ASK).unwrap();
    head(&mut app);
    let (_, text) = ends.sidecar.get("/connections");
    let listed: serde_json::Value = serde_json::from_str(&text).unwrap();
    let one = &listed["connections"][0];
    assert_eq!((&one["peer"], &one["received"]), (&WEB.into(), &ASK.len().into()), "{text}");
}

#[test]
fn a_request_that_is_running_when_the_pod_ends_is_answered_and_is_the_last() {
    let mut ends = Ends::with_policy(POLICY, &["--drain-timeout", "25s"]);
    let (mut peer, mut app, _) = both_ends(&ends);
    let (mut rests, mut rests_app, _) = both_ends(&ends);
    for (peer, app) in [(&mut peer, &mut app), (&mut rests, &mut rests_app)] {
        peer.send(ASK).unwrap();
        head(app);
        app.write_all(ANSWER).unwrap();
        head(peer);
    }
    peer.send(ASK).unwrap();
    head(&mut app);
    ends.sidecar.terminate();
    // Whoever rests is sent away at once.
    assert_eq!(rests.rest().unwrap(), b"");
    goes(rests);
    ends.ended("closed");
    app.write_all(ANSWER).unwrap();
    assert!(head(&mut peer).to_lowercase().contains("connection: close\r\n"));
    assert_eq!(peer.rest().unwrap(), b"");
    goes(peer);
    ends.ended("closed");
    assert_eq!(ends.sidecar.wait().code(), Some(0));
}

#[test]
fn a_call_of_http2_that_is_running_when_the_pod_ends_ends_first() {
    let app = application(|request| async move {
        let (mut pieces, body) = Frames::new();
        let mut asked = Pieces::of(request.into_body());
        tokio::spawn(async move {
            while let Some(piece) = asked.next().await {
                pieces.send(piece.to_vec()).await;
            }
        });
        Response::new(body)
    });
    let mut stage = stage(app, POLICY);
    let set = stage.authority.issue(WEB);
    runtime().block_on(async {
        let mut client = call(&stage, &set).await;
        let (mut pieces, body) = Frames::new();
        let request = Request::post("https://web.test/").body(body).unwrap();
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut answers = Pieces::of(response.into_body());
        stage.sidecar.terminate();
        stage.sidecar.line("message", "stopping: no more connections are accepted");
        for _ in 0..10 {
            pieces.send(b"more".to_vec()).await;
            assert_eq!(answers.next().await.unwrap(), "more");
        }
        drop(pieces);
        assert!(answers.next().await.is_none());
        let closed = async {
            while !client.is_closed() {
                tokio::task::yield_now().await
            }
        };
        tokio::time::timeout(crate::program::PATIENCE, closed).await.unwrap();
    });
    let line = stage.sidecar.line("message", "connection");
    assert_eq!(line["end"], "closed", "{line}");
    assert_eq!(stage.sidecar.wait().code(), Some(0));
}

#[test]
fn whoever_does_not_read_is_cut() {
    let mut ends = Ends::with_policy(POLICY, &["--stall-timeout", "1500ms"]);
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(ASK).unwrap();
    head(&mut app);
    let writes = std::thread::spawn(move || {
        drop(app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n"));
        app.write_all(&vec![7; 100_000_000]).is_err()
    });
    ends.ended("stalled");
    assert!(writes.join().unwrap());
    drop(peer);
    until("no descriptor is left", || (ends.sidecar.descriptors() < 100).then_some(()));
}

#[test]
fn a_client_of_a_root_that_is_taken_away_is_sent_away() {
    let mut ends = Ends::with_policy(POLICY, &[]);
    ends.sidecar.line("message", "credentials in use");
    let (mut peer, mut app, _) = both_ends(&ends);
    peer.send(ASK).unwrap();
    head(&mut app);
    app.write_all(ANSWER).unwrap();
    head(&mut peer);
    let new = Authority::new("new root");
    let set: Set = new.issue(WEB);
    ends.folder.swap("new", &set);
    assert_eq!(peer.rest().unwrap(), b"");
    goes(peer);
    ends.ended("peer_untrusted");
}
