//! dev only
use std::ffi::OsString;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let turns: u32 = args.get(1).map_or(5, |a| a.parse().unwrap());
    let n50: u32 = args.get(2).map_or(100000, |a| a.parse().unwrap());
    let dir = std::env::temp_dir().join(format!("labbench{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let words = |s: &str| s.split_whitespace().map(OsString::from).collect::<Vec<_>>();
    let contest = lab::bench::Contest {
        server: words("redis-server --port 7000 --save  --protected-mode no --bind 0.0.0.0")
            .into_iter()
            .flat_map(|w| if w == "--save" { vec![w, "".into()] } else { vec![w] })
            .collect(),
        port: 7000,
        client: &|addr, c| {
            words(&format!(
                "redis-benchmark -h {addr} -p 7000 -c {c} -n {} -t set,get --csv",
                if c == 1 { n50 / 5 } else { n50 }
            ))
        },
        read_rates: &|out| {
            out.lines()
                .filter_map(|l| {
                    let mut f = l.split(',').map(|x| x.trim_matches('"'));
                    let n = f.next()?;
                    let r = f.next()?.parse().ok()?;
                    Some((n.to_owned(), r))
                })
                .collect()
        },
        connections: vec![1, 50],
        turns,
        dir: &dir,
    };
    let figures = lab::bench::fabric(&contest).unwrap();
    print!("{figures}");
    println!(
        "worst 1: {:?} worst 50: {:?} added {:.1}",
        figures.worst_ratio(1),
        figures.worst_ratio(50),
        figures.added_latency_us_p50()
    );
    std::fs::remove_dir_all(&dir).unwrap();
}
