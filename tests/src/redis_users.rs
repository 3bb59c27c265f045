//! The users of Redis in `deploy/redis/`, each with a password.

#![expect(clippy::panic, reason = "a file that is not shipped has failed the test")]

use std::fs;
use std::path::{Path, PathBuf};

use crate::redis_server::RedisServer;

/// Returns the password of a user. It differs from the words of log lines, which would be masked if they were a password.
pub fn password(user: &str) -> String {
    format!("pw-{user}")
}

/// Returns the lines of the shipped users, as `docs/permissions.md` makes an ACL file of them, with passwords. The words in
/// `without` are left out.
///
/// # Panics
/// When the file is not there.
pub fn users(without: &[&str]) -> String {
    let lines = shipped("users.conf");
    let lines = lines.lines().filter(|line| line.starts_with("user ")).map(|line| {
        let name = line.split(' ').nth(1).unwrap_or_default();
        let words = line.split(' ').filter(|word| !without.contains(word));
        let line = words.collect::<Vec<_>>().join(" ");
        if name == "default" { line } else { format!("{line} >{}", password(name)) }
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// Starts a server on the shipped configuration with these users.
///
/// # Panics
/// When it does not start.
pub async fn start(folder: &Path, users: &str) -> RedisServer {
    RedisServer::start_on(&configuration(folder, "redis", users)).await
}

/// Writes the shipped configuration with these users and returns its path.
///
/// # Panics
/// When it cannot be written.
pub fn configuration(folder: &Path, name: &str, users: &str) -> PathBuf {
    let acl_file = folder.join(format!("{name}.acl"));
    let path = folder.join(format!("{name}.conf"));
    let text = format!("{}\naclfile {}\n", shipped("redis.conf"), acl_file.display());
    for (path, text) in [(&acl_file, users), (&path, &text)] {
        fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    path
}

/// Returns the address of a server with the credentials of a user.
pub fn url(server: &RedisServer, user: &str) -> String {
    server.url().replace("redis://", &format!("redis://{user}:{}@", password(user)))
}

fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy").join("redis").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
