//! Holds the name constraints of an authority's path against what it is asked to sign.
//!
//! Verifiers do not agree in everything. What one of RFC 5280, OpenSSL and Go would not accept is
//! not signed: a permitted subtree is read in the narrowest way, an excluded one in the widest, and
//! a name that cannot be understood is refused wherever names of its form are limited.

use std::fmt::{self, Display};
use std::net::IpAddr;

use super::chain::Authority;
use super::constraints::{NameConstraints, NameForm, NameSet};
use super::domain::{is_domain, is_host_within, is_local_part, is_within};
use super::ip_range::IpRange;
use super::name::{self, NameParts};
use super::template::Request;

/// A name that the authority may not put its own to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name constraints of {authority} forbid {field} {value:?}: {rule}")]
pub struct NameForbidden {
    /// The field of the request.
    pub field: &'static str,
    /// The name.
    pub value: String,
    /// Why.
    pub rule: NameRule,
    /// The subject of the certificate that has the constraints.
    pub authority: String,
}

/// What forbids a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameRule {
    /// It is within none of the permitted subtrees.
    #[error("only what is within {subtrees} is permitted")]
    NotPermitted {
        /// All that is permitted, with commas.
        subtrees: String,
    },
    /// It is within an excluded subtree.
    #[error("{subtree} is excluded")]
    Excluded {
        /// The subtree.
        subtree: String,
    },
    /// Nobody can tell.
    #[error("such a name cannot be checked against them")]
    Unchecked,
}

/// A name, and the field from which it comes.
struct Named<'a> {
    field: &'static str,
    name: Name<'a>,
}

