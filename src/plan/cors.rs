//! Which pages of other origins may read a route's answers, as field values that are ready to be sent.

use http::{HeaderName, HeaderValue, Method};

use super::{OriginRule, Origins};
use crate::config::{self, At, Mistakes, OneOrMany};

/// A route's policy of cross-origin resource sharing.
#[derive(Clone, Debug)]
pub struct Cors {
    /// Whose pages.
    pub origins: Origins,
    /// `Access-Control-Allow-Methods`.
    pub methods: Names,
    /// `Access-Control-Allow-Headers`.
    pub headers: Names,
    /// `Access-Control-Expose-Headers`.
    pub expose: Option<HeaderValue>,
    /// Whether credentials may be sent along.
    pub credentials: bool,
    /// `Access-Control-Max-Age`, in seconds.
    pub max_age: Option<HeaderValue>,
}

/// What a preflight may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Whatever it asks for. The wildcard of the standard covers neither credentials nor
    /// `Authorization`; the names themselves do.
    Any,
    /// These; `None` for none.
    Listed(Option<HeaderValue>),
}

impl Cors {
    pub(super) fn build(
        written: &config::Cors,
        methods: &[Method],
        at: &At,
        mistakes: &mut Mistakes,
    ) -> Self {
        let origins = match &written.origins {
            Some(list) => {
                let otherwise = "origins such as https://app.example.com";
                Origins::read(list, &at.key("origins"), otherwise, mistakes)
            }
            None => {
                mistakes.add(at, "whose pages? Write `origins: [ https://app.example.com ]`");
                Origins::Listed(Vec::new())
            }
        };
        if matches!(&origins, Origins::Listed(rules) if rules.contains(&OriginRule::Same)) {
            let what = "`same` needs no CORS: list the other origins";
            mistakes.add(&at.key("origins"), what);
        }
        let credentials = written.credentials.0;
        if credentials && origins == Origins::Any {
            mistakes.add(
                &at.key("credentials"),
                "with `origins: any` every page could read what its visitor may: list the origins",
            );
        }
        if !methods.is_empty() && !methods.contains(&Method::OPTIONS) {
            mistakes.add(
                at,
                "preflights are OPTIONS requests, which the `method` of this route keeps out: add OPTIONS",
            );
        }
        let expose = names(written.expose.as_ref(), &at.key("expose"), mistakes, is_header);
        if credentials && expose == Names::Any {
            let what = "with `credentials` browsers take no wildcard here: list the headers";
            mistakes.add(&at.key("expose"), what);
        }
        let methods = match &written.methods {
            None => Names::Listed(Some(HeaderValue::from_static("GET, HEAD, POST"))),
            methods => names(methods.as_ref(), &at.key("methods"), mistakes, is_method),
        };
        Self {
            origins,
            methods,
            headers: names(written.headers.as_ref(), &at.key("headers"), mistakes, is_header),
            expose: match expose {
                Names::Any => Some(HeaderValue::from_static("*")),
                Names::Listed(listed) => listed,
            },
            credentials,
            max_age: written.max_age.map(|age| HeaderValue::from(age.0.as_secs())),
        }
    }
}

fn is_header(name: &str) -> Option<&'static str> {
    HeaderName::from_bytes(name.as_bytes()).is_err().then_some("a header, such as X-Request-Id")
}

/// Methods are compared to the letter, and but for a few in capitals.
fn is_method(name: &str) -> Option<&'static str> {
    let is = Method::from_bytes(name.as_bytes()).is_ok() && name == name.to_ascii_uppercase();
    (!is).then_some("a method in capitals, such as PUT")
}

/// Reads a list of names; `wrong` says what one should have been.
fn names(
    written: Option<&OneOrMany>,
    at: &At,
    mistakes: &mut Mistakes,
    wrong: impl Fn(&str) -> Option<&'static str>,
) -> Names {
    let Some(OneOrMany(words)) = written else { return Names::Listed(None) };
    if words.iter().any(|word| word == "any") {
        if words.len() > 1 {
            mistakes.add(at, "`any` takes every one: keep it alone, or remove it");
        }
        return Names::Any;
    }
    for (index, word) in words.iter().enumerate() {
        if let Some(wanted) = if word == "*" { Some("a name; write `any`") } else { wrong(word) } {
            mistakes.add(&at.index(index), format!("`{word}` is not {wanted}"));
        }
    }
    let listed = (!words.is_empty()).then(|| HeaderValue::from_str(&words.join(", ")).ok());
    Names::Listed(listed.flatten())
}
