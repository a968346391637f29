//! The packet recording.

use std::process::Command;

use lab::{Action, Lab, LabOptions};

use crate::net::*;

pub fn a_capture_is_readable_and_shows_what_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.pcapng");
    let mut lab =
        Lab::up(LabOptions { capture: Some(path.clone()), ..LabOptions::named("capture") }).unwrap();
    let a = lab.add_node("alpha").unwrap();
    let b = lab.add_node("beta").unwrap();
    let (left, right) = (udp(&a, 4000), udp(&b, 5000));
    send_numbered(&left, &right, 20);
    assert_eq!(receive_numbers(&right).len(), 20);
    let link = vec![(a.id(), b.id())];
    let cut = lab.fabric().install(rule("cut-alpha", link, Action::Drop)).unwrap();
    send_numbered(&left, &right, 5);
    eventually("five are dropped", || cut.counters().dropped == 5);
    cut.heal();
    send_numbered(&right, &left, 3);
    assert_eq!(receive_numbers(&left).len(), 3);
    assert_eq!(lab.fabric().totals().uncaptured, 0);
    lab.down().unwrap();

    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    let fields = ["frame.interface_name", "ip.src", "ip.dst", "udp.dstport", "frame.comment"];
    let Some(frames) = tshark(&path, &fields) else {
        return eprintln!("tshark is not installed: only the file's head was checked");
    };
    let count = |row: &str| frames.iter().filter(|frame| frame.as_str() == row).count();
    assert_eq!(count("alpha|10.77.0.1|10.77.0.2|5000|"), 20, "{frames:#?}");
    assert_eq!(count("alpha|10.77.0.1|10.77.0.2|5000|dropped by cut-alpha"), 5);
    assert_eq!(count("beta|10.77.0.2|10.77.0.1|4000|"), 3);
    assert_eq!(frames.len(), 28);
}

/// One line per frame with the given fields, or `None` where tshark is not installed.
fn tshark(path: &std::path::Path, fields: &[&str]) -> Option<Vec<String>> {
    let mut command = Command::new("tshark");
    command.args(["-r", path.to_str()?, "-T", "fields", "-E", "separator=|"]);
    command.args(fields.iter().flat_map(|field| ["-e", field]));
    // Wireshark insists on reading the user's settings, which may be somebody else's under sudo.
    let output = command.env("HOME", path.parent()?).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
