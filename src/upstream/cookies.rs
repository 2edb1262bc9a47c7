//! Bowline's own cookie: which endpoint a client belongs to, as a name that tells the client
//! nothing and a seal that it cannot make.

use std::fmt::Write as _;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use data_encoding::BASE64URL_NOPAD;
use http::{HeaderMap, HeaderValue};

use crate::config::SameSite;
use crate::fields;
use crate::plan;

/// Bytes of an endpoint's name: enough that no two of an upstream are alike.
const NAME: usize = 8;

/// Bytes of the seal: 128 bits of HMAC-SHA256, which nobody guesses.
const SEAL: usize = 16;

/// Both in base64, without padding.
const WRITTEN: usize = 32;

/// The cookies of one upstream, all made beforehand: a request costs a look-up, not a signature.
#[derive(Debug)]
pub(super) struct Cookies {
    name: String,
    /// By name.
    known: Vec<Known>,
    /// What is set, by index: plain, and over TLS.
    values: Vec<Option<[HeaderValue; 2]>>,
}

#[derive(Debug)]
struct Known {
    name: [u8; NAME],
    seal: [u8; SEAL],
    index: usize,
}

impl Cookies {
    /// Of the upstream `upstream`, whose endpoints have these labels. `secret` signs them.
    pub(super) fn new(
        plan: &plan::Cookie,
        secret: &[u8],
        upstream: &str,
        endpoints: &[plan::Endpoint],
    ) -> Self {
        let key = Key::new(HMAC_SHA256, secret);
        // A zero byte stands in no label and in no name of an upstream that means another one.
        let tag = |what: &str, of: &[u8]| {
            sign(&key, &[what.as_bytes(), upstream.as_bytes(), of].join(&0))
        };
        let mut known = Vec::new();
        let mut values = Vec::new();
        for (index, endpoint) in endpoints.iter().enumerate() {
            let name: [u8; NAME] = first(tag("endpoint", endpoint.label.as_bytes()).as_ref());
            let seal: [u8; SEAL] = first(tag("seal", &name).as_ref());
            let written = BASE64URL_NOPAD.encode(&[&name[..], &seal[..]].concat());
            let value = |tls| HeaderValue::try_from(line(plan, &written, tls)).ok();
            values.push(value(false).zip(value(true)).map(|(plain, tls)| [plain, tls]));
            known.push(Known { name, seal, index });
        }
        known.sort_unstable_by_key(|one| one.name);
        Self { name: plan.name.clone(), known, values }
    }

    /// The index of the endpoint that a client's cookie names. What was not signed here is as good as
    /// no cookie.
    pub(super) fn read(&self, headers: &HeaderMap) -> Option<usize> {
        fields::cookies(headers, &self.name).find_map(|value| self.judge(value))
    }

    fn judge(&self, value: &[u8]) -> Option<usize> {
        if value.len() != WRITTEN {
            return None;
        }
        let mut bytes = [0; NAME + SEAL];
        BASE64URL_NOPAD.decode_mut(value, &mut bytes).ok()?;
        let (name, seal) = bytes.split_first_chunk::<NAME>()?;
        // How long the search takes tells something of names, which are no secret; the comparison
        // of seals tells nothing.
        let place = self.known.binary_search_by_key(name, |one| one.name).ok()?;
        let known = self.known.get(place)?;
        verify_slices_are_equal(&known.seal, seal).ok()?;
        Some(known.index)
    }

    /// The `Set-Cookie` that names an endpoint.
    pub(super) fn set(&self, index: usize, tls: bool) -> Option<HeaderValue> {
        let [plain, secure] = self.values.get(index)?.as_ref()?;
        Some(if tls { secure.clone() } else { plain.clone() })
    }
}

fn line(plan: &plan::Cookie, value: &str, tls: bool) -> String {
    let same_site = match (plan.same_site, tls) {
        (SameSite::Strict, _) => "Strict",
        (SameSite::None, true) => "None",
        // Browsers throw away `None` without `Secure`.
        (SameSite::Lax, _) | (SameSite::None, false) => "Lax",
    };
    let mut line = format!("{}={value}; Path=/; HttpOnly; SameSite={same_site}", plan.name);
    if tls {
        line.push_str("; Secure");
    }
    if let Some(age) = plan.max_age {
        // Writing to a String cannot fail.
        write!(line, "; Max-Age={}", age.as_secs()).ok();
    }
    line
}

