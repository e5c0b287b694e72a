//! The rules of a pod, in network namespaces of their own.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;

use crate::authority::{Authority, Folder, WEB};
use crate::network::{Cable, OUTSIDE, POD, inside};
use crate::peer::{ask, ask_plainly, client, connect, serve_application};
use crate::program::{Sidecar, copied, program};

pub(crate) fn redirect(cable: &Cable, args: &[&str]) {
    let output = inside(&cable.pod, || program(&["redirect"]).args(args).output().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "redirect {args:?}: {said}");
}

/// An application in a namespace, on a port of both families.
fn application_in(namespace: &str) -> u16 {
    inside(namespace, || serve_application(TcpListener::bind("[::]:0").unwrap()).port())
}

pub(crate) fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// What the other end of a plain connection answers.
fn plainly(namespace: &str, address: SocketAddr) -> std::io::Result<String> {
    inside(namespace, || ask_plainly(&mut connect(address), b"x"))
}

fn pod(cable: &Cable, folder: &Folder) -> Sidecar {
    let args = ["pod", "--credentials", folder.path().to_str().unwrap()];
    // Its admin server is asked from where the test is, so it is not asked: the log says it all.
    inside(&cable.pod, || Sidecar::start(&args, at("127.0.0.1", 14190))).ready()
}

#[test]
fn inbound_connections_of_both_families_come_to_the_sidecar_and_from_there_to_the_application() {
    let (cable, authority) = (Cable::new(), Authority::new("root"));
    let app = application_in(&cable.pod);
    let folder = Folder::of(&authority.issue(WEB));
    let mut sidecar = pod(&cable, &folder);
    // Laid twice: the second time replaces the first.
    redirect(&cable, &["--inbound", "14143"]);
    redirect(&cable, &["--inbound", "14143"]);
    let set = authority.issue(WEB);
    for ip in POD {
        let answer = inside(&cable.outside, || {
            let mut caller = client(connect(at(ip, app)), &authority.pem(), Some(&set));
            ask(&mut caller, b"x").unwrap()
        });
        assert_eq!(answer, "heard: x");
        let line = sidecar.line("message", "connection");
        assert_eq!(line["to"], at(ip, app).to_string(), "{line}");
        assert!(plainly(&cable.outside, at(ip, app)).is_err());
        sidecar.line("reason", "plaintext");
    }
}

#[test]
fn what_the_rules_leave_alone_is_left_alone() {
    let (cable, authority) = (Cable::new(), Authority::new("root"));
    let (app, skipped) = (application_in(&cable.pod), application_in(&cable.pod));
    let folder = Folder::of(&authority.issue(WEB));
    let mut sidecar = pod(&cable, &folder);
    redirect(&cable, &["--inbound", "14143", "--skip-inbound", &format!("1,{skipped}")]);
    for ip in POD {
        assert_eq!(plainly(&cable.outside, at(ip, skipped)).unwrap(), "heard: x");
        // What the pod calls outside is not inbound, and neither is what it calls itself.
        let outside = application_in(&cable.outside);
        let there = if ip == POD[0] { OUTSIDE[0] } else { OUTSIDE[1] };
        assert_eq!(plainly(&cable.pod, at(there, outside)).unwrap(), "heard: x");
        assert_eq!(plainly(&cable.pod, at(ip, app)).unwrap(), "heard: x");
        // The sidecar's own port is nobody's to call.
        // It is reset at once, which may come before it is there.
        drop(inside(&cable.outside, || std::net::TcpStream::connect(at(ip, 14143))));
        sidecar.line("reason", "no_original_destination");
    }
    assert_eq!(plainly(&cable.pod, at("127.0.0.1", app)).unwrap(), "heard: x");
    assert_eq!(plainly(&cable.pod, at("::1", app)).unwrap(), "heard: x");
}

