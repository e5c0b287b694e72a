//! ghostunnel: flags alone.

use super::super::terminator::Setting;
use super::Arguments;

pub(super) fn arguments(setting: &Setting<'_>) -> Arguments {
    let arguments = [
        "server",
        &format!("--listen={}", setting.listen),
        &format!("--target={}", setting.to),
        &format!("--cert={}", setting.credential("tls.crt")),
        &format!("--key={}", setting.credential("tls.key")),
        &format!("--cacert={}", setting.credential("ca.crt")),
        // Whoever has a certificate of the authority, as with all the others.
        "--allow-all",
        // No line a connection.
        "--quiet=all",
        // Idle connections stay, and so does it.
        "--close-timeout=10s",
    ];
    // One worker: Go runs code on one thread at a time.
    (arguments.map(str::to_owned).to_vec(), vec![("GOMAXPROCS", "1")])
}
