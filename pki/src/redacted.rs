//! A secret value that cannot be printed.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text or byte string. `Debug` prints `<redacted>`, there is no `Display`, and its
/// memory is wiped when it goes. Whoever needs the value must say so: `expose`.
#[derive(Clone)]
pub struct Redacted<T: zeroize::Zeroize>(Zeroizing<T>);

/// A private key in PEM, as it stands in `tls.key`.
pub type PrivateKeyPem = Redacted<String>;

impl<T: zeroize::Zeroize> Redacted<T> {
    /// Takes a value into custody.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself, for the one place that writes it where it belongs.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: zeroize::Zeroize> fmt::Debug for Redacted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("<redacted>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_as_redacted() {
        let secret = PrivateKeyPem::new("hush".to_owned());
        assert_eq!(format!("{secret:?}"), "<redacted>");
        assert_eq!(secret.expose(), "hush");
    }
}
