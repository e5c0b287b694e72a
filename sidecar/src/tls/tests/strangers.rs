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
fn measure() {
    for name in ["x", "root"] {
        for count in [7, 8, 9, 10, 131] {
            let chain = endless(name, count);
            let trust = trust(&authority("root", 4000, None), &[]);
            let before = Instant::now();
            let problem = trust.client(&chain, year(2030)).unwrap_err();
            println!("{name} {count}: {:?} {problem}", before.elapsed());
        }
    }
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
    // As many as real chains have, and all paths through them, take no time.
    let longest = [stage.chain(), endless("root", MAX_CERTIFICATES - 3)].concat();
    assert!(trusts[0].client(&longest, now).is_ok());
    for name in ["x", "root"] {
        let (chain, before) = (endless(name, MAX_CERTIFICATES), Instant::now());
        let problem = text(&trusts[1].client(&chain, now).unwrap_err());
        assert!(!problem.contains("MaximumPathBuildCalls"), "{problem}");
        assert!(before.elapsed() < Duration::from_secs(1), "{name}: {:?}", before.elapsed());
    }
}
