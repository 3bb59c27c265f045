//! Check that a restart of the server loads its whole append-only file.
//!
//! Redis before 8.6 loads the file as the user `default`, and checks that user's permissions at each `EXEC`. A script
//! with several writes is a transaction in the file. If `default` may not make these writes, a restart drops them and
//! the server reports only an error in its own log: <https://github.com/redis/redis/issues/14541>.

use redis::{Cmd, RedisError, cmd};
use tracing::{debug, warn};

use super::connection::RedisConnection;
use super::error::ConnectError;

/// Asks the server whether the user `default` may make the writes of a claim.
///
/// # Errors
/// If that user may not.
pub(super) async fn check(connection: &RedisConnection) -> Result<(), ConnectError> {
    for (command, arguments) in [("HSET", &["holder", "x"][..]), ("PEXPIREAT", &["1"])] {
        let verdict: Result<String, RedisError> =
            connection.send(dry_run(connection.prefix(), command, arguments)).await;
        match verdict {
            Ok(verdict) if verdict == "OK" => {}
            Ok(reason) => {
                return Err(ConnectError::DroppingTransactions {
                    address: connection.address().to_owned(),
                    reason,
                });
            }
            Err(error) if error.code() == Some("NOPERM") => {
                warn!(
                    "cannot check whether Redis keeps all claims at a restart: this user may not ask `ACL DRYRUN`; give \
                     it the permissions of its role, as deploy/redis/users.conf has them"
                );
                return Ok(());
            }
            Err(error) => {
                debug!(%error, "cannot check whether Redis keeps all claims at a restart");
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Returns the command that checks a permission without writing.
fn dry_run(prefix: &str, write: &str, arguments: &[&str]) -> Cmd {
    let mut command = cmd("ACL");
    command.arg("DRYRUN").arg("default").arg(write).arg(super::claims::key(prefix, "probe")).arg(arguments);
    command
}
