//! Reads a configuration file from disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Config, EndpointEntry, Mistakes, parse, parse_endpoints};

/// No configuration is near this size; a device or a log file named by mistake is.
const LARGEST: u64 = 16 << 20;

/// Why there is no text to look for mistakes in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nothing has this name.
    #[error("{0}: there is no such file; check the path, or create the file")]
    Missing(PathBuf),
    /// It is a folder.
    #[error("{0}: this is a folder; name the file in it")]
    Folder(PathBuf),
    /// This user may not read it.
    #[error("{0}: permission denied; let the user who runs Bowline read it")]
    Denied(PathBuf),
    /// It is over 16 MiB.
    #[error("{0}: this is larger than 16 MiB and hardly a configuration; check the path")]
    TooLarge(PathBuf),
    /// Some bytes are not text.
    #[error("{path}: line {line} is not UTF-8 text; save the file as UTF-8")]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first line with such bytes, from 1.
        line: usize,
    },
    /// Anything else that the system says.
    #[error("{path}: cannot be read: {source}; check the file and its disk")]
    Failed {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// Reads and parses a file, with variables from the environment of the process.
///
/// # Errors
/// When the file cannot be read as text. Mistakes in the text are not errors but `Mistakes`.
pub fn read(path: &Path) -> Result<(Config, Mistakes), ReadError> {
    let text = text(path)?;
    // A variable that is not UTF-8 counts as unset.
    Ok(parse(&path.display().to_string(), &text, &|name| std::env::var(name).ok()))
}

/// The same for a file that is a list of endpoints.
///
/// # Errors
/// When the file cannot be read as text.
pub fn read_endpoints(path: &Path) -> Result<(Vec<EndpointEntry>, Mistakes), ReadError> {
    let text = text(path)?;
    Ok(parse_endpoints(&path.display().to_string(), &text, &|name| std::env::var(name).ok()))
}

fn text(path: &Path) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
        .map_err(|source| failed(path, source))?;
    if bytes.len() as u64 > LARGEST {
        return Err(ReadError::TooLarge(path.to_owned()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + good.filter(|byte| **byte == b'\n').count();
        ReadError::NotText { path: path.to_owned(), line }
    })
}

fn failed(path: &Path, source: io::Error) -> ReadError {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => ReadError::Missing(path),
        io::ErrorKind::PermissionDenied => ReadError::Denied(path),
        io::ErrorKind::IsADirectory => ReadError::Folder(path),
        _ => ReadError::Failed { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &Path) -> String {
        read(path).unwrap_err().to_string()
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_the_mend() {
        let folder = std::env::temp_dir().join(format!("bowline-read-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let binary = folder.join("binary.yaml");
        std::fs::write(&binary, b"a: 1\nb: \xff\n").unwrap();

        assert!(said(&folder.join("none.yaml")).ends_with("check the path, or create the file"));
        assert!(said(&folder).ends_with("this is a folder; name the file in it"));
        assert!(said(&binary).contains("line 2 is not UTF-8"));
        assert!(said(Path::new("/dev/zero")).contains("larger than 16 MiB"));

        std::fs::remove_dir_all(&folder).unwrap();
    }
}
