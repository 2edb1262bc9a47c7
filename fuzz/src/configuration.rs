//! A configuration file, of whatever bytes: every mistake has a place, and what has none can be
//! served.

use std::path::Path;

use bowline::config;
use bowline::plan::Plan;

/// Reads and plans `data`.
pub fn check(data: &[u8]) {
    mistakes(data);
}

/// How many mistakes `data` has; none for what is not text.
pub fn mistakes(data: &[u8]) -> usize {
    // The file reader refuses other bytes by their line.
    let Ok(text) = std::str::from_utf8(data) else { return 0 };
    let variable = |name: &str| (name.len() < 8).then(|| format!("127.0.0.1:{}", name.len()));
    let (config, mut mistakes) = config::parse("file", text, &variable);
    let plan = Plan::build(&config, Path::new("/etc/bowline"), &mut mistakes);

    let told = mistakes.to_string();
    // YAML 1.1 has more line ends than `lines` knows.
    let ends = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    // What is missing at the end may be told for the line behind it.
    let lines = text.chars().filter(|c| ends(*c)).count() + 2;
    for line in told.lines() {
        let mut parts = line.splitn(4, ':');
        assert_eq!(parts.next(), Some("file"), "{line}");
        let mut number = || parts.next().and_then(|part| part.parse::<usize>().ok()).unwrap_or(0);
        let (row, column) = (number(), number());
        assert!((1..=lines).contains(&row), "line {row} of {lines}: {line}");
        assert!(column >= 1, "{line}");
        assert!(line.len() > "file:1:1: ".len(), "{line}");
    }
    assert_eq!(told.lines().count(), mistakes.len(), "one line a mistake:\n{told}");

    if mistakes.is_empty() {
        assert!(!plan.listeners.is_empty() && plan.workers >= 1);
        assert!(!plan.routes.all().is_empty());
        for route in plan.routes.all() {
            let upstream = plan.upstream_of(route);
            let upstream = upstream.unwrap_or_else(|| panic!("{} leads nowhere", route.name));
            // A built-in one finds its address when it starts.
            assert_eq!(upstream.builtin.is_some(), upstream.endpoints.is_empty());
        }
    }
    mistakes.len()
}
