//! HTTP/2, as gRPC uses it, from hyper to hyper.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};

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
    let app = application(|request| async move {
        if request.uri().path() == "/never" {
            std::future::pending::<()>().await;
        }
        Response::new(Frames::none())
    });
    let stage = stage(app, POLICY);
    let set = stage.authority.issue(WEB);
    runtime().block_on(async {
        let mut client = call(&stage, &set).await;
        let get = |path| Request::get(format!("https://web.test{path}")).body(Frames::none());
        let never = client.send_request(get("/never").unwrap());
        drop(tokio::time::timeout(Duration::from_millis(50), never).await.unwrap_err());
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
