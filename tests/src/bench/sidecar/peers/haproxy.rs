//! HAProxy: one thread, in the foreground.

use super::super::terminator::Setting;
use super::Arguments;

pub(super) fn arguments(setting: &Setting<'_>) -> anyhow::Result<Arguments> {
    let (listen, to) = (setting.listen, setting.to);
    let (pem, ca) = (setting.credential("server.pem"), setting.credential("ca.crt"));
    // tune.ssl.cachesize and no-tls-tickets: nothing is resumed.
    // maxconn: none, so that it takes as many as it may have files. Timeouts: idle connections stay.
    // Buffers keep their default of 16 KiB, a record: larger ones help bulk and cost each
    // connection twice that.
    let config = format!(
        "global
    nbthread 1
    tune.ssl.cachesize 0

defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h

frontend tls
    bind {listen} backlog 4096 ssl crt {pem} ca-file {ca} verify required ssl-min-ver TLSv1.3 no-tls-tickets curves X25519
    default_backend plain

backend plain
    server one {to}
"
    );
    let config = setting.configure(&config)?.display().to_string();
    Ok((vec!["-db".to_owned(), "-f".to_owned(), config], Vec::new()))
}
