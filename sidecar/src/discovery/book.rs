//! What is known of destinations, for all workers; and what the client has to ask.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_contract::Refusal;
use countersign_contract::discovery::{Answer, MOST_DESTINATIONS, Ranges};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::Endpoint;
use super::destination::Destination;
use super::inside::{Inside, Unusable};
use super::pick::{self, Seen};
use super::questions::{Questions, Waiting};
use crate::connection::Refused;

/// A destination that nobody called for so long is followed no longer.
const KEPT: Duration = Duration::from_secs(600);

/// What is known.
#[derive(Debug)]
pub(crate) struct Book {
    inner: Mutex<Inner>,
    /// Woken when there is something to ask.
    asked: Notify,
    /// Which of the endpoints of a Service with affinity is ours.
    affinity: u64,
    /// How many calls there were.
    calls: AtomicU64,
    /// What is outside of the cluster, all of it.
    outside: Arc<Destination>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<SocketAddr, Entry>,
    questions: Waiting,
    /// Which addresses may be of the cluster, if that is known.
    inside: Option<Inside>,
}

#[derive(Debug)]
struct Entry {
    known: watch::Sender<Option<Arc<Destination>>>,
    used: Instant,
}

impl Book {
    /// Nothing is known yet.
    pub(crate) fn new(affinity: u64) -> Self {
        let (inner, asked, calls) = Default::default();
        let outside = Arc::new(Destination::outside());
        Self { inner, asked, affinity, calls, outside }
    }

    /// What is known of a destination; what is not, is asked for, and waited for.
    pub(crate) async fn find(
        &self,
        to: SocketAddr,
        patience: Duration,
    ) -> Result<Arc<Destination>, Refused> {
        let mut known = {
            let mut inner = self.lock();
            let now = Instant::now();
            let is_outside = inner.inside.as_ref().is_some_and(|inside| !inside.has(to.ip()));
            match inner.entries.get_mut(&to) {
                Some(entry) => {
                    entry.used = now;
                    if let Some(destination) = &*entry.known.borrow() {
                        return Ok(destination.clone());
                    }
                    if is_outside {
                        return Ok(self.outside.clone());
                    }
                    entry.known.subscribe()
                }
                None if is_outside => return Ok(self.outside.clone()),
                None => self.begin(&mut inner, to, now)?,
            }
        };
        let unknown = |why| Refused::new(Refusal::DestinationUnknown, format!("{to}: {why}"));
        match timeout(patience, known.wait_for(Option::is_some)).await {
            Ok(Ok(destination)) => {
                destination.clone().ok_or_else(|| unknown("the answer was taken back"))
            }
            Ok(Err(_)) => Err(unknown("it was forgotten meanwhile")),
            Err(_) => Err(unknown("discovery did not answer in time")),
        }
    }

    fn begin(
        &self,
        inner: &mut Inner,
        to: SocketAddr,
        now: Instant,
    ) -> Result<watch::Receiver<Option<Arc<Destination>>>, Refused> {
        if inner.entries.len() >= MOST_DESTINATIONS && !inner.forget_oldest() {
            let why = "too many destinations are asked for at once";
            return Err(Refused::new(Refusal::Overloaded, format!("{to}: {why}")));
        }
        let (known, receiver) = watch::channel(None);
        inner.entries.insert(to, Entry { known, used: now });
        inner.questions.follow(to);
        self.asked.notify_one();
        Ok(receiver)
    }

    /// The endpoints of a destination in the order in which they are tried.
    pub(crate) fn order(&self, destination: &Destination, now: u64) -> Vec<Arc<Endpoint>> {
        let all = &destination.endpoints;
        let seen = |endpoint: &Arc<Endpoint>| Seen {
            load: endpoint.load(),
            is_spared: endpoint.is_spared(now),
        };
        let seen: Vec<Seen> = all.iter().map(seen).collect();
        let chance = match destination.is_sticky {
            true => self.affinity,
            false => scattered(self.calls.fetch_add(1, Relaxed).wrapping_add(self.affinity)),
        };
        let order = pick::order(&seen, chance, destination.is_sticky);
        order.into_iter().map(|place| all[place].clone()).collect()
    }

