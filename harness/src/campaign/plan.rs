//! From a campaign file to its plan: every run checked before the first one starts, and told.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Result;
use results::campaign::{CampaignPlan, Cell, Expectation, Expected, SCHEMA_VERSION, Shard};
use results::{layout, units, utc};
use sha2::{Digest, Sha256};

use super::estimate::{self, Estimates};
use super::file::Campaign;
use super::flags;
use super::matrix::{self, Draft, Usual};
use super::room::Room;
use super::source::{Source, Span};
use crate::exit::UsageError;
use crate::plan::{Needs, Plan};

/// A plan, and what goes into its folder beside it.
pub struct Planned {
    /// The plan.
    pub plan: CampaignPlan,
    /// Text of the campaign file.
    pub file: String,
    /// Files of faults: name in the folder, and text.
    pub faults: Vec<(String, String)>,
    /// What the machine must offer for the runs of this shard.
    pub asks: Asks,
}

/// What runs ask of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asks {
    /// Real servers.
    pub cluster: bool,
    /// Disks that fail.
    pub disks: bool,
}

/// Reads a campaign file, checks every run of it, and splits it.
pub fn plan(path: &Path, first_seed: Option<u64>, shard: Option<Shard>) -> Result<Planned> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| UsageError(format!("{name}: cannot be read ({error}); check the path")))?;
    let campaign = Campaign::parse(Source { name, text })?;
    let beside = path.parent().unwrap_or(Path::new("")).to_path_buf();
    of(&campaign, &beside, first_seed, shard)
}

/// The same of a file that was read; `beside` is the folder that its paths are relative to.
fn of(campaign: &Campaign, beside: &Path, first_seed: Option<u64>, shard: Option<Shard>) -> Result<Planned> {
    let usual = Usual::default();
    let drafts = matrix::expand(campaign, &usual, first_seed)?;
    let mut maker =
        Maker { campaign, beside, expectations: Vec::new(), faults: Vec::new(), needs: Vec::new() };
    let mut cells = Vec::new();
    for draft in &drafts {
        cells.push(maker.cell(draft, cells.len() as u32)?);
    }
    let Maker { expectations, faults, needs, .. } = maker;
    let id = id(campaign, &cells, &expectations, &faults)?;
    split(&mut cells, shard.map_or(1, |shard| shard.of));
    let asks = |asks: Asks, cell: &Cell| Asks {
        cluster: asks.cluster || cell.target != "fake",
        disks: asks.disks || needs[cell.index as usize].disks,
    };
    let plan = CampaignPlan {
        schema_version: SCHEMA_VERSION,
        name: campaign.name.clone(),
        about: campaign.about.clone(),
        id,
        file: campaign.source.name.clone(),
        planned_at: utc::rfc3339(SystemTime::now()),
        shard,
        limits: campaign.limits,
        expectations,
        cells,
    };
    let asks = plan.own().fold(Asks::default(), asks);
    Ok(Planned { plan, file: campaign.source.text.clone(), faults, asks })
}

/// Makes cells of drafts, and gathers what they share.
struct Maker<'a> {
    campaign: &'a Campaign,
    beside: &'a Path,
    expectations: Vec<Expectation>,
    faults: Vec<(String, String)>,
    needs: Vec<Needs>,
}

