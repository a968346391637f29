//! What the command line says, raw; [`plan`](crate::plan) makes a run of it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::bench::CheckerArgs;
use crate::compare::{CompareArgs, TrendArgs};

/// Raises a live cluster, lets clients work on it, does it harm, and proves from the recorded history
/// whether it kept its promises, and how long it took to recover.
#[derive(Debug, Parser)]
#[command(name = "shardstorm", version, after_help = EXIT_CODES, subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 valid, 1 invalid, 2 unknown, 3 not live again in time, \
254 bad arguments or environment, 255 the harness failed.";

const CAMPAIGN_EXIT_CODES: &str = "Exit codes, the first that fits: 1 a violation that was not expected, 255 a run has no \
verdict, 254 bad arguments or environment, 3 not live again in time, 2 unknown, or an expected violation not found often \
enough, or not all runs have ended, 0 all as expected.";

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Raise a cluster, load it, harm it, judge it, and write a report
    #[command(after_help = EXIT_CODES)]
    Run(RunArgs),
    /// Print what `run` with the same flags would do: spec, schedule and first inputs, without doing it
    Plan(RunArgs),
    /// Judge run folders again, or histories of other tools
    #[command(after_help = EXIT_CODES)]
    Check(CheckArgs),
    /// Run a whole file of runs, each a process of its own, as many side by side as the machine carries
    #[command(
        args_conflicts_with_subcommands = true,
        subcommand_negates_reqs = true,
        after_help = CAMPAIGN_EXIT_CODES
    )]
    Campaign(CampaignArgs),
    /// Join the folders of a campaign's shards into a new one
    #[command(after_help = CAMPAIGN_EXIT_CODES)]
    Merge(MergeArgs),
    /// Draw a run folder's plots and report again
    Report(ReportArgs),
    /// Write a run's data for other tools: Parquet, Jepsen's and Elle's EDN, JSON lines
    Export(ExportArgs),
    /// Browse, compare and watch the runs of a store in a browser; read-only
    Serve(ServeArgs),
    /// Issue the faults of an earlier run again, at the same points, and say how faithfully
    #[command(
        after_help = "Exit codes: those of the run, but 2 where it would be 0 and the faults were not issued again \
                            faithfully."
    )]
    Replay(ReplayArgs),
    /// Find the smallest schedule, load and length with which a failing run still fails
    #[command(
        after_help = "Exit codes: 0 the smallest that still fails at the rate asked for is written, 1 the failure does \
                            not come back often enough, 254 bad arguments, 255 the harness failed."
    )]
    Shrink(ShrinkArgs),
    /// Say whether runs fail over more slowly than a baseline: medians with intervals, a test of significance
    #[command(
        after_help = "Exit codes: 0, or with --fail-if-slower 1 slower by more than that, 2 too few failovers to say, 254 bad \
                            arguments."
    )]
    Compare(CompareArgs),
    /// Medians of failover times on each day and commit, as a table and a plot
    Trend(TrendArgs),
    /// List workloads, faults, targets, variants and the fake cluster's bugs
    List,
    /// Say what this machine offers, and how to mend what it lacks
    Doctor,
    /// Count how often the checkers find a weakness that is switched on, under the faults that expose it
    #[command(
        after_help = "Exit codes: 0 found in every run, 1 missed in some, 254 bad arguments, 255 a run failed."
    )]
    Weakness(WeaknessArgs),
    /// Play named lies on the links of unmodified servers, and say what came of each
    Scenario(ScenarioArgs),
    /// Measure the fabric, the op engine, the checkers or the ring
    Bench(BenchArgs),
    /// The agent beside each Redis (a run starts it by itself; see `shard-agent --help`)
    #[command(hide = true, disable_help_flag = true)]
    ShardAgent {
        /// Passed on as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

/// Flags of `run` and `plan`.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// What to test: `zk-redis` (real servers in namespaces) or `fake` (in memory, runs anywhere)
    #[arg(long, default_value = "zk-redis")]
    pub target: String,
    /// Protocol of agents and clients: `hardened`, or one that leaves out defences (`course`, `naive`)
    #[arg(long, default_value = "hardened")]
    pub variant: String,
    /// Mistakes to make, comma-separated (see `shardstorm list`)
    #[arg(long, value_name = "WEAKNESS,…", value_delimiter = ',')]
    pub weaken: Vec<String>,
    /// A named bug of the fake cluster (see `shardstorm list`)
    #[arg(long)]
    pub bug: Option<String>,
    /// Number of shards
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub shards: u32,
    /// Redis servers per shard, the master included
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub replicas: u32,
    /// ZooKeeper servers
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=9))]
    pub zookeepers: u32,
    /// What the clients do: `register`, `set`, `append`, `counter`, `queue`, `bank`, `replica-reads`, `resharding`
    #[arg(long, default_value = "register")]
    pub workload: String,
    /// Add a shard to the ring after a third of the load, and remove it after two thirds
    #[arg(long)]
    pub reshard: bool,
    /// Fault families, comma-separated (see `shardstorm list`), `none`, or the path of a TOML file (docs/schedules.md)
    #[arg(long, default_value = "kill,pause,partition")]
    pub faults: String,
    /// Let the seed draw which of the families are on at all, and how hard
    #[arg(long)]
    pub swarm: bool,
    /// Fixes plan, targets, timing and inputs [default: drawn, and printed]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Seconds of load
    #[arg(long, default_value_t = 30.0, allow_negative_numbers = true)]
    pub time_limit: f64,
    /// Client processes at work at once
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub concurrency: u32,
    /// Operations per second over all clients; 0 = as fast as it goes
    #[arg(long, default_value_t = 400.0, allow_negative_numbers = true)]
    pub rate: f64,
    /// Replicas that must acknowledge before a call counts (`WAIT n`) [default: half of --replicas, which with
    /// the master make a majority]
    #[arg(long)]
    pub wait: Option<u32>,
    /// Where reads go: `master` or `replica` [default: what the workload is made for]
    #[arg(long)]
    pub reads: Option<String>,
    /// Seconds that a read may be behind in the workload `replica-reads`
    #[arg(long, default_value_t = 5.0, allow_negative_numbers = true)]
    pub staleness_s: f64,
    /// Milliseconds a master's lease lasts, and after which agents suspect what is silent
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    pub lease_ms: u64,
    /// Milliseconds after which a client gives a call up
    #[arg(long, default_value_t = 500)]
    pub op_timeout_ms: u64,
    /// Seconds after the last heal within which every shard must take writes again
    #[arg(long, default_value_t = 20.0, allow_negative_numbers = true)]
    pub converge: f64,
    /// Most memory that searches may hold in judging before the answer is unknown
    #[arg(long, default_value = "1GiB", value_name = "BYTES", value_parser = crate::check::bytes)]
    pub budget_memory: u64,
    /// Longest time that judging may take before the answer is unknown
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = crate::check::duration)]
    pub budget_time: std::time::Duration,
    /// Judge the history while it is recorded, and end the load at the first violation
    #[arg(long)]
    pub stop_at_first: bool,
    /// Capture all packets to capture.pcapng in the run folder
    #[arg(long)]
    pub capture: bool,
    /// TLS on every link of Redis and ZooKeeper, with certificates made for the run
    #[arg(long)]
    pub tls: bool,
    /// Clients and Redis prove requests, replies and stored values over links that need not be trusted
    #[arg(long)]
    pub authenticated: bool,
    /// Folder for run folders
    #[arg(long, default_value = "results/runs")]
    pub store: PathBuf,
}

