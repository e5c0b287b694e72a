//! `httpGet`: asks as the kubelet does.

use std::net::SocketAddr;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, StatusCode, Version, header};
use countersign_contract::probe::{Header, HttpCheck};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::exchange::{Answer, Failure, over_http1, over_http2};
use super::redirect::{Place, follow};
use super::{Asking, connect};

/// So many redirects are followed.
const MOST_REDIRECTS: usize = 10;

/// Asks, and follows where it is sent, within the pod.
pub(super) async fn ask(
    asking: &Asking,
    check: &HttpCheck,
    agent: &str,
) -> Result<String, Failure> {
    let mut place = Place::new(check.https, check.port, &check.path);
    let mut host = host_of(&check.headers);
    for _ in 0..MOST_REDIRECTS {
        let answer = get(asking, &place, &check.headers, host, agent).await?;
        let next = location(&answer).and_then(|location| follow(&place, asking.at, location));
        let Some((there, is_named)) = next else { return judge(asking, answer.status) };
        // A place that names its host is asked for under that name.
        host = host.filter(|_| !is_named);
        place = there;
    }
    Err(Failure::Redirects(MOST_REDIRECTS))
}

/// A lifecycle handler has done its part with any answer; a probe wants a good one.
fn judge(asking: &Asking, status: StatusCode) -> Result<String, Failure> {
    if asking.probe.any_status || (200..400).contains(&status.as_u16()) {
        return Ok(format!("HTTP status {status}"));
    }
    Err(Failure::Status(status))
}

fn location(answer: &Answer) -> Option<&str> {
    let is_redirect = matches!(answer.status.as_u16(), 301 | 302 | 303 | 307 | 308);
    answer.headers.get(header::LOCATION).filter(|_| is_redirect)?.to_str().ok()
}

async fn get(
    asking: &Asking,
    place: &Place,
    headers: &[Header],
    host: Option<&str>,
    agent: &str,
) -> Result<Answer, Failure> {
    let stream = connect(asking.at, place.port).await?;
    let request = |version| request(asking, place, headers, host, agent, version);
    if !place.https {
        return over_http1(stream, request(Version::HTTP_11)?).await;
    }
    // An address is not named in TLS (RFC 6066), so that none is.
    let name = ServerName::IpAddress(asking.at.into());
    let connecting = TlsConnector::from(asking.tls.clone()).connect(name, stream);
    let stream = connecting.await.map_err(Failure::Tls)?;
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => over_http2(stream, request(Version::HTTP_2)?).await,
        _ => over_http1(stream, request(Version::HTTP_11)?).await,
    }
}

/// What the kubelet would send: its own two headers where the probe says nothing else of them.
fn request(
    asking: &Asking,
    place: &Place,
    headers: &[Header],
    host: Option<&str>,
    agent: &str,
    version: Version,
) -> Result<Request<Body>, Failure> {
    let address = SocketAddr::new(asking.at, place.port).to_string();
    let host = host.unwrap_or(&address);
    let mut request = Request::get(place.url(asking.at)).version(version).body(Body::empty())?;
    let map = request.headers_mut();
    map.insert(header::USER_AGENT, value(agent)?);
    map.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    for header in headers.iter().filter(|header| !is_host(header)) {
        let name: HeaderName = header.name.parse().map_err(axum::http::Error::from)?;
        // The kubelet sends none of these two where it is empty.
        map.remove(&name);
        if !header.value.is_empty() || ![header::USER_AGENT, header::ACCEPT].contains(&name) {
            map.append(name, value(&header.value)?);
        }
    }
    if version == Version::HTTP_11 {
        map.insert(header::HOST, value(host)?);
        map.insert(header::CONNECTION, HeaderValue::from_static("close"));
        let path = place.path.parse().map_err(axum::http::Error::from)?;
        *request.uri_mut() = path;
    }
    Ok(request)
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    Ok(HeaderValue::from_str(text).map_err(axum::http::Error::from)?)
}

fn is_host(header: &Header) -> bool {
    header.name.eq_ignore_ascii_case("host")
}

fn host_of(headers: &[Header]) -> Option<&str> {
    headers.iter().find(|header| is_host(header)).map(|header| header.value.as_str())
}
