//! Bowline's own answers: short, in the form the client prefers, with the reason in
//! `Proxy-Status` (RFC 9209).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::error::Failure;

/// What a client is told that asks what it may ask.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");

/// A request that Bowline answers itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What went wrong.
    pub(super) failure: Failure,
    /// A sentence for the client; of Bowline's own words only.
    pub(super) detail: Option<Cow<'static, str>>,
    /// The connection cannot go on: framing in doubt, or a body that nobody will read.
    pub(super) close: bool,
    /// It may be worth a new try after so long.
    pub(super) after: Duration,
}

impl Refusal {
    /// A refusal without detail that leaves the connection open.
    pub(super) fn new(failure: Failure) -> Self {
        Self { failure, detail: None, close: false, after: Duration::ZERO }
    }

    /// Says more precisely why.
    pub(super) fn because(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Says when a new try may be worth it, where the failure's answer says so at all.
    pub(super) fn retry_after(mut self, after: Duration) -> Self {
        self.after = after;
        self
    }

    /// Closes the connection behind the answer.
    pub(super) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The answer, in the form that `Accept` prefers.
    pub(super) fn answer(
        &self,
        accept: Option<&HeaderValue>,
        pseudonym: &HeaderValue,
    ) -> Response<Bytes> {
        let status = self.failure.status();
        let (form, body) = self.body(accept);
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(value) = HeaderValue::from_str(&self.proxy_status(pseudonym)) {
            headers.insert(PROXY_STATUS, value);
        }
        match self.failure {
            Failure::UpgradeVersion => {
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            }
            Failure::MethodRefused => {
                headers.insert(ALLOW, HeaderValue::from_static(METHODS));
            }
            Failure::Draining
            | Failure::NoEndpoint
            | Failure::UpgradeRate
            | Failure::UpgradesInProgress
            | Failure::UpstreamFull
            | Failure::BreakerOpen => {
                let random = getrandom::u32().unwrap_or_default();
                headers.insert(RETRY_AFTER, HeaderValue::from(pause(self.after, random)));
            }
            _ => {}
        }
        if self.close {
            headers.append(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn proxy_status(&self, pseudonym: &HeaderValue) -> String {
        let name = pseudonym.to_str().unwrap_or("bowline");
        let mut value = format!("{name}; error={}", self.failure.proxy_status());
        if let Some(detail) = &self.detail {
            // A structured-field string (RFC 8941): ASCII, quotes and backslashes escaped.
            let detail = detail.replace(|c: char| !(' '..='~').contains(&c), "?");
            let detail = detail.replace('\\', "\\\\").replace('"', "\\\"");
            write!(value, "; details=\"{detail}\"").ok();
        }
        value
    }

    fn body(&self, accept: Option<&HeaderValue>) -> (&'static str, String) {
        let status = self.failure.status();
        let reason = status.canonical_reason().unwrap_or_default();
        let detail = self.detail.as_deref().unwrap_or(reason);
        match Form::preferred(accept) {
            Form::Text => {
                ("text/plain; charset=utf-8", format!("{} {reason}: {detail}\n", status.as_u16()))
            }
            Form::Json => {
                let body = serde_json::json!({
                    "status": status.as_u16(),
                    "error": self.failure.label(),
                    "detail": detail,
                });
                ("application/json", format!("{body}\n"))
            }
            Form::Html => {
                let detail = detail.replace('&', "&amp;").replace('<', "&lt;");
                let title = format!("{} {reason}", status.as_u16());
                let body = format!(
                    "<!doctype html><meta charset=utf-8><title>{title}</title>\
                     <body style=\"font:1rem system-ui;margin:3rem\"><h1>{title}</h1><p>{detail}</p>\n"
                );
                ("text/html; charset=utf-8", body)
            }
        }
    }
}

/// When to come back, in seconds: not before `after`, and not all at the same second; the longer
/// the wait, the more have it, and the wider they are spread.
fn pause(after: Duration, random: u32) -> u64 {
    /// A client that waits longer than a day is one that never comes.
    const LONGEST: u64 = 86_400;
    let least = after.as_millis().div_ceil(1000).max(1);
    let least = u64::try_from(least).unwrap_or(LONGEST).min(LONGEST);
    least.saturating_add(u64::from(random) % least.max(5))
}

/// The answer to an OPTIONS request that goes no further.
pub(super) fn options() -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

/// The answer to a preflight that says this (Fetch standard, section 3.2.2).
pub(super) fn preflight(fields: HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = fields;
    response
}

/// An answer as bytes, for a connection that hyper has given up already.
pub(super) fn to_bytes(answer: &Response<Bytes>) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {}\r\n", answer.status()).into_bytes();
    for (name, value) in answer.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", answer.body().len()).as_bytes());
    bytes.extend_from_slice(answer.body());
    bytes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Json,
    Html,
}

impl Form {
    /// The first of the three that `Accept` names with the highest weight; text otherwise.
    fn preferred(accept: Option<&HeaderValue>) -> Self {
        let Some(accept) = accept.and_then(|accept| accept.to_str().ok()) else {
            return Self::Text;
        };
        let mut best = (Self::Text, 0.0);
        for range in accept.split(',') {
            let mut parameters = range.split(';').map(str::trim);
            let form = match parameters.next() {
                Some("text/html" | "application/xhtml+xml") => Self::Html,
                Some("application/json" | "application/problem+json") => Self::Json,
                Some("text/plain") => Self::Text,
                _ => continue,
            };
            let weight = parameters
                .find_map(|parameter| parameter.strip_prefix("q=")?.parse::<f32>().ok())
                .unwrap_or(1.0);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_accept_and_its_weights() {
        for (accept, form) in [
            ("text/html,application/xhtml+xml,*/*;q=0.8", Form::Html),
            ("application/json", Form::Json),
            ("text/html;q=0.2, application/json;q=0.9", Form::Json),
            ("*/*", Form::Text),
            ("", Form::Text),
            ("image/png, text/plain;q=0.1", Form::Text),
        ] {
            assert_eq!(Form::preferred(Some(&HeaderValue::from_static(accept))), form, "{accept}");
        }
    }

    #[test]
    fn the_reason_is_in_proxy_status_and_quoted() {
        let refusal = Refusal::new(Failure::BadRequest).because("a \"b\" \\ c\u{e9}");
        let answer = refusal.answer(None, &HeaderValue::from_static("edge"));
        assert_eq!(
            answer.headers()["proxy-status"],
            "edge; error=http_request_error; details=\"a \\\"b\\\" \\\\ c?\""
        );
    }

    #[test]
    fn a_wrong_version_is_told_the_right_one() {
        let answer = Refusal::new(Failure::UpgradeVersion)
            .answer(None, &HeaderValue::from_static("bowline"));
        assert_eq!(answer.status(), 426);
        assert_eq!(answer.headers()["sec-websocket-version"], "13");
        assert_eq!(answer.headers()["upgrade"], "websocket");
    }

    #[test]
    fn who_shall_come_back_is_told_a_second_between_the_wait_and_twice_that() {
        let millis = Duration::from_millis;
        assert_eq!((pause(millis(0), 0), pause(millis(0), 4), pause(millis(0), 5)), (1, 5, 1));
        assert_eq!((pause(millis(2001), 0), pause(millis(20_000), 19)), (3, 39));
        assert!(pause(Duration::MAX, u32::MAX) < 2 * 86_400);
    }
}