/// What to do with campaigns.
#[derive(Debug, Args)]
pub struct CampaignArgs {
    /// Plan, run or resume
    #[command(subcommand)]
    pub command: Option<CampaignCommand>,
    /// Without either: run.
    #[command(flatten)]
    pub run: Option<CampaignFileArgs>,
}

/// What can be done with campaigns.
#[derive(Debug, Subcommand)]
pub enum CampaignCommand {
    /// Print every run of a campaign file and the time they will take, and run none
    Plan(CampaignFileArgs),
    /// Run a campaign file; `shardstorm campaign FILE` is short for it
    #[command(after_help = CAMPAIGN_EXIT_CODES)]
    Run(CampaignFileArgs),
    /// Go on with a campaign that was interrupted, killed, or stopped by its budget
    #[command(after_help = CAMPAIGN_EXIT_CODES)]
    Resume(CampaignResumeArgs),
}

/// Flags of `campaign run` and `campaign plan`.
#[derive(Debug, Args)]
pub struct CampaignFileArgs {
    /// The campaign file (docs/campaigns.md; ready ones are in campaigns/)
    pub file: PathBuf,
    /// One part of the plan, like 2/4; the same file splits the same everywhere
    #[arg(long, value_name = "K/N", value_parser = crate::campaign::shard)]
    pub shard: Option<results::campaign::Shard>,
    /// Where seeds begin that the file only counts, so that every night draws new ones [default: what it says, or 1]
    #[arg(long, value_name = "SEED", value_parser = clap::value_parser!(u64).range(0..1 << 53))]
    pub first_seed: Option<u64>,
    /// Runs side by side [default: as many as cores and memory carry]
    #[arg(long, value_name = "N")]
    pub jobs: Option<u32>,
    /// Folder for the campaign's folder
    #[arg(long, default_value = "results/runs")]
    pub store: PathBuf,
}

