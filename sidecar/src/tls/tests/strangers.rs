//! Chains that strangers made up to hold up a worker.

use std::time::{Duration, Instant};

use countersign_contract::chain::MAX_CERTIFICATES;

use super::super::refusal::text;
use super::*;

/// A leaf and CAs, each of which could have signed every other and the leaf; `count` in all.
fn endless(name: &str, count: usize) -> Chain {
    let cas: Vec<_> = (0..count).map(|_| authority(name, 4000, None)).collect();
    let leaf = leaf("web", 1, 2050, &KeyPair::generate().unwrap(), &cas[0]);
    let above = cas[1..].iter().map(|ca| ca.der().clone());
    std::iter::once(leaf).chain(above).collect()
}

#[test]
fn chain_with_more_certificates_than_are_verified_is_refused_whoever_sends_it() {
    let (stage, now) = (Stage::new(), year(2030));
    let devices = authorities(&authority("devices", 4000, None).pem(), &[]);
    let trusts = [stage.trust(), stage.trust().with_authorities(&devices).unwrap()];
    let stranger = endless("root", 131);
    let own = [stage.chain(), endless("root", 10)].concat();
    for trust in &trusts {
        for chain in [&stranger, &own] {
            for found in [trust.client(chain, now), trust.server(chain, now)] {
                let problem = text(&found.unwrap_err());
                let counted = format!("{} certificates are presented", chain.len());
                assert!(problem.contains(&counted), "{problem}");
            }
        }
    }
    // As many as real chains have, and CAs that could not all have signed each other.
    let longest = [stage.chain(), endless("x", MAX_CERTIFICATES - 3)].concat();
    assert!(trusts[0].client(&longest, now).is_ok());
}

#[test]
fn chain_whose_cas_could_all_have_signed_each_other_is_refused_before_paths_are_tried() {
    let now = year(2030);
    let devices = authorities(&authority("devices", 4000, None).pem(), &[]);
    let trust = trust(&authority("root", 4000, None), &[]).with_authorities(&devices).unwrap();
    for name in ["x", "root", "devices"] {
        for (count, has_end) in [(5, true), (6, false), (8, false), (MAX_CERTIFICATES, false)] {
            let (chain, before) = (endless(name, count), Instant::now());
            let problem = text(&trust.client(&chain, now).unwrap_err());
            let took = before.elapsed();
            println!("{name} {count}: {took:?} {problem}");
            assert_eq!(
                !problem.contains("more than 64 paths"),
                has_end,
                "{name} {count}: {problem}"
            );
            assert!(took < Duration::from_secs(1), "{name} {count}: {took:?}");
        }
    }
}
