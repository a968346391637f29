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

use crate::{
    redis_link::LinkError,
    store::{Answer, CallError, Command},
};

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
        _ => Err(CallError::unexpected()),
    }
}

/// What a command and, after an update, its `WAIT` came back with. An update that changed nothing (a mismatch, an
/// empty queue) and that too few replicas confirm is a definite failure, not an answer: what it saw may yet be
/// lost.
pub fn answered(command: &Command, replies: &[Value], needed: u32) -> Result<Answer, CallError> {
    match replies {
        [Value::ServerError(e), ..] => Err(refused(e)),
        [reply] if command.is_read() => Answer::parse(command, reply),
        [reply, wait] if !command.is_read() => {
            let answer = Answer::parse(command, reply)?;
            let definite = !command.may_have_changed(&answer);
            acknowledged(wait, needed).map(|()| answer).map_err(|e| CallError { definite, ..e })
        }
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

    fn set() -> Command {
        Command::Set("v".into())
    }

    fn cas() -> Command {
        Command::Cas { expected: "a".into(), new: "b".into() }
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
            assert_eq!(definite(answered(&set(), &replies, 1).unwrap_err()), (true, code.clone()));
            assert_eq!(definite(answered(&cas(), &replies, 1).unwrap_err()), (true, code.clone()));
            assert_eq!(definite(answered(&Command::Get, &replies[..1], 1).unwrap_err()), (true, code));
        }
    }

    #[test]
    fn a_write_that_too_few_replicas_have_is_indefinite() {
        let written = |wait, needed| answered(&set(), &[Value::Okay, wait], needed);
        assert_eq!(written(Value::Int(1), 1), Ok(Answer::Done));
        assert_eq!(definite(written(Value::Int(0), 1).unwrap_err()), (false, "wait 0 of 1".into()));
        assert_eq!(definite(written(Value::Int(1), 2).unwrap_err()), (false, "wait 1 of 2".into()));
        let unblocked = error("UNBLOCKED force unblock from blocking operation");
        assert_eq!(definite(written(unblocked, 1).unwrap_err()), (false, "wait: UNBLOCKED".into()));
    }

    #[test]
    fn what_changed_nothing_is_definite_whatever_wait_says() {
        let swapped = |swaps, wait| answered(&cas(), &[Value::Int(swaps), Value::Int(wait)], 1);
        assert_eq!(swapped(1, 1), Ok(Answer::Applied(true)));
        assert_eq!(swapped(0, 1), Ok(Answer::Applied(false)));
        assert_eq!(definite(swapped(1, 0).unwrap_err()), (false, "wait 0 of 1".into()));
        assert_eq!(definite(swapped(0, 0).unwrap_err()), (true, "wait 0 of 1".into()));
        let taken = |reply| answered(&Command::Dequeue, &[reply, Value::Int(0)], 1).unwrap_err().definite;
        assert!(taken(Value::Nil) && !taken(Value::BulkString(b"1".to_vec())));
    }

    #[test]
    fn too_many_or_too_few_replies_are_indefinite() {
        assert!(!answered(&set(), &[Value::Okay], 1).unwrap_err().definite);
        assert!(!answered(&Command::Get, &[Value::Nil, Value::Int(1)], 1).unwrap_err().definite);
        assert!(!answered(&Command::Get, &[], 1).unwrap_err().definite);
    }

    #[test]
    fn a_failed_connect_is_definite_and_short() {
        let refused = LinkError::Connect(std::io::ErrorKind::ConnectionRefused.into());
        assert_eq!(definite(not_connected(&refused)), (true, "connection refused".into()));
    }
}