/// Flags of `campaign resume`.
#[derive(Debug, Args)]
pub struct CampaignResumeArgs {
    /// The campaign's folder
    pub folder: PathBuf,
    /// Runs side by side [default: as many as cores and memory carry]
    #[arg(long, value_name = "N")]
    pub jobs: Option<u32>,
}

/// Flags of `merge`.
#[derive(Debug, Args)]
pub struct MergeArgs {
    /// The folder to make
    pub out: PathBuf,
    /// The shards' folders, or folders that have them in it
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
}

/// Flags of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The run folder whose faults are issued again
    #[arg(value_name = "RUN")]
    pub path: PathBuf,
    /// Whom the faults strike: `roles`, as the schedule says, or `nodes`, those that were struck then
    #[arg(long, default_value = "roles")]
    pub targets: String,
    /// What is done to messages: `drawn` from the same seed by the same counts, or as the `log` of then says
    #[arg(long, default_value = "drawn")]
    pub messages: String,
    /// Milliseconds by which a strike may come earlier or later than then
    #[arg(long, default_value_t = 250)]
    pub tolerance_ms: u64,
    /// Share of the windows that must be issued as they were then
    #[arg(long, default_value_t = 0.9)]
    pub at_least: f64,
    /// Most memory that searches may hold in judging before the answer is unknown
    #[arg(long, default_value = "1GiB", value_name = "BYTES", value_parser = crate::check::bytes)]
    pub budget_memory: u64,
    /// Longest time that judging may take before the answer is unknown
    #[arg(long, default_value = "5m", value_name = "TIME", value_parser = crate::check::duration)]
    pub budget_time: std::time::Duration,
    /// Folder for run folders
    #[arg(long, default_value = "results/runs")]
    pub store: PathBuf,
}

/// Flags of `shrink`.
#[derive(Debug, Args)]
pub struct ShrinkArgs {
    /// The folder of a run that failed
    #[arg(value_name = "RUN")]
    pub path: PathBuf,
    /// Runs of each candidate, at most
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub tries: u32,
    /// Share of its runs in which a candidate must fail to be kept
    #[arg(long, default_value_t = 0.6)]
    pub at_least: f64,
    /// Runs by which the smallest is counted in the end
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub confirm: u32,
    /// The anomaly that must come back [default: any that the run showed]
    #[arg(long, value_name = "NAME")]
    pub anomaly: Option<String>,
    /// Longest time for all of it; what is smallest by then is the answer
    #[arg(long, default_value = "10m", value_name = "TIME", value_parser = crate::check::duration)]
    pub budget: std::time::Duration,
    /// Folder for the shrink's folder
    #[arg(long, default_value = "results/runs")]
    pub store: PathBuf,
}

/// Flags of `weakness`.
#[derive(Debug, Args)]
pub struct WeaknessArgs {
    /// Weaknesses to look for (see `shardstorm list`) [default: all that a run can show]
    pub names: Vec<String>,
    /// Runs of each, with seeds one after the other
    #[arg(long, default_value_t = 1)]
    pub runs: u32,
    /// First seed
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Leave nothing out: the same faults must find nothing
    #[arg(long)]
    pub control: bool,
    /// Folder for the runs and their output
    #[arg(long, default_value = "results/runs")]
    pub store: PathBuf,
}

/// What to do with scenarios.
#[derive(Debug, Args)]
pub struct ScenarioArgs {
    /// List or run
    #[command(subcommand)]
    pub command: ScenarioCommand,
}

/// What can be done with scenarios.
#[derive(Debug, Subcommand)]
pub enum ScenarioCommand {
    /// List them, each with the outcome that is expected
    List,
    /// Play some; each says what was expected and what was seen
    #[command(
        after_help = "Exit codes: 0 all as expected, 1 some not, 254 bad arguments, 255 the harness failed."
    )]
    Run(ScenarioRunArgs),
}

/// Flags of `scenario run`.
#[derive(Debug, Args)]
pub struct ScenarioRunArgs {
    /// Which, like `R6` (see `shardstorm scenario list`) [default: all]
    pub names: Vec<String>,
    /// Plays of each
    #[arg(long, default_value_t = 1)]
    pub repeat: u32,
    /// Alter nothing: the same steps must end with nothing wrong
    #[arg(long)]
    pub control: bool,
    /// Fixes what a lie leaves to chance; later plays take the numbers after it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Folder for run folders
    #[arg(long, default_value = "results/runs")]
    pub store: PathBuf,
}

