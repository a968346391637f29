//! Many faults, one after the other: nothing is left of them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use lab::Action;

use crate::net::*;

const FLIPS: u64 = 10_000;

/// What this process holds of the machine.
#[derive(Debug)]
struct Footprint {
    descriptors: usize,
    threads: usize,
    resident_kb: u64,
}

impl Footprint {
    fn now() -> Footprint {
        let count = |dir: &str| fs::read_dir(dir).unwrap().count();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Footprint {
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            resident_kb: resident.trim().trim_end_matches(" kB").parse().unwrap(),
        }
    }
}

pub fn ten_thousand_flips_of_a_partition_leave_nothing_behind() {
    let (lab, nodes) = lab_of("flips", 4);
    let (fabric, done, lost, held) =
        (lab.fabric(), Arc::new(AtomicBool::new(false)), AtomicU64::new(0), AtomicU64::new(0));
    let links = |a: usize, b: usize| both_ways(&nodes[a], &nodes[b]);
    let talk = |from: usize, to: usize| {
        let (near, far) = (udp(&nodes[from], 9), udp(&nodes[to], 10));
        let done = done.clone();
        std::thread::spawn(move || {
            let to = far.local_addr().unwrap();
            far.set_nonblocking(true).unwrap();
            while !done.load(Relaxed) {
                let _cut_or_not = near.send_to(&[0; 64], to);
                while far.recv(&mut [0; 64]).is_ok() {}
                std::thread::sleep(Duration::from_micros(200));
            }
        })
    };
    let talkers = [talk(0, 1), talk(2, 3)];
    let flip = |i: u64| {
        // Beside each cut, something that holds packets, so that healing has to let go of them.
        let hold = Action::Delay { base: Duration::from_secs(60), jitter: Duration::from_secs(1) };
        let slow = fabric.install(rule("slow", links(2, 3), hold)).unwrap();
        let all = [links(0, 1), links(0, 2), links(0, 3)].concat();
        let cut = fabric.install(rule("cut", all, Action::Drop)).unwrap();
        if i.is_multiple_of(100) {
            std::thread::sleep(Duration::from_millis(1));
        }
        lost.fetch_add(cut.heal().dropped, Relaxed);
        held.fetch_add(slow.heal().delayed, Relaxed);
    };
    (0..500).for_each(flip);
    let before = Footprint::now();
    (0..FLIPS).for_each(flip);
    let after = Footprint::now();
    assert_eq!((after.descriptors, after.threads), (before.descriptors, before.threads));
    assert!(after.resident_kb < before.resident_kb + 4_096, "{before:?} {after:?}");
    assert!(fabric.rules().is_empty());
    eventually("nothing is held", || fabric.totals().held == 0);
    assert!(lost.load(Relaxed) > 0 && held.load(Relaxed) > 0, "the faults were real");
    done.store(true, Relaxed);
    talkers.into_iter().for_each(|talker| talker.join().unwrap());
    let echoes: Vec<_> = nodes.iter().map(|node| serve_echo(node, 7000)).collect();
    assert!(nodes.iter().all(|node| echoes.iter().all(|echo| reaches(node, *echo))));
}
