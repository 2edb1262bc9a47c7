//! One check of one endpoint, over a connection of its own. What is checked is a peer: every answer is
//! bounded, and the whole check by the time that its caller gives it.

mod answer;
pub(super) mod frames;
mod pong;

use std::fmt;

use data_encoding::BASE64;
use http::header::{
    ACCEPT, CONNECTION, HOST, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::Empty;
use tokio::io::AsyncWriteExt;

use bytes::Bytes;

use super::super::http1::{Connection, Framing, InFlight, request_head};
use super::super::{Endpoint, Upstream};
use super::is_local;
use crate::plan::{Probe, Question};
use crate::telemetry::CheckOutcome;

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// What is counted.
    pub(super) outcome: CheckOutcome,
    /// What is logged.
    pub(super) why: String,
}

impl Fault {
    pub(super) fn new(outcome: CheckOutcome, why: impl Into<String>) -> Self {
        Self { outcome, why: why.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// A request without a body, in flight.
type Asking = InFlight<Empty<Bytes>>;

/// Asks `endpoint` of `upstream` what `probe` says; a dial counts in the slot of `worker`. Has no end of its own: a peer may be as slow as it likes.
///
/// # Errors
/// What is wrong with the endpoint, or that it could not be asked.
pub(super) async fn check(
    upstream: &Upstream,
    endpoint: &Endpoint,
    probe: &Probe,
    worker: usize,
) -> Result<(), Fault> {
    let mut socket = upstream.dial(endpoint, worker).await.map_err(|error| {
        let outcome = if is_local(&error) { CheckOutcome::Local } else { CheckOutcome::Connect };
        Fault::new(outcome, format!("cannot connect: {error}"))
    })?;
    let preface = upstream.preface(|| None).unwrap_or_default();
    match probe {
        Probe::Tcp => {
            let said = socket.write_all(&preface).await;
            said.map_err(|error| Fault::new(CheckOutcome::Connect, format!("cut off: {error}")))
        }
        Probe::Http { question, status, body } => {
            let mut asking = ask(
                Connection::once(socket, preface),
                question,
                endpoint,
                &[(CONNECTION, "close")],
            );
            let head = answer::head(&mut asking).await?;
            answer::judge(&head, status, &question.header)?;
            match body {
                Some(text) => answer::contains(asking.into_body(false), text).await,
                None => Ok(()),
            }
        }
        Probe::WebSocket(question) => {
            // Without randomness it is still a key.
            let random = [getrandom::u64(), getrandom::u64()];
            let key = BASE64
                .encode(random.map(|part| part.unwrap_or_default().to_be_bytes()).as_flattened());
            let fields = [
                (CONNECTION, "Upgrade"),
                (UPGRADE, "websocket"),
                (SEC_WEBSOCKET_VERSION, "13"),
                (SEC_WEBSOCKET_KEY, &key),
            ];
            let mut asking = ask(Connection::once(socket, preface), question, endpoint, &fields);
            let head = answer::head(&mut asking).await?;
            answer::judge_switching(&head, &key, &question.header)?;
            let (socket, read_ahead) = asking.into_socket();
            pong::await_pong(socket, &read_ahead).await
        }
    }
}

/// The question on its way out.
fn ask(
    connection: Connection,
    question: &Question,
    endpoint: &Endpoint,
    own: &[(HeaderName, &str)],
) -> Asking {
    let mut fields = HeaderMap::new();
    let host = question.host.clone();
    if let Some(host) = host.or_else(|| HeaderValue::from_str(endpoint.host()).ok()) {
        fields.insert(HOST, host);
    }
    let agent = concat!("bowline/", env!("CARGO_PKG_VERSION"), " (health check)");
    fields.insert(USER_AGENT, HeaderValue::from_static(agent));
    fields.insert(ACCEPT, HeaderValue::from_static("*/*"));
    for (name, value) in &question.send {
        fields.insert(name, value.clone());
    }
    for (name, value) in own {
        if let Ok(value) = HeaderValue::from_str(value) {
            fields.insert(name, value);
        }
    }
    let head = request_head(&Method::GET, &question.path, fields.iter(), Framing::Empty);
    InFlight::new(connection, Method::GET, head, None, Framing::Empty)
}
