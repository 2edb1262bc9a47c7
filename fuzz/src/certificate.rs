//! A client's certificate, as upstreams and the log are told of it: whatever stands in it, what is
//! told is one line of visible ASCII, and no name in it looks like two.

use bowline::accept::fuzzing::certificate;

/// Reads `data` as a certificate.
pub fn check(data: &[u8]) {
    let Some(told) = told(data) else { return };
    for text in [&told.0, &told.1] {
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text:?}");
    }
    for name in told.1.split(',').filter(|name| !name.is_empty()) {
        let (kind, value) = name.split_once(':').expect("a kind");
        assert!(["DNS", "URI", "email", "IP"].contains(&kind), "{name:?}");
        assert!(!value.contains(' '), "{name:?}");
    }
}

/// Subject and alternative names; `None` when it is none.
pub fn told(data: &[u8]) -> Option<(String, String)> {
    certificate(data)
}
