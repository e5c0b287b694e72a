//! Secrets that sidecars mount as identities.

use super::*;

fn reserved(seen: Observed) -> Observed {
    Observed { is_reserved: true, ..seen }
}

#[test]
fn reserved_secret_is_never_written() {
    let web = certificate("web");
    let temporary = {
        let mut web = web.clone();
        web.annotations_mut().insert(names::ISSUE_TEMPORARY.to_owned(), "true".to_owned());
        web
    };
    let late = secret_of(&web).expiring_in(hours(1)).made();
    let foreign = Secret::default().holding("password", "ink");
    for issuer in issuer_states() {
        for rival in [None, Some("db".to_owned())] {
            let cases = [
                seen(&web, None),
                seen(&temporary, None),
                seen(&web, Some(&late)),
                seen(&web, Some(&late.clone().without(names::TLS_CRT))),
                seen(&web, Some(&foreign)),
                healthy(&web.clone().asked_for()),
            ];
            for seen in cases {
                let (issuer, rival) = (issuer.clone(), rival.clone());
                let seen = reserved(Observed { issuer, rival, ..seen });
                assert_eq!(word(&decided(&seen)), "Refuse ReservedSecretName", "{seen:?}");
            }
        }
    }
}

#[test]
fn refusal_of_a_reserved_secret_names_the_field_and_what_to_do() {
    let told = sentence(decided(&reserved(seen(&certificate("web"), None))));
    let expected = "spec.secretName: web-tls is reserved, since Secrets countersign-<service account> are \
                    identities that the operator makes itself: name one that does not begin with countersign-";
    assert_eq!(told, expected);
}

#[test]
fn what_a_reserved_secret_holds_stays_until_it_must_be_replaced() {
    let web = certificate("web");
    assert_eq!(decided(&reserved(healthy(&web))), Decision::Keep);
    let untidy = secret_of(&web).made().unannotated(names::ALT_NAMES);
    assert_eq!(decided(&reserved(seen(&web, Some(&untidy)))), Decision::Keep);
    let mut deleted = web.clone();
    deleted.metadata.deletion_timestamp = Some(Time(now()));
    assert_eq!(decided(&reserved(seen(&deleted, None))), Decision::Leave);
    let broken = web.with(|spec| spec.ip_addresses.push("nowhere".to_owned()));
    assert_eq!(word(&decided(&reserved(seen(&broken, None)))), "Refuse InvalidSpec");
}
