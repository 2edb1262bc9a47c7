//! `bowline cert`: a development authority, and certificates that it issues.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::{CertArgs, CommandError, print};
use crate::accept::tls::issue::{Authority, Issued};

/// Keys are their owner's alone.
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

pub(super) fn cert(args: &CertArgs) -> Result<(), CommandError> {
    let now = SystemTime::now();
    let wrong = |error| CommandError::usage(format!("bowline: {error}"));
    let authority = Authority::new(now).map_err(wrong)?;
    let server = authority.server(&args.names, now).map_err(wrong)?;
    let client = args.client.as_ref().map(|name| authority.client(name, now));
    let client = client.transpose().map_err(wrong)?;
    let mut made = files(&args.out, "ca", authority.own());
    made.extend(files(&args.out, "server", &server));
    if let Some(client) = &client {
        made.extend(files(&args.out, "client", client));
    }
    let there: Vec<_> = made.iter().map(|file| &file.path).filter(|path| path.exists()).collect();
    if let Some(first) = there.first() {
        return Err(CommandError::usage(format!(
            "bowline: {} is there already: move it away, or choose another folder with --out",
            first.display()
        )));
    }
    let failed = |path: &Path, error| {
        CommandError::unavailable(format!("bowline: cannot write {}: {error}", path.display()))
    };
    fs::create_dir_all(&args.out).map_err(|error| failed(&args.out, error))?;
    for file in &made {
        file.write().map_err(|error| failed(&file.path, error))?;
    }
    let told: String = made.iter().map(|file| format!("{}\n", file.path.display())).collect();
    print(&format!(
        "{told}for {}; whoever is to believe it trusts {}\n",
        args.names.join(", "),
        args.out.join("ca.pem").display()
    ))
}

/// A file that is to be made.
struct Fresh<'a> {
    path: PathBuf,
    text: &'a str,
    mode: u32,
}

fn files<'a>(folder: &Path, name: &str, issued: &'a Issued) -> Vec<Fresh<'a>> {
    let path = |end: &str| folder.join(format!("{name}.{end}"));
    vec![
        Fresh { path: path("pem"), text: &issued.certificate, mode: PUBLIC },
        Fresh { path: path("key"), text: &issued.key, mode: SECRET },
    ]
}

impl Fresh<'_> {
    /// Never over a file that is there, also not over one that came between.
    fn write(&self) -> io::Result<()> {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(self.mode).open(&self.path)?;
        file.write_all(self.text.as_bytes())
    }
}
