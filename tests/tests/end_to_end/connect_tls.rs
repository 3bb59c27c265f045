//! TLS and nkeys: real servers with certificates, clients with certificates, and refusals that name the file.

#![expect(clippy::expect_used, reason = "what does not answer has failed the test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use longshore_nats::{self as nats, BatchSetting, Nats, NatsConfig};
use longshore_redis::{self as redis, Redis, RedisConfig};
use longshore_tests::longshore::Longshore;
use longshore_tests::nats_server::{NatsServer, NatsSetup};
use longshore_tests::port::{OwnedPort, take_port};
use longshore_tests::redis_server::RedisServer;
use longshore_tests::wait::{until, until_true};
use longshore_tls::TlsFiles;
use tempfile::TempDir;

/// A certificate authority with certificates for a server at 127.0.0.1 and for a client.
struct Certificates {
    folder: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let certificates = Self { folder };
        certificates.authority("ca");
        certificates.authority("other");
        certificates.signed("server", "subjectAltName=IP:127.0.0.1");
        certificates.signed("client", "extendedKeyUsage=clientAuth");
        certificates
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn authority(&self, name: &str) {
        let (key, cert, subject) = (format!("{name}.key"), format!("{name}.pem"), format!("/CN={name}"));
        self.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "1",
            "-subj",
            &subject,
            "-keyout",
            &key,
            "-out",
            &cert,
        ]);
    }

    fn signed(&self, name: &str, extension: &str) {
        let file = |suffix: &str| format!("{name}.{suffix}");
        std::fs::write(self.path(&file("ext")), extension).expect("writes");
        self.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            &format!("/CN={name}"),
            "-keyout",
            &file("key"),
            "-out",
            &file("csr"),
        ]);
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &file("csr"),
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "1",
            "-extfile",
            &file("ext"),
            "-out",
            &file("pem"),
        ]);
    }

    fn openssl(&self, arguments: &[&str]) {
        let mut command = Command::new("openssl");
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        let output = command.output().expect("openssl is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns the files of a client that both servers accept.
    fn good(&self) -> TlsFiles {
        TlsFiles {
            ca: Some(self.path("ca.pem")),
            cert: Some(self.path("client.pem")),
            key: Some(self.path("client.key")),
        }
    }

    fn only_ca(&self, name: &str) -> TlsFiles {
        TlsFiles { ca: Some(self.path(name)), ..TlsFiles::default() }
    }
}

async fn nats_server(certificates: &Certificates) -> NatsServer {
    let more = format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}\n",
        certificates.text("server.pem"),
        certificates.text("server.key"),
        certificates.text("ca.pem"),
    );
    NatsServer::start_with(NatsSetup { server_settings: more, ..NatsSetup::default() }).await
}

fn nats_config(server: &NatsServer, tls: TlsFiles) -> NatsConfig {
    NatsConfig {
        urls: vec![server.url()],
        credentials: None,
        inbox_prefix: None,
        batch: BatchSetting::Auto,
        nkey: None,
        tls,
        name: "tls".to_owned(),
        replicas: 1,
        partitions: 1,
        connect_deadline: Duration::from_secs(30),
    }
}

