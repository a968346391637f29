//! The flags of `run`, as a campaign file says them: without dashes in front, as keys.

use anyhow::Result;
use clap::{Args, Parser};

use super::source::{Field, Span, unknown};
use crate::cli::{Cli, Command, RunArgs};

/// A flag that a campaign file sets, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// Without dashes in front: `op-timeout-ms`.
    pub name: String,
    /// What follows it; none for a switch that is on; no words at all for one that is off.
    pub words: Vec<String>,
    /// As the file says it, for the names of runs.
    pub said: String,
    /// Where it is set.
    pub span: Span,
}

/// Flags that are not set one by one, and what says them instead.
const AXES: [(&str, &str); 9] = [
    ("target", "targets are an axis: `targets` in [matrix]"),
    ("variant", "variants are an axis: `variants` in [matrix]"),
    ("weaken", "what is left out belongs to a variant: { name = …, weaken = … } in `variants` of [matrix]"),
    ("bug", "a bug belongs to a variant: { name = …, bug = … } in `variants` of [matrix]"),
    ("workload", "workloads are an axis: `workloads` in [matrix]"),
    ("faults", "faults are an axis: `faults` in [matrix]"),
    ("seed", "seeds are an axis: `seeds` in [matrix]"),
    ("time-limit", "seconds of load are an axis: `durations` in [matrix]"),
    ("store", "runs go to the campaign's own folder; `shardstorm campaign --store` says where that is"),
];

impl Flag {
    /// From a key and its value.
    pub fn of(field: &Field<'_>) -> Result<Flag> {
        let name = field.name.replace('_', "-");
        let source_error = |message: String| field.refuse(message);
        if let Some((_, mend)) = AXES.iter().find(|(axis, _)| *axis == name) {
            return Err(source_error(format!("`{}` is not set here: {mend}", field.name)));
        }
        let known = known();
        let Some((_, is_switch)) = known.iter().find(|(known, _)| *known == name) else {
            let settable: Vec<&str> =
                known.iter().map(|(name, _)| name.as_str()).filter(|name| !is_axis(name)).collect();
            return Err(source_error(unknown("flag of `run`", &name, &settable)));
        };
        if *is_switch != field.is_switch() {
            let mend =
                if *is_switch { "is a switch: give true or false" } else { "is no switch: give its value" };
            return Err(source_error(format!("`{}` {mend}", field.name)));
        }
        let value = field.flag_value()?;
        let said = match &value {
            Some(value) if !is_switch => format!("{name}={value}"),
            Some(_) => name.clone(),
            None => format!("no {name}"),
        };
        let words = match value {
            None => Vec::new(),
            Some(_) if *is_switch => vec![format!("--{name}")],
            Some(value) => vec![format!("--{name}"), value],
        };
        Ok(Flag { name, words, said, span: field.span() })
    }
}

fn is_axis(name: &str) -> bool {
    AXES.iter().any(|(axis, _)| *axis == name)
}

/// Names of the flags of `run`, and whether they are switches.
fn known() -> Vec<(String, bool)> {
    let command = RunArgs::augment_args(clap::Command::new("run"));
    let flags = command.get_arguments().filter_map(|arg| {
        let name = arg.get_long()?.to_string();
        Some((name, matches!(arg.get_action(), clap::ArgAction::SetTrue)))
    });
    flags.collect()
}

/// The arguments that these words make, just as `shardstorm run` would read them; else why they make none.
pub fn parse(words: &[String]) -> Result<RunArgs, String> {
    let all = ["shardstorm", "run"].into_iter().chain(words.iter().map(String::as_str));
    match Cli::try_parse_from(all) {
        Ok(Cli { command: Command::Run(args) }) => Ok(args),
        Ok(_) => Err("not a run".into()),
        Err(error) => {
            let text = error.to_string();
            Err(text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_axis_is_a_flag_of_run() {
        let known = known();
        for (axis, _) in AXES {
            assert!(known.iter().any(|(name, _)| name == axis), "{axis}");
        }
        assert!(known.contains(&("tls".into(), true)) && known.contains(&("rate".into(), false)));
    }
}
