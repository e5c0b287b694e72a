//! Who may pass: reads the policy document, and decides; pure once it is read.

use std::collections::BTreeMap;

use countersign_contract::access::{
    Allow, DocumentVersion, FORMAT, MAX_ENTRIES, NamespaceDocument, effective, entries,
};
use countersign_contract::names::POLICIES_FILE;
use countersign_contract::policy::{Mode, PolicyDocument, PortPolicy};

use crate::tls::{InvalidDeviceRoots, Peer, device_roots};

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not a policy document.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// It is of a newer operator, and passing over what is new in it would admit too much.
    #[error(
        "{POLICIES_FILE} is in format {version} and needs a reader of format {needs}; this sidecar understands {FORMAT}: restart the pod to get a newer sidecar"
    )]
    Newer {
        /// The format that it is written in.
        version: u32,
        /// The lowest that a reader must understand.
        needs: u32,
    },
    /// What it states takes more memory than a sidecar may give it.
    #[error(
        "the policies that select this pod state too many ports with too many rules: {MAX_ENTRIES} rules and names of all ports together are allowed; state fewer ports"
    )]
    TooLarge,
    /// The roots of the CA of people and devices.
    #[error(transparent)]
    DeviceRoots(#[from] InvalidDeviceRoots),
    /// A pattern can match nobody.
    #[error("{0:?} in allow is neither spiffe://... nor dns:NAME")]
    Pattern(String),
    /// A name of a protocol that TLS cannot carry.
    #[error("{0:?} in alpn is no name of a protocol: 1 to 255 bytes (RFC 7301, 3.1)")]
    Alpn(String),
    /// A line is no label.
    #[error("the pod's labels: {0:?} is not of the form name=\"value\"")]
    Labels(String),
    /// A port whose bytes are not looked at is to be told of in HTTP.
    #[error(
        "forwardedClientCert is for ports of mode mutual, server or permissive: one that is off is left as it is"
    )]
    Forwarded,
    /// A port that needs a certificate shows none.
    #[error(
        "certificates are shown by ports of mode mutual, server or permissive, and not by one that is off"
    )]
    Off,
}

/// Reads a policy document.
///
/// # Errors
/// Says what is wrong in it.
pub fn parse(text: &[u8]) -> Result<PolicyDocument, Error> {
    let document: PolicyDocument = serde_json::from_slice(text)?;
    checked(document)
}

/// Reads the policies of a namespace, and takes from them what holds for a pod with these labels. What a
/// newer operator wrote is understood, or taken in the stricter direction, as far as the document allows.
///
/// # Errors
/// Says what is wrong in either.
pub fn of_namespace(policies: &[u8], labels: &[u8]) -> Result<PolicyDocument, Error> {
    let DocumentVersion { version, needs } = serde_json::from_slice(policies)?;
    if needs > FORMAT {
        return Err(Error::Newer { version, needs });
    }
    let document: NamespaceDocument = serde_json::from_slice(policies)?;
    let labels = parse_labels(labels)?;
    if entries(&document, &labels) > MAX_ENTRIES {
        return Err(Error::TooLarge);
    }
    checked(effective(&document, &labels))
}

fn checked(policy: PolicyDocument) -> Result<PolicyDocument, Error> {
    policy.ports.values().chain([&policy.default]).try_for_each(check)?;
    if let Some(authorities) = &policy.authorities {
        device_roots(authorities)?;
    }
    Ok(policy)
}

/// Labels as the kubelet writes them in a downwardAPI volume: a line each, `name="value"`. Their
/// values have no character that it would escape.
fn parse_labels(text: &[u8]) -> Result<BTreeMap<String, String>, Error> {
    let text = String::from_utf8_lossy(text);
    let lines = text.lines().filter(|line| !line.is_empty());
    let one = |line: &str| {
        let (name, quoted) = line.split_once('=')?;
        let value = quoted.strip_prefix('"')?.strip_suffix('"')?;
        Some((name.to_owned(), value.to_owned()))
    };
    lines.map(|line| one(line).ok_or_else(|| Error::Labels(line.to_owned()))).collect()
}

