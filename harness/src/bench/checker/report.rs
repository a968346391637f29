//! Measurements beside what they have to reach: as a table and as JSON.

use results::table::{Align, Table, UNSEEN};
use serde::{Deserialize, Serialize};

use super::case::{Case, Target};
use super::judge::{DECIDE, LATENCY, Measured, READ_IN};
use super::porcupine::Theirs;
use super::suite::group_target;

/// All that was measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub cases: Vec<Row>,
    pub groups: Vec<Group>,
}

/// One case.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    pub case: Case,
    /// None when it could not be measured.
    pub measured: Option<Measured>,
    /// Why not.
    pub trouble: Option<String>,
    pub porcupine: Option<Theirs>,
    /// Its targets, and how far they are reached.
    pub reached: Vec<Reached>,
}

/// A target and what was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Reached {
    pub target: Target,
    pub measured: f64,
    pub is_reached: bool,
}

/// Cases of one group together.
#[derive(Debug, Serialize, Deserialize)]
pub struct Group {
    pub group: String,
    pub cases: usize,
    /// Cases with another verdict than the stated one, or none.
    pub wrong: usize,
    /// Sum of the medians, in milliseconds, over the cases that Porcupine was asked about and answered.
    pub cpu_ms: f64,
    pub porcupine_cpu_ms: f64,
    /// The longest single case.
    pub cpu_ms_max: f64,
    pub reached: Option<Reached>,
}

impl Row {
    pub fn new(case: Case, measured: Result<Measured, String>, porcupine: Option<Theirs>) -> Row {
        let (measured, trouble) = match measured {
            Ok(measured) => (Some(measured), None),
            Err(why) => (None, Some(why)),
        };
        let figure = |target| figure(target, measured.as_ref()?, porcupine.as_ref());
        let reached = case.targets.iter().filter_map(|&target| Some(Reached::new(target, figure(target)?)));
        let reached = reached.collect();
        Row { case, measured, trouble, porcupine, reached }
    }

    /// Another verdict than the one that is stated, or than Porcupine's, or none at all.
    pub fn is_wrong(&self) -> bool {
        let Some(measured) = &self.measured else { return true };
        let stated = [self.case.valid, self.porcupine.as_ref().and_then(Theirs::valid)];
        stated.into_iter().flatten().any(|valid| measured.verdict != if valid { "valid" } else { "invalid" })
    }

    /// Processor time of both sides where both answered.
    fn both_ms(&self) -> Option<(f64, f64)> {
        Some((self.measured.as_ref()?.cost.cpu_ms, self.porcupine.as_ref()?.cpu_ms?))
    }
}

impl Reached {
    fn new(target: Target, measured: f64) -> Reached {
        let is_reached = match target {
            Target::CpuMs(most)
            | Target::MemoryMib(most)
            | Target::BytesPerOp(most)
            | Target::ExplanationOver(most)
            | Target::LatencyS(most) => measured <= most,
            Target::PorcupineOver(least) | Target::OpsPerSecond(least) => measured >= least,
        };
        Reached { target, measured, is_reached }
    }

    fn text(self) -> String {
        let Reached { target, measured, is_reached } = self;
        let sign = if is_reached { "" } else { "MISSED: " };
        let told = match target {
            Target::CpuMs(most) => format!("{} ms of at most {}", short(measured), short(most)),
            Target::MemoryMib(most) => format!("{} MiB of at most {}", short(measured), short(most)),
            Target::BytesPerOp(most) => format!("{} B/op of at most {}", short(measured), short(most)),
            Target::ExplanationOver(most) => {
                format!("explained in {} times the check, at most {}", short(measured), short(most))
            }
            Target::LatencyS(most) => format!("told after {} s of at most {}", short(measured), short(most)),
            Target::PorcupineOver(least) => {
                format!("1/{} of Porcupine, at most 1/{}", short(measured), short(least))
            }
            Target::OpsPerSecond(least) => format!("{} op/s of at least {}", short(measured), short(least)),
        };
        format!("{sign}{told}")
    }
}

/// What a target looks at.
fn figure(target: Target, measured: &Measured, porcupine: Option<&Theirs>) -> Option<f64> {
    let part = |name: &str| Some(measured.parts.iter().find(|(part, _)| part == name)?.1.cpu_ms);
    match target {
        Target::CpuMs(_) => Some(measured.cost.cpu_ms),
        Target::MemoryMib(_) => Some(measured.cost.memory_bytes as f64 / f64::from(1 << 20)),
        Target::BytesPerOp(_) => Some(measured.cost.memory_bytes as f64 / measured.operations as f64),
        Target::OpsPerSecond(_) => Some(measured.operations as f64 / measured.cost.cpu_ms * 1e3),
        Target::PorcupineOver(_) => Some(porcupine?.cpu_ms? / measured.cost.cpu_ms),
        Target::ExplanationOver(_) => {
            let check_ms = part(READ_IN)? + part(DECIDE)?;
            Some((measured.cost.cpu_ms - check_ms).max(0.0) / check_ms)
        }
        Target::LatencyS(_) => Some(measured.figures.iter().find(|(name, _)| name == LATENCY)?.1),
    }
}

impl Report {
    pub fn new(cases: Vec<Row>) -> Report {
        let mut names: Vec<&str> = Vec::new();
        for row in &cases {
            if !names.contains(&row.case.group.as_str()) {
                names.push(&row.case.group);
            }
        }
        let groups = names.iter().map(|name| Group::new(name, &cases)).collect();
        Report { cases, groups }
    }