/// The first bytes of a tag, which is longer.
fn first<const N: usize>(tag: &[u8]) -> [u8; N] {
    tag.first_chunk().copied().unwrap_or([0; N])
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::header::COOKIE;
    use proptest::prelude::*;

    use super::*;

    fn endpoints(labels: &[&str]) -> Vec<plan::Endpoint> {
        labels.iter().map(|label| plan::Endpoint::parse(label).unwrap()).collect()
    }

    fn plan(same_site: SameSite, max_age: Option<Duration>) -> plan::Cookie {
        plan::Cookie { name: "stick".to_owned(), max_age, same_site, secret: None }
    }

    fn made(secret: &[u8], upstream: &str, labels: &[&str]) -> Cookies {
        Cookies::new(&plan(SameSite::Lax, None), secret, upstream, &endpoints(labels))
    }

    /// What a client would send back.
    fn sent(cookies: &Cookies, index: usize) -> HeaderMap {
        let set = cookies.set(index, false).unwrap();
        let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        HeaderMap::from_iter([(
            COOKIE,
            HeaderValue::try_from(format!("a=b; {pair}; c=d")).unwrap(),
        )])
    }

    #[test]
    fn what_was_set_is_read_back_by_every_bowline_with_the_secret() {
        let here = made(b"secret", "chat", &["10.0.0.1:1", "10.0.0.2:1"]);
        // The same endpoints in another order, and one more.
        let there = made(b"secret", "chat", &["10.0.0.3:1", "10.0.0.2:1", "10.0.0.1:1"]);
        assert_eq!(here.read(&sent(&here, 1)), Some(1));
        assert_eq!(there.read(&sent(&here, 0)), Some(2));
        assert_eq!(here.read(&sent(&there, 0)), None, "an endpoint that is not there");
    }

    #[test]
    fn another_secret_and_another_upstream_are_as_good_as_no_cookie() {
        let here = made(b"secret", "chat", &["10.0.0.1:1"]);
        assert_eq!(here.read(&sent(&made(b"other", "chat", &["10.0.0.1:1"]), 0)), None);
        assert_eq!(here.read(&sent(&made(b"secret", "web", &["10.0.0.1:1"]), 0)), None);
        assert_eq!(here.read(&HeaderMap::new()), None);
    }

    #[test]
    fn every_changed_letter_spoils_it_and_the_address_is_not_in_it() {
        let cookies = made(b"secret", "chat", &["10.0.0.1:1"]);
        let set = cookies.set(0, false).unwrap();
        let value = set.to_str().unwrap().split(['=', ';']).nth(1).unwrap();
        assert_eq!(cookies.judge(value.as_bytes()), Some(0));
        assert_eq!(value.len(), WRITTEN);
        for at in 0..value.len() {
            let mut forged = value.as_bytes().to_vec();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(cookies.judge(&forged), None, "{at}");
        }
    }

    #[test]
    fn its_attributes_follow_the_plan_and_tls() {
        let set = |same_site, age, tls| {
            let plan = plan(same_site, age);
            let cookies = Cookies::new(&plan, b"secret", "chat", &endpoints(&["10.0.0.1:1"]));
            let set = cookies.set(0, tls).unwrap().to_str().unwrap().to_owned();
            set.split_once("; ").unwrap().1.to_owned()
        };
        assert_eq!(set(SameSite::Lax, None, false), "Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(set(SameSite::None, None, false), "Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(set(SameSite::None, None, true), "Path=/; HttpOnly; SameSite=None; Secure");
        assert_eq!(
            set(SameSite::Strict, Some(Duration::from_secs(3600)), true),
            "Path=/; HttpOnly; SameSite=Strict; Secure; Max-Age=3600"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_client_pass_for_a_cookie(value: Vec<u8>) {
            prop_assert_eq!(made(b"secret", "chat", &["10.0.0.1:1"]).judge(&value), None);
        }
    }
}
