//! `bowline reload`: asks a running Bowline, at its admin listener, to read its configuration again.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::{CommandError, ReloadArgs, load, print};

/// For the answer: certificates are read and names resolved before it comes.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn reload(args: &ReloadArgs) -> Result<(), CommandError> {
    let admin = match args.admin {
        Some(admin) => admin,
        None => admin_of(args.config.as_deref().unwrap_or(Path::new("config.yaml")))?,
    };
    let path = if args.dry_run { "/reload?dry_run" } else { "/reload" };
    let (status, body) = post(admin, path).map_err(|error| {
        CommandError::unavailable(format!("bowline: no answer from {admin}: {error}"))
    })?;
    match status {
        200 => print(&body),
        422 => Err(CommandError::usage(body)),
        _ => Err(CommandError::unavailable(format!("bowline: {admin} answers {status}: {body}"))),
    }
}

/// Where the Bowline that runs with `file` is asked.
fn admin_of(file: &Path) -> Result<SocketAddr, CommandError> {
    let without = || {
        CommandError::usage(format!(
            "bowline: {} has no `admin` listener: send SIGHUP to the process instead",
            file.display()
        ))
    };
    load::admin(file)?.ok_or_else(without)
}

/// Status and body of the answer to an empty POST.
fn post(admin: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&admin, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {admin}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut head = httparse::Response::new(&mut headers);
    let other = || io::Error::other("that is no answer of Bowline's");
    let parsed = head.parse(&answer).map_err(|_| other())?;
    let (httparse::Status::Complete(length), Some(status)) = (parsed, head.code) else {
        return Err(other());
    };
    let body = answer.get(length..).unwrap_or_default();
    Ok((status, String::from_utf8_lossy(body).into_owned()))
}
