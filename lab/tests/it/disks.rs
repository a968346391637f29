//! Faulty disks, by the plainest tools: what a shell in the node sees, and what lies on the backing store.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lab::{
    Disk, DiskAction, DiskErrno, DiskOp, DiskOptions, DiskRule, Exit, Lab, NameSync, Node, PowerCut, Process,
    ProcessState, Survival,
};
use tempfile::TempDir;

use crate::helper;
use crate::net::*;
use crate::processes::shell;

/// A node with a faulty disk over a directory of its own; logs lie beside it.
pub struct Bed {
    pub lab: Lab,
    pub node: Node,
    pub disk: Disk,
    /// As the harness sees it, and where it is mounted in the node.
    pub data: PathBuf,
    pub dir: TempDir,
}

pub fn bed(name: &str, options: DiskOptions) -> Bed {
    let dir = tempfile::tempdir().unwrap();
    let (lab, mut nodes) = lab_of(name, 1);
    let (node, data) = (nodes.remove(0), dir.path().join("data"));
    fs::create_dir(&data).unwrap();
    let disk = Disk::mount(&node, &data, &data, options).unwrap();
    Bed { lab, node, disk, data, dir }
}

impl Bed {
    /// Starts a script in the mounted directory.
    pub fn start(&self, script: &str) -> Process {
        let log = format!("script-{:?}", Instant::now()).replace(|c: char| !c.is_ascii_alphanumeric(), "");
        let script = format!("cd {} && {script}", self.data.display());
        self.node.spawn(&shell(self.dir.path(), &log, &script)).unwrap()
    }

    /// Runs a script there to its end; exit code and what it said.
    pub fn run(&self, script: &str) -> (i32, String) {
        let process = self.start(script);
        match process.wait_exit(PATIENCE) {
            Some(Exit::Code(code)) => (code, process.log_tail(100)),
            other => panic!("`{script}`: {other:?}: {}", process.log_tail(20)),
        }
    }

    /// Runs a script that must succeed.
    pub fn fine(&self, script: &str) -> String {
        let (code, said) = self.run(script);
        assert_eq!(code, 0, "`{script}`: {said}");
        said
    }

    /// What lies on the backing store.
    pub fn on_disk(&self, file: &str) -> Option<String> {
        fs::read(self.data.join(file)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}

pub fn disk_rule(ops: &[DiskOp], files: &str, action: DiskAction) -> DiskRule {
    DiskRule {
        name: "test".into(),
        ops: ops.to_vec(),
        files: files.into(),
        action,
        probability: 1.0,
        seed: 42,
    }
}

pub const NOTHING: PowerCut = PowerCut { survival: Survival::Nothing, seed: 1 };

pub fn a_mounted_directory_behaves_like_any_other() {
    let bed = bed("plain", DiskOptions::default());
    let said = bed.fine(
        "mkdir -p a/b && echo one > a/b/f && echo two >> a/b/f && ln -s f a/b/s && ln a/b/f hard && \
         mv a/b/f a/g && cat a/g && readlink a/b/s && chmod 640 a/g && stat -c '%a %s %h' a/g && \
         truncate -s 3 a/g && cat hard && echo && touch -d @1000 a/g && stat -c %Y hard && \
         rm hard && mv a/g top && rmdir a/b 2>&1 || echo refused && rm a/b/s && rmdir a/b && ls -A && \
         dd if=/dev/urandom of=big bs=1M count=5 2>/dev/null && cksum < big && \
         fallocate -l 6M big && stat -c %s big && fallocate -p -o 0 -l 5M big && head -c 5M big | tr -d '\\0' | wc -c",
    );
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..8], ["one", "two", "f", "640 8 2", "one", "1000", lines[6], "refused"], "{said}");
    assert_eq!(lines[8..10], ["a", "top"], "{said}");
    assert_eq!(lines[11..], ["6291456", "0"], "{said}");
    assert_eq!(bed.on_disk("top").unwrap(), "one");
    // Many processes at a time, and one that keeps a file it has removed.
    bed.fine(
        "for i in 1 2 3 4 5 6 7 8; do (for j in 1 2 3 4 5; do echo $i$j >> all; done; echo x > p$i) & done; wait; \
         test $(wc -l < all) = 40 && test $(ls p? | wc -l) = 8 && \
         exec 3<>all && rm all && echo more >&3 && exec 3>&- && test ! -e all",
    );
    // What the harness does behind its back is seen at once.
    fs::write(bed.data.join("top"), "changed outside").unwrap();
    assert_eq!(bed.fine("cat top"), "changed outside");
    assert!(
        fs::read_dir(&bed.data).unwrap().flatten().all(|e| e.file_name() != ".lab-limbo")
            || bed.disk.pending().files > 0
    );
}

