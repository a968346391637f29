//! Faulty disks under real ZooKeeper servers: what they show, that they heal, and what they cost.

use std::path::Path;
use std::time::{Duration, Instant};

use cluster::provision::zookeeper;
use cluster::zk::{Link, LinkOptions, put_persistent};
use lab::{Disk, DiskAction, DiskErrno, DiskOp, DiskOptions, DiskRule, Lab, LabOptions, Node, Program};
use results::summary::Liveness;

use crate::tool::{Store, processes_touching, shardstorm, summary};

/// False, with the reason printed, where no disk can be made to fail.
fn able() -> bool {
    let doctor = shardstorm(&["doctor"]);
    let fuse = doctor.stdout.lines().find(|line| line.contains("fuse")).unwrap_or_default();
    let able = doctor.code == 0 && fuse.starts_with("yes");
    if !able {
        eprintln!("skipped: no cluster with faulty disks can be raised\n{}", doctor.said());
    }
    able
}

const FAULTS: [(&str, &str, &str, &str); 7] = [
    ("power-cut", "", "zookeeper leader", "signal 9"),
    // After it come windows that need no leader.
    ("power-cut", "", "client c0 and zookeeper ensemble", "client of c0 lost to the power cut"),
    ("stuck-fsync", "", "zookeeper minority", "syncs delayed"),
    ("disk-full", "", "zookeeper minority", "found no space"),
    ("bit-flip", "file = 'log'\naim = 'value'", "zookeeper minority", "its file was mended"),
    ("lying-fsync", "", "zookeeper minority", "answered and not done"),
    // Last, for an ensemble whose leader could not sync may stay without one for seconds after the healing.
    ("io-error", "on = 'sync'", "zookeeper leader", "operations failed"),
];

#[test]
fn faults_of_disks_show_what_they_did_and_the_ensemble_comes_back() {
    if !able() {
        return;
    }
    let store = Store::new();
    let file = store.path().join("faults.toml");
    let window = |(i, (fault, values, target, _)): (usize, &(&str, &str, &str, &str))| {
        let (start, stop) = (0.8 + 2.6 * i as f64, 2.4 + 2.6 * i as f64);
        format!(
            "[[window]]\nstart_s = {start:.1}\nstop_s = {stop:.1}\nfault = '{fault}'\n{values}\ntarget = '{target}'\n"
        )
    };
    let text: String = FAULTS.iter().enumerate().map(window).collect();
    std::fs::write(&file, text).unwrap();
    let done = store.run(&["--time-limit", "20", "--faults", file.to_str().unwrap(), "--seed", "5"]);
    assert_eq!(done.code, 0, "what disks do breaks no promise: {}", done.said());
    let left = processes_touching(store.path());
    assert!(left.is_empty(), "left behind: {left:?}");
    let summary = summary(&store.latest());
    assert!(matches!(summary.liveness, Liveness::Live { .. }), "{}", done.said());
    for (fault, (name, _, _, shows)) in summary.faults.iter().zip(&FAULTS) {
        assert!(fault.installed, "{name}: {fault:?}");
        let seen = |(what, seen): &(String, String)| what.contains(shows) || seen.contains(shows);
        assert!(fault.evidence.iter().any(seen), "{name}: {fault:?}");
    }
    assert_eq!(summary.faults.len(), FAULTS.len());
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains("lab-disk"), "{mounts}");
}

#[test]
fn disk_faults_are_refused_where_there_are_no_files() {
    let done = shardstorm(&["run", "--target", "fake", "--faults", "disk", "--time-limit", "5"]);
    assert_eq!(done.code, 254);
    assert!(done.stderr.contains("the fake cluster keeps no files"), "{}", done.said());
}

/// A lone ZooKeeper in a node, its data in `data` below `home`; how many writes a second one client gets through.
fn rate(node: &Node, home: &Path, time: Duration) -> (f64, lab::Process) {
    let peers = vec![zookeeper::Peer::at(1, node.addr().into())];
    let launch = zookeeper::Server::new(1, peers, home).prepare(&zookeeper::find().unwrap()).unwrap();
    let (cwd, log) = (launch.cwd, home.with_extension("log"));
    let server = Program { name: "zk".into(), argv: launch.argv, env: vec![], cwd, log };
    let server = node.spawn(&server).unwrap();
    let addr = node.addr();
    let job = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let link = Link::open(LinkOptions::new(format!("{addr}:2181"), "/"));
            let began = Instant::now();
            while link.client().is_none() {
                assert!(began.elapsed() < Duration::from_secs(20), "no session");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let client = link.client().unwrap();
            let (began, mut done) = (Instant::now(), 0u32);
            while began.elapsed() < time {
                put_persistent(&client, &format!("/n{done}"), &[7; 100]).await.unwrap();
                done += 1;
            }
            f64::from(done) / began.elapsed().as_secs_f64()
        })
    };
    let rate = node.enter("client", job).unwrap().join().unwrap();
    (rate, server)
}

/// Prints what the layer costs a ZooKeeper with one client, beside the bare directory, and holds two things it
/// rests on: the server maps none of its data into memory, and it says so when a write fails.
#[test]
fn the_cost_to_zookeeper_is_told_and_it_maps_no_data() {
    if !able() {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: needs root, for this process has threads already");
    }
    let dir = tempfile::tempdir().unwrap();
    let mut lab = Lab::up(LabOptions::named("cost")).unwrap();
    let [bare, faulty] = ["bare", "faulty"].map(|name| lab.add_node(name).unwrap());
    let time = Duration::from_secs(2);
    let home = |node: &Node| dir.path().join(node.name());
    let (beside, _server) = rate(&bare, &home(&bare), time);
    let data = home(&faulty).join("data");
    std::fs::create_dir_all(&data).unwrap();
    let disk = Disk::mount(&faulty, &data, &data, DiskOptions::default()).unwrap();
    let (mounted, server) = rate(&faulty, &home(&faulty), time);
    println!("{beside:.0} writes/s beside, {mounted:.0} mounted, ratio {:.2}", mounted / beside);
    assert!(mounted > 5.0);
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.pid())).unwrap();
    assert!(maps.contains("libjvm") && !maps.contains(data.to_str().unwrap()), "{maps}");
    assert!(disk.pending().files <= 1, "all but a snapshot is synced: {:?}", disk.pending());
    let rule = DiskRule {
        name: "broken".into(),
        ops: vec![DiskOp::Sync],
        files: "version-2/log.*".into(),
        action: DiskAction::Errno(DiskErrno::Eio),
        probability: 1.0,
        seed: 1,
    };
    let guard = disk.install(rule).unwrap();
    let addr = faulty.addr();
    faulty
        .enter("client", move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let link = Link::open(LinkOptions::new(format!("{addr}:2181"), "/"));
                while link.client().is_none() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            });
        })
        .map(drop)
        .unwrap();
    assert!(server.wait_exit(Duration::from_secs(20)).is_some(), "it ends itself");
    assert!(server.log_tail(200).contains("Severe unrecoverable error"), "{}", server.log_tail(40));
    assert!(guard.heal().failed >= 1);
}
