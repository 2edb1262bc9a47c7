//! Further files of one configuration: what `include` names, and how each is joined to the first.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{At, Config, Listener, Mistakes, OneOrMany, Route, Upstream};

/// What an included file may say: parts of lists, and no setting of the whole.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a mapping of settings")]
pub(super) struct Included {
    listeners: Vec<Listener>,
    routes: Vec<Route>,
    upstreams: BTreeMap<String, Upstream>,
}

/// The files that `patterns` in `file` name now, each pattern's in the order of their names. A pattern without
/// `*`, `?` or `[` names a file even where there is none.
///
/// # Errors
/// The index of a pattern that cannot be read, and why.
pub(super) fn matches(file: &Path, patterns: &OneOrMany) -> Result<Vec<PathBuf>, (usize, String)> {
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut files: Vec<PathBuf> = Vec::new();
    for (index, pattern) in patterns.0.iter().enumerate() {
        let path = folder.join(pattern);
        if !pattern.contains(['*', '?', '[']) {
            files.push(path);
            continue;
        }
        let wrong = |error: glob::PatternError| {
            (
                index,
                format!("`{pattern}` is not a pattern: {}; write conf.d/*.yaml, say", error.msg),
            )
        };
        // What lies in the folder's own name is no pattern.
        let escaped = Path::new(&glob::Pattern::escape(&folder.to_string_lossy())).join(pattern);
        // One that cannot be looked into is like one that is empty.
        let found = glob::glob(&escaped.to_string_lossy()).map_err(wrong)?.flatten();
        files.extend(found.filter(|found| found.is_file()));
    }
    let mut seen = Vec::new();
    files.retain(|one| {
        one != file && !seen.contains(one) && {
            seen.push(one.clone());
            true
        }
    });
    Ok(files)
}

/// All files of the configuration in `file`, which includes `patterns`.
pub fn files(file: &Path, patterns: &OneOrMany) -> Vec<PathBuf> {
    let mut files = vec![file.to_owned()];
    files.extend(matches(file, patterns).unwrap_or_default());
    files
}

impl Included {
    /// Adds this to `config`, with its own mistakes to those of `config`.
    pub(super) fn join(self, mut own: Mistakes, config: &mut Config, mistakes: &mut Mistakes) {
        let Self { listeners, routes, upstreams } = self;
        let lists = [
            ("listeners", config.listeners.len(), listeners.len()),
            ("routes", config.routes.len(), routes.len()),
        ];
        let at = At::root().key("upstreams");
        let mut twice = Vec::new();
        let mut names = Vec::new();
        config.listeners.extend(listeners);
        config.routes.extend(routes);
        for (name, upstream) in upstreams {
            match config.upstreams.entry(name) {
                Entry::Occupied(known) => twice.push(known.key().clone()),
                Entry::Vacant(free) => {
                    names.push(free.key().clone());
                    free.insert(upstream);
                }
            }
        }
        for name in twice {
            let what = format!("another file has an upstream `{name}` too: names must differ");
            own.add_at_key(&at.key(&name), what);
        }
        mistakes.include(own, &lists, names);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config::read;

    /// A folder of these files, which is gone with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path =
                std::env::temp_dir().join(format!("bowline-[{name}]-{}", std::process::id()));
            for (file, text) in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Self(path)
        }

        /// The whole configuration, and its mistakes without the folder's name.
        fn read(&self) -> (Config, String) {
            let (config, mistakes) = read(&self.0.join("main.yaml")).unwrap();
            (config, mistakes.to_string().replace(&format!("{}/", self.0.display()), ""))
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn lists_go_on_in_the_order_of_names_and_upstreams_are_joined() {
        let folder = Folder::new(
            "joined",
            &[
                (
                    "main.yaml",
                    "include: [ 'conf.d/*.yaml', more.yaml ]\nroutes: [ { upstream: a } ]\n",
                ),
                ("conf.d/2.yaml", "routes: [ { upstream: c } ]\nupstreams: { c: {} }\n"),
                ("conf.d/1.yaml", "routes: [ { upstream: b } ]\nupstreams: { b: {} }\n"),
                ("conf.d/notes.txt", "no YAML: {"),
                ("more.yaml", "listeners: [ { address: '127.0.0.1:1' } ]\n"),
            ],
        );
        let (config, mistakes) = folder.read();
        assert_eq!(mistakes, "");
        let routes: Vec<_> =
            config.routes.iter().filter_map(|one| one.upstream.as_deref()).collect();
        assert_eq!(routes, ["a", "b", "c"]);
        assert_eq!(config.upstreams.keys().collect::<Vec<_>>(), ["b", "c"]);
        assert_eq!(config.listeners.len(), 1);
        let files = files(&folder.0.join("main.yaml"), &config.include);
        let names: Vec<_> = files.iter().map(|one| one.strip_prefix(&folder.0).unwrap()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
    }

    #[test]
    fn a_mistake_is_told_in_the_file_in_which_it_is() {
        let folder = Folder::new(
            "wrong",
            &[
                (
                    "main.yaml",
                    "include: [ 'conf.d/*.yaml', none.yaml ]\nroutes: [ { upstream: a } ]\nupstreams: { b: {} }\n",
                ),
                (
                    "conf.d/1.yaml",
                    "routes:\n  - { upstream: x, timeouts: { idle: never } }\n  - { upstream: nobody }\nworkers: 2\n",
                ),
                ("conf.d/2.yaml", "upstreams:\n  b: {}\n  c: { endpoints: [ nowhere ] }\n"),
                ("conf.d/3.yaml", "upstreams: [\n"),
            ],
        );
        let (config, mut mistakes) = read(&folder.0.join("main.yaml")).unwrap();
        // As the plan would.
        let (routes, upstreams) = (At::root().key("routes"), At::root().key("upstreams"));
        mistakes.add(&routes.index(0).key("upstream"), "of the first");
        mistakes.add(&routes.index(2).key("upstream"), "of the second");
        mistakes.add(&upstreams.key("c").key("endpoints").index(0), "no port");
        mistakes.add(&At::root().key("listeners"), "no listeners");
        assert!(mistakes.covers(&upstreams.key("whatever")), "the third file may have it");
        assert_eq!(config.routes.len(), 3);
        let told = mistakes.to_string().replace(&format!("{}/", folder.0.display()), "");
        let told: Vec<_> = told.lines().collect();
        let expected = [
            "main.yaml:1:1: no listeners",
            "main.yaml:1:10: none.yaml: there is no such file",
            "main.yaml:2:23: of the first",
            "conf.d/1.yaml:2:38: ",
            "conf.d/1.yaml:3:17: of the second",
            "conf.d/1.yaml:4:1: unknown key `workers`",
            "conf.d/2.yaml:2:3: another file has an upstream `b` too",
            "conf.d/2.yaml:3:21: no port",
            "conf.d/3.yaml:",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{told}\nexpected {expected}");
        }
        assert_eq!(mistakes.len(), expected.len());
    }

    #[test]
    fn a_pattern_that_is_none_is_a_mistake() {
        let folder = Folder::new("pattern", &[("main.yaml", "include: 'a/***'\n")]);
        assert!(folder.read().1.starts_with("main.yaml:1:10: `a/***` is not a pattern"));
    }
}
