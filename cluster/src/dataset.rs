//! What the cluster keeps inside each dataset, beside the users' keys: replicated with them, and gone with
//! them.

use redis::{Cmd, Value, cmd};

use crate::znodes::Position;

/// Prefix of every key that is not the users' own.
pub const RESERVED: &str = "__shardstorm:";
/// Epoch of the last operation: the first write of a master's term.
pub const EPOCH: &str = "__shardstorm:epoch";
/// Number of operations so far, reads included.
pub const SEQ: &str = "__shardstorm:seq";
/// What each slot is to the shard: one character for each, of [`slot_state`].
pub const OWNED: &str = "__shardstorm:owned";
/// Number of the last move of slots that the shard took part in; see [`crate::reshard`].
pub const MOVE: &str = "__shardstorm:move";

/// What a slot is to a shard, as [`OWNED`] has it.
pub mod slot_state {
    /// Another's.
    pub const FOREIGN: char = '0';
    /// Its own: the only state in which it is served.
    pub const OWNED: char = '1';
    /// Was its own; is being copied to its next owner, and does not change any more.
    pub const FROZEN: char = 'f';
    /// Is going to be its own; is being copied here.
    pub const IMPORTING: char = 'i';
}

/// Makes a dataset that of an epoch; the first time also notes which slots it owns.
/// Keys: epoch, seq, owned. Arguments: the epoch, the slots of an empty dataset.
pub const STAMP: &str = "local empty = redis.call('EXISTS', KEYS[1]) == 0 \
     redis.call('SET', KEYS[1], ARGV[1]) redis.call('INCR', KEYS[2]) \
     if empty then redis.call('SET', KEYS[3], ARGV[2]) end return 1";

/// Appends to the stream of an epoch, if the dataset is of that epoch. Keys: epoch, seq. Argument: the epoch.
pub const BEAT: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
     redis.call('INCR', KEYS[2]) return 1";

/// Asks where a dataset stands.
pub fn position_command() -> Cmd {
    let mut command = cmd("MGET");
    command.arg(EPOCH).arg(SEQ);
    command
}

/// The answer to [`position_command`]; none while the server is loading.
pub fn position(value: &Value) -> Option<Position> {
    let number = |value: &Value| match value {
        Value::Nil => Some(0),
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    };
    match value {
        Value::Array(items) => match items.as_slice() {
            [epoch, seq] => Some(Position { epoch: number(epoch)?, seq: number(seq)? }),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_two_numbers_or_nothing() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let parsed = position(&Value::Array(vec![text("7"), text("1204")]));
        assert_eq!(parsed, Some(Position { epoch: 7, seq: 1204 }));
        assert_eq!(position(&Value::Array(vec![Value::Nil, Value::Nil])), Some(Position::default()));
        assert_eq!(position(&Value::Array(vec![text("x"), Value::Nil])), None);
        assert_eq!(position(&Value::Nil), None);
    }
}
