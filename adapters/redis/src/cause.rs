//! Causes of failures, by the errors that Redis answers.

use longshore_ports::ErrorCause;
use redis::RedisError;

use super::connection::is_login_refused;

/// Returns the cause that an error of the server names.
pub(super) fn cause(error: &RedisError) -> Option<ErrorCause> {
    if is_login_refused(error) {
        return Some(ErrorCause::Denied);
    }
    match error.code()? {
        // Full memory, and a full disk.
        "OOM" | "MISCONF" => Some(ErrorCause::Full),
        "NOPERM" => Some(ErrorCause::Denied),
        "ERR" if error.detail().is_some_and(is_denied_in_script) => Some(ErrorCause::Denied),
        _ => None,
    }
}

/// Returns true if a script was denied one of its commands. Redis has no error code for that: versions before 7.2
/// answer "The user executing the script can't run this command", later ones "ACL failure in script".
fn is_denied_in_script(detail: &str) -> bool {
    ["The user executing the script can't", "ACL failure in script"]
        .iter()
        .any(|words| detail.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause_of(answer: &str) -> Option<ErrorCause> {
        let value = redis::parse_redis_value(format!("{answer}\r\n").as_bytes()).expect("an answer");
        cause(&value.extract_error().expect_err("an error"))
    }

    #[test]
    fn error_of_the_server_names_the_cause() {
        assert_eq!(
            cause_of("-OOM command not allowed when used memory > 'maxmemory'."),
            Some(ErrorCause::Full)
        );
        assert_eq!(
            cause_of("-NOPERM this user has no permissions to run the 'set' command"),
            Some(ErrorCause::Denied)
        );
        for denial in [
            "can't run this command or subcommand script: 1b04, on @user_script:1.",
            "can't access at least one of the keys mentioned in the command arguments script: 0c2b",
        ] {
            assert_eq!(
                cause_of(&format!("-ERR The user executing the script {denial}")),
                Some(ErrorCause::Denied)
            );
        }
        let later = "-NOPERM ACL failure in script: User w has no permissions to run the 'type' command";
        assert_eq!(cause_of(later), Some(ErrorCause::Denied));
        assert_eq!(cause_of("-ERR unknown command"), None);
        assert_eq!(cause_of("-LOADING Redis is loading the dataset in memory"), None);
    }
}