pub fn errors_strike_what_the_rule_covers_and_heal() {
    let bed = bed("errors", DiskOptions::default());
    bed.fine("echo old > a.log; echo old > b.txt");
    let eio = DiskAction::Errno(DiskErrno::Eio);
    let guard = bed.disk.install(disk_rule(&[DiskOp::Write, DiskOp::Sync], "*.log", eio)).unwrap();
    let (code, said) = bed.run("echo new >> a.log");
    assert!(code != 0 && said.contains("I/O error"), "{said}");
    assert!(bed.run("sync a.log").1.contains("Input/output error"));
    bed.fine("cat a.log && echo new >> b.txt && sync b.txt");
    let counters = guard.heal();
    assert_eq!((counters.matched, counters.failed), (2, 2));
    bed.fine("echo new >> a.log && sync a.log");
    assert_eq!(bed.on_disk("a.log").unwrap(), "old\nnew\n");

    let read_only = DiskAction::Errno(DiskErrno::Erofs);
    let ops = [DiskOp::Create, DiskOp::Rename, DiskOp::Unlink, DiskOp::Open];
    let guard = bed.disk.install(disk_rule(&ops, "**", read_only)).unwrap();
    for script in ["echo x > c", "mv a.log c", "rm b.txt", "cat a.log", "mkdir d"] {
        let (code, said) = bed.run(script);
        assert!(code != 0 && said.contains("Read-only file system"), "{script}: {said}");
    }
    drop(guard);
    bed.fine("mv a.log c && rm b.txt && mkdir d");
}

pub fn a_full_disk_tells_so_and_takes_what_fits() {
    let bed = bed("full", DiskOptions::default());
    bed.fine("head -c 1000 /dev/zero > old");
    let full = DiskAction::Full { free_bytes: 10_000 };
    let guard = bed.disk.install(disk_rule(&[], "**", full)).unwrap();
    assert!(bed.fine("df --output=avail -B1 . | tail -1").trim().parse::<u64>().unwrap() <= 10_000);
    bed.fine("head -c 1000 /dev/zero | dd of=old conv=notrunc 2>&1");
    let (code, said) = bed.run("dd if=/dev/zero of=new bs=15000 count=1");
    assert!(code != 0 && said.contains("No space left"), "{said}");
    assert_eq!(fs::metadata(bed.data.join("new")).unwrap().len(), 10_000);
    bed.fine("truncate -s 4000 new && head -c 6000 /dev/zero >> new");
    assert_ne!(bed.run("echo >> old").0, 0);
    bed.fine("rm new && head -c 8000 /dev/zero > again && rm again");
    bed.fine(
        "truncate -s 100000 sparse && head -c 4000 /dev/zero | dd of=sparse bs=4000 conv=notrunc 2>/dev/null",
    );
    let (code, said) = bed.run("head -c 50000 /dev/zero | dd of=sparse bs=50000 conv=notrunc");
    assert!(code != 0 && said.contains("No space left"), "a hole needs space: {said}");
    let counters = guard.heal();
    assert!(counters.refused_bytes > 10_000 && counters.failed >= 3, "{counters:?}");
    bed.fine("head -c 90000 /dev/zero > again");
}

pub fn a_slow_sync_is_slow_and_others_are_not() {
    let bed = bed("slow", DiskOptions::default());
    bed.fine("echo > a; echo > b");
    let (base, jitter) = (Duration::from_millis(400), Duration::from_millis(100));
    let guard = bed.disk.install(disk_rule(&[DiskOp::Sync], "a", DiskAction::Slow { base, jitter })).unwrap();
    let began = Instant::now();
    bed.fine("sync a");
    assert!(began.elapsed() >= base);
    let began = Instant::now();
    bed.fine("sync b; cat a b; echo >> b");
    assert!(began.elapsed() < base, "{:?}", began.elapsed());
    assert_eq!((guard.counters().delayed, guard.counters().matched), (1, 1));
}

