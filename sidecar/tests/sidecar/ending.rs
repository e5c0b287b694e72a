//! SIGTERM: what is live may end; nothing new begins.

use std::io::Write;
use std::net::TcpStream;

use crate::authority::{Authority, Folder, WEB};
use crate::peer::{application, ask, client, connect};
use crate::program::{Port, Sidecar, until};

/// A sidecar with one live connection.
struct Live {
    sidecar: Sidecar,
    caller: crate::peer::Client,
    port: Port,
    authority: Authority,
    _folder: Folder,
}

fn live(drain: &str) -> Live {
    let authority = Authority::new("root");
    let folder = Folder::of(&authority.issue(WEB));
    let (port, admin) = (Port::new(), Port::new());
    let (at, to) = (port.address.to_string(), application().to_string());
    let credentials = folder.path().to_str().unwrap();
    let args = [
        "inbound",
        "--listen",
        &at,
        "--to",
        &to,
        "--credentials",
        credentials,
        "--drain-timeout",
        drain,
        "--workers",
        "2",
    ];
    let sidecar = Sidecar::start(&args, admin.address).ready();
    let set = authority.issue(WEB);
    let mut caller = client(connect(port.address), &authority.pem(), Some(&set));
    caller.write_all(b"a").unwrap();
    caller.flush().unwrap();
    let opened = "countersign_sidecar_connections_opened_total{direction=\"inbound\"}";
    until("it is live", || (sidecar.metric(opened) == Some(1.0)).then_some(()));
    // The handshake is done once the histogram says so; before that it would be a refusal.
    let shaken = "countersign_sidecar_handshake_duration_seconds_count";
    until("it is admitted", || (sidecar.metric(shaken) == Some(1.0)).then_some(()));
    Live { sidecar, caller, port, authority, _folder: folder }
}

#[test]
fn a_live_connection_may_end_after_sigterm_but_no_new_one_begins() {
    let Live { mut sidecar, mut caller, port, _folder, .. } = live("30s");
    sidecar.terminate();
    until("nobody accepts", || TcpStream::connect(port.address).is_err().then_some(()));
    assert_eq!(ask(&mut caller, b"b").unwrap(), "heard: ab");
    assert_eq!(sidecar.wait().code(), Some(0));
}

#[test]
fn a_connection_that_outlasts_the_drain_is_cut() {
    let Live { mut sidecar, mut caller, _folder, .. } = live("100ms");
    sidecar.terminate();
    assert_eq!(sidecar.wait().code(), Some(0));
    assert!(ask(&mut caller, b"b").is_err());
}

/// Its connection stands as soon as the kernel has it: closing the listener would reset it.
#[test]
fn a_client_that_came_before_sigterm_is_served() {
    let Live { mut sidecar, caller, port, authority, _folder } = live("30s");
    let late = sidecar.while_stopped(|| {
        let late = connect(port.address);
        sidecar.terminate();
        late
    });
    let mut late = client(late, &authority.pem(), Some(&authority.issue(WEB)));
    assert_eq!(ask(&mut late, b"c").unwrap(), "heard: c");
    drop(caller);
    assert_eq!(sidecar.wait().code(), Some(0));
}