async fn nats_refusal(server: &NatsServer, tls: TlsFiles) -> nats::ConnectError {
    // The server refuses a client without a certificate only after the connection, so this waits for the refusal.
    let config = NatsConfig { connect_deadline: Duration::from_secs(3), ..nats_config(server, tls) };
    Nats::connect(config).await.map(|_| ()).expect_err("a refusal")
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_accepts_a_client_certificate_and_an_unknown_authority_is_refused() {
    let certificates = Certificates::new();
    let server = nats_server(&certificates).await;
    Nats::connect(nats_config(&server, certificates.good())).await.expect("connects");

    let other = TlsFiles { ca: Some(certificates.path("other.pem")), ..certificates.good() };
    let refusal = nats_refusal(&server, other).await;
    assert!(matches!(refusal, nats::ConnectError::Tls { .. }), "{refusal}");
    assert!(refusal.to_string().contains("check `nats.ca`"), "{refusal}");
    nats_refusal(&server, certificates.only_ca("ca.pem")).await;
}

/// Puts the certificate and the key of this name in the place of the server's. Keeps the server's as `good`.
fn replace_server_certificate(certificates: &Certificates, name: &str) {
    for suffix in ["pem", "key"] {
        let file = |name: &str| certificates.path(&format!("{name}.{suffix}"));
        if !file("good").exists() {
            std::fs::copy(file("server"), file("good")).expect("copies");
        }
        std::fs::copy(file(name), file("server")).expect("copies");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_with_a_certificate_that_is_not_valid_is_tried_again_until_it_is() {
    let certificates = Certificates::new();
    let mut server = nats_server(&certificates).await;
    let nats = Nats::connect(nats_config(&server, certificates.good())).await.expect("connects");
    replace_server_certificate(&certificates, "other");
    server.restart().await;
    // The client library says no more about a handshake that failed.
    let reason = || nats.check().err().map(|error| error.to_string()).unwrap_or_default();
    until("the certificate is refused", || reason().contains("error")).await;
    replace_server_certificate(&certificates, "good");
    server.restart().await;
    until("the connection is made again", || nats.check().is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_without_tls_is_refused_if_certificates_are_set() {
    let certificates = Certificates::new();
    let server = NatsServer::start().await;
    let refusal = nats_refusal(&server, certificates.only_ca("ca.pem")).await;
    assert!(!matches!(refusal, nats::ConnectError::File(_)), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_accepts_the_seed_of_an_nkey() {
    let folder = tempfile::tempdir().expect("a folder");
    let pair = nkeys::KeyPair::new_user();
    let more = format!("authorization {{ users: [ {{ nkey: {} }} ] }}\n", pair.public_key());
    let server = NatsServer::start_with(NatsSetup { server_settings: more, ..NatsSetup::default() }).await;
    let seed = |name: &str, pair: &nkeys::KeyPair| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{}\n", pair.seed().expect("a seed"))).expect("writes");
        path
    };
    let with = |path| NatsConfig { nkey: Some(path), ..nats_config(&server, TlsFiles::default()) };
    Nats::connect(with(seed("known", &pair))).await.expect("connects");
    let stranger = Nats::connect(with(seed("stranger", &nkeys::KeyPair::new_user()))).await;
    let refusal = stranger.map(|_| ()).expect_err("not known");
    assert!(matches!(refusal, nats::ConnectError::Refused { .. }), "{refusal}");
}

/// Starts a server with TLS on a second port. Returns the server, its address there, and the port.
async fn redis_server(certificates: &Certificates) -> (RedisServer, String, OwnedPort) {
    let tls_port = take_port();
    let port = tls_port.number().to_string();
    let (cert, key) = (certificates.text("server.pem"), certificates.text("server.key"));
    let ca = certificates.text("ca.pem");
    let settings =
        ["--tls-port", &port, "--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &ca];
    let server = RedisServer::start_with(&settings).await;
    (server, format!("rediss://127.0.0.1:{port}/0"), tls_port)
}

async fn connect_redis(url: &str, tls: TlsFiles) -> Result<Redis, redis::ConnectError> {
    let config = RedisConfig {
        url: url.to_owned(),
        connect_deadline: Duration::from_secs(30),
        prefix: "ls".to_owned(),
        tls,
    };
    Redis::connect(config).await
}

async fn redis_connects(url: &str, tls: TlsFiles) -> Result<(), redis::ConnectError> {
    connect_redis(url, tls).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_with_a_certificate_that_is_not_valid_is_tried_again_until_it_is() {
    let certificates = Certificates::new();
    let (server, url, _port) = redis_server(&certificates).await;
    let redis = connect_redis(&url, certificates.good()).await.expect("connects");
    let serve = |name: &str| {
        let (cert, key) =
            (certificates.text(&format!("{name}.pem")), certificates.text(&format!("{name}.key")));
        let _: String = server.ask(&["CONFIG", "SET", "tls-cert-file", &cert, "tls-key-file", &key]);
        let _: u64 = server.ask(&["CLIENT", "KILL", "TYPE", "normal"]);
    };
    serve("other");
    until_true("the certificate is refused", async || {
        redis.ping().await.is_err_and(|error| error.retryable && error.to_string().contains("certificate"))
    })
    .await;
    serve("server");
    until_true("the connection is made again", async || redis.ping().await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_accepts_a_client_certificate_and_an_unknown_authority_is_refused() {
    let certificates = Certificates::new();
    let (_server, url, _port) = redis_server(&certificates).await;
    redis_connects(&url, certificates.good()).await.expect("connects");

    let other = TlsFiles { ca: Some(certificates.path("other.pem")), ..certificates.good() };
    for files in [other, certificates.only_ca("ca.pem")] {
        let refusal = redis_connects(&url, files).await.expect_err("refused");
        assert!(matches!(refusal, redis::ConnectError::Tls { .. }), "{refusal}");
        assert!(refusal.to_string().contains("check `redis.ca`"), "{refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_without_tls_at_servers_with_tls_are_refused_with_the_right_scheme() {
    let certificates = Certificates::new();
    let (_server, url, _port) = redis_server(&certificates).await;
    let redis = RedisConfig {
        url: url.replace("rediss://", "redis://"),
        connect_deadline: Duration::from_secs(3),
        prefix: "ls".to_owned(),
        tls: TlsFiles::default(),
    };
    let refusal = Redis::connect(redis).await.map(|_| ()).expect_err("refused").to_string();
    assert!(refusal.contains("rediss://"), "{refusal}");

    // As nats-server with `handshake_first` does: it expects the client to begin.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("nats://{}", silent.local_addr().expect("an address"));
    let accepting = async { while silent.accept().await.map(drop).is_ok() {} };
    let config = NatsConfig {
        urls: vec![url],
        connect_deadline: Duration::from_secs(3),
        ..nats_config(&NatsServer::absent(), TlsFiles::default())
    };
    let connected = tokio::select! { connected = Nats::connect(config) => connected, () = accepting => panic!("it ended") };
    let refusal = connected.map(|_| ()).expect_err("refused").to_string();
    assert!(refusal.contains("tls://") && refusal.contains("handshake_first"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_of_another_certificate_is_refused_before_a_connection() {
    let certificates = Certificates::new();
    let files = TlsFiles { key: Some(certificates.path("server.key")), ..certificates.good() };
    let refusal = nats_refusal(&NatsServer::absent(), files.clone()).await.to_string();
    assert!(refusal.contains("server.key cannot be used: it does not fit the certificate"), "{refusal}");
    let refusal = redis_connects("rediss://127.0.0.1:1/0", files).await.expect_err("refused").to_string();
    assert!(refusal.contains("server.key cannot be used: it does not fit the certificate"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_tls_work_from_the_command_line() {
    let certificates = Certificates::new();
    let server = nats_server(&certificates).await;
    let list = |folder: &Path, ca: &str| {
        Longshore::new(folder, ["dlq", "list", "--connect-deadline", "10s"])
            .env("NATS_URL", &server.url())
            .env("LONGSHORE_NATS__CA", ca)
            .env("LONGSHORE_NATS__CERT", &certificates.text("client.pem"))
            .env("LONGSHORE_NATS__KEY", &certificates.text("client.key"))
    };
    let missing = list(certificates.folder.path(), "/nowhere/ca.pem").run().await.expecting(2);
    missing.saying(&["/nowhere/ca.pem cannot be used", "`nats.ca` comes from: LONGSHORE_NATS__CA"]);
    let reached = list(certificates.folder.path(), "ca.pem").run().await;
    // NATS answered, and no scheduler does.
    assert!(!reached.stderr.contains("TLS") && !reached.stderr.contains("cannot be used"), "{reached}");
}