pub fn a_stuck_sync_waits_for_its_healing_and_holds_up_nothing_else() {
    let bed = bed("stuck", DiskOptions::default());
    bed.fine("for i in 1 2 3 4 5 6 7 8; do echo > s$i; done; echo > free");
    let guard = bed.disk.install(disk_rule(&[DiskOp::Sync], "s*", DiskAction::Stuck)).unwrap();
    // More of them than there are workers.
    let stuck = bed.start("for i in 1 2 3 4 5 6 7 8; do sync s$i & done; wait; echo done");
    eventually("all of them wait", || guard.counters().waiting == 8);
    bed.fine("sync free && echo more >> free && cat s1 && mv free free2");
    assert_eq!(stuck.wait_exit(SILENCE), None);
    let counters = guard.heal();
    assert_eq!((counters.delayed, counters.killed), (8, 0));
    assert_eq!(stuck.wait_exit(PATIENCE), Some(Exit::Code(0)));
    assert_eq!(stuck.log_tail(1), "done");
    assert_eq!(bed.disk.pending().files, 1, "all but `free2` are synced");
}

pub fn a_process_can_be_stopped_and_killed_while_its_disk_is_stuck() {
    let bed = bed("killed", DiskOptions::default());
    let guard = bed.disk.install(disk_rule(&[DiskOp::Sync], "*", DiskAction::Stuck)).unwrap();
    let stuck = bed.start("echo x > f; sync f; echo over");
    eventually("it waits", || guard.counters().waiting == 1);
    stuck.stop().unwrap();
    assert_eq!(stuck.state(), ProcessState::Stopped);
    stuck.cont().unwrap();
    let began = Instant::now();
    stuck.kill().unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(stuck.state(), ProcessState::Exited(Exit::Signal(9)));
    eventually("nobody waits", || guard.counters().waiting == 0);
    assert_eq!(guard.counters().killed, 1);
    assert_eq!(bed.disk.lose_unsynced(NOTHING).unwrap().names, 1, "the sync was not carried out");
}

pub fn a_power_cut_takes_what_was_not_synced() {
    let bed = bed("cut", DiskOptions::default());
    bed.fine(
        "echo kept > kept; echo old > renamed; echo old > removed; echo 12345 > cut; echo a > over; echo b > by; \
         sync kept renamed removed cut over by",
    );
    assert_eq!(bed.disk.pending(), Default::default());
    bed.fine(
        "echo more >> kept; mv renamed elsewhere; rm removed; truncate -s 2 cut; mv by over; echo new > new; \
         printf X | dd of=elsewhere conv=notrunc 2>/dev/null",
    );
    assert_eq!(bed.fine("cat over elsewhere cut"), "b\nXld\n12");
    let lost = bed.disk.lose_unsynced(NOTHING).unwrap();
    assert_eq!(
        lost.paths,
        ["by", "cut", "elsewhere", "kept", "new", "over", "removed", "renamed"],
        "{lost:?}"
    );
    assert_eq!((lost.names, lost.bytes), (6, 5 + 4 + 1 + 4), "{lost:?}");
    assert_eq!(
        bed.fine("ls -A && cat kept renamed removed cut over by"),
        "by\ncut\nkept\nover\nremoved\nrenamed\nkept\nold\nold\n12345\na\nb"
    );
    assert_eq!(bed.disk.lose_unsynced(NOTHING).unwrap(), lab::Lost::default());
    // With a journal, the sync of another file makes the names durable, and no content.
    bed.fine("echo new > new; mv kept gone; echo x > other; sync other");
    let lost = bed.disk.lose_unsynced(NOTHING).unwrap();
    assert_eq!((lost.names, lost.paths), (0, vec!["new".to_owned()]));
    assert_eq!(bed.on_disk("new").unwrap(), "");
    assert_eq!(bed.fine("cat gone other"), "kept\nx");
}

pub fn time_writes_back() {
    let soon = Some(Duration::from_millis(150));
    let options =
        DiskOptions { data_written_after: soon, names_written_after: soon, ..DiskOptions::default() };
    let bed = bed("age", options);
    bed.fine("printf old > f; printf old > gone");
    std::thread::sleep(Duration::from_millis(200));
    bed.fine("printf new >> f; mv gone elsewhere");
    assert_eq!(bed.disk.lose_unsynced(NOTHING).unwrap().paths, ["elsewhere", "f", "gone"]);
    assert_eq!(bed.fine("cat f gone"), "oldold");
    bed.fine("printf new >> f; mv gone elsewhere");
    bed.disk.settle();
    assert_eq!(bed.disk.lose_unsynced(NOTHING).unwrap(), lab::Lost::default());
}

pub fn a_strict_disk_loses_names_until_their_directory_is_synced() {
    let bed = bed("strict", DiskOptions { names: NameSync::Strict, ..DiskOptions::default() });
    bed.fine("mkdir d; echo x > d/f; sync d/f; echo y > g; sync g; sync d");
    let lost = bed.disk.lose_unsynced(NOTHING).unwrap();
    assert_eq!((lost.names, lost.paths), (1, vec!["g".to_owned()]));
    assert_eq!(bed.fine("ls -A; cat d/f"), "d\nx");
}

