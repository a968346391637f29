//! From what came back, or did not, to a definite or an indefinite answer.
//!
//! | what happened | answer |
//! |---|---|
//! | no master known, connect refused, unreachable or timed out, a newer epoch while connecting, a refused login | definite: nothing was sent |
//! | error reply to the operation itself (`FENCED`, `MOVED`, `FROZEN`, `READONLY`, `LOADING`, …) | definite: it was not executed |
//! | operation done, `WAIT` short or `UNBLOCKED` or an error | indefinite: the master has it, perhaps alone |
//! | operation done, the data now of another epoch | indefinite: it may be in what was dropped |
//! | the same, where the operation changed nothing | definite: but what it saw is not told |
//! | connection lost, odd reply, a newer epoch after sending | indefinite |
//! | the caller's deadline | indefinite, and the connection is closed |

use redis::{RedisError, Value};

use crate::{
    redis_link::LinkError,
    store::{Answer, CallError, Command},
};

/// A failed connect or a refused login: nothing was sent.
pub fn not_connected(e: &LinkError) -> CallError {
    match e {
        LinkError::Refused(e) => CallError::definite(e.code()),
        e => CallError::definite(e.to_string()),
    }
}

/// The connection failed after something may have been sent.
pub fn lost(e: &RedisError) -> CallError {
    let why = if e.is_timeout() {
        "timeout"
    } else if e.is_connection_dropped() || e.is_io_error() {
        "connection lost"
    } else {
        "unexpected reply"
    };
    CallError::indefinite(why)
}

/// An error reply to the operation itself: it was not executed. Only the code is kept, so that reasons stay
/// few.
pub fn refused(e: &redis::ServerError) -> CallError {
    // Redis says UNBLOCKED when a blocked command is cut short; an operation of ours never blocks, so this
    // cannot be known to have done nothing.
    let code = e.code().to_owned();
    if code == "UNBLOCKED" { CallError::indefinite(code) } else { CallError::definite(code) }
}

/// The reply to `WAIT n`: an error unless at least `needed` replicas have acknowledged.
pub fn acknowledged(wait: &Value, needed: u32) -> Result<(), CallError> {
    match wait {
        Value::Int(count) if *count >= i64::from(needed) => Ok(()),
        Value::Int(count) => Err(CallError::indefinite(format!("wait {count} of {needed}"))),
        Value::ServerError(e) => Err(CallError::indefinite(format!("wait: {}", e.code()))),
        _ => Err(CallError::unexpected()),
    }
}

/// The last look at the epoch: an error unless the data is still of it.
pub fn same_epoch(seen: &Value, epoch: u64) -> Result<(), CallError> {
    match seen {
        Value::BulkString(bytes) if bytes == epoch.to_string().as_bytes() => Ok(()),
        Value::BulkString(_) | Value::Nil => Err(CallError::indefinite("epoch changed")),
        Value::ServerError(e) => Err(CallError::indefinite(format!("epoch: {}", e.code()))),
        _ => Err(CallError::unexpected()),
    }
}

/// What a read at a replica came back with.
pub fn read(command: &Command, replies: &[Value]) -> Result<Answer, CallError> {
    match replies {
        [Value::ServerError(e)] => Err(refused(e)),
        [reply] => Answer::parse(command, reply),
        _ => Err(CallError::unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error reply as the parser gives it.
    fn error(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
    }

    fn definite(e: CallError) -> (bool, String) {
        (e.definite, e.reason)
    }

    #[test]
    fn an_error_reply_to_the_operation_is_definite() {
        let lines = [
            "READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
            "MOVED slot 3 is not served here",
            "NOPERM this user has no permissions",
            "MASTERDOWN Link with MASTER is down",
            "OOM command not allowed",
            "ERR unknown command",
        ];
        for line in lines {
            let code = line.split(' ').next().unwrap().to_owned();
            assert_eq!(definite(read(&Command::Get, &[error(line)]).unwrap_err()), (true, code));
        }
    }

    #[test]
    fn too_few_replicas_are_indefinite() {
        let wait = |wait, needed| acknowledged(&wait, needed).map_err(definite);
        assert_eq!(wait(Value::Int(1), 1), Ok(()));
        assert_eq!(wait(Value::Int(0), 1), Err((false, "wait 0 of 1".into())));
        assert_eq!(wait(Value::Int(1), 2), Err((false, "wait 1 of 2".into())));
        let unblocked = error("UNBLOCKED force unblock from blocking operation");
        assert_eq!(wait(unblocked, 1), Err((false, "wait: UNBLOCKED".into())));
    }

    #[test]
    fn the_epoch_is_compared_as_text() {
        let seen = |text: &str| same_epoch(&Value::BulkString(text.into()), 7).map_err(definite);
        assert_eq!(seen("7"), Ok(()));
        assert_eq!(seen("70"), Err((false, "epoch changed".into())));
        assert_eq!(same_epoch(&Value::Nil, 7).map_err(definite), Err((false, "epoch changed".into())));
    }

    #[test]
    fn a_failed_connect_is_definite_and_short() {
        let refused = LinkError::Connect(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(definite(not_connected(&refused)), (true, "connection refused".into()));
    }
}
