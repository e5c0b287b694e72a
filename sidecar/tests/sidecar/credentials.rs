//! Credentials that come, change, break and are missing, while connections go on.

use std::io::{Read, Write};

use crate::authority::{Authority, Folder, Validity, WEB};
use crate::peer::{application, ask, client, connect, try_connect};
use crate::program::{Port, Sidecar, until};

fn inbound(folder: &Folder, port: &Port, admin: &Port) -> Sidecar {
    let (at, to) = (port.address.to_string(), application().to_string());
    let credentials = folder.path().to_str().unwrap();
    let args = ["inbound", "--listen", &at, "--to", &to, "--credentials", credentials];
    Sidecar::start(&args, admin.address)
}

/// The last lines of who answers: the DER of its certificate.
fn who_answers(port: &Port, authority: &Authority) -> Option<Vec<u8>> {
    let set = authority.issue(WEB);
    let mut caller = client(connect(port.address), &authority.pem(), Some(&set));
    ask(&mut caller, b"x").ok()?;
    caller.conn.peer_certificates()?.first().map(|leaf| leaf.to_vec())
}

#[test]
fn a_swap_reaches_new_connections_and_leaves_live_ones_alone() {
    let (authority, folder) = (Authority::new("root"), Folder::new());
    folder.swap("one", &authority.issue(WEB));
    let (port, admin) = (Port::new(), Port::new());
    let mut sidecar = inbound(&folder, &port, &admin).ready();
    sidecar.line("message", "credentials in use");
    let before = who_answers(&port, &authority).unwrap();
    let set = authority.issue(WEB);
    let mut live = client(connect(port.address), &authority.pem(), Some(&set));
    live.write_all(b"be").unwrap();

    folder.swap("two", &authority.issue(WEB));
    sidecar.line("message", "credentials in use");
    assert_ne!(who_answers(&port, &authority).unwrap(), before);
    assert_eq!(ask(&mut live, b"fore").unwrap(), "heard: before");
    let reloads = "countersign_sidecar_credential_reloads_total{result=\"ok\"}";
    assert_eq!(sidecar.metric(reloads), Some(2.0));
}

#[test]
fn a_broken_set_is_refused_and_the_one_before_stays() {
    let (authority, folder) = (Authority::new("root"), Folder::new());
    folder.swap("one", &authority.issue(WEB));
    let (port, admin) = (Port::new(), Port::new());
    let mut sidecar = inbound(&folder, &port, &admin).ready();
    let before = who_answers(&port, &authority).unwrap();
    let mixed = authority.issue(WEB);
    let sets = [
        ("mixed", crate::authority::Set { key: authority.issue(WEB).key, ..mixed.clone() }),
        ("foreign", crate::authority::Set { ca: Authority::new("foreign").pem(), ..mixed.clone() }),
        ("empty", crate::authority::Set { crt: String::new(), ..mixed }),
        ("old", authority.issue_for(WEB, Validity::Past)),
    ];
    for (number, (name, set)) in sets.iter().enumerate() {
        folder.swap(name, set);
        let line = sidecar.line("message", "credentials rejected");
        assert_eq!(line["keeps_old"], true, "{name}: {line}");
        let rejected = "countersign_sidecar_credential_reloads_total{result=\"rejected\"}";
        assert_eq!(sidecar.metric(rejected), Some(number as f64 + 1.0), "{name}");
        assert_eq!(who_answers(&port, &authority).as_ref(), Some(&before), "{name}");
        assert_eq!(sidecar.get("/readyz").0, 200, "{name}");
    }
}

#[test]
fn without_credentials_nothing_passes_until_they_come() {
    let (authority, folder) = (Authority::new("root"), Folder::new());
    let (port, admin) = (Port::new(), Port::new());
    let mut sidecar = inbound(&folder, &port, &admin);
    assert_eq!(sidecar.get("/livez").0, 200);
    let (status, why) = sidecar.get("/readyz");
    assert!(status == 503 && why.contains("tls.crt"), "{status} {why}");
    let set = authority.issue(WEB);
    let refused = try_connect(port.address)
        .and_then(|stream| ask(&mut client(stream, &authority.pem(), Some(&set)), b"x"));
    assert!(refused.is_err());
    sidecar.line("reason", "no_credentials");

    folder.swap("one", &authority.issue(WEB));
    let sidecar = sidecar.ready();
    until("it is ready", || (sidecar.get("/readyz").0 == 200).then_some(()));
    assert!(who_answers(&port, &authority).is_some());
}

#[test]
fn an_expired_set_is_as_good_as_none() {
    let (authority, folder) = (Authority::new("root"), Folder::new());
    folder.write(&authority.issue_for(WEB, Validity::Past));
    let (port, admin) = (Port::new(), Port::new());
    let sidecar = inbound(&folder, &port, &admin);
    let (status, why) = sidecar.get("/readyz");
    assert!(status == 503 && why.contains("expired"), "{status} {why}");
    let refused = try_connect(port.address).and_then(|mut caller| {
        caller.write_all(&[0x16, 0x03, 0x01])?;
        caller.read(&mut [0])
    });
    assert_eq!(refused.unwrap_or(0), 0);
    until("it is counted", || {
        (sidecar.refusals("inbound", "no_credentials") == Some(1.0)).then_some(())
    });
}
