use super::*;
use crate::harm::Harm;
use crate::harm::NetHarm;
use crate::shape::Shape;
use crate::targets::Target;

const LIMITS: Limits = Limits { time_limit_ms: 30_000, shards: 2, replicas: 3, zookeepers: 3 };

fn window(body: &str) -> Result<Schedule, String> {
    let text = format!("[[window]]\n{body}");
    Schedule::from_toml(&text, &LIMITS, 1).map_err(|e| e.to_string())
}

#[test]
fn a_window_reads_as_written() {
    let schedule = window(
        "start_s = 3\nstop_s = 6.5\nfault = 'partition'\nshape = 'one-way'\ntarget = 'agent of shard 1'",
    )
    .unwrap();
    let window = &schedule.windows[0];
    assert_eq!((window.start_ms, window.stop_ms), (3_000, 6_500));
    assert_eq!(window.harm, Harm::Net(NetHarm::partition(Shape::OneWay)));
    assert_eq!(window.target, Target::Agent { shard: 1 });
}

#[test]
fn every_mistake_is_named_with_its_mend() {
    let cases = [
        ("start_s = 3\nstop_s = 6\nfault = 'burn'\ntarget = 'client'", "unknown fault `burn`"),
        ("start_s = 3\nstop_s = 6\nfault = 'stuck-fsync'\ntarget = 'client'", "only ZooKeeper keeps files"),
        ("start_s = 3\nstop_s = 6\nfault = 'kill'\ntarget = 'master of shard 2'", "shards 0 to 1"),
        ("start_s = 6\nstop_s = 3\nfault = 'kill'\ntarget = 'zookeeper leader'", "must come before"),
        ("start_s = 6\nstop_s = 31\nfault = 'kill'\ntarget = 'zookeeper leader'", "within the load of 30 s"),
        ("start_s = 3\nstop_s = 6\nfault = 'partition'\ntarget = 'client'", "missing field `shape`"),
        (
            "start_s = 3\nstop_s = 6\nfault = 'partition'\nshape = 'halves'\ntarget = 'client'",
            "client-from-server",
        ),
        (
            "start_s = 3\nstop_s = 6\nfault = 'kill'\nshape = 'halves'\ntarget = 'client'",
            "unknown field `shape`: kill takes nothing more",
        ),
        ("start_s = 3\nstop_s = 6\nfault = 'loss'\nprobability = 1.5\ntarget = 'client'", "between 0 and 1"),
        ("start_s = 3\nstop_s = 6\nfault = 'pause'\ntarget = 'boss'", "unknown target `boss`"),
        ("start_s = 3\nstop_s = 6\nfault = 'pause'", "missing field `target`"),
        ("start_s = 3\nstopp_s = 6\nfault = 'pause'", "unknown field `stopp_s`: did you mean `stop_s`?"),
    ];
    for (body, expected) in cases {
        let message = window(body).unwrap_err();
        assert!(message.contains(expected), "{body}\n=> {message}");
    }
}

#[test]
fn a_window_that_another_is_the_same_as_keeps_being_meant_when_they_are_sorted() {
    let two = "start_s = 5\nstop_s = 6\nfault = 'kill'\ntarget = 'master of shard 0'\n\
               [[window]]\nstart_s = 3\nstop_s = 4\nfault = 'pause'\ntarget = 'master of shard 1'\n\
               [[window]]\nstart_s = 7\nstop_s = 8\nfault = 'pause'\ntarget = 'same as window 1'";
    let schedule = window(two).unwrap();
    assert_eq!(schedule.windows[2].target, Target::SameAs { window: 1 }, "it comes second in time");
    assert_eq!(schedule.windows[1].target, Target::Master { shard: 0 });
    let itself = "start_s = 5\nstop_s = 6\nfault = 'kill'\ntarget = 'same as window 1'";
    assert!(window(itself).unwrap_err().contains("does not come before"));
}

#[test]
fn windows_of_one_lane_must_not_overlap() {
    let two = "start_s = 3\nstop_s = 6\nfault = 'kill'\ntarget = 'master of shard 0'\n\
               [[window]]\nstart_s = 5\nstop_s = 8\nfault = 'pause'\ntarget = 'master of shard 1'";
    assert!(window(two).unwrap_err().contains("overlaps window 1 in lane 0"));
    assert_eq!(window(&format!("{two}\nlane = 1")).unwrap().lanes(), [0, 1]);
}

fn read(text: &str) -> Result<Schedule, String> {
    Schedule::from_toml(text, &LIMITS, 1).map_err(|e| e.to_string())
}

