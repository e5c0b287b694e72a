//! stunnel: a thread a connection, which is how Debian builds it.

use super::super::terminator::Setting;
use super::Arguments;

pub(super) fn arguments(setting: &Setting<'_>) -> anyhow::Result<Arguments> {
    let (listen, to) = (setting.listen, setting.to);
    let (pem, ca) = (setting.credential("server.pem"), setting.credential("ca.crt"));
    // debug and syslog: no line a connection. verifyChain: a client's certificate is required. The
    // session cache is off, and so are tickets. TIMEOUTidle: idle connections stay.
    let config = format!(
        "foreground = yes
pid =
debug = err
syslog = no
[tls]
accept = {listen}
connect = {to}
cert = {pem}
CAfile = {ca}
verifyChain = yes
sslVersion = TLSv1.3
curves = X25519
sessionResume = no
options = NO_TICKET
TIMEOUTidle = 3600
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
"
    );
    Ok((vec![setting.configure(&config)?.display().to_string()], Vec::new()))
}
