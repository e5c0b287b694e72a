//! What an issuer answered, checked before it is stored: it certifies the key that was made, for the names
//! that were asked for, as no CA; and what an issuer of ours answered was signed by its own CA.
//!
//! Whoever may write the status of CertificateRequests can write an answer there, to any of them.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;

use super::error::Error;
use super::observe::Observed;
use super::reference::IssuerId;
use super::request::Answer;
use super::wanted::Wanted;
use crate::context::Context;
use crate::issuer::{Signed, authority, spec_of};
use crate::pki::{
    CertificateFacts, PrivateKey, Request, Usage, certificates_from_pem, certificates_to_pem,
};

/// The certificates of an answer, and what the first of them says.
///
/// # Errors
/// When it is not what was asked for, or was not signed by the issuer that was asked.
pub(super) async fn check(
    context: &Context,
    seen: &Observed,
    wanted: &Wanted,
    key: &PrivateKey,
    answer: &Answer,
) -> Result<(Signed, CertificateFacts), Error> {
    let Answer::Signed { chain, ca } = answer else { return Err(Error::KeyMismatch) };
    let leaf = CertificateFacts::from_pem(chain).map_err(Error::ReadBack)?;
    judge(&leaf, &wanted.request, key, context.clock.now())?;
    let issuer = IssuerId::of(&seen.certificate.spec.issuer_ref);
    let signed = match issuer.is_ours() {
        true => signed_by_ours(context, seen, &issuer, &leaf).await?,
        false => signed_by_another(chain, ca.as_deref())?,
    };
    Ok((signed, leaf))
}

/// Whether a leaf may be stored; pure.
fn judge(
    leaf: &CertificateFacts,
    asked: &Request,
    key: &PrivateKey,
    now: Timestamp,
) -> Result<(), Error> {
    if !leaf.matches_key(key) {
        return Err(Error::KeyMismatch);
    }
    if leaf.validity.not_after <= now {
        return Err(Error::SignedExpired { not_after: leaf.validity.not_after });
    }
    let differences = differences(leaf, asked);
    if differences.is_empty() {
        Ok(())
    } else {
        Err(Error::Differs { fields: differences.join(", ") })
    }
}

/// The fields of a spec that an answer does not keep to. Issuers of others have profiles of their own:
/// parts of the subject may be missing, and usages for servers and clients may be added.
fn differences(leaf: &CertificateFacts, asked: &Request) -> Vec<String> {
    const NAMES: [&str; 5] = [
        "spec.dnsNames",
        "spec.ipAddresses",
        "spec.uris",
        "spec.emailAddresses",
        "spec.otherNames",
    ];
    let fields = leaf.differences(asked).into_iter().map(|field| format!("spec.{field}"));
    let mut found: Vec<_> = fields.filter(|field| NAMES.contains(&field.as_str())).collect();
    let common_name = leaf.says.common_name.as_ref();
    let is_asked = |name: &String| {
        asked.effective_common_name() == Some(name) || asked.dns_names.contains(name)
    };
    if common_name.is_some_and(|name| !is_asked(name)) {
        found.push("spec.commonName".to_owned());
    }
    if leaf.says.is_ca != asked.is_ca {
        found.push("spec.isCA".to_owned());
    }
    if exceeds_path_length(leaf, asked) {
        found.push("spec.maxPathLength".to_owned());
    }
    let usages = usage_differences(leaf, asked);
    if !usages.is_empty() {
        found.push(format!("spec.usages ({})", usages.join(", ")));
    }
    found
}

/// Whether more authorities may follow below it than were asked for. Fewer are for its issuer to say.
fn exceeds_path_length(leaf: &CertificateFacts, asked: &Request) -> bool {
    let most = asked.path_len.filter(|_| leaf.says.is_ca).map(u32::from);
    most.is_some_and(|most| leaf.path_len.is_none_or(|found| found > most))
}

/// What was asked for by name must be there, and what nobody asked for must not, but for the usages of
/// servers and clients, and what a key may do with secrets of the handshake.
fn usage_differences(leaf: &CertificateFacts, asked: &Request) -> Vec<String> {
    use Usage::{ClientAuth, DigitalSignature, KeyAgreement, KeyEncipherment, ServerAuth};
    const HARMLESS: [Usage; 5] =
        [DigitalSignature, KeyEncipherment, KeyAgreement, ServerAuth, ClientAuth];
    let found: BTreeSet<_> = leaf.says.usages.iter().map(|usage| usage.canonical()).collect();
    let wanted = asked.effective_usages();
    let is_needed = |usage: &&Usage| !asked.usages.is_empty() && **usage != KeyEncipherment;
    let missing = wanted.difference(&found).filter(is_needed);
    let added = found.difference(&wanted).filter(|usage| !HARMLESS.contains(usage));
    let missing = missing.map(|usage| format!("without {usage}"));
    missing.chain(added.map(|usage| format!("with {usage}"))).collect()
}

/// The same certificates and nothing that stood beside them.
fn signed_by_another(chain: &[u8], ca: Option<&[u8]>) -> Result<Signed, Error> {
    let read = |text: &[u8]| {
        let found = certificates_from_pem(text).map_err(|source| Error::ReadBack(source.into()))?;
        Ok::<_, Error>(certificates_to_pem(&found))
    };
    Ok(Signed { chain: read(chain)?, ca: ca.map(read).transpose()? })
}

