//! Which processes belong to a started program, and what each is doing, read from `/proc`.

use std::collections::HashSet;
use std::fs;

/// One process of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// As the harness sees it.
    pub(crate) pid: u32,
    parent: u32,
    session: u32,
    /// The letter in `/proc/<pid>/stat`: R, S, D, T, Z, …
    state: char,
}

impl Member {
    /// False for a zombie: it only waits to be reaped.
    pub(crate) fn alive(&self) -> bool {
        !matches!(self.state, 'Z' | 'X')
    }

    /// Halted by a stop signal, going by its main thread.
    pub(crate) fn is_halted(&self) -> bool {
        matches!(self.state, 'T' | 't')
    }

    /// True if no thread of it will run another instruction of its own before it is continued: each is
    /// halted, or sits in an uninterruptible kernel call with a stop waiting for it at the way out. The
    /// second happens to a parent whose `vfork` child was halted before its `exec`, for as long as that.
    pub(crate) fn stands_still(&self) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.pid)) else { return true };
        let states = threads.flatten().filter_map(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).ok();
            Some(stat.as_deref().and_then(parse_stat)?.state)
        });
        let states: Vec<char> = states.collect();
        let is_halted = |state: &char| matches!(state, 'T' | 't');
        states.iter().all(|state| is_halted(state) || matches!(state, 'D' | 'Z' | 'X'))
            && (states.iter().any(is_halted) || !states.contains(&'D') || stop_is_pending(self.pid))
    }
}

/// True if a SIGSTOP waits for process `pid` as a whole (`ShdPnd` in proc_pid_status(5)).
fn stop_is_pending(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & (1 << (libc::SIGSTOP - 1)) != 0)
}

/// True if process `leader` is alive and stands still.
pub(crate) fn leader_stands_still(leader: u32) -> bool {
    read_stat(leader).is_some_and(|member| member.alive() && member.stands_still())
}

/// Every process of the tree that `sessions` belong to, zombies included: those in one of the sessions,
/// and all descendants of such. Sessions that descendants opened are added to `sessions`, so that who
/// looks again finds their members even when the parents between are gone.
pub(crate) fn members(sessions: &mut HashSet<u32>) -> Vec<Member> {
    select(sessions, all_processes())
}

fn all_processes() -> Vec<Member> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| read_stat(entry.file_name().to_str()?.parse().ok()?)).collect()
}

fn read_stat(pid: u32) -> Option<Member> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Reads one `/proc/<pid>/stat` line (proc(5)). The command name stands in parentheses and may itself
/// hold spaces and parentheses, so the fields count from the last `)`.
fn parse_stat(line: &str) -> Option<Member> {
    let (head, tail) = line.rsplit_once(')')?;
    let pid = head.split_once(' ')?.0.parse().ok()?;
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    let session = fields.nth(1)?.parse().ok()?;
    Some(Member { pid, parent, session, state })
}

/// See [`members`]. A session is led by the process whose pid it bears, so the leaders need no mention.
fn select(sessions: &mut HashSet<u32>, all: Vec<Member>) -> Vec<Member> {
    let mut inside: HashSet<u32> = HashSet::new();
    loop {
        let before = inside.len();
        for member in &all {
            if sessions.contains(&member.session) || inside.contains(&member.parent) {
                inside.insert(member.pid);
                sessions.insert(member.session);
            }
        }
        if inside.len() == before {
            return all.into_iter().filter(|member| inside.contains(&member.pid)).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, session: u32) -> Member {
        Member { pid, parent, session, state: 'S' }
    }

    #[test]
    fn a_command_name_may_hold_spaces_and_parentheses() {
        let member = parse_stat("4242 (a) b (c) T 7 4242 4240 0 -1 4194304 1 2 3").unwrap();
        assert_eq!(member, Member { pid: 4242, parent: 7, session: 4240, state: 'T' });
        assert!(member.is_halted() && member.alive());
    }

    #[test]
    fn a_cut_line_is_no_process() {
        assert_eq!(parse_stat("4242 (sleep"), None);
        assert_eq!(parse_stat("4242 (sleep) S 1"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn the_tree_is_the_session_and_its_descendants_in_any_order() {
        let all = vec![
            process(14, 13, 13), // grandchild in a session of its own
            process(13, 12, 13), // child that left the session
            process(12, 10, 10), // child
            process(15, 1, 10),  // orphan still in the session
            process(10, 5, 10),  // the leader
            process(5, 1, 5),    // the harness
            process(16, 1, 16),  // a stranger
        ];
        let mut sessions = HashSet::from([10]);
        let mut pids: Vec<u32> = select(&mut sessions, all).iter().map(|m| m.pid).collect();
        pids.sort();
        assert_eq!(pids, [10, 12, 13, 14, 15]);
        assert_eq!(sessions, HashSet::from([10, 13]));
    }

    #[test]
    fn a_known_session_is_found_after_leader_and_parents_are_gone() {
        let all = || vec![process(15, 1, 10), process(17, 1, 13), process(16, 1, 16)];
        let found = |sessions: &[u32]| -> Vec<u32> {
            let mut sessions = sessions.iter().copied().collect();
            select(&mut sessions, all()).iter().map(|m| m.pid).collect()
        };
        assert_eq!(found(&[10]), [15]);
        assert_eq!(found(&[10, 13]), [15, 17]);
    }
}
