//! Reads the seed of an nkey: a user's private key, which signs the challenge of the server.

use std::path::Path;

use longshore_tls::{FileError, FileRole, error, read};
use nkeys::{KeyPair, KeyPairType};

/// Reads a seed from a file: the first line that is neither empty, nor a comment, nor a separator that `nsc` writes.
pub(super) fn read_seed(path: &Path) -> Result<String, FileError> {
    let refused = |cause: &str| error(FileRole::Nkey, path, cause);
    let text = String::from_utf8(read(FileRole::Nkey, path)?).map_err(|_| refused("it is not text"))?;
    let mut lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '-']));
    let seed = lines.next().ok_or_else(|| refused("it is empty"))?;
    // Errors of the library may quote the seed.
    let pair = KeyPair::from_seed(seed).map_err(|_| refused("it holds no seed of an nkey (SU...)"))?;
    if pair.key_pair_type() != KeyPairType::User {
        return Err(refused("its seed is not that of a user (SU...)"));
    }
    Ok(seed.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seed_of_a_user_is_read_and_anything_else_is_refused_without_showing_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("user.nk");
        let read = |text: &str| {
            std::fs::write(&path, text).expect("writes");
            read_seed(&path).map_err(|error| error.to_string())
        };
        let user = KeyPair::new_user().seed().expect("a seed");
        assert_eq!(read(&format!("# user\n-----BEGIN USER NKEY SEED-----\n{user}\n")), Ok(user));
        let account = KeyPair::new_account().seed().expect("a seed");
        for bad in ["", "SUNOSEED", &account] {
            let refusal = read(bad).expect_err("refused");
            assert!(refusal.contains("user.nk cannot be used"), "{refusal}");
            assert!(bad.is_empty() || !refusal.contains(bad), "{refusal}");
        }
    }
}
