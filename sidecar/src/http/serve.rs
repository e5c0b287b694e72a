//! Both sides of one connection, in the version of HTTP that the client speaks.

use std::io;
use std::sync::Arc;

use countersign_contract::Ending;
use hyper::client::conn::{http1 as app1, http2 as app2};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::sync::Mutex;
use tokio::time::sleep_until;

use super::drive;
use super::exchange::{Exchange, Sender};
use super::requests::Requests;
use super::tasks::{Guard, Tasks};
use super::{Http, Line};
use crate::relay::Ended;

/// The longest head of a message, and the longest list of headers that HTTP/2 makes of one.
const LONGEST_HEAD: usize = 64 * 1024;

/// How many headers a message may have, each way: hyper has room for 100 unless it is given more.
pub(super) const MAX_HEADERS: usize = 256;

/// How many requests one HTTP/2 connection may have at once.
const STREAMS: u32 = 100;

/// A stream has such a part of the windows of its connection.
const STREAM_PART: usize = 4;

/// How much of a body hyper asks for beyond what its reader has room for, for each stream.
const UNSENT: usize = 16 * 1024;

/// What every client of HTTP/2 says first (RFC 9113, 3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves requests until the end.
pub(super) async fn serve(http: Http) -> Ended {
    let line = http.line.clone();
    let begun = tokio::select! {
        biased;
        how = line.verdict() => return Ended::judged(how),
        begun = begin(&http) => begun,
    };
    match begun {
        Ok(Some(true)) => serve_http2(http).await,
        Ok(Some(false)) => serve_http1(http).await,
        Ok(None) => Ended::new(Ending::Closed),
        Err(error) => broken(&line, &error),
    }
}

/// What was broken off before hyper saw anything of it.
fn broken(line: &Line, error: &io::Error) -> Ended {
    line.fault().unwrap_or_else(|| Ended::http(error.to_string()))
}

/// Greets the application, and sees whether the client speaks HTTP/2; nothing if it says nothing
/// and ends. It may wait with its first word as long as any connection may be idle.
async fn begin(http: &Http) -> io::Result<Option<bool>> {
    http.app.clone().write_all(&http.greeting).await?;
    let known = http.peer.peek(speaks_http2);
    let late = async {
        loop {
            match http.line.deadline() {
                Some(deadline) => break sleep_until(deadline).await,
                None => {
                    http.peer.peek(|bytes| (!bytes.is_empty()).then_some(())).await.map(drop)?
                }
            }
        }
        Err(io::Error::other("a request that does not begin"))
    };
    tokio::select! { biased; known = known => known, late = late => late }
}

/// Whether these are the first bytes of HTTP/2, as soon as that can be told.
fn speaks_http2(first: &[u8]) -> Option<bool> {
    let len = first.len().min(PREFACE.len());
    match first[..len] == PREFACE[..len] {
        true => (len == PREFACE.len()).then_some(true),
        false => Some(false),
    }
}

async fn serve_http1(http: Http) -> Ended {
    let handshake = app1::Builder::new()
        .preserve_header_case(true)
        .max_headers(MAX_HEADERS)
        .max_buf_size(2 * LONGEST_HEAD)
        // Old servers fold long values. They are written to the client on one line.
        .allow_obsolete_multiline_headers_in_responses(true)
        .allow_spaces_after_header_name_in_responses(true)
        .handshake(TokioIo::new(http.app.clone()))
        .await;
    let (sender, app) = match handshake {
        Ok(both) => both,
        Err(error) => return Ended::http(error.to_string()),
    };
    let line = http.line.clone();
    let exchange = exchange(&http, Sender::Http1(sender), Tasks::default());
    let peer = Some(http.peer.clone());
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        // It would end connections that merely rest: `drive` has one for heads that come.
        .header_read_timeout(None)
        .preserve_header_case(true)
        .auto_date_header(false)
        .max_headers(MAX_HEADERS)
        // A client whose request is whole may end its side before it is answered.
        .half_close(true)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(
            TokioIo::new(http.peer),
            service_fn(move |request| exchange.clone().exchange(request)),
        )
        .with_upgrades();
    drive::drive(&line, &http.stop, peer, serving, app.with_upgrades()).await
}

async fn serve_http2(http: Http) -> Ended {
    let tasks = Guard(Tasks::default());
    let (windows, _more) = http.share.windows();
    http.line.counts_pieces(windows.unsent);
    let window = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX);
    let handshake = app2::Builder::new(tasks.0.clone())
        .timer(TokioTimer::new())
        .initial_stream_window_size(window(windows.app / STREAM_PART))
        .initial_connection_window_size(window(windows.app))
        .max_send_buf_size(UNSENT)
        .max_header_list_size(2 * LONGEST_HEAD as u32)
        .handshake(TokioIo::new(http.app.clone()))
        .await;
    let (sender, app) = match handshake {
        Ok(both) => both,
        Err(error) => return broken(&http.line, &io::Error::other(error)),
    };
    let line = http.line.clone();
    let exchange = exchange(&http, Sender::Http2(sender), tasks.0.clone());
    let requests = Requests::new(http.share);
    let serving = http2::Builder::new(tasks.0.clone())
        .timer(TokioTimer::new())
        .auto_date_header(false)
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(LONGEST_HEAD as u32)
        .initial_stream_window_size(window(windows.client / STREAM_PART))
        .initial_connection_window_size(window(windows.client))
        .max_send_buf_size(UNSENT)
        .serve_connection(
            TokioIo::new(http.peer),
            service_fn(move |request| exchange.clone().exchange_if_it_fits(&requests, request)),
        );
    drive::drive(&line, &http.stop, None, serving, app).await
}

fn exchange(http: &Http, sender: Sender, tasks: Tasks) -> Arc<Exchange> {
    Arc::new(Exchange {
        line: http.line.clone(),
        sender: Mutex::new(sender),
        told: http.told.clone(),
        metrics: http.metrics.clone(),
        tasks,
    })
}

/// Carries what is no longer HTTP, both ways until both are done.
pub(super) async fn tunnel([client, app]: [OnUpgrade; 2]) -> io::Result<()> {
    let (client, app) = futures::try_join!(client, app).map_err(io::Error::other)?;
    let (mut client, mut app) = (TokioIo::new(client), TokioIo::new(app));
    copy_bidirectional(&mut client, &mut app).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_is_known_by_its_first_bytes_as_soon_as_it_can_be() {
        let cases: &[(&[u8], Option<bool>)] = &[
            (b"", None),
            (b"P", None),
            (b"PO", Some(false)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (PREFACE, Some(true)),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Some(true)),
            (b"PRI * HTTP/1.1\r\n", Some(false)),
            (b"\x16\x03\x01", Some(false)),
        ];
        for (first, expected) in cases {
            assert_eq!(speaks_http2(first), *expected, "{first:?}");
        }
    }
}
