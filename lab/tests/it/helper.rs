//! This test binary, started again in a role: a harness that is going to be killed, or an ordinary user.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use crate::{benches, clocks, disks, hosts, lifetime};

/// The variable that names the role.
const ROLE: &str = "LAB_TEST_ROLE";
/// The variable that names a directory the role may use.
const DIR: &str = "LAB_TEST_DIR";

/// Plays the role the environment asks for, if any.
pub fn play_role() -> Option<ExitCode> {
    let role = std::env::var(ROLE).ok()?;
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap_or_default());
    match role.as_str() {
        "victim" => lifetime::be_the_victim(&dir),
        "builder" => lifetime::be_the_builder(&dir),
        "disk-owner" => disks::be_the_owner_of_a_stuck_disk(&dir),
        "bench-server" => benches::be_the_server(),
        "bench-client" => benches::be_the_client(&dir),
        "clock-reader" => clocks::be_a_reader(),
        "user" => hosts::be_an_ordinary_user(&dir),
        _ => panic!("no such role: {role}"),
    }
    Some(ExitCode::SUCCESS)
}

/// This binary as a command that plays `role`, its stdout piped.
pub fn command(role: &str, dir: &std::path::Path) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("our own path"));
    command.env(ROLE, role).env(DIR, dir).stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// The same as an argument list, for what starts programs by those alone.
pub fn command_line(role: &str, dir: &str) -> Vec<OsString> {
    let binary = std::env::current_exe().expect("our own path").into_os_string();
    vec!["env".into(), format!("{ROLE}={role}").into(), format!("{DIR}={dir}").into(), binary]
}

/// Says one line to the parent, at once.
pub fn say(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("stdout");
}
