//! Bodies that are larger than what the sidecar holds.

use std::io::{Read, Write};

use hyper::{Request, Response};

use super::hyper2::{Frames, Pieces, application, call, runtime, stage};
use super::stage::{POLICY, both_ends, head};
use crate::authority::WEB;
use crate::ends::Ends;
use crate::program::Sidecar;

const LEN: usize = 100_000_000;

/// Less than a body by far, and more than the buffers of a worker and of one connection.
const MOST: usize = 16 << 20;

/// Checks that a sidecar holds little more than it did, while something is done.
fn holds_little<T>(sidecar: &Sidecar, before: usize, done: T) -> T {
    let held = sidecar.resident().saturating_sub(before);
    assert!(held < MOST, "{held} bytes more");
    done
}

fn piece(place: usize) -> u8 {
    (place / 100_000 % 251) as u8
}

#[test]
fn a_body_of_100_megabytes_passes_either_way_and_is_not_kept() {
    let ends = Ends::with_policy(POLICY, &[]);
    let (mut peer, mut app, _) = both_ends(&ends);
    let before = ends.sidecar.resident();
    peer.send(format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: {LEN}\r\n\r\n").as_bytes())
        .unwrap();
    head(&mut app);
    let mut room = vec![0; 100_000];
    std::thread::scope(|scope| {
        let peer = &mut peer;
        scope.spawn(move || {
            for place in 0..LEN / 100_000 {
                peer.send(&[piece(place * 100_000); 100_000]).unwrap();
            }
        });
        for place in 0..LEN / 100_000 {
            app.read_exact(&mut room).unwrap();
            assert!(room.iter().all(|byte| *byte == piece(place * 100_000)), "{place}");
            if place % 100 == 0 {
                holds_little(&ends.sidecar, before, ());
            }
        }
    });
    let mut writer = app.try_clone().unwrap();
    let writes = std::thread::spawn(move || {
        write!(writer, "HTTP/1.1 200 OK\r\nContent-Length: {LEN}\r\n\r\n").unwrap();
        for place in 0..LEN / 100_000 {
            writer.write_all(&[piece(place * 100_000); 100_000]).unwrap();
        }
    });
    head(&mut peer);
    for place in 0..LEN / 100_000 {
        peer.read_exact(&mut room).unwrap();
        assert!(room.iter().all(|byte| *byte == piece(place * 100_000)), "{place}");
        if place % 100 == 0 {
            holds_little(&ends.sidecar, before, ());
        }
    }
    writes.join().unwrap();
}

#[test]
fn http2_passes_as_much_and_keeps_as_little() {
    let app = application(|request| async move {
        let mut asked = Pieces::of(request.into_body());
        let (mut pieces, body) = Frames::new();
        tokio::spawn(async move {
            let mut sum = 0;
            while let Some(piece) = asked.next().await {
                sum += piece.len();
            }
            pieces.send(sum.to_string().into_bytes()).await;
        });
        Response::new(body)
    });
    let stage = stage(app, POLICY);
    let set = stage.authority.issue(WEB);
    runtime().block_on(async {
        let mut client = call(&stage, &set).await;
        let before = stage.sidecar.resident();
        let (mut pieces, body) = Frames::new();
        let request = Request::post("https://web.test/").body(body).unwrap();
        let response = client.send_request(request).await.unwrap();
        for place in 0..LEN / 100_000 {
            pieces.send(vec![piece(place); 100_000]).await;
            if place % 100 == 0 {
                holds_little(&stage.sidecar, before, ());
            }
        }
        drop(pieces);
        let sum = Pieces::of(response.into_body()).next().await.unwrap();
        assert_eq!(sum, LEN.to_string());
    });
}

#[test]
fn a_connection_that_rests_keeps_no_more_than_hyper_does() {
    let ends = Ends::with_policy(POLICY, &[]);
    let set = ends.authority.issue(WEB);
    let rests = || {
        let (mut peer, mut app) = ends.connect_as(&set);
        peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        head(&mut app);
        app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        head(&mut peer);
        (peer, app)
    };
    let _warm: Vec<_> = (0..20).map(|_| rests()).collect();
    let before = ends.sidecar.resident();
    let resting: Vec<_> = (0..300).map(|_| rests()).collect();
    let each = ends.sidecar.resident().saturating_sub(before) / resting.len();
    assert!(each < 64 << 10, "{each} bytes each");
}
