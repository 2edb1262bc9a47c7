//! Stage 2: bytes become one judged request. hyper and h2 parse; here a head is made to mean one thing,
//! a route is found, the request is forwarded or its upgrade is carried through to the 101.

mod account;
mod carried;
mod client_answer;
mod client_body;
mod client_task;
mod connection;
mod connection_auth;
mod dialling;
mod entry;
mod forward;
mod forwarded;
mod front;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guarded;
mod handshake;
mod head;
mod http2;
mod hygiene;
mod identity;
mod ledger;
mod outbound_fields;
mod part;
mod path;
mod preview;
mod provenance;
mod reply;
mod request_body;
mod response_body;
mod service;
mod timer;
mod upgrade;
mod worker;

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;

pub use self::client_task::{Carriage, ClientTask};
pub use self::connection::{Arrival, ClientStream, serve, turn_away};
pub use self::http2::serve as serve_http2;
pub use self::identity::{ClientCertificate, Identity};
pub use self::part::Part;
pub use self::preview::{Preview, Verdict, Visitor, preview};
pub use self::worker::{Snapshot, Worker};

/// The target as an upstream expects it: path and query only (RFC 9112 section 3.2.1).
fn origin_form(uri: &Uri) -> Cow<'_, str> {
    match uri.path_and_query().map_or("", PathAndQuery::as_str) {
        // Absolute-form may go without a path.
        target if target.is_empty() || target.starts_with('?') => Cow::Owned(format!("/{target}")),
        target => Cow::Borrowed(target),
    }
}