impl Maker<'_> {
    fn cell(&mut self, draft: &Draft<'_>, index: u32) -> Result<Cell> {
        let variant = draft.variant.value;
        let mut words: Vec<(String, Vec<String>, Span)> = Vec::new();
        let mut say = |flag: &str, value: &str, span: &Span| {
            words.push((flag.to_string(), vec![format!("--{flag}"), value.to_string()], span.clone()));
        };
        say("target", draft.target.value, &draft.target.span);
        say("variant", &variant.variant, &draft.variant.span);
        if !variant.weaken.is_empty() {
            say("weaken", &variant.weaken.join(","), &draft.variant.span);
        }
        if let Some(bug) = &variant.bug {
            say("bug", bug, &draft.variant.span);
        }
        say("workload", draft.workload.value, &draft.workload.span);
        say("seed", &draft.seed.value.to_string(), &draft.seed.span);
        say("time-limit", &draft.duration.value.to_string(), &draft.duration.span);
        let path = self.beside.join(&draft.faults.value.given);
        if !draft.faults.value.is_file {
            say("faults", &draft.faults.value.given, &draft.faults.span);
        }
        words.extend(
            draft.flags.iter().map(|flag| (flag.name.clone(), flag.words.clone(), flag.span.clone())),
        );
        let all: Vec<String> = words.iter().flat_map(|(_, words, _)| words.clone()).collect();
        let mut checked = all.clone();
        if draft.faults.value.is_file {
            // `run` takes a path for one if it says so.
            checked.extend(["--faults".into(), Path::new(".").join(&path).display().to_string()]);
            words.push(("faults".into(), Vec::new(), draft.faults.span.clone()));
        }
        let planned =
            flags::parse(&checked).and_then(|args| Plan::new(&args).map_err(|error| format!("{error:#}")));
        let planned = planned.map_err(|why| self.refuse(draft, &words, &why))?;
        self.needs.push(planned.needs());
        let faults_file = match planned.faults_file {
            Some(text) => Some(self.keep(draft, text)?),
            None => None,
        };
        let expectation = match draft.expect {
            Some(expect) => expect.expectation.clone(),
            None => Expectation { verdict: Expected::Valid, anomalies: Vec::new(), at_least: 1.0 },
        };
        let rerun = draft.expect.and_then(|expect| expect.rerun).unwrap_or(self.campaign.rerun);
        let known = self.expectations.iter().position(|known| *known == expectation);
        let expectation = known.unwrap_or_else(|| {
            self.expectations.push(expectation);
            self.expectations.len() - 1
        });
        Ok(Cell {
            index,
            target: draft.target.value.to_owned(),
            variant: variant.name.clone(),
            workload: draft.workload.value.to_owned(),
            faults: draft.faults.value.name.clone(),
            duration_s: draft.duration.value,
            seed: draft.seed.value,
            turn: draft.turn,
            label: draft.label(),
            flags: all,
            faults_file,
            expectation,
            rerun,
            estimate_s: draft.duration.value
                + estimate::rule_of_thumb(draft.target.value, draft.duration.value),
            shard: 1,
        })
    }

    /// Keeps a file of faults under a name in the campaign folder.
    fn keep(&mut self, draft: &Draft<'_>, text: String) -> Result<String> {
        let name = format!("{}.toml", layout::plain(&draft.faults.value.name));
        match self.faults.iter().find(|(known, _)| *known == name) {
            None => self.faults.push((name.clone(), text)),
            Some((_, known)) if *known == text => {}
            Some(_) => {
                let why = format!("two files of faults are called `{name}`; give one another `name`");
                return Err(self.campaign.source.refuse(&draft.faults.span, why));
            }
        }
        Ok(name)
    }

    /// Points at the flag that the message names first, if this file has set it.
    fn refuse(&self, draft: &Draft<'_>, words: &[(String, Vec<String>, Span)], why: &str) -> anyhow::Error {
        let named = words
            .iter()
            .filter_map(|(flag, _, span)| {
                let at = why.find(&format!("--{flag}"));
                // What does not go with a target is at fault, not the target.
                let rank = match (flag.as_str(), at) {
                    ("target", _) => return None,
                    ("faults", None) => usize::MAX,
                    ("workload", None) if why.contains("--reshard") => 0,
                    (_, at) => at?,
                };
                (!span.is_empty()).then_some((rank, span))
            })
            .min_by_key(|(rank, _)| *rank);
        let span = named.map_or(draft.workload.span.clone(), |(_, span)| span.clone());
        let run = format!(
            "{} {} {} {}",
            draft.target.value, draft.variant.value.name, draft.workload.value, draft.faults.value.name
        );
        let mend = "mend it, or leave such runs out with [[exclude]]";
        self.campaign.source.refuse(&span, format!("the run {run} cannot be: {why}\n  {mend}"))
    }
}