    /// Cases with a wrong verdict, or none.
    pub fn wrong(&self) -> usize {
        self.cases.iter().filter(|row| row.is_wrong()).count()
    }

    /// Targets that are not reached.
    pub fn missed(&self) -> usize {
        let of_groups = self.groups.iter().filter_map(|group| group.reached.as_ref());
        let of_cases = self.cases.iter().flat_map(|row| &row.reached);
        of_groups.chain(of_cases).filter(|reached| !reached.is_reached).count()
    }

    /// Everything for people.
    pub fn text(&self) -> String {
        let mut text = case_table(&self.cases);
        text.push('\n');
        text.push_str(&group_table(&self.groups));
        let (wrong, missed) = (self.wrong(), self.missed());
        text.push_str(&format!(
            "\n{} cases, {wrong} wrong verdicts, {missed} targets missed\n",
            self.cases.len()
        ));
        text
    }
}

impl Group {
    fn new(name: &str, rows: &[Row]) -> Group {
        let of_it = || rows.iter().filter(|row| row.case.group == name);
        let both: Vec<(f64, f64)> = of_it().filter_map(Row::both_ms).collect();
        let (cpu_ms, porcupine_cpu_ms) = both.iter().fold((0.0, 0.0), |sum, ms| (sum.0 + ms.0, sum.1 + ms.1));
        let ours = of_it().filter_map(|row| row.measured.as_ref()).map(|measured| measured.cost.cpu_ms);
        let reached = group_target(name).filter(|_| !both.is_empty());
        Group {
            group: name.to_string(),
            cases: of_it().count(),
            wrong: of_it().filter(|row| row.is_wrong()).count(),
            cpu_ms,
            porcupine_cpu_ms,
            cpu_ms_max: ours.fold(0.0, f64::max),
            reached: reached.map(|target| Reached::new(target, porcupine_cpu_ms / cpu_ms)),
        }
    }
}

fn case_table(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        ("case", Align::Left),
        ("verdict", Align::Left),
        ("operations", Align::Right),
        ("cpu ms", Align::Right),
        ("min–max", Align::Right),
        ("read in", Align::Right),
        ("decide", Align::Right),
        ("MiB", Align::Right),
        ("B/op", Align::Right),
        ("Porcupine ms", Align::Right),
        ("MiB", Align::Right),
        ("ratio", Align::Right),
        ("targets", Align::Left),
    ]);
    for row in rows {
        table.row(cells(row));
    }
    table.text()
}

fn cells(row: &Row) -> Vec<String> {
    let unseen = || UNSEEN.to_string();
    let Some(measured) = &row.measured else {
        return vec![
            row.case.name.clone(),
            format!("FAILED: {}", row.trouble.as_deref().unwrap_or("for no reason")),
        ];
    };
    let mib = |bytes: u64| short(bytes as f64 / f64::from(1 << 20));
    let part = |name: &str| {
        measured.parts.iter().find(|(part, _)| part == name).map_or(unseen(), |(_, cost)| short(cost.cpu_ms))
    };
    let cost = &measured.cost;
    let theirs = row.porcupine.as_ref();
    let mut told: Vec<String> = row.reached.iter().map(|reached| reached.text()).collect();
    told.extend(measured.figures.iter().map(|(name, figure)| format!("{name} {}", short(*figure))));
    vec![
        row.case.name.clone(),
        if row.is_wrong() { format!("{} WRONG", measured.verdict) } else { measured.verdict.clone() },
        measured.operations.to_string(),
        short(cost.cpu_ms),
        format!("{}–{}", short(cost.cpu_ms_min), short(cost.cpu_ms_max)),
        part(READ_IN),
        part(DECIDE),
        mib(cost.memory_bytes),
        short(cost.memory_bytes as f64 / measured.operations.max(1) as f64),
        theirs.map_or(unseen(), |theirs| theirs.cpu_ms.map_or(theirs.verdict.clone(), short)),
        theirs.and_then(|theirs| theirs.memory_bytes).map_or(unseen(), mib),
        row.both_ms().map_or(unseen(), |(ours, theirs)| short(theirs / ours)),
        told.join("; "),
    ]
}

fn group_table(groups: &[Group]) -> String {
    let mut table = Table::new(&[
        ("together", Align::Left),
        ("cases", Align::Right),
        ("wrong", Align::Right),
        ("longest ms", Align::Right),
        ("both: ours ms", Align::Right),
        ("Porcupine ms", Align::Right),
        ("ratio", Align::Right),
        ("target", Align::Left),
    ]);
    for group in groups {
        let is_both = group.porcupine_cpu_ms > 0.0;
        let both = |figure: f64| if is_both { short(figure) } else { UNSEEN.to_string() };
        table.row([
            group.group.clone(),
            group.cases.to_string(),
            group.wrong.to_string(),
            short(group.cpu_ms_max),
            both(group.cpu_ms),
            both(group.porcupine_cpu_ms),
            both(group.porcupine_cpu_ms / group.cpu_ms),
            group.reached.map_or(String::new(), Reached::text),
        ]);
    }
    table.text()
}

/// Three digits that count, at most.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1e6 => format!("{figure:.2e}"),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 1.0 => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}
