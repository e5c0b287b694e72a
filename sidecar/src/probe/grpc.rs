//! `grpc`: asks `grpc.health.v1.Health/Check`, without TLS, as the kubelet does.

use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use countersign_contract::health::{self, Health};
use countersign_contract::probe::GrpcCheck;

use super::connect;
use super::exchange::{Answer, Failure, over_http2};

/// Asks whether a service serves.
pub(super) async fn ask(at: IpAddr, check: &GrpcCheck, agent: &str) -> Result<String, Failure> {
    let address = SocketAddr::new(at, check.port);
    let stream = connect(at, check.port).await?;
    let request = Request::post(format!("http://{address}{}", health::PATH))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .header(header::USER_AGENT, agent)
        .body(Body::from(health::request(&check.service)))?;
    judge(&over_http2(stream, request).await?)
}

fn judge(answer: &Answer) -> Result<String, Failure> {
    if answer.status != StatusCode::OK {
        return Err(Failure::Status(answer.status));
    }
    // An error without a message stands in the headers.
    let status = status(&answer.trailers).or_else(|| status(&answer.headers));
    match status.ok_or(Failure::Garbled)? {
        0 => {}
        other => return Err(Failure::Grpc(other)),
    }
    match health::answer(&answer.body) {
        Health::Serving => Ok("SERVING".to_owned()),
        Health::Not(0) => Err(Failure::NotServing("UNKNOWN")),
        Health::Not(2) => Err(Failure::NotServing("NOT_SERVING")),
        Health::Not(3) => Err(Failure::NotServing("SERVICE_UNKNOWN")),
        Health::Not(_) | Health::Garbled => Err(Failure::Garbled),
    }
}

fn status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, of_headers: &str, of_trailers: &str, body: &[u8]) -> Answer {
        let map = |text: &str| {
            let mut map = HeaderMap::new();
            if let Ok(value) = text.parse()
                && !text.is_empty()
            {
                map.insert("grpc-status", value);
            }
            map
        };
        let status = StatusCode::from_u16(status).unwrap();
        let (headers, trailers) = (map(of_headers), map(of_trailers));
        Answer { status, headers, body: body.to_vec(), trailers }
    }

    #[test]
    fn only_a_service_that_says_so_serves() {
        let serving = [0, 0, 0, 0, 2, 8, 1];
        let cases = [
            (answer(200, "", "0", &serving), Ok("SERVING")),
            (answer(200, "", "0", &[0, 0, 0, 0, 2, 8, 2]), Err("NOT_SERVING")),
            (answer(200, "", "0", &[0, 0, 0, 0, 2, 8, 3]), Err("SERVICE_UNKNOWN")),
            (answer(200, "", "0", &[0, 0, 0, 0, 0]), Err("UNKNOWN")),
            (answer(200, "12", "", &[]), Err("gRPC status 12")),
            (answer(200, "", "5", &serving), Err("gRPC status 5")),
            (answer(200, "", "", &serving), Err("none of grpc.health")),
            (answer(200, "", "0", b"x"), Err("none of grpc.health")),
            (answer(404, "", "0", &serving), Err("404")),
        ];
        for (answer, expected) in cases {
            match (judge(&answer), expected) {
                (Ok(said), Ok(expected)) => assert_eq!(said, expected),
                (Err(failure), Err(expected)) => {
                    assert!(failure.to_string().contains(expected), "{failure}");
                }
                (judged, expected) => panic!("{judged:?} is not {expected:?}"),
            }
        }
    }
}
