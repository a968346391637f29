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

/// Every process in the session led by `leader`, and every descendant of one, zombies included.
pub(crate) fn members(leader: u32) -> Vec<Member> {
    select(leader, all_processes())
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

/// The members of `leader`'s tree among `all`.
fn select(leader: u32, all: Vec<Member>) -> Vec<Member> {
    let mut inside: HashSet<u32> = HashSet::from([leader]);
    loop {
        let before = inside.len();
        inside.extend(
            all.iter()
                .filter(|m| m.session == leader || inside.contains(&m.parent))
                .map(|m| m.pid)
                .collect::<Vec<_>>(),
        );
        if inside.len() == before {
            break;
        }
    }
    all.into_iter().filter(|m| inside.contains(&m.pid)).collect()
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
        let mut pids: Vec<u32> = select(10, all).iter().map(|m| m.pid).collect();
        pids.sort();
        assert_eq!(pids, [10, 12, 13, 14, 15]);
    }

    #[test]
    fn descendants_are_found_after_the_leader_is_gone() {
        let pids: Vec<u32> =
            select(10, vec![process(15, 1, 10), process(16, 1, 16)]).iter().map(|m| m.pid).collect();
        assert_eq!(pids, [15]);
    }
}
