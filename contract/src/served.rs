//! The syntax of a port that the sidecar serves where nothing is redirected to it.
//!
//! `8443=8080`: connections to port 8443 of the pod are mutual TLS, and go on to 127.0.0.1:8080.
//! Several are separated by commas or white space.

use std::fmt;
use std::str::FromStr;

/// One port that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// The port of the pod that others call; its policy holds.
    pub listen: u16,
    /// The port on loopback where the application listens.
    pub target: u16,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.listen, self.target)
    }
}

/// A text that should be a port to serve and is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} {1} (LISTEN=TARGET is wanted, such as 8443=8080)")]
pub struct InvalidServed(String, &'static str);

impl FromStr for Served {
    type Err = InvalidServed;

    fn from_str(text: &str) -> Result<Self, InvalidServed> {
        let invalid = |why| InvalidServed(text.to_owned(), why);
        let (listen, target) = text.split_once('=').ok_or_else(|| invalid("has no ="))?;
        let listen = port(listen).ok_or_else(|| invalid("has no port before ="))?;
        let target = port(target).ok_or_else(|| invalid("has no port after ="))?;
        if listen == target {
            return Err(invalid("would listen where the application does"));
        }
        Ok(Self { listen, target })
    }
}

fn port(text: &str) -> Option<u16> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port != 0)
}

/// Reads a whole annotation.
///
/// # Errors
/// When one of them is malformed, or two listen on the same port.
pub fn parse_list(text: &str) -> Result<Vec<Served>, InvalidServed> {
    let mut all: Vec<Served> = Vec::new();
    let items = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|item| !item.is_empty());
    for item in items {
        let served: Served = item.parse()?;
        if all.iter().any(|other| other.listen == served.listen) {
            return Err(InvalidServed(item.to_owned(), "listens on a port as another does"));
        }
        all.push(served);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_separated_by_commas_or_white_space() {
        let list = parse_list("8443=8080, 8444=8081\n8445=8080").unwrap();
        assert_eq!(list[0], Served { listen: 8443, target: 8080 });
        let written: Vec<_> = list.iter().map(ToString::to_string).collect();
        assert_eq!(written, ["8443=8080", "8444=8081", "8445=8080"]);
        assert_eq!(parse_list(" ").unwrap(), []);
    }

    #[test]
    fn what_is_not_a_port_to_serve_is_refused_by_name() {
        for bad in
            ["8443", "=8080", "8443=", "0=1", "1=0", "70000=1", "+1=2", "a=b", "1=2=3", "1=1"]
        {
            let error = bad.parse::<Served>().expect_err(bad).to_string();
            assert!(error.contains(bad), "{error}");
        }
        assert!(parse_list("1=2,1=3").is_err());
    }
}