fn check(policy: &PortPolicy) -> Result<(), Error> {
    let is_known = |allow: &Allow| match allow {
        Allow::Pattern(pattern) => pattern.starts_with("spiffe://") || pattern.starts_with("dns:"),
        Allow::Rule(_) => true,
    };
    let lists = policy.allow.iter().chain(&policy.audit).flatten();
    if let Some(pattern) = lists.into_iter().find(|allow| !is_known(allow)) {
        return Err(Error::Pattern(pattern.to_string()));
    }
    if let Some(name) = policy.alpn.iter().find(|name| !(1..=255).contains(&name.len())) {
        return Err(Error::Alpn(name.clone()));
    }
    match policy.mode {
        Mode::Off if !policy.certificates.is_empty() => Err(Error::Off),
        Mode::Off if policy.forwarded_client_cert => Err(Error::Forwarded),
        _ => Ok(()),
    }
}

/// Whether a peer may pass. An absent list admits everybody whose chain verified.
#[must_use]
pub fn is_allowed(policy: &PortPolicy, peer: Option<&Peer>) -> bool {
    policy.admits(peer.map(Peer::caller).as_ref())
}

#[cfg(test)]
mod tests {
    use countersign_contract::access::Signer;

    use super::*;
    use crate::tls::SignedBy;

    fn peer(uris: &[&str], dns_names: &[&str]) -> Peer {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Peer { uris: owned(uris), dns_names: owned(dns_names), ..Peer::default() }
    }

    fn allow(patterns: &[&str]) -> PortPolicy {
        let pattern = |pattern: &&str| Allow::Pattern((*pattern).to_owned());
        let allow = Some(patterns.iter().map(pattern).collect());
        PortPolicy { allow, ..PortPolicy::default() }
    }

