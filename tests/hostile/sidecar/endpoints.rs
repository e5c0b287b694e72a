//! A pod of a Service that keeps its callers from the others.

use std::time::{Duration, Instant};

use countersign_contract::discovery::Kind;

use crate::authority::WEB;
use crate::discovery::endpoint;
use crate::network::OUTSIDE;
use crate::transparent::{OPERATOR, Stage, service};

#[test]
fn endpoint_that_accepts_and_says_nothing_is_passed_over_and_not_chosen_again() {
    let timeouts = ["--dial-timeout", "2s", "--handshake-timeout", "6s"];
    let mut stage = Stage::with(&timeouts, OPERATOR);
    // The kernel accepts in its place.
    let listener = stage.listener(OUTSIDE[0]);
    let silent = listener.local_addr().unwrap();
    let right = stage.server(OUTSIDE[0], WEB);
    let both = vec![endpoint(silent, WEB), endpoint(right, WEB)];
    stage.discovery().say(service(0), Kind::Service, both);
    let mut slow = 0;
    for _ in 0..16 {
        let began = Instant::now();
        assert_eq!(stage.call(service(0)).unwrap(), "heard: x");
        slow += usize::from(began.elapsed() > Duration::from_millis(1400));
    }
    assert_eq!(slow, 1, "only the call that finds out waits");
    let line = stage.sidecar.line("message", "passed over");
    assert_eq!(line["reason"], "handshake_timeout", "{line}");
}
