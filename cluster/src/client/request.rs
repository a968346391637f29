//! What is sent to a master for a command: in one flight, the operation with its checks, the wait for replicas,
//! and a last look at the epoch.
//!
//! A call is *ok* when all three agree: the operation ran in the data of the epoch that the client believes in,
//! enough replicas have it, and the data is still of that epoch. A read appends to the replication stream too:
//! `WAIT` alone would be satisfied by what replicas acknowledged before they were lost.

use redis::{Cmd, Pipeline, Value, cmd, pipe};
use sha1::{Digest, Sha1};

use super::{command, outcome};
use crate::{
    credentials, dataset,
    defence::{Defence, Without},
    store::{Answer, CallError, Command},
};

/// Refuses an operation on the data of another epoch.
const CHECK_EPOCH: &str = "if redis.call('GET', KEYS[2]) ~= ARGV[1] then \
     return redis.error_reply('FENCED the data is of another epoch') end\n";

/// Refuses an operation on a key that this shard does not own; see [`crate::ring::slot`]. `KEYS[4]` is
/// [`dataset::OWNED`].
pub(super) const CHECK_OWNER: &str = "local slot = math.floor(tonumber(string.sub(redis.sha1hex(KEYS[1]), 1, 3), 16) / 4)\n\
     local owned = redis.call('GETRANGE', KEYS[4], slot, slot)\n\
     if owned == 'f' then return redis.error_reply('FROZEN slot ' .. slot .. ' is moving away') end \
     if owned ~= '1' then return redis.error_reply('MOVED slot ' .. slot .. ' is not served here') end\n";

/// Appends to the stream what makes `WAIT` mean something.
const APPEND: &str = "if ARGV[2] == '1' then redis.call('INCR', KEYS[3]) end\n";

/// What a script does after it has defined the operations. Keys: the key, epoch, seq, owned. Arguments: the epoch,
/// whether to append, the words of the command.
pub fn body(without: &Without) -> String {
    let mut body = String::new();
    for (defence, check) in [(Defence::EpochCheck, CHECK_EPOCH), (Defence::OwnershipCheck, CHECK_OWNER)] {
        if without.defends(defence) {
            body += check;
        }
    }
    body + APPEND + "return apply(KEYS[1], ARGV, 3)\n"
}

/// How requests to masters are made and judged, with the defences that are in place.
#[derive(Debug, Clone)]
pub struct Requests {
    without: Without,
    needed: u32,
    wait_ms: u64,
    script: Script,
    at_replicas: Script,
}

/// A script, and the hash it is known by once it is loaded.
#[derive(Debug, Clone)]
struct Script {
    text: String,
    sha: String,
}

impl Script {
    fn new(text: String) -> Self {
        let sha = credentials::hex(&Sha1::digest(text.as_bytes()));
        Script { text, sha }
    }
}

impl Requests {
    /// Requests that wait for `needed` replicas, at the server no longer than `wait_ms` milliseconds.
    pub fn new(without: Without, needed: u32, wait_ms: u64) -> Self {
        let script = Script::new(command::OPERATIONS.to_owned() + &body(&without));
        let check = if without.defends(Defence::OwnershipCheck) { CHECK_OWNER } else { "" };
        let at_replicas = format!("{}{check}return apply(KEYS[1], ARGV, 1)\n", command::OPERATIONS);
        Requests { without, needed, wait_ms, script, at_replicas: Script::new(at_replicas) }
    }

    /// What a new connection must load first. A connection ends in one server process, and a process keeps its
    /// scripts, so that is enough.
    pub fn load_script(&self, at_replica: bool) -> Cmd {
        let script = if at_replica { &self.at_replicas } else { &self.script };
        cmd("SCRIPT").arg("LOAD").arg(&script.text).clone()
    }

    /// The request for a read at a replica: as old as the replica is, but never of a key that has moved away.
    pub fn at_replica(&self, key: &str, command: &Command) -> Pipeline {
        let mut pipeline = pipe();
        let op = pipeline.cmd("EVALSHA").arg(&self.at_replicas.sha).arg(4);
        op.arg(key).arg(dataset::EPOCH).arg(dataset::SEQ).arg(dataset::OWNED).arg(command::words(command));
        pipeline
    }

    /// Does this command wait for replicas?
    pub fn waits(&self, command: &Command) -> bool {
        let barrier = !command.is_read() || self.without.defends(Defence::ReadBarrier);
        barrier && self.needed > 0 && self.without.defends(Defence::Wait)
    }

    /// What the checks want to know: the first arguments of the script.
    pub fn checked_words(&self, command: &Command, epoch: u64) -> Vec<String> {
        let append = !command.is_read() || self.without.defends(Defence::ReadBarrier);
        vec![epoch.to_string(), u8::from(append).to_string()]
    }

    /// Waits for as many replicas as a call needs.
    pub fn wait(&self) -> Cmd {
        cmd("WAIT").arg(self.needed).arg(self.wait_ms).clone()
    }

    /// How many copies a call that waits must have.
    pub fn needed(&self) -> u32 {
        if self.without.defends(Defence::WaitCount) { self.needed } else { 0 }
    }

    /// The request for `command` on `key`, for a master of `epoch`.
    pub fn request(&self, key: &str, command: &Command, epoch: u64) -> Pipeline {
        let mut pipeline = pipe();
        let op = pipeline.cmd("EVALSHA").arg(&self.script.sha).arg(4);
        op.arg(key).arg(dataset::EPOCH).arg(dataset::SEQ).arg(dataset::OWNED);
        op.arg(self.checked_words(command, epoch)).arg(command::words(command));
        if self.waits(command) {
            pipeline.add_command(self.wait());
        }
        if self.without.defends(Defence::EpochCheck) {
            pipeline.cmd("GET").arg(dataset::EPOCH);
        }
        pipeline
    }

