//! Asks API discovery for all groups at once.

use axum::body::to_bytes;
use axum::http::{Request, Response, StatusCode, header};
use kube::Client;
use kube::client::Body;
use kube::core::discovery::v2::APIGroupDiscoveryList;

/// One answer for all groups, versions and resources; Kubernetes has it since 1.30.
const ACCEPT: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The most that is read of an answer; ten thousand kinds need about 5 MiB.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// Why it is not known what is served.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("no answer")]
    Call(#[from] kube::Error),
    #[error("the API server answered {0}")]
    Status(StatusCode),
    #[error("the answer breaks off, or exceeds {MAX_ANSWER} bytes")]
    Body(#[source] axum::Error),
    #[error("the answer is no APIGroupDiscoveryList")]
    Parse(#[from] serde_json::Error),
}

/// What API discovery answered.
#[derive(Debug)]
pub(super) enum Discovered {
    /// The same as before.
    Same,
    Changed(APIGroupDiscoveryList),
}

/// Remembers the last answer by its ETag.
#[derive(Debug, Default)]
pub(super) struct Discovery {
    etag: Option<header::HeaderValue>,
}

impl Discovery {
    pub(super) async fn ask(&mut self, client: &Client) -> Result<Discovered, Error> {
        let answer = client.send(self.request()?).await?;
        match answer.status() {
            StatusCode::NOT_MODIFIED => return Ok(Discovered::Same),
            StatusCode::OK => {}
            status => return Err(Error::Status(status)),
        }
        let etag = answer.headers().get(header::ETAG).cloned();
        let list = read(answer).await?;
        self.etag = etag;
        Ok(Discovered::Changed(list))
    }

    fn request(&self) -> Result<Request<Body>, kube::Error> {
        let mut request = Request::get("/apis").header(header::ACCEPT, ACCEPT);
        if let Some(etag) = &self.etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        request.body(Body::empty()).map_err(kube::Error::HttpError)
    }
}

async fn read(answer: Response<Body>) -> Result<APIGroupDiscoveryList, Error> {
    let body = axum::body::Body::new(answer.into_body());
    let bytes = to_bytes(body, MAX_ANSWER).await.map_err(Error::Body)?;
    Ok(serde_json::from_slice(&bytes)?)
}