#[test]
fn rules_can_be_taken_away_again_even_if_there_are_none() {
    let cable = Cable::new();
    let app = application_in(&cable.pod);
    redirect(&cable, &["--undo"]);
    redirect(&cable, &["--inbound", "14143"]);
    redirect(&cable, &["--undo"]);
    for ip in POD {
        assert_eq!(plainly(&cable.outside, at(ip, app)).unwrap(), "heard: x");
    }
}

#[test]
fn outbound_connections_of_both_families_are_redirected_but_for_the_sidecar_s_own() {
    let cable = Cable::new();
    let (app, skipped) = (application_in(&cable.outside), application_in(&cable.outside));
    let skip = skipped.to_string();
    // Nobody listens there, so that a connection that is redirected fails.
    redirect(&cable, &["--outbound", "14140", "--skip-outbound", &skip, "--uid", "14100"]);
    for ip in OUTSIDE {
        let refused = inside(&cable.pod, || std::net::TcpStream::connect(at(ip, app)).is_err());
        assert!(refused, "{ip} was reached");
        assert_eq!(plainly(&cable.pod, at(ip, skipped)).unwrap(), "heard: x");
    }
    let listener = inside(&cable.pod, || TcpListener::bind("[::]:14140").unwrap());
    serve_application(listener);
    for ip in OUTSIDE {
        assert_eq!(plainly(&cable.pod, at(ip, 1)).unwrap(), "heard: x");
    }
    // The test is of user 0, as the sidecar is now.
    redirect(&cable, &["--outbound", "14141", "--uid", "0"]);
    for ip in OUTSIDE {
        assert_eq!(plainly(&cable.pod, at(ip, app)).unwrap(), "heard: x");
    }
}

#[test]
fn the_pods_name_servers_and_the_api_server_are_left_alone() {
    let (cable, folder) = (Cable::new(), Folder::new());
    let resolv_conf = folder.path().join("resolv.conf");
    let resolv_conf = resolv_conf.to_str().unwrap();
    let name_servers = OUTSIDE.map(|ip| format!("nameserver {ip}\n")).concat();
    std::fs::write(resolv_conf, name_servers).unwrap();
    let app = application_in(&cable.outside);
    let leave = [format!("{}:{app}", OUTSIDE[0]), format!("{}:{app}", OUTSIDE[1])];
    let dns = inside(&cable.outside, || TcpListener::bind("[::]:53").unwrap());
    serve_application(dns);
    // Nobody listens on the port to which the others go.
    let args = ["--outbound", "14140", "--leave", &leave[0], "--leave", &leave[1]];
    redirect(&cable, &[&args[..], &["--resolv-conf", resolv_conf]].concat());
    let other = application_in(&cable.outside);
    for ip in OUTSIDE {
        assert_eq!(plainly(&cable.pod, at(ip, app)).unwrap(), "heard: x");
        assert_eq!(plainly(&cable.pod, at(ip, 53)).unwrap(), "heard: x");
        let refused = inside(&cable.pod, || std::net::TcpStream::connect(at(ip, other)).is_err());
        assert!(refused, "{ip} was reached");
    }
    // A server on port 53 that is none of them is called as any other: by mutual TLS, if it has it.
    std::fs::write(resolv_conf, "nameserver 192.0.2.53\n").unwrap();
    redirect(&cable, &["--outbound", "14140", "--resolv-conf", resolv_conf]);
    for ip in OUTSIDE {
        let refused = inside(&cable.pod, || std::net::TcpStream::connect(at(ip, 53)).is_err());
        assert!(refused, "{ip} was reached");
    }
}

#[test]
fn without_the_right_to_lay_rules_the_program_says_which_right_it_is() {
    let cable = Cable::new();
    // Where nobody may read the build folder, nobody may still read this.
    let folder = Folder::new();
    let copy = copied(folder.path());
    let nobody = 65534;
    let output = inside(&cable.pod, || {
        let mut command = std::process::Command::new(&copy);
        command.args(["redirect", "--inbound", "14143"]).uid(nobody).gid(nobody).output().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("CAP_NET_ADMIN"), "{said}");
}
