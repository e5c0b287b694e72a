//! HTTP/2, as gRPC uses it, from hyper to hyper.

use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use super::frames::{frame, get, greeted};
use super::hyper2::{Frames, Pieces, application, call, call_as, runtime, stage};
use super::stage::{POLICY, told};
use crate::authority::WEB;

#[test]
fn a_call_streams_both_ways_at_once_and_ends_with_trailers() {
    let app = application(|request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        let caller = request.headers()["x-forwarded-client-cert"].clone();
        let (mut pieces, body) = Frames::new();
        let mut asked = Pieces::of(request.into_body());
        // Each piece is answered when it comes, and not when all of them did.
        tokio::spawn(async move {
            while let Some(piece) = asked.next().await {
                pieces.send([b"re: ", &piece[..]].concat()).await;
            }
            let mut trailers = asked.trailers();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            pieces.end(trailers).await;
        });
        let mut response = Response::new(body);
        response.headers_mut().insert("caller", caller);
        response
    });
    let mut stage = stage(app, POLICY);
    let set = stage.authority.issue(WEB);
    runtime().block_on(async {
        let (mut client, connection) = call_as(&stage, &set, Some("h2")).await;
        let (mut pieces, body) = Frames::new();
        let mut request = Request::post("https://web.test/shop.Till/Sell").body(body).unwrap();
        for forged in ["x-forwarded-client-cert", "x_forwarded_client_cert"] {
            request.headers_mut().insert(forged, HeaderValue::from_static("Hash=b"));
        }
        request.headers_mut().insert("te", HeaderValue::from_static("trailers"));
        let response = client.send_request(request).await.unwrap();
        assert_eq!(response.headers()["caller"], told(&set, WEB).as_str());
        let mut answers = Pieces::of(response.into_body());
        for piece in ["one", "two", "three"] {
            pieces.send(piece.into()).await;
            assert_eq!(answers.next().await.unwrap(), format!("re: {piece}"));
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-forwarded-client-cert", HeaderValue::from_static("Hash=b"));
        trailers.insert("sum", HeaderValue::from_static("3"));
        pieces.end(trailers).await;
        assert!(answers.next().await.is_none());
        let trailers = answers.trailers();
        assert_eq!(
            (trailers.len(), &trailers["sum"], &trailers["grpc-status"]),
            (2, &"3".parse().unwrap(), &"0".parse().unwrap())
        );
        drop(client);
        connection.await.unwrap().unwrap();
    });
    let line = stage.sidecar.line("message", "connection");
    assert_eq!((&line["end"], &line["peer"]), (&"closed".into(), &WEB.into()), "{line}");
}

#[test]
fn http2_is_known_by_its_first_bytes_whatever_was_negotiated() {
    let app = application(|_| async { Response::new(Frames::none()) });
    let stage = stage(app, r#"{"default":{"forwardedClientCert":true}}"#);
    let set = stage.authority.issue(WEB);
    runtime().block_on(async {
        for alpn in [None, Some("countersign/1")] {
            let (mut client, _) = call_as(&stage, &set, alpn).await;
            let request = Request::get("https://web.test/").body(Frames::none()).unwrap();
            let response = client.send_request(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{alpn:?}");
        }
    });
}

#[test]
fn a_stream_that_is_broken_off_takes_no_other_along() {
    let (arrives, mut arrived) = mpsc::unbounded_channel();
    let app = application(move |request| {
        let arrives = arrives.clone();
        async move {
            if request.uri().path() == "/never" {
                arrives.send(()).unwrap();
                std::future::pending::<()>().await;
            }
            Response::new(Frames::none())
        }
    });
    let stage = stage(app, POLICY);
    let set = stage.authority.issue(WEB);
    runtime().block_on(async {
        let mut client = call(&stage, &set).await;
        let get = |path| Request::get(format!("https://web.test{path}")).body(Frames::none());
        let never = client.send_request(get("/never").unwrap());
        tokio::select! {
            answer = never => panic!("{answer:?}"),
            arrived = arrived.recv() => arrived.unwrap(),
        }
        for _ in 0..500 {
            let response = client.send_request(get("/").unwrap()).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
        }
    });
}

#[test]
fn more_calls_at_once_than_the_application_takes_wait_for_each_other() {
    let app = application(|_| async {
        tokio::task::yield_now().await;
        Response::new(Frames::none())
    });
    let stage = stage(app, POLICY);
    let set = stage.authority.issue(WEB);
    runtime().block_on(async {
        let client = call(&stage, &set).await;
        let one = || {
            let mut client = client.clone();
            async move {
                let request = Request::get("https://web.test/").body(Frames::none()).unwrap();
                client.send_request(request).await.unwrap().status()
            }
        };
        let all = futures::future::join_all((0..1000).map(|_| one())).await;
        assert!(all.iter().all(|status| *status == StatusCode::OK));
    });
}

#[test]
fn who_asks_and_takes_back_without_end_is_sent_away() {
    let app = application(|_| async { Response::new(Frames::none()) });
    let mut stage = stage(app, POLICY);
    let mut peer = greeted(&stage);
    let mut flood = Vec::new();
    for stream in (1..20_000).step_by(2) {
        flood.extend(get(stream, "x-a", "b"));
        flood.extend(frame(3, 0, stream, &8u32.to_be_bytes()));
    }
    drop(peer.send(&flood));
    drop(peer.rest());
    let line = stage.sidecar.line("message", "connection");
    assert_eq!(line["end"], "http_protocol", "{line}");
}

#[test]
fn what_breaks_http2_is_refused_and_counted() {
    let app = application(|_| async { Response::new(Frames::none()) });
    let mut stage = stage(app, POLICY);
    let headers = get(1, "x-a", "b");
    let cases: [&[u8]; 4] = [
        // No end of the headers, and another frame behind them.
        &[&frame(1, 1, 1, &headers[9..]), &frame(6, 0, 0, &[0; 8])[..]].concat(),
        &frame(1, 5, 2, &headers[9..]),
        &frame(1, 5, 1, &[0xff; 20]),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    for case in cases {
        let mut peer = greeted(&stage);
        drop(peer.send(case));
        drop(peer.rest());
        let line = stage.sidecar.line("message", "connection");
        assert_eq!(line["end"], "http_protocol", "{line}");
    }
}

#[test]
fn a_tunnel_in_a_stream_is_made_if_the_application_says_so() {
    let app = application(|mut request| async move {
        let upgraded = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let mut ends = TokioIo::new(upgraded.await.unwrap());
            let mut said = [0; 5];
            ends.read_exact(&mut said).await.unwrap();
            ends.write_all(&[b"re: ", &said[..]].concat()).await.unwrap();
        });
        Response::new(Frames::none())
    });
    let stage = stage(app, POLICY);
    let set = stage.authority.issue(WEB);
    runtime().block_on(async {
        let mut client = call(&stage, &set).await;
        let request = Request::connect("db.test:5432").body(Frames::none()).unwrap();
        let mut response = client.send_request(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let mut ends = TokioIo::new(hyper::upgrade::on(&mut response).await.unwrap());
        ends.write_all(b"there").await.unwrap();
        let mut said = [0; 9];
        ends.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"re: there");
    });
}
