//! TLS to NATS and Redis: files in PEM, checked before anything connects.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The most that is read of a file: a bundle of all public authorities has a quarter of this.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Files for TLS. Without `ca`, the certificates of the system count.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsFiles {
    /// Certificates of the authorities that the server's certificate may come from.
    pub ca: Option<PathBuf>,
    /// The certificate of this client, with those between it and its authority behind it.
    pub cert: Option<PathBuf>,
    /// The private key of `cert`.
    pub key: Option<PathBuf>,
}

/// The purpose of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileRole {
    /// [`TlsFiles::ca`].
    Ca,
    /// [`TlsFiles::cert`].
    Cert,
    /// [`TlsFiles::key`].
    Key,
    /// The seed of an nkey.
    Nkey,
}

impl fmt::Display for FileRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ca => "file of certificate authorities",
            Self::Cert => "client certificate",
            Self::Key => "private key",
            Self::Nkey => "nkey seed",
        })
    }
}

/// A file for a connection cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the {role} {} cannot be used: {cause}", path.display())]
pub struct FileError {
    /// Its purpose.
    pub role: FileRole,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, and what it should hold.
    pub cause: String,
}

/// The bytes of the files, once they were found good.
#[derive(Default)]
pub struct TlsBytes {
    /// The certificates of authorities, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Certificate and key of this client, in PEM.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsFiles {
    /// Returns true if any file is named: then a connection without TLS is refused.
    pub const fn is_set(&self) -> bool {
        self.ca.is_some() || self.cert.is_some()
    }

    /// Reads every file and checks what it holds. It blocks for the time of reading some kilobytes.
    pub fn read(&self) -> Result<TlsBytes, FileError> {
        let ca = self.ca.as_deref().map(read_ca).transpose()?;
        let client = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some(read_client(cert, key)?),
            (Some(path), None) => return Err(error(FileRole::Cert, path, "its private key is missing")),
            (None, Some(path)) => return Err(error(FileRole::Key, path, "its certificate is missing")),
            (None, None) => None,
        };
        Ok(TlsBytes { ca, client })
    }
}

fn read_ca(path: &Path) -> Result<Vec<u8>, FileError> {
    let bytes = read(FileRole::Ca, path)?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(FileRole::Ca, path, &bytes)? {
        roots.add(certificate).map_err(|cause| error(FileRole::Ca, path, &cause.to_string()))?;
    }
    Ok(bytes)
}

fn read_client(cert: &Path, key: &Path) -> Result<(Vec<u8>, Vec<u8>), FileError> {
    let (cert_bytes, key_bytes) = (read(FileRole::Cert, cert)?, read(FileRole::Key, key)?);
    let chain = certificates(FileRole::Cert, cert, &cert_bytes)?;
    let private = PrivateKeyDer::from_pem_slice(&key_bytes).map_err(|_| {
        error(FileRole::Key, key, "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----)")
    })?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|cause| error(FileRole::Cert, cert, &cause.to_string()))?;
    // The same check that a connection would make later: the key belongs to the certificate.
    builder.with_root_certificates(RootCertStore::empty()).with_client_auth_cert(chain, private).map_err(
        |cause| {
            error(
                FileRole::Key,
                key,
                &format!("it does not fit the certificate {} ({cause})", cert.display()),
            )
        },
    )?;
    Ok((cert_bytes, key_bytes))
}

fn certificates(
    role: FileRole,
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let found = CertificateDer::pem_slice_iter(bytes).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|cause| error(role, path, &format!("it is not valid PEM ({cause})")))?;
    if found.is_empty() {
        return Err(error(role, path, "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

/// Reads a file of at most a mebibyte.
pub fn read(role: FileRole, path: &Path) -> Result<Vec<u8>, FileError> {
    let mut bytes = Vec::new();
    let reading = File::open(path).and_then(|file| file.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut bytes));
    match reading {
        Err(cause) => Err(error(role, path, &cause.to_string())),
        Ok(_) if bytes.len() as u64 > FILE_LIMIT_BYTES => {
            Err(error(role, path, &format!("it has more than {FILE_LIMIT_BYTES} bytes")))
        }
        Ok(_) => Ok(bytes),
    }
}

/// Names a file that cannot be used, with the reason.
pub fn error(role: FileRole, path: &Path, cause: &str) -> FileError {
    FileError { role, path: path.to_owned(), cause: cause.to_owned() }
}

/// Whether an error says that the server's certificate is refused here, or this client's there. The client libraries report
/// both as errors of the connection, which would be tried again; the words are those of rustls. It does not pass by itself.
pub fn is_about_certificates(error: &str) -> bool {
    ["invalid peer certificate", "received fatal alert"].iter().any(|words| error.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_something_else_are_refused_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = folder.path().join("text.pem");
        std::fs::write(&text, "no certificate").expect("writes");
        let absent = folder.path().join("absent.pem");
        let refusal = |files: TlsFiles| files.read().err().expect("refused").to_string();
        let ca = refusal(TlsFiles { ca: Some(text.clone()), ..TlsFiles::default() });
        assert!(ca.contains("text.pem cannot be used: it holds no certificate"), "{ca}");
        let absent = refusal(TlsFiles { ca: Some(absent), ..TlsFiles::default() });
        assert!(absent.contains("absent.pem cannot be used: No such file"), "{absent}");
        let alone = refusal(TlsFiles { cert: Some(text), ..TlsFiles::default() });
        assert!(alone.contains("its private key is missing"), "{alone}");
    }
}
