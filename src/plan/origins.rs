//! Which pages are let in: the origins of a route's `origins`, or of its `cors.origins`.

use crate::config::{At, Mistakes, OneOrMany, OriginMode};
use crate::origin::{Origin, Site};

/// Whose pages may open WebSockets, and what happens to others.
#[derive(Clone, Debug)]
pub struct OriginPolicy {
    /// Whose.
    pub origins: Origins,
    /// Others are told of and let through.
    pub reports: bool,
}

/// A set of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every one, and what is none.
    Any,
    /// Those that one of these takes.
    Listed(Vec<OriginRule>),
}

/// One entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OriginRule {
    /// That of the request itself.
    Same,
    /// `null`.
    Null,
    /// This one.
    Exact(Site),
    /// One label before this one's host.
    Below(Site),
}

impl OriginPolicy {
    /// Resolves a route's `origins` and `origin_mode`; the default lets in pages of the same origin.
    pub(super) fn build(
        written: Option<&OneOrMany>,
        mode: OriginMode,
        at: &At,
        mistakes: &mut Mistakes,
    ) -> Self {
        let reports = mode == OriginMode::Report;
        let Some(written) = written else { return Self { reports, ..Self::default() } };
        let otherwise = "`same` for the request's own origin";
        Self { origins: Origins::read(written, at, otherwise, mistakes), reports }
    }
}

/// Pages of the same origin, enforced.
impl Default for OriginPolicy {
    fn default() -> Self {
        Self { origins: Origins::Listed(vec![OriginRule::Same]), reports: false }
    }
}

impl Origins {
    /// Reads a list; `otherwise` is what an empty one is told to write.
    pub(super) fn read(
        written: &OneOrMany,
        at: &At,
        otherwise: &str,
        mistakes: &mut Mistakes,
    ) -> Self {
        let words = written.0.as_slice();
        if words.is_empty() {
            mistakes.add(at, format!("no origin is listed: write {otherwise}, or `any`"));
        }
        if words.iter().any(|word| word == "any") {
            if words.len() > 1 {
                mistakes.add(at, "`any` takes every origin: keep it alone, or remove it");
            }
            return Self::Any;
        }
        let mut rules = Vec::new();
        for (index, word) in words.iter().enumerate() {
            match rule(word) {
                Ok(rule) => rules.push(rule),
                Err(what) => mistakes.add(&at.index(index), what),
            }
        }
        Self::Listed(rules)
    }
}

fn rule(word: &str) -> Result<OriginRule, String> {
    match word {
        "same" => return Ok(OriginRule::Same),
        "*" => return Err("`*` is not an origin: write `any` to let every page in".to_owned()),
        _ => {}
    }
    if word.starts_with("ws://") || word.starts_with("wss://") {
        return Err(format!(
            "`{word}` is a socket's address: an origin is the page's, write `{}`",
            word.replacen("ws", "http", 1)
        ));
    }
    let bare = word.replacen("://*.", "://", 1);
    match Origin::parse(&bare) {
        Some(Origin::Null) if word == "null" => Ok(OriginRule::Null),
        Some(Origin::Null) => Err(format!("`{word}` stands for no one page: write `null`")),
        Some(Origin::Site(site)) if bare == word => Ok(OriginRule::Exact(site)),
        Some(Origin::Site(site)) => Ok(OriginRule::Below(site)),
        None => Err(format!(
            "`{word}` is not an origin: write https://chat.example.com without a path, \
             https://*.example.com for one label, `null`, `same` or `any`"
        )),
    }
}

impl std::fmt::Display for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Listed(rules) = self else { return f.write_str("any") };
        for (index, rule) in rules.iter().enumerate() {
            if index > 0 {
                f.write_str(", ")?;
            }
            match rule {
                OriginRule::Same => f.write_str("same")?,
                OriginRule::Null => f.write_str("null")?,
                OriginRule::Exact(site) => write!(f, "{site}")?,
                OriginRule::Below(site) => {
                    f.write_str(&site.to_string().replacen("://", "://*.", 1))?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &[&str]) -> (Origins, String) {
        let mut mistakes = Mistakes::new("file");
        let words = OneOrMany(words.iter().map(|word| (*word).to_owned()).collect());
        let at = At::root().key("origins");
        let origins = Origins::read(&words, &at, "`same`", &mut mistakes);
        (origins, mistakes.to_string())
    }

    #[test]
    fn lists_are_kept_in_the_form_that_is_compared() {
        for (written, shown) in [
            (&["same"][..], "same"),
            (&["any"], "any"),
            (&["HTTPS://Chat.Example.com:443"], "https://chat.example.com"),
            (&["https://*.example.com:8443"], "https://*.example.com:8443"),
            (&["same", "null", "http://[::1]:80"], "same, null, http://[::1]"),
            (&["capacitor://localhost"], "capacitor://localhost"),
        ] {
            let (origins, mistakes) = read(written);
            assert_eq!((origins.to_string().as_str(), mistakes.as_str()), (shown, ""));
        }
    }

    #[test]
    fn what_could_never_match_or_means_too_much_is_a_mistake() {
        for (written, told) in [
            (&[][..], "no origin is listed"),
            (&["*"], "write `any`"),
            (&["any", "https://a"], "keep it alone"),
            (&["wss://a.example"], "write `https://a.example`"),
            (&["ws://a"], "write `http://a`"),
            (&["file://"], "write `null`"),
            (&["a.example"], "is not an origin"),
            (&["https://a.example/"], "without a path"),
            (&["https://*"], "is not an origin"),
            (&["https://*.*.a"], "is not an origin"),
            (&["https://a.*.b"], "is not an origin"),
            (&["*://a"], "is not an origin"),
        ] {
            let (_, mistakes) = read(written);
            assert!(mistakes.contains(told), "{written:?}: {mistakes}");
        }
    }
}
