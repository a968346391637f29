//! One agent: see `cluster::agent`.

fn main() -> std::process::ExitCode {
    cluster::agent::main(std::env::args_os())
}
