//! From what came back, or did not, to a definite or an indefinite answer.
//!
//! | what happened | answer |
//! |---|---|
//! | no master known, connect refused, unreachable or timed out, a newer epoch while connecting | definite: nothing was sent |
//! | error reply to the operation itself (`READONLY`, `LOADING`, `MOVED`, `NOPERM`, …) | definite: it was not executed |
//! | operation done, `WAIT` short or `UNBLOCKED` or an error | indefinite: the master has it, perhaps alone |
//! | connection lost, odd reply, a newer epoch after sending | indefinite |
//! | the caller's deadline | indefinite, and the connection is closed |

use redis::{RedisError, Value};

use crate::{redis_link::LinkError, store::CallError};

/// A failed connect: nothing was sent.
pub fn not_connected(e: &LinkError) -> CallError {
    CallError::definite(e.to_string())
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
        _ => Err(CallError::indefinite("unexpected reply")),
    }
}

/// `SET` and `WAIT`.
pub fn written(replies: &[Value], needed: u32) -> Result<(), CallError> {
    match replies {
        [Value::ServerError(e), _] => Err(refused(e)),
        [Value::Okay, wait] => acknowledged(wait, needed),
        _ => Err(CallError::indefinite("unexpected reply")),
    }
}

/// The compare-and-set script and `WAIT`. A mismatch that too few replicas confirm changed nothing, but the
/// value it saw may yet be lost: a definite failure, not an answer.
pub fn swapped(replies: &[Value], needed: u32) -> Result<bool, CallError> {
    match replies {
        [Value::ServerError(e), _] => Err(refused(e)),
        [Value::Int(1), wait] => acknowledged(wait, needed).map(|()| true),
        [Value::Int(0), wait] => match acknowledged(wait, needed) {
            Ok(()) => Ok(false),
            Err(e) => Err(CallError { definite: true, ..e }),
        },
        _ => Err(CallError::indefinite("unexpected reply")),
    }
}

/// `GET`.
pub fn found(replies: Vec<Value>) -> Result<Option<String>, CallError> {
    match replies.into_iter().next() {
        Some(Value::Nil) => Ok(None),
        Some(Value::BulkString(bytes)) => {
            String::from_utf8(bytes).map(Some).map_err(|_| CallError::indefinite("unexpected reply"))
        }
        Some(Value::ServerError(e)) => Err(refused(&e)),
        _ => Err(CallError::indefinite("unexpected reply")),
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
            "MOVED 3999 127.0.0.1:6381",
            "NOPERM this user has no permissions",
            "MASTERDOWN Link with MASTER is down",
            "OOM command not allowed",
            "ERR unknown command",
            "NOREPLICAS Not enough good replicas to write.",
        ];
        for line in lines {
            let code = line.split(' ').next().unwrap().to_owned();
            let replies = [error(line), Value::Int(2)];
            assert_eq!(definite(written(&replies, 1).unwrap_err()), (true, code.clone()));
            assert_eq!(definite(swapped(&replies, 1).unwrap_err()), (true, code.clone()));
            assert_eq!(definite(found(vec![error(line)]).unwrap_err()), (true, code));
        }
    }

    #[test]
    fn a_write_that_too_few_replicas_have_is_indefinite() {
        assert_eq!(written(&[Value::Okay, Value::Int(1)], 1), Ok(()));
        assert_eq!(
            definite(written(&[Value::Okay, Value::Int(0)], 1).unwrap_err()),
            (false, "wait 0 of 1".into())
        );
        assert_eq!(
            definite(written(&[Value::Okay, Value::Int(1)], 2).unwrap_err()),
            (false, "wait 1 of 2".into())
        );
        let unblocked = error("UNBLOCKED force unblock from blocking operation");
        assert_eq!(
            definite(written(&[Value::Okay, unblocked], 1).unwrap_err()),
            (false, "wait: UNBLOCKED".into())
        );
    }

    #[test]
    fn a_mismatch_changed_nothing_whatever_wait_says() {
        assert_eq!(swapped(&[Value::Int(1), Value::Int(1)], 1), Ok(true));
        assert_eq!(swapped(&[Value::Int(0), Value::Int(1)], 1), Ok(false));
        assert_eq!(
            definite(swapped(&[Value::Int(1), Value::Int(0)], 1).unwrap_err()),
            (false, "wait 0 of 1".into())
        );
        assert_eq!(
            definite(swapped(&[Value::Int(0), Value::Int(0)], 1).unwrap_err()),
            (true, "wait 0 of 1".into())
        );
    }

    #[test]
    fn values_come_back_as_they_are() {
        assert_eq!(found(vec![Value::Nil]), Ok(None));
        assert_eq!(found(vec![Value::BulkString(b"v1".to_vec())]), Ok(Some("v1".into())));
        assert!(!found(vec![Value::BulkString(vec![0xff])]).unwrap_err().definite);
        assert!(!found(vec![Value::Int(3)]).unwrap_err().definite);
    }

    #[test]
    fn a_failed_connect_is_definite_and_short() {
        let refused = LinkError::Connect(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(definite(not_connected(&refused)), (true, "connection refused".into()));
    }
}
