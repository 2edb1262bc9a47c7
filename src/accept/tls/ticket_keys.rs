//! The file of ticket keys that several Bowlines share.

use std::path::PathBuf;
use std::sync::Arc;

use data_encoding::BASE64;
use tokio_rustls::rustls::crypto::CryptoProvider;

use super::part::{Complaint, Source};
use super::pem;
use super::tickets::Keyring;
use crate::plan::NamedFile;

/// A file of ticket keys.
#[derive(Debug)]
pub(super) struct TicketKeysFile(pub(super) NamedFile);

impl Source for TicketKeysFile {
    type Value = Arc<Keyring>;

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.0.path.clone()]
    }

    fn read(&self, _: &Arc<CryptoProvider>) -> Result<Arc<Keyring>, Vec<Complaint>> {
        let keys = pem::read(&self.0.path).and_then(|bytes| {
            secrets(&bytes).ok_or_else(|| {
                format!(
                    "{} holds no ticket keys: write a line of 80 or 48 bytes in base64 for each, such as `openssl rand 80 | base64 -w 0` prints",
                    self.0.path.display()
                )
            })
        });
        match keys {
            Ok(keys) => Ok(Arc::new(Keyring::of(&keys))),
            Err(what) => Err(vec![Complaint { at: self.0.at.clone(), what }]),
        }
    }
}

/// The keys in a file: lines in base64 as HAProxy has them, or one key as nginx has it.
fn secrets(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let of_a_key = |length: usize| matches!(length, 48 | 80);
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with('#'));
    let decoded = lines.map(|line| BASE64.decode(line.as_bytes()).ok());
    let keys: Option<Vec<_>> = decoded.map(|key| key.filter(|key| of_a_key(key.len()))).collect();
    keys.filter(|keys| !keys.is_empty())
        .or_else(|| of_a_key(bytes.len()).then(|| vec![bytes.to_vec()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_lines_or_as_they_are() {
        let (long, short) = (vec![7; 80], vec![8; 48]);
        let lines =
            format!("# newest\n{}\n\n  {}\r\n", BASE64.encode(&long), BASE64.encode(&short));
        assert_eq!(secrets(lines.as_bytes()), Some(vec![long.clone(), short.clone()]));
        assert_eq!(secrets(&long), Some(vec![long]));
        assert_eq!(secrets(&short), Some(vec![short]));
        let random: Vec<u8> = (100..180).collect();
        assert_eq!(secrets(&random), Some(vec![random]));
    }

    #[test]
    fn what_is_no_key_spoils_the_file() {
        let right = BASE64.encode(&[7; 80]);
        for text in ["", "\n# nothing\n", "short", &right[1..], &format!("{right}\nno key\n")] {
            assert_eq!(secrets(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(secrets(&[0; 79]), None);
    }
}
