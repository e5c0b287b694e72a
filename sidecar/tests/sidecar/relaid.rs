//! Rules that are laid again and again, as by a container that restarts.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use crate::network::{Cable, OUTSIDE, POD, inside};
use crate::peer::connect;
use crate::redirect::{at, redirect};

/// Every rule of a namespace, of both families, as `nft` tells them; empty where there are none.
fn rules(namespace: &str) -> String {
    let output = inside(namespace, || Command::new("nft").args(["list", "ruleset"]).output());
    let output = output.expect("this test needs the program nft, of nftables");
    assert!(output.status.success(), "nft: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The rules that these arguments alone come to, where there were none before.
fn rules_of(args: &[&str]) -> String {
    let cable = Cable::new();
    redirect(&cable, args);
    rules(&cable.pod)
}

/// An application that answers each piece at once.
fn echo_in(namespace: &str, port: u16) {
    let listener = inside(namespace, || TcpListener::bind(("::", port)).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                std::io::copy(&mut &stream, &mut writer)
            });
        }
    });
}

fn is_answered(stream: &mut TcpStream, number: u8) {
    stream.write_all(&[number]).unwrap();
    let mut answer = [0];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer, [number]);
}

const CASES: [&[&str]; 5] = [
    &["--inbound", "14143"],
    &["--inbound", "14143", "--skip-inbound", "22,80,22"],
    &["--outbound", "14140"],
    &["--outbound", "14140", "--skip-outbound", "53,443", "--uid", "7"],
    &["--inbound", "14143", "--outbound", "14140", "--skip-inbound", "1", "--skip-outbound", "2"],
];

#[test]
fn rules_laid_a_hundred_times_over_are_those_that_are_laid_once() {
    for args in CASES {
        let cable = Cable::new();
        redirect(&cable, args);
        let once = rules(&cable.pod);
        let directions = args.iter().filter(|arg| ["--inbound", "--outbound"].contains(arg));
        assert_eq!(once.matches("redirect to").count(), directions.count(), "{once}");
        for _ in 1..100 {
            redirect(&cable, args);
        }
        assert_eq!(rules(&cable.pod), once, "{args:?}");
        redirect(&cable, &["--undo"]);
        assert_eq!(rules(&cable.pod), "", "{args:?}");
    }
}

#[test]
fn rules_laid_a_hundred_times_over_redirect_both_families_once() {
    let cable = Cable::new();
    let (inbound, outbound) = ("14143".to_owned(), "14140".to_owned());
    let args = ["--inbound", &inbound, "--outbound", &outbound, "--uid", "14100"];
    for _ in 0..100 {
        redirect(&cable, &args);
    }
    echo_in(&cable.pod, 14143);
    echo_in(&cable.pod, 14140);
    for ip in POD {
        is_answered(&mut inside(&cable.outside, || connect(at(ip, 1))), 4);
    }
    for ip in OUTSIDE {
        is_answered(&mut inside(&cable.pod, || connect(at(ip, 1))), 6);
    }
}

#[test]
fn other_lists_replace_those_before_and_the_tables_of_others_stay() {
    let cable = Cable::new();
    let args = ["add", "table", "inet", "others"];
    let added = inside(&cable.pod, || Command::new("nft").args(args).status().unwrap());
    assert!(added.success());
    let others = rules(&cable.pod);
    for args in CASES.iter().chain(CASES.iter().rev()) {
        redirect(&cable, args);
        let ours = rules(&cable.pod).replace(&others, "");
        assert_eq!(ours, rules_of(args), "{args:?}");
    }
    redirect(&cable, &["--undo"]);
    assert_eq!(rules(&cable.pod), others);
}

/// Until there are none: the kernel translates addresses of nobody then, of open connections neither.
#[test]
fn connections_that_are_open_go_on_while_rules_are_laid_again() {
    let cable = Cable::new();
    let args = ["--inbound", "14143", "--outbound", "14140", "--uid", "14100"];
    redirect(&cable, &args);
    echo_in(&cable.pod, 14143);
    echo_in(&cable.pod, 14140);
    let inbound = POD.map(|ip| inside(&cable.outside, || connect(at(ip, 1))));
    let outbound = OUTSIDE.map(|ip| inside(&cable.pod, || connect(at(ip, 1))));
    let mut open: Vec<_> = inbound.into_iter().chain(outbound).collect();
    for number in 0..100 {
        redirect(&cable, &args);
        open.iter_mut().for_each(|stream| is_answered(stream, number));
    }
    redirect(&cable, &["--inbound", "14143", "--skip-inbound", "1"]);
    open.iter_mut().for_each(|stream| is_answered(stream, 100));
}
