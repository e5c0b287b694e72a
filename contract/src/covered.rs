//! What an injected pod really does with a port, by the commands that its containers were given.
//! Annotations may be changed while it runs, which changes nothing of it.

use crate::names;
use crate::served::Served;

/// The option by which the rules leave ports alone, and the one by which the sidecar serves them.
pub const SKIP: &str = "--skip-inbound";
/// See [`SKIP`].
pub const SERVE: &str = "--serve";
/// The option by which the sidecar is told where to ask discovery.
pub const DISCOVERY: &str = "--discovery";

/// Whether the sidecar stands before a port of a pod, whose two containers were given these commands;
/// nothing, where it has no such container.
#[must_use]
pub fn is_covered(redirect: Option<&[String]>, sidecar: Option<&[String]>, port: u16) -> bool {
    let own = [names::INBOUND_PORT, names::OUTBOUND_PORT, names::ADMIN_PORT];
    match (redirect, sidecar) {
        (_, None) => false,
        (Some(redirect), Some(_)) => {
            let mut skipped = values(redirect, SKIP).flat_map(|list| list.split(','));
            !own.contains(&port) && !skipped.any(|item| item.parse() == Ok(port))
        }
        (None, Some(sidecar)) => {
            let mut served = values(sidecar, SERVE).filter_map(|text| text.parse::<Served>().ok());
            served.any(|served| served.listen == port)
        }
    }
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
}