/// Flags of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Histories: files, `-` for standard input, run folders, or folders of all these. gzip and zstd are unpacked
    #[arg(required = true, value_name = "FILE")]
    pub paths: Vec<PathBuf>,
    /// What histories are of (see `shardstorm list`; a run folder knows its own) [default: by their operations]
    #[arg(long, visible_alias = "workload", value_name = "NAME")]
    pub model: Option<String>,
    /// Form of the files: `lines`, `json`, `edn`, `jepsen-log` or `thread-log` [default: detected]
    #[arg(long, value_name = "NAME")]
    pub format: Option<String>,
    /// Turn what should not be in a history into notes, and judge the rest
    #[arg(long)]
    pub lenient: bool,
    /// What registers hold at first, as JSON; a read of nil then tells nothing [default: null]
    #[arg(long, value_name = "VALUE")]
    pub initial: Option<String>,
    /// Values are pairs of a key and its value (Jepsen's `independent`) [default: where all look like it]
    #[arg(long)]
    pub independent: bool,
    /// What transactions promise, from `read-uncommitted` to `strict-serializable` [default: the latter]
    #[arg(long, value_name = "MODEL")]
    pub consistency: Option<String>,
    /// Seconds that a read may be behind in `replica-reads`
    #[arg(long, default_value_t = 5.0, allow_negative_numbers = true)]
    pub staleness_s: f64,
    /// Most memory that searches may hold before the answer is unknown
    #[arg(long, default_value = "1GiB", value_name = "BYTES", value_parser = crate::check::bytes)]
    pub budget_memory: u64,
    /// Longest time that judging one file may take before the answer is unknown, like `60s` [default: no end]
    #[arg(long, value_name = "TIME", value_parser = crate::check::duration)]
    pub budget_time: Option<std::time::Duration>,
    /// Most search states per key before the answer is unknown [default: no end]
    #[arg(long, value_name = "STATES")]
    pub budget_states: Option<u64>,
    /// Key by key: what decided, an order that explains a yes, the operations that prove a no, drawn
    #[arg(long)]
    pub explain: bool,
    /// Judge registers of unique values while they are read, in memory that does not grow with the history; ends
    /// at the first contradiction
    #[arg(long)]
    pub stream: bool,
    /// With --stream: time of the history within which calls end; those that do not by then count as open for good
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::check::duration)]
    pub lag: std::time::Duration,
    /// A JSON object for each file, on a line (its fields: docs/histories.md)
    #[arg(long)]
    pub json: bool,
}

/// Flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// A run folder
    pub path: PathBuf,
}

/// Flags of `export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// A run folder
    #[arg(value_name = "RUN")]
    pub path: PathBuf,
    /// `parquet` or `jsonl`: a table; `edn`: the history as Jepsen writes it; `elle`: the same as transactions
    #[arg(long, value_name = "FORM")]
    pub to: results::export::Format,
    /// Which table: `operations`, `faults`, `events` (the agents' steps) or `messages` (those that were altered)
    #[arg(long, default_value = "operations")]
    pub what: results::export::What,
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Flags of `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Folder of run folders, shrinks and campaigns
    #[arg(long, default_value = "results/runs")]
    pub store: PathBuf,
    /// Address and port to listen on; port 0 takes a free one. Whoever reaches it reads all of the store
    #[arg(long, default_value = "127.0.0.1:8437", value_name = "ADDRESS:PORT")]
    pub listen: std::net::SocketAddr,
}

/// Flags of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// What to measure
    #[command(subcommand)]
    pub what: Bench,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Operations per second generated, recorded on disk and completed, against a client that does nothing
    Engine {
        /// Seconds to measure
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Client processes at work at once
        #[arg(long, default_value_t = 64)]
        concurrency: u32,
        /// Where the journal goes
        #[arg(long, default_value = "results/runs")]
        store: PathBuf,
    },
    /// Processor time and memory of the checkers, beside what they have to reach, and beside Porcupine
    #[command(
        after_help = "Exit codes: 0, or 1 when a verdict is wrong; a target that is missed is only told."
    )]
    Checker(CheckerArgs),
    /// How evenly the ring spreads keys over shards, and how many move when one is added, beside hashing modulo
    /// the number of shards; as a table, and as ring.svg and ring.png
    Ring {
        /// Folder for the pictures
        #[arg(long, default_value = "results/runs")]
        store: PathBuf,
    },
    /// redis-benchmark over the fabric, beside the same over a kernel veth pair, over the fabric with a tap that reads
    /// everything, and over one that records every packet, in one run
    Fabric {
        /// Turns over each network; the medians count
        #[arg(long, default_value_t = 5)]
        rounds: u32,
        /// Requests per measurement
        #[arg(long, default_value_t = 100_000)]
        requests: u64,
    },
}