/// What stands above the leaf is taken from the issuer's own CA, never from the answer.
async fn signed_by_ours(
    context: &Context,
    seen: &Observed,
    issuer: &IssuerId,
    leaf: &CertificateFacts,
) -> Result<Signed, Error> {
    let namespace = seen.certificate.namespace().unwrap_or_default();
    let spec = spec_of(context, issuer, &namespace).await.map_err(Error::Sign)?;
    let not_its = || Error::AnotherSigner { issuer: issuer.to_string() };
    let Some(ca) = spec.ca else {
        let pem = certificates_to_pem([&leaf.der]);
        let signed = Signed { chain: pem.clone(), ca: Some(pem) };
        return if leaf.is_self_signed() { Ok(signed) } else { Err(not_its()) };
    };
    let home = &context.settings.cluster_resource_namespace;
    let namespace = if issuer.is_cluster_wide() { home.clone() } else { namespace };
    let authority = authority::load(context, &(namespace, ca.secret_name)).await;
    let authority = authority.map_err(|error| Error::Sign(error.into()))?;
    if !authority.issued(leaf) {
        return Err(not_its());
    }
    Ok(Signed { chain: authority.leaf_chain_pem(&leaf.der), ca: Some(authority.ca_pem()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::support::{Press, certificate, now, wanted};
    use crate::pki::{BACKDATE, clamp_lifetime, generate_key};

    /// What is found wrong with an answer that was made for another request than was asked.
    fn found(asked: &Request, answered: impl FnOnce(&mut Request)) -> String {
        let key = generate_key(wanted(&certificate("web")).algorithm).unwrap();
        let mut request = asked.clone();
        answered(&mut request);
        let validity = clamp_lifetime(now(), std::time::Duration::from_secs(3600), BACKDATE, None);
        let signed = Press::new().print(&request, &key, validity);
        let leaf = CertificateFacts::from_pem(signed.chain.as_bytes()).unwrap();
        match judge(&leaf, asked, &key, now()) {
            Ok(()) => "fits".to_owned(),
            Err(error) => error.story(),
        }
    }

    #[test]
    fn an_answer_is_refused_for_names_authority_and_usages_that_nobody_asked_for() {
        let web = wanted(&certificate("web")).request;
        let serving = Request { usages: vec![Usage::ServerAuth], ..web.clone() };
        let ca = Request { is_ca: true, ..web.clone() };
        let limited = Request { path_len: Some(1), ..ca.clone() };
        let differs = |fields: &str| format!("what was signed differs from {fields}");
        type Change = fn(&mut Request);
        let cases: [(&Request, Change, String); 15] = [
            (&web, |_| {}, "fits".to_owned()),
            (&web, |r| r.common_name = Some("web.test".to_owned()), "fits".to_owned()),
            (&web, |r| r.subject.organizations.push("bank".to_owned()), "fits".to_owned()),
            (
                &web,
                |r| r.usages = vec![Usage::DigitalSignature, Usage::ServerAuth, Usage::ClientAuth],
                "fits".to_owned(),
            ),
            (&web, |r| r.dns_names.push("bank.test".to_owned()), differs("spec.dnsNames")),
            (&web, |r| r.common_name = Some("bank".to_owned()), differs("spec.commonName")),
            (&web, |r| r.uris.push("spiffe://a/b".to_owned()), differs("spec.uris")),
            (&web, |r| r.is_ca = true, differs("spec.isCA, spec.usages (with cert sign)")),
            (
                &web,
                |r| r.usages = vec![Usage::CodeSigning],
                differs("spec.usages (with code signing)"),
            ),
            (
                &serving,
                |r| r.usages = vec![Usage::ServerAuth, Usage::ClientAuth],
                "fits".to_owned(),
            ),
            (
                &serving,
                |r| r.usages = vec![Usage::ClientAuth],
                differs("spec.usages (without server auth)"),
            ),
            (&ca, |r| r.path_len = Some(0), "fits".to_owned()),
            (&limited, |r| r.path_len = Some(0), "fits".to_owned()),
            (&limited, |r| r.path_len = Some(2), differs("spec.maxPathLength")),
            (&limited, |r| r.path_len = None, differs("spec.maxPathLength")),
        ];
        for (asked, change, expected) in cases {
            assert_eq!(found(asked, change), expected);
        }
    }

    #[test]
    fn what_stands_beside_the_certificates_of_an_answer_is_dropped() {
        let key = generate_key(wanted(&certificate("web")).algorithm).unwrap();
        let validity = clamp_lifetime(now(), std::time::Duration::from_secs(3600), BACKDATE, None);
        let Signed { chain, ca } =
            Press::new().print(&wanted(&certificate("web")).request, &key, validity);
        let noisy = format!("a note\n{chain}");
        let signed = signed_by_another(noisy.as_bytes(), ca.as_deref().map(str::as_bytes)).unwrap();
        assert_eq!((signed.chain, signed.ca), (chain, ca));
    }
}