#[test]
fn a_mistake_is_told_with_line_and_column() {
    let error = |text: &str| Schedule::from_toml(text, &LIMITS, 1).unwrap_err();
    let bad = error("# faults\n\n[[window]]\nstart_s = 3\n  stopp_s = 6\nfault = 'pause'\n");
    assert_eq!((bad.line, bad.column), (5, 3), "{bad}");
    assert_eq!(bad.to_string(), "5:3: window 1: unknown field `stopp_s`: did you mean `stop_s`?");
    assert_eq!(error("[[window]]\nstart_s = = 3").line, 2);
    let target = error("[[window]]\nstart_s = 3\nstop_s = 6\nfault = 'kill'\ntarget = 'master of shard 7'");
    assert_eq!((target.line, target.column), (5, 1), "{target}");
    let value =
        error("[[window]]\nstart_s = 3\nstop_s = 6\nfault = 'loss'\ntarget = 'client'\nprobability = 'high'");
    assert_eq!(value.line, 4, "{value}");
    let phase = error("[[phase]]\nname = 'a'\nfrom_s = 1\nto_s = 5\n[[phase.mix]]\nfault = ['kill']\n");
    assert_eq!((phase.line, phase.column), (6, 1), "{phase}");
    assert!(phase.to_string().contains("phase `a`, mix 1: unknown field `fault`"), "{phase}");
}

#[test]
fn what_is_misspelt_is_named_before_what_is_missing() {
    let cases = [
        (
            "start_s = 3\nstop_s = 4\nfault = 'partition'\nshap = 'halves'\ntarget = 'client'",
            "did you mean `shape`",
        ),
        ("strat_s = 3\nstop_s = 4\nfault = 'kill'\ntarget = 'client'", "did you mean `start_s`"),
        ("start_s = 3\nstop_s = 4\nfault = 'kill'\ntargt = 'client'", "did you mean `target`"),
        ("start_s = 3\nstop_s = 4\nfault = 'kill'\nwhom = 'client'", "unknown field `whom`"),
        ("start_s = 3\nstop_s = 4\ntarget = 'client'", "missing field `fault`"),
        ("start_s = '3'\nstop_s = 4\nfault = 'kill'\ntarget = 'client'", "`start_s` is a number"),
        ("start_s = 3\nstop_s = 4\nfault = 'kill'\ntarget = 3", "`target` is a text in quotes"),
    ];
    for (body, expected) in cases {
        let message = window(body).unwrap_err();
        assert!(message.contains(expected), "{body}\n=> {message}");
    }
}

#[test]
fn every_part_of_the_language_names_its_mistakes() {
    let steady = "[[window]]\nstart_s = 3\nstop_s = 6\nfault = 'kill'\ntarget = 'master of shard 0'\n";
    let cases = [
        (format!("{steady}each = 'election'"), "needs `hold_ms`"),
        (format!("{steady}each = 'monday'\nhold_ms = 5"), "use each = \"election\""),
        (format!("{steady}each = 'election'\nhold_ms = 5\nflip = {{ on_ms = 1, off_ms = 1 }}"), "exclude each other"),
        (format!("{steady}flip = {{ on_ms = 0, off_ms = 1 }}"), "at least 1"),
        (format!("{steady}hold_ms = 5"), "unknown field `hold_ms`"),
        (format!("{steady}each = 'election'\nhold_ms = 5").replace("master of shard 0", "zookeeper minority"), "nobody is elected"),
        (format!("{steady}[[quiet]]\nfrom_s = 5\nto_s = 7"), "quiet period from 5 s to 7 s"),
        ("[[quiet]]\nfrom_s = 5".into(), "missing field `to_s`"),
        ("[[quiet]]\nfrom_s = 7\nto_s = 5".into(), "must come before"),
        ("[limits]\nzookeeper = 'all'".into(), "minority"),
        ("[limits]\nredis = 3".into(), "unknown field `redis`"),
        ("[limits]\nzookeeper = 'minority'\n[[window]]\nstart_s = 1\nstop_s = 2\nfault = 'partition'\nshape = 'halves'\ntarget = 'zookeeper leader'".into(), "[limits] cannot count"),
        ("[[mix]]\nlane = 1".into(), "nothing to draw from"),
        ("[[mix]]\nfaults = ['burn']".into(), "unknown fault `burn`"),
        ("[[mix]]\nfaults = { kill = -1 }".into(), "give 0 or more"),
        ("[[mix]]\nfaults = { kill = 0 }".into(), "weights are 0"),
        ("[[mix]]\nfaults = ['kill']\nwindow_s = [3, 2]".into(), "[shortest, longest]"),
        ("[[mix]]\nfaults = ['kill']\nramp = [0, 2]".into(), "`ramp` is the strength"),
        ("[[mix]]\nfaults = ['kill']\ntargets = ['same as window 1']".into(), "has no windows with numbers"),
        ("[[mix]]\nfaults = ['kill']\ntargets = ['master of shard 5']".into(), "no shard 5"),
        ("[[mix]]\ntargets = ['client']\n[[mix.harm]]\nfault = 'clock-jump'\noffset_ms = 100".into(), "suits none of its targets"),
        ("[[phase]]\nfrom_s = 1\nto_s = 5\n[[phase]]\nfrom_s = 4\nto_s = 6".into(), "overlaps phase 1"),
        ("[[phase]]\nfrom_s = 1\nto_s = 5\n[[phase.mix]]\nfaults = ['kill']\nto_s = 9".into(), "beyond its phase"),
        ("[swarm]\nfamilies = []".into(), "is empty"),
        ("[swarm]\nfamilies = ['burn']".into(), "unknown fault `burn`"),
        ("[[windows]]\nstart_s = 1".into(), "unknown field `windows`: it takes [[window]]"),
    ];
    for (text, expected) in cases {
        let message = read(&text).unwrap_err();
        assert!(message.contains(expected), "{text}\n=> {message}");
    }
}

