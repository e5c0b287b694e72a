//! nginx: a master and one worker, with its stream module.

use std::path::Path;

use super::super::terminator::Setting;
use super::Arguments;

/// Where Debian has the module, unless it is built in.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

pub(super) fn arguments(setting: &Setting<'_>) -> anyhow::Result<Arguments> {
    let load =
        if Path::new(MODULE).exists() { format!("load_module {MODULE};") } else { String::new() };
    let (listen, to, folder) = (setting.listen, setting.to, setting.folder.display());
    let (chain, key) = (setting.credential("tls.crt"), setting.credential("tls.key"));
    let ca = setting.credential("ca.crt");
    // worker_connections: two a client. multi_accept: all that wait at once. Session cache and
    // tickets: nothing is resumed. proxy_timeout: idle connections stay. Buffers keep their default
    // of 16 KiB, a record: larger ones cost each connection twice that. `user root` spares it
    // looking for a user that a container may not have.
    let config = format!(
        "{load}
user root;
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error crit;
events {{
    worker_connections 24000;
    multi_accept on;
}}
stream {{
    access_log off;
    server {{
        listen {listen} ssl backlog=4096;
        ssl_protocols TLSv1.3;
        ssl_ecdh_curve X25519;
        ssl_certificate {chain};
        ssl_certificate_key {key};
        ssl_client_certificate {ca};
        ssl_verify_client on;
        ssl_verify_depth 2;
        ssl_session_cache off;
        ssl_session_tickets off;
        proxy_timeout 1h;
        proxy_pass {to};
    }}
}}
"
    );
    let config = setting.configure(&config)?.display().to_string();
    Ok((vec!["-p".to_owned(), folder.to_string(), "-c".to_owned(), config], Vec::new()))
}
