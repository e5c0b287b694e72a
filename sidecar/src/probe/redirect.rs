//! Where a redirect leads, as the kubelet sees it; pure.

use std::net::{IpAddr, SocketAddr};

use axum::http::Uri;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) https: bool,
    pub(super) port: u16,
    /// Path and query, with the path's first slash.
    pub(super) path: String,
}

impl Place {
    /// What was configured: a path may lack its slash, or have characters that no request line may.
    pub(super) fn new(https: bool, port: u16, path: &str) -> Self {
        let path = path.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        Self { https, port, path: slash.to_owned() + &encoded(path) }
    }

    /// The whole URL.
    pub(super) fn url(&self, at: IpAddr) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{}{}", SocketAddr::new(at, self.port), self.path)
    }
}

/// What a redirect asks for instead, and whether it named the host; nothing where it leads away from
/// the pod: the kubelet follows none that do, and takes the redirect itself for an answer.
pub(super) fn follow(from: &Place, at: IpAddr, location: &str) -> Option<(Place, bool)> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = if from.https { "https:" } else { "http:" };
    let whole = if location.starts_with("//") {
        format!("{scheme}{location}")
    } else {
        location.to_owned()
    };
    if whole.contains("://") && !whole.starts_with(['/', '?']) {
        return elsewhere(at, &whole).map(|place| (place, true));
    }
    let (path, _) = from.path.split_once('?').unwrap_or((&from.path, ""));
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let path = match location.as_bytes().first() {
        Some(b'/') => location.to_owned(),
        Some(b'?') => format!("{path}{location}"),
        Some(_) => format!("{folder}/{location}"),
        None => return None,
    };
    Some((Place::new(from.https, from.port, &path), false))
}

fn elsewhere(at: IpAddr, url: &str) -> Option<Place> {
    let uri: Uri = encoded(url).parse().ok()?;
    let https = match uri.scheme_str()? {
        "http" => false,
        "https" => true,
        _ => return None,
    };
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    if host.parse::<IpAddr>().ok()? != at {
        return None;
    }
    let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some(Place::new(https, port, path))
}

/// Percent-encodes what may stand in no request line; what is encoded already stays.
fn encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' => format!("%{byte:02X}"),
        0x21..=0x7e => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_made_fit_for_a_request() {
        let cases = [
            ("/healthz?a=b", "/healthz?a=b"),
            ("healthz", "/healthz"),
            ("", "/"),
            ("/a b#c", "/a%20b"),
            ("/%20", "/%20"),
            ("/ü\r\nHost: x", "/%C3%BC%0D%0AHost:%20x"),
        ];
        for (path, expected) in cases {
            assert_eq!(Place::new(false, 80, path).path, expected);
        }
    }

    #[test]
    fn a_redirect_is_followed_within_the_pod_only() {
        let from = Place::new(false, 8080, "/a/b?q");
        let place = |https, port, path: &str| Place::new(https, port, path);
        let cases = [
            ("/c", Some((place(false, 8080, "/c"), false))),
            ("c?d", Some((place(false, 8080, "/a/c?d"), false))),
            ("?d", Some((place(false, 8080, "/a/b?d"), false))),
            ("/login?to=http://a/", Some((place(false, 8080, "/login?to=http://a/"), false))),
            ("http://10.0.0.1:8080/c", Some((place(false, 8080, "/c"), true))),
            ("https://10.0.0.1/", Some((place(true, 443, "/"), true))),
            ("//10.0.0.1:1/x#y", Some((place(false, 1, "/x"), true))),
            ("http://10.0.0.2:8080/c", None),
            ("https://shop.example/", None),
            ("//shop.example/", None),
            ("ftp://10.0.0.1/", None),
            ("http://", None),
            ("", None),
        ];
        for (location, expected) in cases {
            let at = "10.0.0.1".parse().unwrap();
            assert_eq!(follow(&from, at, location), expected, "{location}");
        }
        let v6 = follow(&from, "fd00::1".parse().unwrap(), "http://[fd00::1]:1/");
        assert_eq!(v6, Some((place(false, 1, "/"), true)));
    }
}
