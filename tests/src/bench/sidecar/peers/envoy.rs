//! Envoy: one worker thread beside its main thread, a static configuration, no admin endpoint.

use serde_json::json;

use super::super::terminator::Setting;
use super::Arguments;

pub(super) fn arguments(setting: &Setting<'_>) -> Arguments {
    let arguments = [
        "--concurrency",
        "1",
        "--log-level",
        "off",
        "--disable-hot-restart",
        // JSON is YAML.
        "--config-yaml",
        &config(setting).to_string(),
    ];
    (arguments.map(str::to_owned).to_vec(), Vec::new())
}

fn config(setting: &Setting<'_>) -> serde_json::Value {
    let tls = json!({
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": true,
        // Nothing is resumed.
        "disable_stateless_session_resumption": true,
        "disable_stateful_session_resumption": true,
        "common_tls_context": {
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_3",
                "tls_maximum_protocol_version": "TLSv1_3",
                "ecdh_curves": ["X25519MLKEM768", "X25519"],
            },
            "tls_certificates": [{
                "certificate_chain": { "filename": setting.credential("tls.crt") },
                "private_key": { "filename": setting.credential("tls.key") },
            }],
            "validation_context": { "trusted_ca": { "filename": setting.credential("ca.crt") } },
        },
    });
    let proxy = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
        "stat_prefix": "tls",
        "cluster": "plain",
        // Idle connections stay.
        "idle_timeout": "0s",
    });
    let address = |socket: std::net::SocketAddr| {
        let (host, port) = (socket.ip().to_string(), socket.port());
        json!({ "socket_address": { "address": host, "port_value": port } })
    };
    json!({
        "static_resources": {
            "listeners": [{
                "name": "tls",
                "address": address(setting.listen),
                "filter_chains": [{
                    "filters": [{ "name": "envoy.filters.network.tcp_proxy", "typed_config": proxy }],
                    "transport_socket": {
                        "name": "envoy.transport_sockets.tls", "typed_config": tls,
                    },
                }],
            }],
            "clusters": [{
                "name": "plain",
                "type": "STATIC",
                "connect_timeout": "5s",
                // Else it refuses from the 1,025th connection on.
                "circuit_breakers": { "thresholds": [{
                    "max_connections": 100_000, "max_pending_requests": 100_000,
                }] },
                "load_assignment": { "cluster_name": "plain", "endpoints": [{ "lb_endpoints": [{
                    "endpoint": { "address": address(setting.to) },
                }] }] },
            }],
        },
    })
}
