//! The fields of a request on its way to an upstream.

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

/// What the client said, and beside it what Bowline adds: in the client's map it would make that
/// grow, which costs more than all else that is done to a head.
#[derive(Debug, Default)]
pub(super) struct OutboundFields {
    /// The client's own.
    pub(super) said: HeaderMap,
    added: Vec<(HeaderName, HeaderValue)>,
}

impl OutboundFields {
    /// Begins with what the client said.
    pub(super) fn new(said: HeaderMap) -> Self {
        Self { said, added: Vec::with_capacity(8) }
    }

    /// Adds an element to a list; several lines of a list field become one.
    pub(super) fn append(&mut self, name: HeaderName, element: HeaderValue) {
        if !self.said.contains_key(&name) {
            self.added.push((name, element));
            return;
        }
        let mut list = Vec::new();
        for line in self.said.get_all(&name) {
            list.extend_from_slice(line.as_bytes());
            list.extend_from_slice(b", ");
        }
        list.extend_from_slice(element.as_bytes());
        if let Ok(list) = HeaderValue::from_maybe_shared(bytes::Bytes::from(list)) {
            self.said.insert(name, list);
        }
    }

    /// Adds a field that the client has not said.
    pub(super) fn add(&mut self, name: HeaderName, value: HeaderValue) {
        self.added.push((name, value));
    }

    /// Adds a field unless the client said it; what it said can be changed.
    pub(super) fn or_add(
        &mut self,
        name: HeaderName,
        value: impl FnOnce() -> Option<HeaderValue>,
    ) -> Option<&mut HeaderValue> {
        let said = self.said.get_mut(&name);
        if said.is_none()
            && let Some(value) = value()
        {
            self.added.push((name, value));
        }
        said
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.said.iter().chain(self.added.iter().map(|(name, value)| (name, value)))
    }
}