    #[test]
    fn a_port_that_is_left_as_it_is_cannot_tell_who_calls_in_http() {
        let document = |mode: &str| {
            let port =
                format!(r#"{{"mode":"{mode}","forwardedClientCert":true,"proxyProtocol":"v2"}}"#);
            parse(format!(r#"{{"ports":{{"80":{port}}}}}"#).as_bytes())
        };
        let error = document("off").unwrap_err().to_string();
        assert!(error.contains("forwardedClientCert"), "{error}");
        for mode in ["mutual", "server", "permissive"] {
            assert!(document(mode).is_ok(), "{mode}");
        }
    }

    #[test]
    fn a_pod_follows_the_policies_that_select_its_labels() {
        let policies = br#"{"revision":"7","defaultAllow":[],"policies":[
            {"name":"web","podSelector":{"matchLabels":{"app":"web"}},"ports":{"80":{"mode":"off"}}}]}"#;
        let mode =
            |labels: &str| of_namespace(policies, labels.as_bytes()).map(|p| p.of_port(80).mode);
        assert_eq!(mode("app=\"web\"\nnote=\"\"").unwrap(), Mode::Off);
        assert_eq!(mode("app=\"api\"").unwrap(), Mode::Mutual);
        assert_eq!(mode("").unwrap(), Mode::Mutual);
        for bad in ["app", "app=web", "app=\"web"] {
            let error = mode(bad).unwrap_err().to_string();
            assert!(error.contains("name="), "{error}");
        }
        assert!(of_namespace(b"{}", b"").is_err());
    }

    #[test]
    fn a_document_that_needs_a_newer_sidecar_is_refused_by_name() {
        let read = |needs: u32| {
            let text = format!(
                r#"{{"version":9,"needs":{needs},"revision":"7","defaultAllow":[],"policies":[],"new":1}}"#
            );
            of_namespace(text.as_bytes(), b"")
        };
        assert!(read(FORMAT).is_ok(), "new parts alone are passed over");
        let error = read(FORMAT + 1).unwrap_err().to_string();
        assert!(error.contains("format 9") && error.contains("restart the pod"), "{error}");
        // Whatever else is in it, and however it is written.
        let error = of_namespace(br#"{"needs":9,"policies":{"x":1}}"#, b"").unwrap_err();
        assert!(matches!(error, Error::Newer { needs: 9, .. }), "{error}");
    }

    #[test]
    fn a_document_without_authorities_lets_no_ca_vouch_for_names() {
        let text =
            br#"{"revision":"7","defaultAllow":[{"commonNames":["*"]},{"namespaces":["a"]}]}"#;
        let policy = of_namespace(text, b"").unwrap();
        let authorities = policy.authorities.clone().unwrap();
        let signed_by =
            SignedBy { signer: Signer::Mesh, trust_domain: authorities.trust_domain.into() };
        let named = Peer {
            common_name: Some("till".to_owned()),
            signed_by: Some(signed_by.clone()),
            ..Peer::default()
        };
        assert!(!is_allowed(policy.of_port(80), Some(&named)));
        let workload = peer(&["spiffe://d/ns/a/sa/b"], &[]);
        let workload = Peer { signed_by: Some(signed_by), ..workload };
        assert!(is_allowed(policy.of_port(80), Some(&workload)));
    }

    #[test]
    fn device_roots_that_are_no_certificates_are_refused() {
        let text = br#"{"revision":"7","defaultAllow":[],"authorities":{"deviceRoots":"garbage"}}"#;
        let error = of_namespace(text, b"").unwrap_err().to_string();
        assert!(error.contains("deviceRoots"), "{error}");
    }

    #[test]
    fn policies_with_too_many_ports_are_refused_before_they_take_memory() {
        let policy = |place: u16| {
            let ports = (0..64).map(|port| (1 + place * 64 + port, serde_json::json!({})));
            let ports: BTreeMap<u16, _> = ports.collect();
            let allow = serde_json::json!([{ "namespaces": ["a"] }]);
            let name = format!("p{place}");
            serde_json::json!({ "name": name, "podSelector": {}, "allow": allow, "ports": ports })
        };
        let document = |count| {
            let policies: Vec<_> = (0..count).map(policy).collect();
            let document =
                serde_json::json!({ "revision": "1", "defaultAllow": [], "policies": policies });
            of_namespace(document.to_string().as_bytes(), b"")
        };
        assert_eq!(document(10).unwrap().ports.len(), 640);
        assert!(matches!(document(60).unwrap_err(), Error::TooLarge));
    }

    #[test]
    fn a_peer_passes_only_if_a_pattern_names_it() {
        let web = peer(&["spiffe://d/ns/shop/sa/web"], &["web.shop.svc"]);
        let two = peer(&["spiffe://d/ns/shop/sa/web", "spiffe://d/ns/shop/sa/db"], &[]);
        let cases = [
            (allow(&["spiffe://d/ns/shop/sa/web"]), &web, true),
            (allow(&["spiffe://d/ns/shop/sa/*"]), &web, true),
            (allow(&["spiffe://d/*"]), &web, true),
            (allow(&["spiffe://d/ns/shop/sa/we"]), &web, false),
            (allow(&["spiffe://d/ns/sho/*"]), &web, false),
            (allow(&["dns:WEB.shop.svc"]), &web, true),
            (allow(&["dns:other"]), &web, false),
            (allow(&[]), &web, false),
            (PortPolicy::default(), &web, true),
            // Two identities are none (X.509-SVID, section 2).
            (allow(&["spiffe://d/ns/shop/sa/web"]), &two, false),
        ];
        for (policy, peer, allowed) in cases {
            assert_eq!(is_allowed(&policy, Some(peer)), allowed, "{policy:?}");
        }
        assert!(!is_allowed(&allow(&["spiffe://d/*"]), None));
    }
}