    /// What was not asked yet; waits while there is nothing.
    pub(super) async fn questions(&self) -> Questions {
        loop {
            let questions = self.lock().questions.take();
            if let Some(questions) = questions {
                return questions;
            }
            self.asked.notified().await;
        }
    }

    /// Everything that is followed: what a new stream asks first.
    pub(super) fn all(&self) -> Questions {
        let mut inner = self.lock();
        inner.questions.clear();
        Questions { follow: inner.entries.keys().copied().collect(), forget: Vec::new() }
    }

    /// Takes in which addresses may be of the cluster, for a pod with addresses of its own. What cannot be
    /// used has every address asked about; what was known before holds until something else is said.
    pub(super) fn note_ranges(&self, told: &Ranges, own: &[IpAddr]) -> Result<(), Unusable> {
        let read = Inside::read(told, own);
        let (inside, result) = match read {
            Ok(inside) => (inside, Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.lock().inside = inside;
        result
    }

    /// Takes an answer in, unless nobody asked. One that is not understood ends what was known before: what
    /// was outside of the mesh may be in it now, and must not be called in plaintext any longer.
    pub(super) fn note(&self, answer: &Answer) -> bool {
        let Ok(destination) = answer.destination.parse::<SocketAddr>() else { return false };
        let inner = self.lock();
        let Some(entry) = inner.entries.get(&destination) else { return true };
        let before = entry.known.borrow().clone();
        let known = Destination::of(answer, before.as_deref());
        let is_understood = known.is_some();
        entry.known.send_replace(known.map(Arc::new));
        is_understood
    }

    /// Follows no longer what nobody called for a while. Only while discovery can be asked again.
    pub(super) fn tidy(&self) {
        let mut inner = self.lock();
        let now = Instant::now();
        let Inner { entries, questions, .. } = &mut *inner;
        let before = entries.len();
        entries.retain(|destination, entry| {
            let stays = now.duration_since(entry.used) < KEPT;
            if !stays {
                questions.forget(*destination);
            }
            stays
        });
        if entries.len() != before {
            self.asked.notify_one();
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.lock().entries.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number that has nothing to do with the one before it (SplitMix64).
fn scattered(number: u64) -> u64 {
    let number = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

impl Inner {
    /// Makes room for one more, if any is known that is not waited for.
    fn forget_oldest(&mut self) -> bool {
        let known = self.entries.iter().filter(|(_, entry)| entry.known.borrow().is_some());
        let oldest = known.min_by_key(|(_, entry)| entry.used).map(|(destination, _)| *destination);
        if let Some(oldest) = oldest {
            self.entries.remove(&oldest);
            self.questions.forget(oldest);
        }
        oldest.is_some()
    }
}

#[cfg(test)]
mod tests {
    use countersign_contract::discovery::Kind;

    use super::*;

    fn at(place: usize) -> SocketAddr {
        let low = u8::try_from(place % 250).unwrap();
        let high = u8::try_from(place / 250).unwrap();
        ([10, 0, high, low], 80).into()
    }

    fn outside_of(destination: SocketAddr) -> Answer {
        let destination = destination.to_string();
        Answer { destination, kind: Kind::Outside.into(), ..Answer::default() }
    }

    #[tokio::test]
    async fn what_is_not_known_is_asked_for_once_and_waited_for_by_all() {
        let book = Arc::new(Book::new(0));
        let patience = Duration::from_secs(60);
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let book = book.clone();
                tokio::spawn(async move { book.find(at(1), patience).await })
            })
            .collect();
        let questions = book.questions().await;
        assert_eq!(questions.follow, [at(1)]);
        assert!(book.note(&outside_of(at(1))));
        for waiting in waiting {
            assert_eq!(waiting.await.unwrap().unwrap().kind, Kind::Outside);
        }
    }

    #[tokio::test]
    async fn an_address_outside_of_all_ranges_is_known_without_a_question() {
        let book = Book::new(0);
        let ranges = |inside: &[&str], whole| Ranges {
            inside: inside.iter().map(|text| (*text).to_owned()).collect(),
            whole,
        };
        let outside: SocketAddr = ([192, 0, 2, 1], 443).into();
        let find = async |to| book.find(to, Duration::ZERO).await.map(|found| found.kind).ok();
        assert_eq!(find(outside).await, None, "nothing was said of ranges");
        book.note_ranges(&ranges(&["10.0.0.0/8"], true), &[at(9).ip()]).unwrap();
        assert_eq!(find(outside).await, Some(Kind::Outside), "though it waits for an answer");
        let other: SocketAddr = ([192, 0, 2, 2], 443).into();
        assert_eq!((find(other).await, find(at(1)).await), (Some(Kind::Outside), None));
        assert_eq!(book.questions().await.follow, [at(1), outside], "it is not even asked for");
        // What the operator answers comes first.
        let answer = Answer { kind: Kind::Service.into(), ..outside_of(outside) };
        assert!(book.note(&answer));
        assert_eq!(find(outside).await, Some(Kind::Service));
        let third: SocketAddr = ([192, 0, 2, 3], 443).into();
        assert!(book.note_ranges(&ranges(&["10.0.0.0/8"], true), &[third.ip()]).is_err());
        assert_eq!(find(third).await, None, "our own address is not in them");
    }

    #[tokio::test]
    async fn what_stays_unknown_fails_by_name() {
        let book = Book::new(0);
        let refused = book.find(at(1), Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(refused.reason, Refusal::DestinationUnknown);
        assert!(
            !book.note(&Answer { kind: 0, ..outside_of(at(1)) }),
            "an answer that says nothing"
        );
        let refused = book.find(at(1), Duration::from_millis(1)).await.unwrap_err();
        assert_eq!(refused.reason, Refusal::DestinationUnknown);
    }

    #[tokio::test]
    async fn answer_that_is_not_understood_ends_the_one_before() {
        let book = Book::new(0);
        drop(book.find(at(1), Duration::ZERO).await);
        assert!(book.note(&outside_of(at(1))));
        assert!(book.find(at(1), Duration::ZERO).await.is_ok());
        assert!(!book.note(&Answer { kind: 99, ..outside_of(at(1)) }));
        let refused = book.find(at(1), Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.reason, Refusal::DestinationUnknown);
        assert!(book.note(&outside_of(at(1))));
        assert!(book.find(at(1), Duration::ZERO).await.is_ok());
    }

    #[tokio::test]
    async fn a_new_stream_asks_for_all_that_is_followed() {
        let book = Book::new(0);
        drop(book.find(at(1), Duration::ZERO).await);
        drop(book.questions().await);
        drop(book.find(at(2), Duration::ZERO).await);
        let mut all = book.all().follow;
        all.sort_unstable();
        assert_eq!(all, [at(1), at(2)]);
    }

    #[tokio::test]
    async fn where_there_is_no_more_room_the_one_that_was_called_longest_ago_gives_way() {
        let book = Book::new(0);
        for place in 0..MOST_DESTINATIONS {
            drop(book.find(at(place), Duration::ZERO).await);
        }
        let refused = book.find(at(MOST_DESTINATIONS), Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.reason, Refusal::Overloaded, "all of them are waited for");
        drop(book.all());
        book.note(&outside_of(at(7)));
        book.note(&outside_of(at(3)));
        drop(book.find(at(MOST_DESTINATIONS), Duration::ZERO).await);
        assert_eq!(book.questions().await.forget, [at(3)]);
        assert_eq!(book.len(), MOST_DESTINATIONS);
    }
}
