//! What a campaign leaves: many runs of one plan, and how they are told.
//!
//! The [`plan`] is written before the first run starts; each run that ends adds a [`RunLine`]; everything else follows
//! from those two. [`summary`] is how a campaign stands, as data with a schema that `docs/campaigns.md` documents;
//! [`junit`], [`markdown`] and [`github`] tell it, each a pure function of it.

pub mod folder;
pub mod github;
pub mod junit;
pub mod line;
pub mod markdown;
pub mod plan;
pub mod summary;

pub use folder::CampaignFolder;
pub use line::{Ended, Outcome, RunLine};
pub use plan::{CampaignPlan, Cell, Expectation, Expected, Limits, Shard};
pub use summary::{CampaignSummary, Case, Group, Rate, State};

/// Version of `plan.json`, `runs.jsonl` and `campaign.json`, in each of them but the lines; raised where a reader of
/// the last version would misread the next.
pub const SCHEMA_VERSION: u32 = 1;
