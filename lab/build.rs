//! Compiles the clock shim with the compiler that compiles the rest, so that the binary can carry it with it.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=clock-shim");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(clock_shim)");
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let library = Path::new(&variable("OUT_DIR")).join("clock-shim.so");
    // Where the C library is another one there is nothing to stand before: an empty file says so.
    let fits = variable("CARGO_CFG_TARGET_OS") == "linux"
        && variable("CARGO_CFG_TARGET_ENV") == "gnu"
        && ["x86_64", "aarch64"].contains(&variable("CARGO_CFG_TARGET_ARCH").as_str())
        && variable("CARGO_CFG_TARGET_POINTER_WIDTH") == "64";
    if !fits {
        std::fs::write(&library, b"").expect("OUT_DIR can be written to");
        return;
    }
    // The same library in every profile: what it costs a server must not depend on how the harness was built.
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args(["--edition=2024", "--crate-type=cdylib", "--crate-name=clock_shim", "--cfg=clock_shim"])
        .args(["-Copt-level=3", "-Cpanic=abort", "-Clto=fat", "-Ccodegen-units=1", "-Cstrip=symbols"])
        .args(["-Cforce-unwind-tables=yes", "--target", &variable("TARGET"), "-o"])
        .arg(&library)
        .arg("clock-shim/lib.rs");
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    match rustc.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => panic!("compile the clock shim:\n{}", String::from_utf8_lossy(&output.stderr)),
        Err(e) => panic!("start {}: {e}", variable("RUSTC")),
    }
}