pub fn a_cut_may_tear_the_last_write_or_keep_some_blocks() {
    let bed = bed("torn", DiskOptions::default());
    bed.fine("printf start- > f; sync f; printf first- >> f; printf second >> f");
    let torn = Survival::Torn { keep_bytes: Some(3) };
    let lost = bed.disk.lose_unsynced(PowerCut { survival: torn, seed: 1 }).unwrap();
    assert_eq!(bed.on_disk("f").unwrap(), "start-first-sec");
    assert_eq!((lost.files, lost.bytes, lost.names), (1, 3, 0));
    bed.fine("head -c 400000 /dev/zero | tr '\\0' a > g; sync g; head -c 400000 /dev/zero | tr '\\0' b | dd of=g conv=notrunc bs=64k iflag=fullblock 2>/dev/null");
    let some = Survival::Blocks { probability: 0.5 };
    bed.disk.lose_unsynced(PowerCut { survival: some, seed: 1 }).unwrap();
    let content = bed.on_disk("g").unwrap();
    assert_eq!(content.len(), 400_000);
    let blocks: Vec<u8> = content
        .as_bytes()
        .chunks(4096)
        .map(|block| {
            assert!(block.iter().all(|byte| *byte == block[0]), "a block is one or the other");
            block[0]
        })
        .collect();
    let kept = blocks.iter().filter(|byte| **byte == b'b').count();
    assert!((20..80).contains(&kept), "{kept} of {}", blocks.len());
}

pub fn a_disk_may_lie_about_its_syncs() {
    let bed = bed("lies", DiskOptions::default());
    let guard = bed.disk.install(disk_rule(&[], "**", DiskAction::IgnoreSync)).unwrap();
    bed.fine("echo x > f; sync f");
    assert_eq!(guard.heal().ignored_syncs, 1);
    assert_eq!(bed.disk.lose_unsynced(NOTHING).unwrap().names, 1);
    assert_eq!(bed.fine("ls -A"), "");
}

pub fn a_bit_flips_for_the_reader_or_for_good() {
    let bed = bed("flip", DiskOptions::default());
    bed.fine("head -c 1000 /dev/zero > f");
    let differs = |bytes: &[u8]| bytes.iter().map(|byte| byte.count_ones()).sum::<u32>();
    let guard = bed.disk.install(disk_rule(&[DiskOp::Read], "f", DiskAction::FlipBit)).unwrap();
    assert_eq!(bed.fine("head -c 1000 f | tr -d '\\0' | wc -c"), "1");
    assert_eq!(guard.heal().flipped, 1);
    assert_eq!(differs(&fs::read(bed.data.join("f")).unwrap()), 0);
    let guard = bed.disk.install(disk_rule(&[DiskOp::Write], "f", DiskAction::FlipBit)).unwrap();
    bed.fine("head -c 1000 /dev/zero | dd of=f bs=1000 2>/dev/null");
    assert_eq!(guard.heal().flipped, 1);
    assert_eq!(differs(&fs::read(bed.data.join("f")).unwrap()), 1);
}

pub fn a_cut_waits_until_nobody_writes() {
    let bed = bed("open", DiskOptions { names_written_after: None, ..DiskOptions::default() });
    let writer = bed.start("exec 3>f; echo x >&3; sleep 1000");
    eventually("it has written", || bed.on_disk("f").is_some_and(|text| text == "x\n"));
    let error = bed.disk.lose_unsynced(NOTHING).unwrap_err().to_string();
    assert!(error.contains("still open for writing"), "{error}");
    writer.kill().unwrap();
    assert_eq!(bed.disk.lose_unsynced(NOTHING).unwrap().names, 1);
}

pub fn memory_is_bounded_by_writing_back() {
    let bed = bed("bound", DiskOptions { undo_bytes_max: 10_000, ..DiskOptions::default() });
    bed.fine("head -c 20000 /dev/zero | tr '\\0' a > f; sync f; head -c 20000 /dev/zero | tr '\\0' b | dd of=f conv=notrunc bs=4000 iflag=fullblock 2>/dev/null");
    assert_eq!(bed.disk.pending().written_back, 1);
    bed.disk.lose_unsynced(NOTHING).unwrap();
    let content = bed.on_disk("f").unwrap();
    let kept = content.bytes().take_while(|byte| *byte == b'b').count();
    assert_eq!((kept, content.len()), (12_000, 20_000));
    assert!(content.bytes().skip(kept).all(|byte| byte == b'a'));
}

