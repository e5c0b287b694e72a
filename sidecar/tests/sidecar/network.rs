//! Network namespaces of a test's own: one for a pod, one for whoever calls it.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Two namespaces with a cable between them; both go when this does.
pub(crate) struct Cable {
    pub(crate) pod: String,
    pub(crate) outside: String,
}

/// The pod's addresses, and those of the outside.
pub(crate) const POD: [&str; 2] = ["10.203.0.2", "fd03::2"];
pub(crate) const OUTSIDE: [&str; 2] = ["10.203.0.1", "fd03::1"];

impl Cable {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "this test makes network namespaces of its own: run it as root"
        );
        let place = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |what: &str| format!("countersign-{}-{place}-{what}", std::process::id());
        let cable = Self { pod: name("pod"), outside: name("out") };
        let (pod, outside) = (&cable.pod, &cable.outside);
        ip(&format!("netns add {pod}"));
        ip(&format!("netns add {outside}"));
        ip(&format!("-n {pod} link add eth0 type veth peer name eth0 netns {outside}"));
        for (namespace, addresses) in [(pod, POD), (outside, OUTSIDE)] {
            ip(&format!("-n {namespace} link set lo up"));
            ip(&format!("-n {namespace} addr add {}/24 dev eth0", addresses[0]));
            ip(&format!("-n {namespace} addr add {}/64 dev eth0 nodad", addresses[1]));
            ip(&format!("-n {namespace} link set eth0 up"));
        }
        cable
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for namespace in [&self.pod, &self.outside] {
            drop(Command::new("ip").args(["netns", "delete", namespace]).status());
        }
    }
}

/// Runs the program `ip`.
pub(crate) fn ip(line: &str) {
    let output = Command::new("ip").args(line.split(' ')).output();
    let output = output.expect("this test needs the program ip, of iproute2");
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Does something in a namespace: sockets and processes that it makes stay there.
pub(crate) fn inside<T: Send>(namespace: &str, act: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let entered = scope.spawn(|| {
            let door = File::open(format!("/run/netns/{namespace}")).unwrap();
            let network = Some(LinkNameSpaceType::Network);
            move_into_link_name_space(door.as_fd(), network).unwrap();
            act()
        });
        entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
