//! What the machine offers, and labs without root.

use std::ffi::CString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;

use lab::host::{self, Privileges};
use lab::{Action, Disk, DiskOptions, Exit};

use crate::helper;
use crate::net::*;

pub fn the_survey_agrees_with_what_a_lab_needs() {
    let offers = host::survey();
    let names: Vec<&str> = offers.iter().map(|offer| offer.name.as_str()).collect();
    assert_eq!(names, ["namespaces", "tun", "fuse", "kernel"]);
    let can = host::lacks().is_empty();
    assert_eq!(can, lab::Lab::up(lab::LabOptions::named("probe")).unwrap().add_node("n0").is_ok());
}

/// Role: uid 65534, in a mount namespace whose TUN and FUSE nodes are open to everybody.
pub fn be_an_ordinary_user(dir: &Path) {
    // `main` has already asked for the privileges, before any thread was started.
    assert!(std::fs::read_to_string("/proc/self/uid_map").unwrap().contains("65534"));
    let (lab, nodes) = lab_of("user", 2);
    let echo = serve_echo(&nodes[1], 7000);
    assert!(reaches(&nodes[0], echo));
    let cut = lab.fabric().install(rule("cut", both_ways(&nodes[0], &nodes[1]), Action::Drop)).unwrap();
    assert!(!reaches(&nodes[0], echo));
    assert!(cut.heal().dropped > 0);
    let sleeper = crate::processes::shell(dir, "sleeper", "id -u; sleep 1000");
    let sleeper = nodes[0].spawn(&sleeper).unwrap();
    eventually("it runs as root of its namespace", || sleeper.log_tail(1) == "0");
    sleeper.stop().unwrap();
    sleeper.kill().unwrap();
    if crate::disk_lack().is_none() {
        let data = dir.join("data");
        std::fs::create_dir(&data).unwrap();
        let disk = Disk::mount(&nodes[0], &data, &data, DiskOptions::default()).unwrap();
        let script =
            "cd data && echo kept > kept && sync kept && echo lost > lost && chmod 600 kept && cat kept";
        let writer = nodes[0].spawn(&crate::processes::shell(dir, "writer", script)).unwrap();
        assert_eq!(writer.wait_exit(PATIENCE), Some(Exit::Code(0)), "{}", writer.log_tail(9));
        assert_eq!(disk.lose_unsynced(crate::disks::NOTHING).unwrap().paths, ["lost"]);
        assert!(data.join("kept").exists() && !data.join("lost").exists());
    }
    let clock = lab::Clock::create(&nodes[0], "date").unwrap();
    let guard = clock.skew(lab::Skew::Jump { offset_ns: 1_000_000_000_000_000 }).unwrap();
    let mut date = crate::processes::shell(dir, "date", "date +%s");
    date.env.extend_from_slice(clock.env());
    nodes[0].spawn(&date).unwrap().wait_exit(PATIENCE).expect("it ends");
    assert!(guard.told().wall.reads > 0, "an unprivileged lab has clocks, too");
    helper::say("done");
}

pub fn an_unprivileged_user_can_raise_a_lab() {
    // SAFETY: reads the caller's credentials.
    let uid = unsafe { libc::geteuid() };
    let initial = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    if uid != 0 || !initial.contains("4294967295") {
        return eprintln!("not root: every test here already ran without privileges");
    }
    assert_eq!(host::become_root_in_user_namespace().unwrap(), Privileges::Root);
    let dir = tempfile::tempdir().unwrap();
    // The same devices under a mode that lets everybody in.
    let open_node = |name: &str, minor| {
        let path = CString::new(dir.path().join(name).as_os_str().as_bytes()).unwrap();
        // SAFETY: `path` is NUL-terminated and outlives both calls.
        let made = unsafe {
            libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, libc::makedev(10, minor)) == 0
                && libc::chmod(path.as_ptr(), 0o666) == 0
        };
        made.then_some(path)
    };
    let (Some(tun), Some(fuse)) = (open_node("tun", 200), open_node("fuse", 229)) else {
        return eprintln!("skipped: device nodes cannot be made here");
    };
    let has_fuse = Path::new("/dev/fuse").exists();
    let work = dir.path().join("work");
    std::fs::create_dir(&work).unwrap();
    std::os::unix::fs::chown(&work, Some(65534), Some(65534)).unwrap();
    let mut permissions = std::fs::metadata(dir.path()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(dir.path(), permissions).unwrap();

    // The user must be able to reach this very binary, wherever it was built.
    let binary = work.join("it");
    std::fs::copy(std::env::current_exe().unwrap(), &binary).unwrap();
    let role = helper::command("user", &work);
    let mut command = std::process::Command::new(&binary);
    command.envs(role.get_envs().filter_map(|(k, v)| Some((k, v?)))).current_dir(&work);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    // SAFETY: the hook makes system calls on strings made before the fork, and nothing else.
    unsafe { command.pre_exec(move || become_ordinary(&tun, has_fuse.then_some(&fuse))) };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return eprintln!("skipped: cannot become an ordinary user here: {e}"),
    };
    let mut said = String::new();
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success() && said.trim() == "done", "{said}");
}

/// A private mount namespace, the open nodes over the real ones, then uid and gid 65534.
fn become_ordinary(tun: &CString, fuse: Option<&CString>) -> std::io::Result<()> {
    let check = |ret: libc::c_int| if ret < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) };
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: system calls on NUL-terminated strings that outlive them.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        check(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()))?;
        check(libc::mount(tun.as_ptr(), c"/dev/net/tun".as_ptr(), none, libc::MS_BIND, none.cast()))?;
        if let Some(fuse) = fuse {
            check(libc::mount(fuse.as_ptr(), c"/dev/fuse".as_ptr(), none, libc::MS_BIND, none.cast()))?;
        }
        check(libc::setgroups(0, std::ptr::null()))?;
        check(libc::setresgid(65534, 65534, 65534))?;
        check(libc::setresuid(65534, 65534, 65534))
    }
}
