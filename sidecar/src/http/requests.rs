//! Requests of one HTTP/2 connection that the application has not begun to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use hyper::Uri;
use hyper::header::HeaderMap;

use super::serve::MAX_HEADERS;
use crate::http_memory::Share;

/// How much the heads of a connection's requests may take together: a hundred usual ones.
const MAX_HEADS: usize = 512 * 1024;

/// What a request takes beside its head: its two streams, and its task.
const STREAM: usize = 4 * 1024;

/// What a header takes beside its name and its value, in the map that holds it.
const HEADER: usize = 104;

/// What counts them.
pub(super) struct Requests {
    heads: Arc<AtomicUsize>,
    share: Share,
}

/// The part of a request's head in what waits.
pub(super) struct HeldHead {
    heads: Arc<AtomicUsize>,
    bytes: usize,
    _share: Share,
}

/// Why a request is not passed on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRoom {
    TooManyHeaders,
    /// Too much waits, on this connection or on all.
    Full,
}

impl Requests {
    pub(super) fn new(share: Share) -> Self {
        Self { heads: Arc::default(), share }
    }

    /// What is held until a request's response has begun, and what is held until it has ended.
    pub(super) fn enter(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
    ) -> Result<(HeldHead, Share), NoRoom> {
        if headers.len() > MAX_HEADERS {
            return Err(NoRoom::TooManyHeaders);
        }
        let bytes = size(headers, uri);
        if self.heads.load(Relaxed) + bytes > MAX_HEADS {
            return Err(NoRoom::Full);
        }
        let stream = self.share.more(STREAM).ok_or(NoRoom::Full)?;
        let share = self.share.more(bytes).ok_or(NoRoom::Full)?;
        self.heads.fetch_add(bytes, Relaxed);
        Ok((HeldHead { heads: self.heads.clone(), bytes, _share: share }, stream))
    }
}

impl Drop for HeldHead {
    fn drop(&mut self) {
        self.heads.fetch_sub(self.bytes, Relaxed);
    }
}

fn size(headers: &HeaderMap, uri: &Uri) -> usize {
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    let of_one = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        name.as_str().len() + value.len() + HEADER
    };
    path + headers.iter().map(of_one).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::http_memory::{CONNECTION, Holder, HttpMemory};

    fn headers(count: usize, len: usize) -> HeaderMap {
        let value = HeaderValue::from_str(&"a".repeat(len)).unwrap();
        (0..count).map(|_| (HeaderName::from_static("x-a"), value.clone())).collect()
    }

    fn requests(memory: usize) -> Requests {
        let memory = Arc::new(HttpMemory::new(memory));
        let holder = Holder::new([192, 0, 2, 1].into(), true);
        Requests::new(memory.take(holder, CONNECTION).unwrap())
    }

    #[test]
    fn hundred_usual_requests_wait_and_large_ones_are_sent_back() {
        let uri = Uri::from_static("/shop.Till/Sell");
        let usual = requests(usize::MAX);
        let held: Vec<_> = (0..100).map(|_| usual.enter(&headers(8, 20), &uri)).collect();
        assert!(held.iter().all(Result::is_ok));
        let large = requests(usize::MAX);
        let held: Vec<_> = (0..100).map(|_| large.enter(&headers(1, 60_000), &uri)).collect();
        assert_eq!(held.iter().filter(|held| held.is_ok()).count(), 8);
        assert_eq!(large.enter(&headers(1, 60_000), &uri).err(), Some(NoRoom::Full));
        drop(held);
        assert!(large.enter(&headers(1, 60_000), &uri).is_ok());
        assert_eq!(large.enter(&headers(257, 0), &uri).err(), Some(NoRoom::TooManyHeaders));
    }

    #[test]
    fn requests_are_sent_back_where_the_memory_of_all_is_used_up() {
        let uri = Uri::from_static("/");
        let requests = requests(2 * CONNECTION + 10 * 1024);
        let first = requests.enter(&HeaderMap::new(), &uri);
        assert!(first.is_ok());
        assert_eq!(requests.enter(&HeaderMap::new(), &uri).err(), Some(NoRoom::Full));
        drop(first);
        assert!(requests.enter(&HeaderMap::new(), &uri).is_ok());
    }
}
