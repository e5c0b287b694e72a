//! What the client has to ask: for each destination the last thing only, however often it changed.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use countersign_contract::discovery::MOST_DESTINATIONS;

/// So many destinations are asked about in one message.
const AT_ONCE: usize = MOST_DESTINATIONS / 2;

/// What is to be asked.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<SocketAddr, Ask>);

/// Of one destination. One that is followed again must be forgotten first: the operator answers
/// what it is asked for anew, and nothing that is followed already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Follow,
    Forget,
    FollowAnew,
}

/// What one message asks; what is to be forgotten comes first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Questions {
    pub(super) follow: Vec<SocketAddr>,
    pub(super) forget: Vec<SocketAddr>,
}

impl Waiting {
    /// A destination is to be followed.
    pub(super) fn follow(&mut self, destination: SocketAddr) {
        let ask = match self.0.get(&destination) {
            None | Some(Ask::Follow) => Ask::Follow,
            Some(Ask::Forget | Ask::FollowAnew) => Ask::FollowAnew,
        };
        self.0.insert(destination, ask);
    }

    /// A destination need not be followed any longer.
    pub(super) fn forget(&mut self, destination: SocketAddr) {
        match self.0.get(&destination) {
            Some(Ask::Follow) => self.0.remove(&destination),
            None | Some(Ask::Forget | Ask::FollowAnew) => self.0.insert(destination, Ask::Forget),
        };
    }

    /// What the next message asks; nothing, if there is nothing to ask.
    pub(super) fn take(&mut self) -> Option<Questions> {
        let rest = match self.0.keys().nth(AT_ONCE).copied() {
            Some(first) => self.0.split_off(&first),
            None => BTreeMap::new(),
        };
        let mut questions = Questions::default();
        for (destination, ask) in std::mem::replace(&mut self.0, rest) {
            if ask != Ask::Follow {
                questions.forget.push(destination);
            }
            if ask != Ask::Forget {
                questions.follow.push(destination);
            }
        }
        (questions != Questions::default()).then_some(questions)
    }

    /// Nothing is to be asked any longer.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> SocketAddr {
        ([10, 0, 0, 1], port).into()
    }

    #[test]
    fn of_each_destination_the_last_thing_is_asked() {
        let cases: [(&str, Option<(bool, bool)>); 7] = [
            ("+", Some((true, false))),
            ("-", Some((false, true))),
            // The operator never heard of it.
            ("+-", None),
            ("-+", Some((true, true))),
            ("-+-", Some((false, true))),
            ("-+-+", Some((true, true))),
            ("++", Some((true, false))),
        ];
        for (changes, expected) in cases {
            let mut waiting = Waiting::default();
            for change in changes.chars() {
                if change == '+' { waiting.follow(at(1)) } else { waiting.forget(at(1)) }
            }
            let taken = waiting.take();
            let found = taken.map(|it| (!it.follow.is_empty(), !it.forget.is_empty()));
            assert_eq!(found, expected, "{changes}");
        }
    }

    #[test]
    fn one_message_asks_about_so_many() {
        let mut waiting = Waiting::default();
        let all = u16::try_from(AT_ONCE * 2 + 1).unwrap();
        (0..all).for_each(|port| waiting.follow(at(port)));
        let sizes = std::iter::from_fn(|| waiting.take()).map(|it| it.follow.len());
        assert_eq!(sizes.collect::<Vec<_>>(), [AT_ONCE, AT_ONCE, 1]);
    }
}
