//! Asks a sidecar's admin server, by a forwarded port: what it says of others is for callers on
//! loopback only, which is who may forward ports to the pod.

use std::time::Duration;

use countersign_contract::names::ADMIN_PORT;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// How long a sidecar may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest answer that is read.
const LONGEST: u64 = 4 * 1024 * 1024;

/// Why a sidecar could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("forwarding a port: {0}")]
    Forward(#[from] kube::Error),
    #[error("asking: {0}")]
    Ask(#[from] std::io::Error),
    #[error("no answer within {PATIENCE:?}")]
    Late,
    #[error("the answer is none: {0}")]
    Answer(String),
}

/// What a sidecar answers at a path.
pub(super) async fn get(pods: &Api<Pod>, pod: &str, path: &str) -> Result<String, Error> {
    timeout(PATIENCE, ask(pods, pod, path)).await.map_err(|_| Error::Late)?
}

async fn ask(pods: &Api<Pod>, pod: &str, path: &str) -> Result<String, Error> {
    let mut forwarder = pods.portforward(pod, &[ADMIN_PORT]).await?;
    let none = || Error::Answer("the port was not forwarded".to_owned());
    let mut stream = forwarder.take_stream(ADMIN_PORT).ok_or_else(none)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: sidecar\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).await?;
    body(&String::from_utf8_lossy(&answer)).map_err(Error::Answer)
}

/// The body of an answer that is a good one.
fn body(answer: &str) -> Result<String, String> {
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("it broke off")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status == "200" { Ok(body.to_owned()) } else { Err(format!("HTTP {status}: {body}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_good_answer_has_a_body() {
        assert_eq!(body("HTTP/1.1 200 OK\r\na: b\r\n\r\n{}").as_deref(), Ok("{}"));
        assert!(body("HTTP/1.1 403 Forbidden\r\n\r\nno").is_err());
        assert!(body("HTTP/1.1 200 OK\r\n").is_err());
    }
}
