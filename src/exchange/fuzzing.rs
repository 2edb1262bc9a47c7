//! A door for the fuzz targets to what is private here; with the feature `fuzzing` only, and no
//! promise to anybody.

use http::header::{SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL};
use http::{HeaderMap, HeaderValue, Request};

use super::hygiene::ConnectionOptions;
use super::path;
use super::upgrade::UpgradeRequest;

/// A client's handshake, whose answer can be checked.
#[derive(Debug)]
pub struct Offer(UpgradeRequest);

impl Offer {
    /// A handshake with this key and these lists, each left out when empty; `None` when it is wrong.
    pub fn new(
        key: &'static str,
        protocols: &'static str,
        extensions: &'static str,
    ) -> Option<Self> {
        let (mut parts, ()) = Request::builder()
            .header("upgrade", "websocket")
            .header("connection", "Upgrade")
            .header("sec-websocket-version", "13")
            .body(())
            .ok()?
            .into_parts();
        let fields = [
            (SEC_WEBSOCKET_KEY, key),
            (SEC_WEBSOCKET_PROTOCOL, protocols),
            (SEC_WEBSOCKET_EXTENSIONS, extensions),
        ];
        for (name, value) in fields.into_iter().filter(|(_, value)| !value.is_empty()) {
            parts.headers.insert(name, HeaderValue::from_static(value));
        }
        let options = ConnectionOptions::read(&parts.headers).ok()?;
        UpgradeRequest::parse(&parts, &options).ok().flatten().map(Self)
    }

    /// Checks a 101's headers.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self, answer: &HeaderMap) -> Result<(), &'static str> {
        self.0.check(answer)
    }
}

/// The normal form of a path, and what some servers take that for; `None` when it is refused.
pub fn readings(path: &str, merge_slashes: bool) -> Option<(String, Option<String>)> {
    let normal = path::normal(path, merge_slashes).ok()?;
    let other = path::other_reading(&normal).ok()?;
    Some((normal.into_owned(), other))
}
