//! The account of one request: opened with its head, closed by its drop, wherever that happens,
//! and written down then: counters, and one access line.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{Method, StatusCode, Version};
use tokio::time::Instant;

use super::request_body::BodyStory;
use super::worker::Worker;
use crate::error::Failure;
use crate::generation::LiveRoute;
use crate::telemetry::access;

/// What is known of a request so far.
#[derive(Debug)]
pub(super) struct Account {
    worker: Rc<Worker>,
    pub(super) began: Instant,
    pub(super) route: Option<Arc<LiveRoute>>,
    pub(super) story: Option<Rc<BodyStory>>,
    status: Option<StatusCode>,
    failure: Option<Failure>,
    sent: u64,
    /// The answer's body has been produced whole.
    whole: bool,
    line: Option<Box<Line>>,
}

/// What only the access line needs; not kept when there is none.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) client: IpAddr,
    pub(super) certificate: Option<Arc<str>>,
    pub(super) method: Method,
    pub(super) host: String,
    pub(super) path: String,
    pub(super) version: Version,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) endpoint: Option<String>,
}

impl Account {
    /// Opens an account; `line` is asked for only when access lines are on.
    pub(super) fn open(worker: &Rc<Worker>, line: impl FnOnce() -> Line) -> Box<Self> {
        Box::new(Self {
            worker: Rc::clone(worker),
            began: Instant::now(),
            route: None,
            story: None,
            status: None,
            failure: None,
            sent: 0,
            whole: false,
            line: access::enabled().then(|| Box::new(line())),
        })
    }

    /// Adds to what the access line tells.
    pub(super) fn note(&mut self, add: impl FnOnce(&mut Line)) {
        if let Some(line) = &mut self.line {
            add(line);
        }
    }

    /// What the access line would tell.
    pub(super) fn line(&self) -> Option<&Line> {
        self.line.as_deref()
    }

    /// The answer's head is known.
    pub(super) fn answered(&mut self, status: StatusCode, failure: Option<Failure>) {
        self.status = Some(status);
        self.failure = failure;
    }

    /// Bytes of the answer's body went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes as u64);
    }

    /// The answer's body has been produced to its end.
    pub(super) fn is_whole(&mut self) {
        self.whole = true;
    }

    /// The request became a tunnel, which has access lines of its own.
    pub(super) fn becomes_tunnel(&mut self) {
        self.line = None;
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let took = self.began.elapsed();
        // No status: the client left before there was an answer (499 in nginx's words).
        let status = self.status;
        match &self.route {
            Some(route) => {
                let counters = route.counters.at(self.worker.id);
                if let Some(status) = status {
                    counters.count_status(status);
                    if status != StatusCode::SWITCHING_PROTOCOLS {
                        counters.request_seconds.observe(took);
                    }
                }
                if let Some(failure) = self.failure {
                    counters.count_failure(failure);
                }
            }
            None => {
                if let Some(failure) = self.failure {
                    self.worker.counters().count_failure(failure);
                }
            }
        }
        let Some(line) = &self.line else { return };
        access::request(&access::RequestLine {
            client: line.client,
            certificate: line.certificate.as_deref(),
            method: &line.method,
            host: &line.host,
            path: &line.path,
            version: line.version,
            status: status.map_or(0, |status| status.as_u16()),
            failure: self.failure,
            route: self.route.as_ref().map_or("", |route| &*route.name),
            upstream: line.upstream.as_deref().unwrap_or(""),
            endpoint: line.endpoint.as_deref(),
            bytes_in: self.story.as_ref().map_or(0, |story| story.received.get()),
            bytes_out: self.sent,
            took,
            first_byte: None,
            aborted: !self.whole,
        });
    }
}