/// Gives every cell to one of `n` shards, the longest first, each to the one with least to do: by the plan alone, so
/// that every machine splits it the same.
fn split(cells: &mut [Cell], n: u32) {
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by(|&a, &b| cells[b].estimate_s.total_cmp(&cells[a].estimate_s).then(a.cmp(&b)));
    let mut loads = vec![0.0; n as usize];
    for at in order {
        let least = (0..loads.len()).min_by(|&a, &b| f64::total_cmp(&loads[a], &loads[b])).unwrap_or(0);
        loads[least] += cells[at].estimate_s;
        cells[at].shard = least as u32 + 1;
    }
}

/// A hash of all that runs follow from, whatever shard it is made for.
fn id(
    campaign: &Campaign,
    cells: &[Cell],
    expectations: &[Expectation],
    faults: &[(String, String)],
) -> Result<String> {
    let all = serde_json::to_vec(&(SCHEMA_VERSION, &campaign.name, cells, expectations, faults))?;
    Ok(Sha256::digest(all).iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// What `campaign plan` prints: every run, and the time they will take.
pub fn describe(planned: &Planned, estimates: &Estimates, room: &Room) -> String {
    let plan = &planned.plan;
    let own: Vec<&Cell> = plan.own().collect();
    let mut text = format!("campaign {} ({})", plan.name, units::plural(plan.cells.len() as u64, "run"));
    if let Some(shard) = &plan.shard {
        text += &format!(", shard {shard}: {} of them", own.len());
    }
    text += &format!(", id {}\n", plan.id);
    if !plan.about.is_empty() {
        text += &format!("{}\n", plan.about);
    }
    let mut table = results::table::Table::new(&HEAD);
    for cell in &own {
        let expected = plan.expectation(cell).map(ToString::to_string).unwrap_or_default();
        let seconds = format!("{:.0} s", estimates.seconds(cell));
        table.row([cell.index.to_string(), cell.suite(), cell.case(), seconds, expected]);
    }
    text += &format!("\n{}\n", table.text());
    let total: f64 = own.iter().map(|cell| estimates.seconds(cell)).sum();
    let wall = room.wall_s(own.iter().map(|cell| (cell.target.as_str(), estimates.seconds(cell))));
    text +=
        &format!("time: {} of runs, about {} here, {}\n", units::seconds(total), units::seconds(wall), room);
    text += &format!("      a run takes its load and what it is raised and judged in: {estimates}\n");
    if let Some(total) = plan.limits.total_s {
        text += &format!("budget: nothing is started that would not end within {}\n", units::seconds(total));
    }
    if let Some(failures) = plan.limits.failures {
        text +=
            &format!("budget: nothing more is started after {}\n", units::plural(failures.into(), "failure"));
    }
    text
}

const HEAD: [(&str, results::table::Align); 5] = {
    use results::table::Align::{Left, Right};
    [
        ("#", Right),
        ("target variant workload faults", Left),
        ("run", Left),
        ("takes", Right),
        ("expected", Left),
    ]
};

/// The arguments of the process that is a cell's run.
pub fn arguments(cell: &Cell, faults: impl Fn(&str) -> PathBuf, store: &Path) -> Vec<std::ffi::OsString> {
    let mut words: Vec<std::ffi::OsString> = vec!["run".into()];
    words.extend(cell.flags.iter().map(Into::into));
    if let Some(name) = &cell.faults_file {
        words.extend(["--faults".into(), faults(name).into_os_string()]);
    }
    words.extend(["--store".into(), store.as_os_str().to_owned()]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(text: &str) -> Result<Planned> {
        let source = Source { name: "c.toml".into(), text: text.into() };
        of(&Campaign::parse(source)?, Path::new("../campaigns"), None, None)
    }

    fn error(text: &str) -> String {
        match planned(text) {
            Ok(_) => panic!("no error in {text}"),
            Err(error) => error.to_string(),
        }
    }

    const FAKE: &str = "name = 'c'\n[matrix]\ntargets = ['fake']\nfaults = ['none', 'kill']\n";

    #[test]
    fn axes_are_multiplied_seeds_outermost() {
        let text = format!("{FAKE}seeds = 2\nworkloads = ['register', 'append']\ndurations = [1, '2s']\n");
        let cells = planned(&text).unwrap().plan.cells;
        assert_eq!(cells.len(), 2 * 2 * 2 * 2);
        assert!(cells[..8].iter().all(|cell| cell.seed == 1) && cells[8..].iter().all(|cell| cell.seed == 2));
        assert_eq!(cells[0].to_string(), "fake hardened register none seed 1, 1 s");
        assert_eq!(cells.iter().map(|cell| cell.index).collect::<Vec<_>>(), (0..16).collect::<Vec<_>>());
    }

    #[test]
    fn cells_are_left_out_added_and_set_apart() {
        let text = format!(
            "{FAKE}seeds = [7, 9]\n[[exclude]]\nfaults = 'kill'\nseed = 9\n\
             [[include]]\nworkloads = ['set']\nfaults = ['none']\nseeds = '20..22'\nset = {{ rate = 50 }}\n\
             [[override]]\nworkload = 'register'\nset = {{ concurrency = 3 }}\n"
        );
        let names: Vec<String> = planned(&text).unwrap().plan.cells.iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            [
                "fake hardened register none seed 7, 30 s, concurrency=3",
                "fake hardened register kill seed 7, 30 s, concurrency=3",
                "fake hardened set none seed 20, 30 s, rate=50",
                "fake hardened register none seed 9, 30 s, concurrency=3",
                "fake hardened set none seed 21, 30 s, rate=50",
                "fake hardened set none seed 22, 30 s, rate=50",
            ]
        );
    }

    #[test]
    fn the_last_expectation_that_fits_counts() {
        let text = format!(
            "{FAKE}variants = ['hardened', {{ name = 'weak', bug = 'stale-read' }}]\n[[expect]]\nvariant = 'weak'\n\
             verdict = 'invalid'\nanomalies = ['stale-read']\nat_least = 0.5\nrepeat = 2\n\
             [[expect]]\nvariant = 'weak'\nfaults = 'kill'\nverdict = 'any'\n"
        );
        let plan = planned(&text).unwrap().plan;
        let expected = |at: usize| plan.expectation(&plan.cells[at]).unwrap().to_string();
        assert_eq!(plan.cells.len(), 5, "{:?}", plan.cells);
        assert_eq!(expected(0), "valid");
        assert_eq!(expected(2), "invalid (stale-read) in at least 50 % of the runs");
        assert_eq!(expected(3), "any verdict");
        assert_eq!((plan.cells[4].turn, plan.cells[4].variant.as_str()), (2, "weak"));
    }

    #[test]
    fn mistakes_are_told_with_line_column_and_mend() {
        let table = [
            (
                "name = 'c'\n[matrix]\nworkload = ['set']\n",
                "c.toml:3:1: unknown key `workload`; did you mean `workloads`?",
            ),
            (
                "name = 'c'\n[matrix]\nworkloads = ['regster']\n",
                "c.toml:3:14: unknown workload `regster`; did you mean `register`?",
            ),
            ("name = 'c'\nname = 'd'\n", "c.toml:2:1: this is no TOML"),
            ("about = 'c'\n", "c.toml:1:1: there is no `name`"),
            ("name = 'a b'\n", "c.toml:1:8: a name has letters"),
            (
                "name = 'c'\n[defaults]\nrat = 3\n",
                "c.toml:3:7: unknown flag of `run` `rat`; did you mean `rate`?",
            ),
            ("name = 'c'\n[defaults]\nseed = 3\n", "c.toml:3:8: `seed` is not set here: seeds are an axis"),
            ("name = 'c'\n[defaults]\ntls = 3\n", "c.toml:3:7: `tls` is a switch"),
            (
                "name = 'c'\n[defaults]\nrate = -3\n",
                "c.toml:3:8: the run zk-redis hardened register kill,pause,partition cannot be: --rate -3",
            ),
            ("name = 'c'\n[defaults]\nshards = 99\n", "c.toml:3:10: the run"),
            (
                "name = 'c'\n[matrix]\ntargets = ['fake']\nfaults = ['kill', 'disk']\n",
                "c.toml:4:19: the run fake hardened register disk cannot be",
            ),
            ("name = 'c'\n[matrix]\nfaults = ['kill', 'kil']\n", "c.toml:3:19: the run"),
            (
                "name = 'c'\n[matrix]\nfaults = ['weaknesses/none.toml']\n",
                "c.toml:3:11: the run zk-redis hardened register none cannot be: --faults",
            ),
            ("name = 'c'\n[matrix]\nseeds = '9..1'\n", "c.toml:3:9: `seeds`: give a number of seeds"),
            ("name = 'c'\n[matrix]\nseeds = []\n", "c.toml:3:9: `seeds`: the list is empty"),
            ("name = 'c'\n[matrix]\ndurations = [-1]\n", "c.toml:3:14: `durations`"),
            (
                "name = 'c'\nrepeat = 'x'\n",
                "c.toml:2:10: `repeat`: expected a whole number from 1 to 1000, found a text",
            ),
            (
                "name = 'c'\n[[exclude]]\nworkload = 'registr'\n",
                "c.toml:3:12: no run has workload `registr`; did you mean `register`?",
            ),
            (
                "name = 'c'\n[exclude]\nworkload = 'register'\n",
                "c.toml:2:1: `exclude` comes in double brackets: [[exclude]]",
            ),
            ("name = 'c'\n[[exclude]]\nworkload = 'register'\n", "c.toml:1:1: no run is left"),
            (
                "name = 'c'\n[[expect]]\nat_least = 0.5\n",
                "c.toml:3:12: `at_least` goes with verdict = \"invalid\"",
            ),
            (
                "name = 'c'\n[[expect]]\nverdict = 'invalid'\nanomalies = ['stale-reads']\n",
                "c.toml:4:14: unknown anomaly `stale-reads`; did you mean `stale-read`?",
            ),
            ("name = 'c'\n[[override]]\nseed = 1\n", "c.toml:2:1: nothing is set"),
            (
                "name = 'c'\n[budget]\ntotal = '2 parsecs'\n",
                "c.toml:3:9: `total`: `parsecs` is no unit of time",
            ),
        ];
        for (text, expected) in table {
            let told = error(text);
            assert!(told.starts_with(expected), "expected {expected}\ngot {told}");
            assert!(told.contains("\n ") && told.contains('^'), "{told}");
        }
    }

    #[test]
    fn a_file_of_faults_is_found_beside_the_campaign_and_kept() {
        let text = "name = 'c'\n[defaults]\nshards = 1\n[matrix]\ndurations = [24]\nfaults = ['weaknesses/cut-clients.toml']\n";
        let planned = planned(text).unwrap();
        assert_eq!(planned.faults[0].0, "cut-clients.toml");
        let cell = &planned.plan.cells[0];
        assert_eq!(
            (cell.faults.as_str(), cell.faults_file.as_deref()),
            ("cut-clients", Some("cut-clients.toml"))
        );
        assert!(!cell.flags.iter().any(|word| word.contains("cut-clients")), "{:?}", cell.flags);
    }

    #[test]
    fn shards_are_balanced_complete_and_the_same_everywhere() {
        let text = format!("{FAKE}seeds = 7\ndurations = [10, 3, 3]\n");
        let whole = planned(&text).unwrap().plan;
        let source = || Source { name: "c.toml".into(), text: text.clone() };
        let part = |index| {
            let shard = Some(Shard { index, of: 3 });
            of(&Campaign::parse(source()).unwrap(), Path::new(""), None, shard).unwrap().plan
        };
        let parts: Vec<CampaignPlan> = (1..=3).map(part).collect();
        let mut all: Vec<u32> = parts.iter().flat_map(|plan| plan.own().map(|cell| cell.index)).collect();
        all.sort_unstable();
        assert_eq!(all, (0..whole.cells.len() as u32).collect::<Vec<_>>());
        let load = |plan: &CampaignPlan| plan.own().map(|cell| cell.estimate_s).sum::<f64>();
        let loads: Vec<f64> = parts.iter().map(load).collect();
        let (least, most) =
            (loads.iter().copied().fold(f64::MAX, f64::min), loads.iter().copied().fold(0.0, f64::max));
        assert!(most - least <= 11.0, "{loads:?}");
        assert!(parts.iter().all(|part| part.cells == parts[0].cells && part.id == whole.id));
    }
}