enum Name<'a> {
    Dns(&'a str),
    Ip(IpAddr),
    Uri(&'a str),
    Email(&'a str),
    Directory(&'a [u8]),
    Other(&'a str),
}

impl Authority {
    /// Whether no certificate of its path forbids a name of the request.
    pub fn permits(&self, request: &Request) -> Result<(), NameForbidden> {
        self.permits_subject(request, &name::subject_der(request))
    }

    /// The same for a subject (a DER Name) in place of the request's own.
    pub(crate) fn permits_subject(
        &self,
        request: &Request,
        subject_der: &[u8],
    ) -> Result<(), NameForbidden> {
        let parts = name::read(subject_der);
        let names = names(request, subject_der, &parts);
        for certificate in self.path() {
            let Some(constraints) = &certificate.says.name_constraints else { continue };
            for Named { field, name } in &names {
                judge(constraints, name).map_err(|rule| NameForbidden {
                    field,
                    value: name.to_string(),
                    rule,
                    authority: certificate.subject_text(),
                })?;
            }
        }
        Ok(())
    }
}

fn names<'a>(request: &'a Request, subject: &'a [u8], parts: &'a NameParts) -> Vec<Named<'a>> {
    let Request { dns_names, ip_addresses, uris, email_addresses, other_names, .. } = request;
    let named = |field| move |name| Named { field, name };
    let mut names = vec![Named { field: "subject", name: Name::Directory(subject) }];
    for common_name in &parts.common_names {
        names.extend(hosts(common_name).into_iter().map(named("commonName")));
    }
    names.extend(texts(&parts.emails).map(Name::Email).map(named("subject")));
    names.extend(texts(dns_names).map(Name::Dns).map(named("dnsNames")));
    names.extend(ip_addresses.iter().copied().map(Name::Ip).map(named("ipAddresses")));
    names.extend(texts(uris).map(Name::Uri).map(named("uris")));
    names.extend(texts(email_addresses).map(Name::Email).map(named("emailAddresses")));
    names.extend(other_names.iter().map(|name| Name::Other(&name.oid)).map(named("otherNames")));
    names
}

fn texts(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().map(String::as_str)
}

/// What a verifier may take a common name for: a DNS name if it looks like one, and that with
/// OpenSSL is so for an IP address too.
fn hosts(common_name: &str) -> Vec<Name<'_>> {
    let name = common_name.strip_suffix('.').unwrap_or(common_name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte);
    let dns = name.contains('.') && name.bytes().all(plain);
    let ip = name.parse().ok().map(Name::Ip);
    dns.then_some(Name::Dns(name)).into_iter().chain(ip).collect()
}

fn judge(constraints: &NameConstraints, name: &Name<'_>) -> Result<(), NameRule> {
    let NameConstraints { permitted, excluded, .. } = constraints;
    if [permitted, excluded].iter().any(|set| set.unchecked.contains(&name.form())) {
        return Err(NameRule::Unchecked);
    }
    let sets = |list: fn(&NameSet) -> &Vec<String>| (list(permitted), list(excluded));
    match name {
        Name::Dns(name) => judge_dns(sets(|set| &set.dns_domains), name),
        Name::Uri(uri) => judge_uri(sets(|set| &set.uri_domains), uri),
        Name::Email(email) => judge_email(sets(|set| &set.email_addresses), email),
        Name::Ip(ip) => judge_ip((&permitted.ip_ranges, &excluded.ip_ranges), *ip),
        Name::Directory(name) => {
            judge_directory((&permitted.directory_names, &excluded.directory_names), name)
        }
        // It may hold a mailbox, a host or an account: which of the limits would be its own is
        // nowhere said.
        Name::Other(_) if constraints.is_empty() => Ok(()),
        Name::Other(_) => Err(NameRule::Unchecked),
    }
}

/// What is permitted, and what is excluded.
type Sets<'a, T> = (&'a Vec<T>, &'a Vec<T>);

fn judge_by<T>(
    (permitted, excluded): Sets<'_, T>,
    is_within: impl Fn(&T) -> bool,
    may_be_within: impl Fn(&T) -> bool,
    display: impl Fn(&T) -> String,
) -> Result<(), NameRule> {
    if let Some(subtree) = excluded.iter().find(|subtree| may_be_within(subtree)) {
        return Err(NameRule::Excluded { subtree: display(subtree) });
    }
    if permitted.is_empty() || permitted.iter().any(is_within) {
        return Ok(());
    }
    let subtrees: Vec<_> = permitted.iter().map(display).collect();
    Err(NameRule::NotPermitted { subtrees: subtrees.join(", ") })
}

/// `None` if nothing of this form is limited, so that it need not be understood.
fn limits<T>(sets: Sets<'_, T>) -> Option<Sets<'_, T>> {
    (!sets.0.is_empty() || !sets.1.is_empty()).then_some(sets)
}

fn quoted(text: &String) -> String {
    format!("{text:?}")
}

/// A wildcard must be within with every name that it covers, and excluded with none: it covers one
/// label in front of its domain.
fn judge_dns(sets: Sets<'_, String>, name: &str) -> Result<(), NameRule> {
    let Some(sets) = limits(sets) else { return Ok(()) };
    let wildcard = name.strip_prefix("*.");
    let domain = wildcard.unwrap_or(name);
    if !is_domain(domain) {
        return Err(NameRule::Unchecked);
    }
    if wildcard.is_none() {
        let within = |subtree: &String| is_within(domain, subtree);
        return judge_by(sets, within, within, quoted);
    }
    let all = |subtree: &String| is_within(domain, subtree.trim_start_matches('.'));
    let one = |subtree: &String| {
        subtree
            .split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
    };
    judge_by(sets, all, |subtree| all(subtree) || one(subtree), quoted)
}

fn judge_uri(sets: Sets<'_, String>, uri: &str) -> Result<(), NameRule> {
    let Some(sets) = limits(sets) else { return Ok(()) };
    let host = host_of(uri).ok_or(NameRule::Unchecked)?;
    judge_by(
        sets,
        |subtree| is_host_within(host, subtree),
        |subtree| is_within(host, subtree),
        quoted,
    )
}

/// The host of a URI with nothing about it that readers of URIs understand differently: no user, no
/// escapes, no query directly behind it. An IP address is none (RFC 5280, 4.2.1.10).
fn host_of(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once("://")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    let authority = rest.split('/').next()?;
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    let sound = !scheme.is_empty()
        && scheme.bytes().all(plain)
        && port.bytes().all(|byte| byte.is_ascii_digit())
        && is_domain(host)
        && !is_address(host);
    sound.then_some(host)
}

/// Readers take more than four decimal numbers for an IPv4 address (`0x7f000001`); no domain ends
/// in a number.
fn is_address(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let hexadecimal = last.strip_prefix("0x");
    last.bytes().all(|byte| byte.is_ascii_digit())
        || hexadecimal.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn judge_email(sets: Sets<'_, String>, email: &str) -> Result<(), NameRule> {
    let Some(sets) = limits(sets) else { return Ok(()) };
    let parts =
        email.rsplit_once('@').filter(|(local, host)| is_local_part(local) && is_domain(host));
    let (local, host) = parts.ok_or(NameRule::Unchecked)?;
    let within = |subtree: &String| match subtree.rsplit_once('@') {
        Some((name, at)) => name == local && at.eq_ignore_ascii_case(host),
        None => is_host_within(host, subtree),
    };
    let may_be_within = |subtree: &String| match subtree.contains('@') {
        true => subtree.eq_ignore_ascii_case(email),
        false => is_within(host, subtree),
    };
    judge_by(sets, within, may_be_within, quoted)
}

/// An IPv4 address in the form of IPv6 is the same address, and some look at it like that.
fn judge_ip(sets: Sets<'_, IpRange>, ip: IpAddr) -> Result<(), NameRule> {
    let mapped = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        IpAddr::V6(_) => ip.to_canonical(),
    };
    let may_be_within = |range: &IpRange| range.contains(ip) || range.contains(mapped);
    judge_by(sets, |range| range.contains(ip), may_be_within, IpRange::to_string)
}

/// An empty subject is no name, and has no limits.
fn judge_directory(sets: Sets<'_, Vec<u8>>, subject: &[u8]) -> Result<(), NameRule> {
    let Some(sets) = limits(sets) else { return Ok(()) };
    let steps = name::comparable(subject).ok_or(NameRule::Unchecked)?;
    let begins_with = |subtree: &Vec<u8>| {
        name::comparable(subtree).is_some_and(|subtree| steps.starts_with(&subtree))
    };
    if steps.is_empty() {
        return Ok(());
    }
    judge_by(sets, begins_with, begins_with, |subtree| name::display(subtree))
}

impl Name<'_> {
    fn form(&self) -> NameForm {
        match self {
            Self::Dns(_) => NameForm::Dns,
            Self::Ip(_) => NameForm::Ip,
            Self::Uri(_) => NameForm::Uri,
            Self::Email(_) => NameForm::Email,
            Self::Directory(_) => NameForm::Directory,
            Self::Other(_) => NameForm::Other,
        }
    }
}

impl Display for Name<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(text) | Self::Uri(text) | Self::Email(text) | Self::Other(text) => {
                formatter.write_str(text)
            }
            Self::Ip(ip) => ip.fmt(formatter),
            Self::Directory(name) => formatter.write_str(&name::display(name)),
        }
    }
}
