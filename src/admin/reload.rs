//! POST /reload: what SIGHUP does, with an answer.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;
use hyper::{Request, Response};
use tokio::sync::{mpsc, oneshot};

use super::answer::plain;

/// A reload that somebody asked for over HTTP.
#[derive(Debug)]
pub struct ReloadOrder {
    /// Only tell what would change.
    pub dry_run: bool,
    /// What has changed, or every mistake.
    pub answer: oneshot::Sender<Result<String, String>>,
}

/// Whether a request is one for this.
pub(super) fn is_reload<B>(request: &Request<B>) -> bool {
    request.uri().path() == "/reload" && request.method() == Method::POST
}

/// Has the configuration read again: 200 with what changed, 422 with the mistakes.
pub(super) async fn reload(
    query: Option<&str>,
    orders: &mpsc::Sender<ReloadOrder>,
) -> Response<Full<Bytes>> {
    let dry_run = query.is_some_and(|query| query.split('&').any(|one| one == "dry_run"));
    let (answer, answered) = oneshot::channel();
    let sent = orders.send(ReloadOrder { dry_run, answer }).await;
    match (sent, answered.await) {
        (Ok(()), Ok(Ok(report))) => plain(StatusCode::OK, report),
        (Ok(()), Ok(Err(mistakes))) => plain(StatusCode::UNPROCESSABLE_ENTITY, mistakes),
        // Nobody takes orders where there is no file to read.
        _ => plain(StatusCode::NOT_IMPLEMENTED, "this Bowline runs without a configuration file\n"),
    }
}
