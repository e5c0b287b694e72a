//! Which protocols an application may switch to (101): those that the client asked for and that the sidecar
//! can read, and no other; pure.
//!
//! After a switch nothing is read any more. HTTP/2 would let a client send any header in it, so that what a
//! request asks for is written anew from its parsed names, and the answer is compared with them. Of two
//! values, one application takes the first and another the last; what is no name to us may be one to it.

use hyper::header::{CONNECTION, HeaderMap, HeaderName, HeaderValue, UPGRADE};
use hyper::{Request, Version};

use super::headers;

/// Names of protocols, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Protocols(Vec<String>);

impl Protocols {
    /// Those that a request asks for; none, unless all that it says of them can be read. Neither HTTP nor
    /// TLS is among them: such a request goes on in HTTP/1.1, as if the application did not know them.
    pub(super) fn requested<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        let asks = request.version() == Version::HTTP_11
            && readable(headers, &CONNECTION)
            && headers::tokens(headers, &CONNECTION)
                .any(|option| option.eq_ignore_ascii_case("upgrade"));
        let named = asks.then(|| Self::read(headers)).flatten();
        named.filter(|named| !named.0.iter().any(|name| is_http_or_tls(name))).unwrap_or_default()
    }

    /// The header that asks for them; none where there are none.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        let joined = self.0.join(", ");
        HeaderValue::from_str(&joined).ok().filter(|value| !value.is_empty())
    }

    /// Why an application may not answer with these headers that it switches.
    pub(super) fn refuse(&self, answer: &HeaderMap) -> Option<Refused> {
        let is_asked = |name: &String| self.0.iter().any(|asked| asked.eq_ignore_ascii_case(name));
        let named = Self::read(answer);
        let fits = named.as_ref().is_some_and(|named| named.0.iter().all(is_asked));
        (!fits).then(|| Refused { asked: self.clone(), named })
    }

    /// The names in `Upgrade`, if each of its values is a list of them.
    fn read(headers: &HeaderMap) -> Option<Self> {
        if !readable(headers, &UPGRADE) {
            return None;
        }
        let named: Vec<_> = headers::tokens(headers, &UPGRADE).map(ToOwned::to_owned).collect();
        let are_names = !named.is_empty() && named.iter().all(|name| is_protocol(name));
        are_names.then_some(Self(named))
    }
}

/// An application's switch to what was not asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    asked: Protocols,
    named: Option<Protocols>,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const MAX_NAMES: usize = 128;
        let quoted = |protocols: &Protocols| {
            let names = protocols.0.join(", ");
            format!("{:?}", names.get(..MAX_NAMES).unwrap_or(&names))
        };
        let named =
            self.named.as_ref().map_or_else(|| "a protocol that cannot be read".to_owned(), quoted);
        match self.asked.0.is_empty() {
            true => write!(f, "the application switches to {named}, and no switch was asked for"),
            false => {
                let asked = quoted(&self.asked);
                write!(f, "the application switches to {named}, and {asked} was asked for")
            }
        }
    }
}

/// Whether every value of a header is plain ASCII.
fn readable(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).into_iter().all(|value| value.to_str().is_ok())
}

/// `name` or `name/version` (RFC 9110, 7.8).
fn is_protocol(name: &str) -> bool {
    const OTHERS: &[u8] = b"!#$%&'*+-.^_`|~";
    let is_token = |token: &str| {
        let is_one = |byte: u8| byte.is_ascii_alphanumeric() || OTHERS.contains(&byte);
        !token.is_empty() && token.bytes().all(is_one)
    };
    let (name, version) = name.split_once('/').unwrap_or((name, "1"));
    is_token(name) && is_token(version)
}

fn is_http_or_tls(protocol: &str) -> bool {
    let protocol = protocol.to_ascii_lowercase();
    ["h2", "h3", "http", "tls"].iter().any(|known| protocol.starts_with(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(upgrades: &[&[u8]]) -> HeaderMap {
        let value = |upgrade: &&[u8]| (UPGRADE, HeaderValue::from_bytes(upgrade).unwrap());
        upgrades.iter().map(value).collect()
    }

    fn requested(upgrades: &[&[u8]]) -> Protocols {
        let mut request = Request::new(());
        *request.headers_mut() = headers(upgrades);
        request.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        Protocols::requested(&request)
    }

    #[test]
    fn asks_for_what_can_be_read_and_is_not_http() {
        let cases: &[(&[&[u8]], Option<&str>)] = &[
            (&[b"websocket"], Some("websocket")),
            (&[b"WebSocket", b"tcp"], Some("WebSocket, tcp")),
            (&[b"h2c"], None),
            (&[b"websocket", b"h2c"], None),
            (&[b"websocket", b"h2c\xa0"], None),
            (&[b"websocket", b"\xa0h2c"], None),
            (&[b"h2c\xa0"], None),
            (&[b"websocket;h2c"], None),
            (&[b"websocket\th2c"], None),
            (&[b"chat//2"], None),
            (&[b"TLS/1.0, HTTP/1.1"], None),
            (&[b""], None),
            (&[], None),
        ];
        for (upgrades, expected) in cases {
            let header = requested(upgrades).header();
            let found = header.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(found, *expected, "{upgrades:?}");
        }
    }

    #[test]
    fn refuses_switch_to_protocol_that_was_not_asked_for() {
        let asked = requested(&[b"websocket, tcp"]);
        let cases: &[(&[&[u8]], Option<&str>)] = &[
            (&[b"websocket"], None),
            (&[b"TCP"], None),
            (&[b"h2c"], Some("\"h2c\"")),
            (&[b"websocket", b"h2c"], Some("\"websocket, h2c\"")),
            (&[b"websocket", b"h2c\xa0"], Some("cannot be read")),
            (&[], Some("cannot be read")),
        ];
        for (upgrades, expected) in cases {
            let said = asked.refuse(&headers(upgrades)).map(|refused| refused.to_string());
            assert_eq!(said.is_some(), expected.is_some(), "{upgrades:?}");
            assert!(said.unwrap_or_default().contains(expected.unwrap_or("")), "{upgrades:?}");
        }
        let said = Protocols::default().refuse(&headers(&[b"websocket"])).unwrap().to_string();
        assert!(said.ends_with("no switch was asked for"), "{said}");
    }
}
