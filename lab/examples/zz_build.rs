//! dev
use std::time::Instant;
fn main() {
    let mut lab = lab::Lab::up(lab::LabOptions::named("x")).unwrap();
    let t = Instant::now();
    let names: Vec<String> = (0..20).map(|i| format!("n{i}")).collect();
    lab.add_nodes(&names).unwrap();
    println!("20 nodes {:?}", t.elapsed());
    println!("skipped {:?}", lab.nodes()[0].skipped_sysctls());
    let t = Instant::now();
    drop(lab);
    println!("down {:?}", t.elapsed());
}
