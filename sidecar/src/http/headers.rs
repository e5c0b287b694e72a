//! What of a message is for one connection only, and what is changed of it on the way; pure.
//!
//! One connection of the client's is one connection to the application, so that little has to
//! change. What frames a message is written anew, by whoever knows how the next connection does it.

use hyper::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::uri::{Authority, Scheme, Uri};
use hyper::{Method, Request, Response, StatusCode, Version, header};

use super::forwarded;
use super::upgrade::Protocols;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Makes of a client's request the one that the application gets, with who calls if that is known.
/// The protocols to which the application may switch in its answer.
pub(super) fn of_request<B>(request: &mut Request<B>, told: Option<&HeaderValue>) -> Protocols {
    let asked = Protocols::requested(request);
    let version = request.version();
    let headers = request.headers_mut();
    let options = options(headers);
    let takes_trailers = has(headers, &TE, "trailers");
    for name in options.iter().filter_map(|option| option.parse::<HeaderName>().ok()) {
        // Otherwise the application could be had to throw away what we tell it.
        headers.remove(name);
    }
    headers.remove(UPGRADE);
    clean(headers);
    headers.remove(TE);
    let upgrade = asked.header();
    let wants_upgrade = upgrade.is_some();
    if let Some(upgrade) = upgrade {
        headers.insert(UPGRADE, upgrade);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if version < Version::HTTP_2 {
        connection(headers, &options, wants_upgrade, takes_trailers);
    }
    forwarded::strip(headers);
    if let Some(told) = told {
        headers.insert(forwarded::NAME, told.clone());
    }
    if version == Version::HTTP_2 {
        name_authority(request);
    }
    asked
}

/// Makes of the application's response the one that the client gets.
pub(super) fn of_response<B>(response: &mut Response<B>) {
    let switches = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let version = response.version();
    let headers = response.headers_mut();
    let options = options(headers);
    clean(headers);
    if version < Version::HTTP_2 {
        connection(headers, &options, switches, false);
    }
}

/// Says anew what holds for a connection and its other end.
fn connection(headers: &mut HeaderMap, options: &[String], upgrades: bool, takes_trailers: bool) {
    let is_asked = |wanted: &str| options.iter().any(|option| option == wanted);
    let said = [
        ("close", is_asked("close")),
        ("keep-alive", is_asked("keep-alive") && !is_asked("close")),
        ("upgrade", upgrades),
        ("te", takes_trailers),
    ];
    let said: Vec<_> = said.iter().filter(|(_, holds)| *holds).map(|(option, _)| *option).collect();
    if let Ok(value) = HeaderValue::from_str(&said.join(", "))
        && !said.is_empty()
    {
        headers.insert(CONNECTION, value);
    }
}

/// Takes away what is for one connection.
fn clean(headers: &mut HeaderMap) {
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING] {
        headers.remove(name);
    }
}

/// The options of a connection, in lower case (RFC 9110, 7.6.1).
fn options(headers: &HeaderMap) -> Vec<String> {
    tokens(headers, &CONNECTION).map(|option| option.to_ascii_lowercase()).collect()
}

pub(super) fn tokens<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn has(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

/// HTTP/2 may name the authority in a header (RFC 9113, 8.3.1), and hyper's client wants it in its
/// own place.
fn name_authority<B>(request: &mut Request<B>) {
    if request.method() == Method::CONNECT || request.uri().authority().is_some() {
        return;
    }
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let Some(authority) = host.and_then(|host| Authority::try_from(host).ok()) else { return };
    let mut parts = request.uri().clone().into_parts();
    parts.authority = Some(authority);
    parts.scheme.get_or_insert(Scheme::HTTPS);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Headers<'a> = &'a [(&'a str, &'a str)];

    /// What the application gets of these headers.
    fn sent(headers: Headers<'_>) -> Vec<(String, String)> {
        let mut request = Request::new(());
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            request.headers_mut().append(name, value);
        }
        of_request(&mut request, Some(&HeaderValue::from_static("Hash=1")));
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.as_str().to_owned(), value.to_str().unwrap().to_owned())
        };
        let mut sent: Vec<_> = request.headers().iter().map(text).collect();
        let told = sent.iter().position(|(name, _)| *name == forwarded::NAME.as_str()).unwrap();
        assert_eq!(sent.remove(told).1, "Hash=1");
        sent
    }

    #[test]
    fn what_is_for_one_connection_goes_no_further_and_all_else_does() {
        let cases: &[(Headers<'_>, Headers<'_>)] = &[
            (
                &[("host", "a"), ("accept", "b"), ("accept", "c")],
                &[("host", "a"), ("accept", "b"), ("accept", "c")],
            ),
            (&[("connection", "close")], &[("connection", "close")]),
            (
                &[("connection", "Keep-Alive"), ("keep-alive", "timeout=5")],
                &[("connection", "keep-alive")],
            ),
            // Whoever has a header thrown away has none of ours thrown away.
            (
                &[("connection", "x-a, X-Forwarded-Client-Cert"), ("x-a", "1"), ("x-b", "2")],
                &[("x-b", "2")],
            ),
            (
                &[("te", "trailers, deflate"), ("connection", "te")],
                &[("te", "trailers"), ("connection", "te")],
            ),
            (&[("te", "deflate")], &[]),
            (&[("transfer-encoding", "chunked"), ("trailer", "a")], &[("trailer", "a")]),
            (
                &[("upgrade", "websocket"), ("connection", "Upgrade")],
                &[("upgrade", "websocket"), ("connection", "upgrade")],
            ),
            (&[("upgrade", "websocket")], &[]),
            (
                &[
                    ("upgrade", "h2c"),
                    ("connection", "Upgrade, HTTP2-Settings"),
                    ("http2-settings", "a"),
                ],
                &[],
            ),
            (&[("upgrade", "websocket, H2C"), ("connection", "upgrade")], &[]),
            (&[("upgrade", "websocket"), ("upgrade", "h2c"), ("connection", "upgrade")], &[]),
            (&[("upgrade", "websocket"), ("upgrade", "h2c\u{a0}"), ("connection", "upgrade")], &[]),
            (&[("upgrade", "web socket"), ("connection", "upgrade")], &[]),
            (&[("upgrade", "websocket"), ("connection", "upgrade\u{a0}")], &[]),
            (
                &[("upgrade", " chat/2 ,, websocket"), ("connection", "keep-alive, upgrade")],
                &[("upgrade", "chat/2, websocket"), ("connection", "keep-alive, upgrade")],
            ),
            (&[("x_forwarded_client_cert", "a"), ("x-forwarded-client-cert", "b")], &[]),
        ];
        for (headers, expected) in cases {
            let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let expected: Vec<_> = expected.iter().map(owned).collect();
            assert_eq!(sent(headers), expected, "{headers:?}");
        }
    }

    #[test]
    fn an_authority_that_is_only_in_a_header_is_named_where_it_belongs() {
        let mut request = Request::new(());
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from_static("/path?a=b");
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("web.test:8443"));
        of_request(&mut request, None);
        assert_eq!(request.uri().to_string(), "https://web.test:8443/path?a=b");
    }
}