    /// The request for a script; see [`Client::run_script`](super::Client).
    pub fn script(&self, script: &str, epoch: u64, args: &[Vec<u8>], sure: bool) -> Pipeline {
        let mut pipeline = pipe();
        let eval = pipeline.cmd("EVAL").arg(script).arg(4);
        eval.arg(dataset::EPOCH).arg(dataset::SEQ).arg(dataset::OWNED).arg(dataset::MOVE);
        eval.arg(epoch).arg(args);
        if sure {
            pipeline.cmd("WAIT").arg(self.needed).arg(self.wait_ms);
        }
        pipeline.cmd("GET").arg(dataset::EPOCH);
        pipeline
    }

    /// What came back for it.
    pub fn judge_script(&self, epoch: u64, replies: &[Value], sure: bool) -> Result<Value, CallError> {
        let (value, wait, seen) = match (sure, replies) {
            (true, [value, wait, seen]) => (value, Some(wait), seen),
            (false, [value, seen]) => (value, None, seen),
            _ => return Err(CallError::unexpected()),
        };
        if let Value::ServerError(e) = value {
            return Err(outcome::refused(e));
        }
        if let Some(wait) = wait {
            outcome::acknowledged(wait, self.needed)?;
        }
        outcome::same_epoch(seen, epoch)?;
        Ok(value.clone())
    }

    /// What came back for a request.
    pub fn judge(&self, command: &Command, epoch: u64, replies: &[Value]) -> Result<Answer, CallError> {
        let Some((reply, mut rest)) = replies.split_first() else { return Err(CallError::unexpected()) };
        if let Value::ServerError(e) = reply {
            return Err(outcome::refused(e));
        }
        let answer = Answer::parse(command, reply)?;
        let mut sure = Ok(());
        if self.waits(command) {
            let (wait, others) = rest.split_first().ok_or_else(CallError::unexpected)?;
            sure = outcome::acknowledged(wait, self.needed());
            rest = others;
        }
        if self.without.defends(Defence::EpochCheck) {
            let seen = rest.first().ok_or_else(CallError::unexpected)?;
            sure = sure.and_then(|()| outcome::same_epoch(seen, epoch));
        }
        // What changed nothing has certainly not happened, however little is sure of what it saw.
        let definite = !command.may_have_changed(&answer);
        sure.map(|()| answer).map_err(|e| CallError { definite, ..e })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: &str) -> Value {
        redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn judged(without: &[Defence], command: &Command, replies: &[Value]) -> Result<(), (bool, String)> {
        let requests = Requests::new(without.iter().copied().collect(), 1, 100);
        requests.judge(command, 7, replies).map(drop).map_err(|e| (e.definite, e.reason))
    }

    fn set() -> Command {
        Command::Set("v".into())
    }

    #[test]
    fn a_write_counts_when_it_ran_was_copied_and_the_epoch_still_holds() {
        let table = [
            (vec![Value::Okay, Value::Int(1), text("7")], Ok(())),
            (vec![Value::Okay, Value::Int(0), text("7")], Err((false, "wait 0 of 1"))),
            (vec![Value::Okay, Value::Int(1), text("8")], Err((false, "epoch changed"))),
            (vec![Value::Okay, error("UNBLOCKED demoted"), text("7")], Err((false, "wait: UNBLOCKED"))),
            (vec![error("FENCED old"), Value::Int(1), text("8")], Err((true, "FENCED"))),
            (vec![error("MOVED slot 3"), Value::Int(1), text("7")], Err((true, "MOVED"))),
            (vec![Value::Okay], Err((false, "unexpected reply"))),
            (vec![], Err((false, "unexpected reply"))),
        ];
        for (replies, expected) in table {
            let expected = expected.map_err(|(definite, why)| (definite, why.to_owned()));
            assert_eq!(judged(&[], &set(), &replies), expected, "{replies:?}");
        }
    }

    #[test]
    fn a_read_is_judged_like_a_write_but_changes_nothing() {
        let read = |wait| judged(&[], &Command::Get, &[Value::Nil, Value::Int(wait), text("7")]);
        assert_eq!(read(1), Ok(()));
        assert_eq!(read(0), Err((true, "wait 0 of 1".into())));
        assert_eq!(judged(&[Defence::ReadBarrier], &Command::Get, &[Value::Nil, text("7")]), Ok(()));
    }

    #[test]
    fn each_defence_left_out_is_one_look_less() {
        let short = [Value::Okay, Value::Int(0), text("7")];
        assert_eq!(judged(&[Defence::WaitCount], &set(), &short), Ok(()));
        assert_eq!(judged(&[Defence::Wait], &set(), &[Value::Okay, text("7")]), Ok(()));
        assert_eq!(judged(&[Defence::EpochCheck], &set(), &[Value::Okay, Value::Int(1)]), Ok(()));
    }

    #[test]
    fn the_script_is_known_by_its_own_hash() {
        let all = Requests::new(Without::nothing(), 1, 100);
        let less = Requests::new([Defence::OwnershipCheck].into_iter().collect(), 1, 100);
        assert_ne!(all.script.sha, less.script.sha);
        assert_ne!(all.at_replicas.sha, less.at_replicas.sha);
        let packed = all.request("k", &set(), 7).get_packed_pipeline();
        let sent = String::from_utf8_lossy(&packed);
        assert!(
            sent.contains(&all.script.sha) && sent.contains("WAIT") && sent.contains(dataset::EPOCH),
            "{sent}"
        );
    }
}
