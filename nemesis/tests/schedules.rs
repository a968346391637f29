//! Every schedule that is shipped reads, strikes, and reads back from what it comes to.

use std::fs;
use std::path::Path;

use nemesis::{Limits, Schedule};

const LIMITS: Limits = Limits { time_limit_ms: 30_000, shards: 2, replicas: 3, zookeepers: 3 };

#[test]
fn every_schedule_of_the_campaigns_reads_and_is_whole_when_written_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../campaigns/schedules");
    let page = fs::read_to_string(folder.join("../../docs/schedules.md")).unwrap();
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(page.contains(name), "docs/schedules.md does not name {name}");
        for seed in 0..20 {
            let schedule = Schedule::from_toml(&text, &LIMITS, seed).unwrap_or_else(|e| panic!("{name}:{e}"));
            assert!(!schedule.windows.is_empty(), "{name}, seed {seed}");
            assert_eq!(Schedule::from_toml(&schedule.to_toml(), &LIMITS, 99).unwrap(), schedule, "{name}");
        }
        read += 1;
    }
    assert!(read >= 6, "{read}");
}

#[test]
fn every_example_in_the_page_reads() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schedules.md");
    let page = fs::read_to_string(page).unwrap();
    let mut examples = 0;
    for block in page.split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        Schedule::from_toml(text, &LIMITS, 1).unwrap_or_else(|e| panic!("{e}\n{text}"));
        examples += 1;
    }
    assert!(examples >= 3, "{examples}");
}

#[test]
fn every_fault_has_a_section_with_an_example_that_reads() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/faults.md");
    let page = fs::read_to_string(page).unwrap();
    for fault in nemesis::Harm::faults() {
        let section = page.split("\n### ").find(|section| section.starts_with(&format!("`{fault}`\n")));
        let section = section.unwrap_or_else(|| panic!("docs/faults.md has no section on {fault}"));
        let example = section.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next());
        let example = example.unwrap_or_else(|| panic!("{fault} has no example"));
        let schedule = Schedule::from_toml(example, &LIMITS, 1).unwrap_or_else(|e| panic!("{fault}: {e}"));
        assert!(example.contains(&format!("fault = \"{fault}\"")) && schedule.windows.len() == 1);
        for said in ["**Shown by:**", "**Heals:**"] {
            assert!(section.contains(said), "{fault} lacks {said}");
        }
    }
}