#[test]
fn a_mix_has_a_lane_of_its_own_and_keeps_to_its_time_and_targets() {
    let text = "[[window]]\nstart_s = 3\nstop_s = 6\nfault = 'kill'\ntarget = 'zookeeper leader'\n\
                [[mix]]\nfrom_s = 2\nto_s = 20\nwindow_s = 1\ngap_s = [0.5, 1]\n\
                faults = { pause = 1 }\ntargets = { 'agent of shard 1' = 1 }\n\
                [[mix.harm]]\nfault = 'delay'\nbase_ms = 20\nweight = 2\n\
                [[quiet]]\nfrom_s = 10\nto_s = 12\n\
                [[mix]]\nfaults = ['loss']\nlane = 7";
    let schedule = read(text).unwrap();
    assert_eq!(schedule.lanes(), [0, 7, 8]);
    let mixed: Vec<_> = schedule.windows.iter().filter(|window| window.lane == 8).collect();
    assert!(mixed.len() >= 6, "{mixed:?}");
    for window in &mixed {
        assert!(window.start_ms >= 2_000 && window.stop_ms <= 20_000);
        assert!(window.stop_ms <= 10_000 || window.start_ms >= 12_000);
        assert_eq!(window.stop_ms - window.start_ms, 1_000);
        assert_eq!(window.target, Target::Agent { shard: 1 });
    }
    let told: Vec<String> = mixed.iter().map(|window| window.harm.to_string()).collect();
    assert!(told.iter().any(|harm| harm == "20 ms"), "{told:?}");
    assert_eq!(read(text).unwrap(), schedule, "the same seed, the same schedule");
    assert_ne!(Schedule::from_toml(text, &LIMITS, 2).unwrap(), schedule);
}

#[test]
fn what_one_mix_draws_does_not_shift_another() {
    let one = "[[mix]]\nfaults = ['kill']\nlane = 3\n";
    let two = format!("{one}[[mix]]\nfaults = ['loss']\n");
    let lane = |text: &str| {
        let windows = read(text).unwrap().windows.into_iter().filter(|window| window.lane == 3);
        windows.map(|window| (window.start_ms, window.seed, window.target)).collect::<Vec<_>>()
    };
    assert_eq!(lane(one), lane(&two));
}

#[test]
fn phases_follow_each_other_each_with_its_own_mixes() {
    let text = "[[phase]]\nname = 'calm'\nfrom_s = 1\nto_s = 10\n\
                [[phase.mix]]\nfaults = ['delay']\n\
                [[phase]]\nname = 'storm'\nfrom_s = 10\nto_s = 28\n\
                [[phase.mix]]\nfaults = ['kill']\n[[phase.mix]]\nfaults = ['partition']";
    let schedule = read(text).unwrap();
    for window in &schedule.windows {
        let is_early = window.harm.family() == crate::Family::Delay;
        assert!(if is_early { window.stop_ms <= 10_000 } else { window.start_ms >= 10_000 }, "{window:?}");
    }
    assert_eq!(schedule.lanes().len(), 3);
}

#[test]
fn a_swarm_in_a_file_goes_with_windows_beside_it() {
    let text = "[swarm]\nfamilies = ['kill', 'pause', 'loss']\n\
                [[window]]\nstart_s = 3\nstop_s = 6\nfault = 'kill'\ntarget = 'zookeeper leader'";
    let schedule = read(text).unwrap();
    assert!(schedule.windows.len() > 1 && schedule.lanes().len() > 1, "{schedule:?}");
}

#[test]
fn a_name_that_is_wrong_within_a_message_fault_is_named() {
    let lie = "start_s = 3\nstop_s = 4\nfault = 'message'\ntarget = 'master of shard 0'\nlink = 'replication'\n\
               way = 'to-server'\nmessage = 'replconf-ack'\n";
    let cases = [
        (format!("{lie}op.set = {{ field = 'offset', to.add = 1, keep_lenghts = true }}"), "keep_lenghts"),
        (format!("{lie}op.omitt = {{}}"), "omitt"),
        (format!("{lie}op = 'omit'\nwhere = [{{ field = 'offset', iz = 1 }}]"), "iz"),
        (
            "start_s = 3\nstop_s = 4\nfault = 'crash-at'\ntarget = 'master of shard 0'\n\
             at = { link = 'replication', way = 'to-client', message = 'write', from = 's0r0' }"
                .into(),
            "`from`",
        ),
    ];
    for (body, expected) in cases {
        let message = window(&body).unwrap_err();
        assert!(message.contains(expected), "{body}\n=> {message}");
    }
    let good = format!(
        "{lie}op.set = {{ field = 'offset', to.add = 1 }}\nwhere = [{{ field = 'offset', at-least = 1 }}]"
    );
    assert!(window(&good).is_ok(), "{:?}", window(&good));
}
