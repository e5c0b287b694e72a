//! What an injected pod really does with a port, by the commands that its containers were given.
//! Annotations may be changed while it runs, which changes nothing of it.

use std::collections::BTreeSet;

use crate::names;
use crate::served::Served;

/// The option by which the rules leave ports alone, and the one by which the sidecar serves them.
pub const SKIP: &str = "--skip-inbound";
/// See [`SKIP`].
pub const SERVE: &str = "--serve";
/// The option with the address of discovery.
pub const DISCOVERY: &str = "--discovery";

/// So many ports a pod may leave alone, or have served. Of one that names more, no port is covered.
pub const MAX_PORTS: usize = 64;

/// The ports of a pod that the sidecar stands before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Covered {
    /// It has no sidecar.
    #[default]
    NoSidecar,
    /// All but these, and its own.
    AllBut(Box<[u16]>),
    /// These.
    Only(Box<[u16]>),
}

impl Covered {
    /// Those of a pod whose two containers were given these commands; nothing, where it has no such
    /// container.
    #[must_use]
    pub fn new(redirect: Option<&[String]>, sidecar: Option<&[String]>) -> Self {
        match (redirect, sidecar) {
            (_, None) => Self::NoSidecar,
            (Some(redirect), Some(_)) => {
                let skipped = values(redirect, SKIP).flat_map(|list| list.split(','));
                let skipped = some(skipped.filter_map(|item| item.parse().ok()));
                skipped.map_or_else(|| Self::Only(Box::default()), Self::AllBut)
            }
            (None, Some(sidecar)) => {
                let served = values(sidecar, SERVE).filter_map(|text| text.parse::<Served>().ok());
                Self::Only(some(served.map(|served| served.listen)).unwrap_or_default())
            }
        }
    }

    /// Whether the pod has the sidecar.
    #[must_use]
    pub fn has_sidecar(&self) -> bool {
        *self != Self::NoSidecar
    }

    /// Whether the sidecar stands before a port.
    #[must_use]
    pub fn has(&self, port: u16) -> bool {
        let own = [names::INBOUND_PORT, names::OUTBOUND_PORT, names::ADMIN_PORT];
        match self {
            Self::NoSidecar => false,
            Self::AllBut(skipped) => !own.contains(&port) && skipped.binary_search(&port).is_err(),
            Self::Only(served) => served.binary_search(&port).is_ok(),
        }
    }
}

/// Distinct ports in order, if there are not too many; no more are read than are needed to know.
fn some(ports: impl Iterator<Item = u16>) -> Option<Box<[u16]>> {
    let mut found = BTreeSet::new();
    for port in ports {
        found.insert(port);
        if found.len() > MAX_PORTS {
            return None;
        }
    }
    Some(found.into_iter().collect())
}

/// Whether the sidecar stands before a port of a pod, whose two containers were given these commands;
/// nothing, where it has no such container.
#[must_use]
pub fn is_covered(redirect: Option<&[String]>, sidecar: Option<&[String]>, port: u16) -> bool {
    Covered::new(redirect, sidecar).has(port)
}

/// The values of an option in a command.
pub fn values<'a>(command: &'a [String], option: &'a str) -> impl Iterator<Item = &'a str> {
    let pairs = command.windows(2).filter(move |pair| pair[0] == option);
    pairs.map(|pair| pair[1].as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_port_is_covered_as_the_pods_own_commands_say() {
        let redirect = words("sidecar redirect --inbound 14143 --skip-inbound 9090,9091");
        let plain = words("sidecar pod");
        let explicit = words("sidecar pod --inbound 0 --serve 8443=8080 --serve 8444=8081");
        let cases = [
            (None, None, [false, false, false, false]),
            (Some(&redirect), Some(&plain), [true, false, true, false]),
            (None, Some(&explicit), [false, false, true, false]),
            (Some(&redirect), None, [false, false, false, false]),
        ];
        for (redirect, sidecar, expected) in cases {
            let (redirect, sidecar) = (redirect.map(|it| &**it), sidecar.map(|it| &**it));
            let found = [8080, 9091, 8443, 14190].map(|port| is_covered(redirect, sidecar, port));
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn ports_are_kept_once_and_of_too_many_none_is_covered() {
        let sidecar = words("sidecar pod");
        let skipping = |ports: Vec<u16>| {
            let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
            let redirect = words(&format!("redirect {SKIP} {}", ports.join(",")));
            Covered::new(Some(&redirect), Some(&sidecar))
        };
        assert_eq!(skipping([9, 8].repeat(50_000)), Covered::AllBut([8, 9].into()));
        let most = u16::try_from(MAX_PORTS).unwrap();
        assert!(skipping((1..=most).collect()).has(8080));
        let too_many = skipping((1..=most + 1).collect());
        assert!(too_many.has_sidecar() && !too_many.has(8080) && !too_many.has(1));
        let serving = |count: u16| {
            let served: Vec<_> = (1..=count).map(|port| format!("{SERVE} {port}=9999")).collect();
            Covered::new(None, Some(&words(&served.join(" "))))
        };
        assert!(serving(most).has(most) && !serving(most + 1).has(1));
    }
}
