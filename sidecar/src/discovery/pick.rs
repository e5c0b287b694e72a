//! Which endpoint is called, and which ones after it if it does not answer; pure.

/// How many endpoints are tried at most for one connection.
const TRIES: usize = 4;

/// What is known of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many connections of ours it has.
    pub(super) load: u32,
    /// It failed a moment ago.
    pub(super) is_spared: bool,
}

/// The places of endpoints in the order in which they are tried: of two that chance chooses the one
/// with less load, then the other, then those that follow. Those that failed a moment ago come last.
/// Where `is_sticky`, chance is always the same for us, and load does not matter.
pub(super) fn order(endpoints: &[Seen], chance: u64, is_sticky: bool) -> Vec<usize> {
    let (spared, fit): (Vec<usize>, Vec<usize>) =
        (0..endpoints.len()).partition(|place| endpoints[*place].is_spared);
    let mut order = turned(fit, chance);
    if order.len() > 1 && !is_sticky {
        let other = 1 + usize::try_from(chance >> 32).unwrap_or_default() % (order.len() - 1);
        order.swap(1, other);
        if endpoints[order[1]].load < endpoints[order[0]].load {
            order.swap(0, 1);
        }
    }
    order.extend(turned(spared, chance));
    order.truncate(TRIES);
    order
}

/// The same, beginning at a place that chance chooses.
fn turned(mut places: Vec<usize>, chance: u64) -> Vec<usize> {
    if !places.is_empty() {
        let first = chance % places.len() as u64;
        places.rotate_left(usize::try_from(first).unwrap_or_default());
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(loads: &[u32]) -> Vec<Seen> {
        loads.iter().map(|load| Seen { load: *load, is_spared: false }).collect()
    }

    /// Numbers that differ in all their bits.
    fn chances() -> impl Iterator<Item = u64> {
        (1..2000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    #[test]
    fn of_two_the_one_with_less_load_is_called_first() {
        for chance in chances() {
            assert_eq!(order(&seen(&[5, 1]), chance, false), [1, 0]);
        }
    }

    #[test]
    fn every_endpoint_has_its_share_and_the_busiest_the_least() {
        let mut firsts = [0; 4];
        for chance in chances() {
            firsts[order(&seen(&[1, 1, 1, 9]), chance, false)[0]] += 1;
        }
        assert!(firsts[..3].iter().all(|share| *share > 400), "{firsts:?}");
        assert_eq!(firsts[3], 0);
    }

    #[test]
    fn whoever_failed_comes_last_and_is_tried_where_all_did() {
        let mut endpoints = seen(&[0, 0, 0]);
        endpoints[1].is_spared = true;
        for chance in chances() {
            let order = order(&endpoints, chance, false);
            assert_eq!((order.len(), order[2]), (3, 1));
        }
        endpoints.iter_mut().for_each(|endpoint| endpoint.is_spared = true);
        assert_eq!(order(&endpoints, 7, false).len(), 3);
    }

    #[test]
    fn the_same_endpoint_is_called_again_and_again_where_a_service_wants_that() {
        let (idle, busy) = (seen(&[0, 0, 0]), seen(&[9, 0, 3]));
        for chance in chances() {
            assert_eq!(order(&idle, chance, true)[0], order(&busy, chance, true)[0]);
        }
    }

    #[test]
    fn no_endpoint_is_tried_twice_and_not_too_many_are() {
        for chance in chances() {
            let mut order = order(&seen(&[0; 9]), chance, false);
            order.sort_unstable();
            order.dedup();
            assert_eq!(order.len(), TRIES);
        }
        assert!(order(&[], 7, false).is_empty());
    }
}
