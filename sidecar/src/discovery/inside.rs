//! Which addresses may be of the cluster. What is outside of all ranges is called as it is without a
//! question, and while the operator is away.

use std::net::IpAddr;

use countersign_contract::discovery::{MOST_RANGES, Ranges};
use ipnet::IpNet;

/// The ranges of pods and Services.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Inside(Vec<IpNet>);

/// Why ranges that the operator sent are not used. Every address is asked about then.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    #[error("there are {0} of them, and {MOST_RANGES} at most are taken")]
    TooMany(usize),
    #[error("there are none")]
    None,
    #[error("{0:?} is no range of addresses")]
    NoRange(String),
    #[error("our own address {0} is in none of them")]
    NotOurs(IpAddr),
}

impl Inside {
    /// Reads what the operator sent; nothing, where it does not vouch for it. Our own pod's addresses must
    /// be in it: else other pods' are not, either.
    pub(super) fn read(told: &Ranges, own: &[IpAddr]) -> Result<Option<Self>, Unusable> {
        if !told.whole {
            return Ok(None);
        }
        if told.inside.len() > MOST_RANGES {
            return Err(Unusable::TooMany(told.inside.len()));
        }
        if told.inside.is_empty() {
            return Err(Unusable::None);
        }
        let range = |text: &String| text.parse().map_err(|_| Unusable::NoRange(text.clone()));
        let inside = Self(told.inside.iter().map(range).collect::<Result<_, _>>()?);
        match own.iter().find(|ip| !inside.has(**ip)) {
            Some(ip) => Err(Unusable::NotOurs(*ip)),
            None => Ok(Some(inside)),
        }
    }

    /// Whether an address may be of the cluster.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.0.iter().any(|range| range.contains(&ip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(inside: &[&str], whole: bool) -> Ranges {
        Ranges { inside: inside.iter().map(|text| (*text).to_owned()).collect(), whole }
    }

    #[test]
    fn ranges_are_used_only_if_they_are_whole_and_have_our_own_addresses() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let both = ["10.244.0.0/16", "fd00::/48"];
        let ours = [ip("10.244.1.7"), ip("fd00::7")];
        let used = Inside::read(&told(&both, true), &ours).unwrap().unwrap();
        assert!(used.has(ip("10.244.9.9")) && used.has(ip("::ffff:10.244.9.9")));
        assert!(!used.has(ip("192.0.2.1")) && !used.has(ip("2001:db8::1")));
        let many: Vec<String> = (0..=MOST_RANGES).map(|_| "10.0.0.0/8".to_owned()).collect();
        let cases = [
            (told(&both, false), Ok(None)),
            (told(&[], false), Ok(None)),
            (told(&[], true), Err(Unusable::None)),
            (told(&both[..1], true), Err(Unusable::NotOurs(ours[1]))),
            (told(&["10.244.0.0/16", "x"], true), Err(Unusable::NoRange("x".to_owned()))),
            (Ranges { inside: many, whole: true }, Err(Unusable::TooMany(MOST_RANGES + 1))),
        ];
        for (ranges, expected) in cases {
            assert_eq!(Inside::read(&ranges, &ours), expected, "{:?}", ranges.whole);
        }
    }
}