pub fn bad_disk_rules_are_refused_with_a_reason() {
    let bed = bed("bad", DiskOptions::default());
    let error = bed.disk.install(disk_rule(&[], "**", DiskAction::Stuck)).unwrap_err().to_string();
    assert!(error.contains("covers no operation"), "{error}");
}

/// The mounts of ours that a process sees.
fn disks_seen_by(pid: &str) -> usize {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    mounts.lines().filter(|line| line.contains("- fuse lab-disk")).count()
}

fn threads_named(name: &str) -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let named = |path: PathBuf| fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name);
    tasks.filter(|task| named(task.path())).count()
}

pub fn nothing_stays_mounted_when_the_disk_or_the_node_goes() {
    let bed = bed("gone", DiskOptions::default());
    assert_eq!((disks_seen_by("self"), disks_seen_by(&bed.node.init_pid().to_string())), (0, 1));
    let init = bed.node.init_pid().to_string();
    let holder =
        bed.start("exec 3<>f; echo early >&3; while :; do echo late >&3 || exit 1; sleep 0.01; done");
    eventually("it writes", || bed.on_disk("f").is_some_and(|text| text.contains("late")));
    let guard = bed.disk.install(disk_rule(&[DiskOp::Write], "f", DiskAction::Stuck)).unwrap();
    eventually("it is stuck", || guard.counters().waiting == 1);
    drop(bed.disk);
    assert_eq!(disks_seen_by(&init), 0);
    let len = || fs::metadata(bed.data.join("f")).unwrap().len();
    let before = len();
    eventually("who has it open goes on", || len() > before + 50);
    holder.kill().unwrap();
    let disk = Disk::mount(&bed.node, &bed.data, &bed.data, DiskOptions::default()).unwrap();
    let guard = disk.install(disk_rule(&[DiskOp::Sync], "f", DiskAction::Stuck)).unwrap();
    let script = format!("cd {}; sync f", bed.data.display());
    bed.node.spawn(&shell(bed.dir.path(), "late", &script)).unwrap();
    eventually("it is stuck", || guard.counters().waiting == 1);
    let began = Instant::now();
    bed.lab.down().unwrap();
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    eventually("no thread of ours serves it", || {
        threads_named("disk-n0") == 0 && threads_named("disk-wait") == 0
    });
    drop(guard);
    drop(disk);
}

/// A harness with a stuck disk in a node.
pub fn be_the_owner_of_a_stuck_disk(dir: &Path) {
    let (_lab, nodes) = lab_of("owner", 2);
    let disks: Vec<Disk> = nodes
        .iter()
        .map(|node| {
            let data = dir.join(node.name());
            fs::create_dir(&data).unwrap();
            Disk::mount(node, &data, &data, DiskOptions::default()).unwrap()
        })
        .collect();
    let rule = disk_rule(&[DiskOp::Sync, DiskOp::Write], "f", DiskAction::Stuck);
    let guards: Vec<_> = disks.iter().map(|disk| disk.install(rule.clone()).unwrap()).collect();
    for (node, disk) in nodes.iter().zip(&disks) {
        let script = format!("cd {} && echo > g && echo > f & sleep 1000", disk.mount_point().display());
        node.spawn(&shell(dir, node.name(), &script)).unwrap();
    }
    eventually("both are stuck", || guards.iter().all(|guard| guard.counters().waiting == 1));
    helper::say("ready");
    loop {
        std::thread::park();
    }
}

pub fn kill_9_of_the_harness_with_a_stuck_disk_leaves_nothing_behind() {
    use std::io::{BufRead, BufReader};
    let dir = tempfile::tempdir().unwrap();
    let mut owner = helper::command("disk-owner", dir.path()).spawn().unwrap();
    let stdout = owner.stdout.take().unwrap();
    assert_eq!(BufReader::new(stdout).lines().next().unwrap().unwrap(), "ready");
    let mine = |pid: &str| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environ.windows(dir.path().as_os_str().len()).any(|w| w == dir.path().as_os_str().as_encoded_bytes())
    };
    let pids = || -> Vec<String> {
        let all = fs::read_dir("/proc").unwrap().flatten();
        let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.bytes().all(|b| b.is_ascii_digit()) && mine(name)).collect()
    };
    assert!(pids().iter().map(|pid| disks_seen_by(pid)).sum::<usize>() >= 2);
    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("every process of it is gone, and every mount with them", || pids().is_empty());
}
