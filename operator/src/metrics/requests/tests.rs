use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::*;

/// A server that answers with a status, or not at all.
#[derive(Clone)]
struct Server(Option<u16>);

impl Service<Request<Body>> for Server {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Response<Body>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let answer = |code| Response::builder().status(code).body(Body::empty()).unwrap();
        std::future::ready(self.0.map(answer).ok_or("no connection"))
    }
}

fn told(requests: &ApiRequests) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    requests.register(&mut Book { registry: &mut registry, names: Vec::new() });
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[tokio::test]
async fn every_request_is_counted_with_what_came_of_it() {
    let requests = ApiRequests::default();
    for (code, times) in [(Some(200), 2), (Some(409), 1), (None, 1)] {
        let mut server = requests.layer(Server(code));
        for _ in 0..times {
            let request = Request::builder().method("PUT").uri("/api/v1/namespaces/a/secrets/b");
            let answered = server.call(request.body(Body::empty()).unwrap()).await;
            assert_eq!(answered.ok().map(|answer| answer.status().as_u16()), code);
        }
    }
    let text = told(&requests).unwrap();
    for (code, count) in [("200", 2), ("409", 1), ("error", 1)] {
        let line = format!(
            "countersign_api_requests_total{{verb=\"update\",resource=\"secrets\",code=\"{code}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{line}{text}");
    }
    let line = "countersign_api_request_duration_seconds_count{verb=\"update\"} 4\n";
    assert!(text.contains(line), "{text}");
}
