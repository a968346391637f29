//! The page of anomalies is true: every name has an example, and every example is judged as the page says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use checker::history::sketch;
use checker::object::bank::{Bank, LinearizableBank};
use checker::object::delivery::AtLeastOnceQueue;
use checker::object::elements::{ElementSet, LinearizableSet};
use checker::object::session::{Sessions, ValueSessions};
use checker::object::staleness::{BoundedStaleness, MonotonicReads};
use checker::object::{counter, fence, guarded, lease, list, membership, mutex, queue, set, text};
use checker::{Anomaly, Budget, Checker, History, Linearizable, Verdict, anomalies};

fn checkers() -> BTreeMap<&'static str, Box<dyn Checker>> {
    let all: Vec<Box<dyn Checker>> = vec![
        Box::new(Linearizable),
        Box::new(Bank { total: Some(20), overdraft: false }),
        Box::new(LinearizableBank),
        Box::new(AtLeastOnceQueue { once: false }),
        Box::new(AtLeastOnceQueue { once: true }),
        Box::new(ElementSet),
        Box::new(LinearizableSet),
        Box::new(Sessions),
        Box::new(ValueSessions),
        Box::new(BoundedStaleness { bound_ns: 20_000_000 }),
        Box::new(MonotonicReads),
        Box::new(counter::Counter),
        Box::new(fence::FencedLock),
        Box::new(guarded::GuardedCounter),
        Box::new(lease::Leases),
        Box::new(list::AppendList),
        Box::new(membership::Membership),
        Box::new(mutex::Mutex),
        Box::new(queue::Queue),
        Box::new(set::GrowSet),
        Box::new(text::Text),
    ];
    all.into_iter().map(|checker| (checker.name(), checker)).collect()
}

fn page() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/anomalies.md"))
}

/// A drawing of the page.
struct Example {
    /// The heading it stands under.
    name: String,
    checker: String,
    drawing: String,
    /// Number of the line that says what is found.
    line: usize,
    said: String,
}

fn examples(page: &str) -> Vec<Example> {
    let (mut examples, mut name) = (Vec::new(), String::new());
    let mut lines = page.lines().enumerate();
    while let Some((_, line)) = lines.next() {
        if let Some(heading) = line.strip_prefix("## `") {
            name = heading.trim_end_matches('`').to_string();
        }
        if line != "```text" {
            continue;
        }
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "```").collect();
        let (number, said) = lines.next().expect("what the checker says");
        examples.push(Example {
            name: name.clone(),
            checker: block[0].to_string(),
            drawing: block[1..].join("\n"),
            line: number,
            said: said.strip_prefix("> ").expect("a quotation").to_string(),
        });
    }
    examples
}

/// The first anomaly of a history.
fn found(checker: &dyn Checker, history: &History) -> Anomaly {
    match checker.check(history, &Budget::default()) {
        Verdict::Invalid { anomalies } => anomalies[0].clone(),
        other => panic!("{}: {other:?}\n{}", checker.name(), picture(history)),
    }
}

fn picture(history: &History) -> String {
    checker::history::draw(&history.ops.iter().collect::<Vec<_>>())
}

fn said(anomaly: &Anomaly) -> String {
    let ops: Vec<String> = anomaly.ops.iter().map(u64::to_string).collect();
    format!("{}: {}", ops.join(", "), anomaly.reason)
}

#[test]
fn every_example_of_the_page_is_judged_as_it_says() {
    let text = std::fs::read_to_string(page()).expect("docs/anomalies.md is there");
    let checkers = checkers();
    let bless = std::env::var_os("CHECKER_BLESS").is_some();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut wrong = Vec::new();
    for example in examples(&text) {
        let checker =
            checkers.get(&*example.checker).unwrap_or_else(|| panic!("no checker {}", example.checker));
        let history =
            sketch::history(&example.drawing).unwrap_or_else(|error| panic!("{error}\n{}", example.drawing));
        let anomaly = found(&**checker, &history);
        if anomaly.name != example.name || !bless && said(&anomaly) != example.said {
            wrong.push(format!(
                "{} by {}, line {}: {anomaly:#?}",
                example.name,
                example.checker,
                example.line + 1
            ));
        }
        lines[example.line] = format!("> {}", said(&anomaly));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    if bless {
        std::fs::write(page(), lines.join("\n") + "\n").expect("docs/anomalies.md can be written");
    }
}

#[test]
fn the_operations_of_every_example_prove_it_alone() {
    let text = std::fs::read_to_string(page()).expect("docs/anomalies.md is there");
    let checkers = checkers();
    for example in examples(&text) {
        let checker = &checkers[&*example.checker];
        let history = sketch::history(&example.drawing).expect("well drawn");
        let anomaly = found(&**checker, &history);
        let ops = history.ops.iter().filter(|op| anomaly.ops.contains(&op.index)).cloned().collect();
        let alone = found(&**checker, &History { ops, ..History::default() });
        assert!(anomaly.ops.len() <= 8, "{anomaly:#?}");
        println!("{} alone: {}", anomaly.name, alone.name);
    }
}

#[test]
fn every_name_has_a_meaning_and_an_example() {
    let text = std::fs::read_to_string(page()).expect("docs/anomalies.md is there");
    let examples = examples(&text);
    for (name, meaning) in anomalies::ALL {
        assert!(examples.iter().any(|example| example.name == *name), "no example of {name}");
        let mut first = meaning.chars();
        let begun = first.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
        let paragraph = format!("## `{name}`\n{begun}{}.\n", first.as_str());
        assert!(text.contains(&paragraph), "the page does not say what {name} means:\n{paragraph}");
    }
    for example in &examples {
        assert!(anomalies::meaning(&example.name).is_some(), "{} is not in the table", example.name);
    }
}
