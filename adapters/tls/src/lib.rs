//! TLS to NATS and Redis: PEM files, which are checked before a connection is made.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Maximum number of bytes of a file: a bundle of all public authorities has a quarter of this.
const FILE_LIMIT_BYTES: u64 = 1024 * 1024;

/// Files for TLS. Without `ca`, the certificates of the system are used.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsFiles {
    /// Certificates of the authorities that may have issued the server's certificate.
    pub ca: Option<PathBuf>,
    /// Certificate of this client, followed by those between it and its authority.
    pub cert: Option<PathBuf>,
    /// Private key of `cert`.
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

/// The error for a file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the {role} {} cannot be used: {cause}", path.display())]
pub struct FileError {
    /// Its purpose.
    pub role: FileRole,
    /// The file.
    pub path: PathBuf,
    /// The reason, and the contents that the file should have.
    pub cause: String,
}

/// The contents of the files, after they were checked.
#[derive(Default)]
pub struct TlsBytes {
    /// Certificates of authorities, in PEM.
    pub ca: Option<Vec<u8>>,
    /// Certificate and key of this client, in PEM.
    pub client: Option<(Vec<u8>, Vec<u8>)>,
}

impl TlsFiles {
    /// Returns true if any file is set. Then a connection without TLS is refused.
    pub const fn is_set(&self) -> bool {
        self.ca.is_some() || self.cert.is_some()
    }

    /// Reads and checks every file. Blocks for the time of reading some kilobytes.
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
    // A connection would check later as well that the key belongs to the certificate.
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

/// Returns the error for a file that cannot be used.
pub fn error(role: FileRole, path: &Path, cause: &str) -> FileError {
    FileError { role, path: path.to_owned(), cause: cause.to_owned() }
}

/// Returns true if the client has refused the server's certificate, or the server has refused the client's. Neither
/// passes by itself. The client libraries report both as connection errors, which would be retried; the words are those
/// of rustls.
pub fn is_about_certificates(error: &str) -> bool {
    ["invalid peer certificate", "received fatal alert"].iter().any(|words| error.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_files_are_refused_by_name() {
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
