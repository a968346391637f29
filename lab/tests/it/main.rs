//! The lab's integration tests: real namespaces, real packets, real processes.
//!
//! `main` is our own because becoming root in a user namespace needs a process that has no second
//! thread yet, and because some tests start this binary again as a process that is to be killed.

mod benches;
mod captures;
mod clocks;
mod disk_redis;
mod disks;
mod fabric;
mod faults;
mod flows;
mod helper;
mod hosts;
mod lifetime;
mod net;
mod processes;
mod soak;

use std::process::ExitCode;

use lab::host::Privileges;
use libtest_mimic::{Arguments, Trial};

/// Lists test functions of a module, named after their paths.
macro_rules! trials {
    ($skip:expr; $($module:ident :: { $($test:ident),* $(,)? }),* $(,)?) => {
        vec![$($(
            Trial::test(concat!(stringify!($module), "::", stringify!($test)), || {
                $module::$test();
                Ok(())
            })
            .with_ignored_flag($skip)
        ),*),*]
    };
}

fn main() -> ExitCode {
    let privileges = lab::host::become_root_in_user_namespace();
    if let Some(code) = helper::play_role() {
        return code;
    }
    let arguments = Arguments::from_args();
    let lack = match privileges {
        Ok(Privileges::None { why }) => Some(why),
        Err(e) => Some(e.to_string()),
        Ok(_) => lab::host::lacks().first().map(|lack| format!("{}: {}", lack.found, lack.mend)),
    };
    if let Some(lack) = &lack {
        eprintln!("skipping every test that raises a lab: {lack}");
    }
    let mut tests = trials![lack.is_some();
        fabric::{
            two_nodes_talk_tcp_and_the_link_counts_it,
            a_one_way_drop_cuts_one_direction_only,
            halves_are_apart_and_each_half_is_whole,
            a_bridge_node_reaches_both_sides_of_a_cut,
            a_rule_on_a_port_leaves_the_others_alone,
            a_healed_rule_lets_packets_pass_again,
            a_dropped_guard_heals,
            a_delay_shifts_the_round_trip_and_keeps_order,
            healing_a_delay_releases_what_it_holds,
            a_cut_takes_packets_that_are_being_held,
            loss_drops_its_share_and_the_counters_agree_with_the_receiver,
            the_same_seed_loses_the_same_packets,
            a_bulk_transfer_arrives_whole_under_loss_delay_and_jitter,
            packets_to_nowhere_are_counted,
            bad_rules_are_refused_with_a_reason,
            two_labs_with_the_same_addresses_do_not_meet,
            twins_answer_at_one_address_each_to_its_own,
        },
        flows::{
            a_tap_that_passes_touches_no_packet,
            a_pass_under_loss_and_delay_touches_no_packet,
            edits_that_change_the_length_arrive_whole_and_so_does_the_end,
            what_a_receiver_has_acknowledged_is_told_even_when_the_connection_is_gone,
            edits_survive_loss_delay_and_jitter,
            an_edit_survives_a_cut_and_comes_soon_after_it,
            a_reply_can_be_forged_and_the_connection_goes_on,
            what_is_swallowed_is_acknowledged_and_never_arrives,
            what_waits_goes_on_when_poked_and_leaves_no_trace,
            a_delayed_message_comes_at_its_time,
            a_reset_reaches_both_ends,
            a_reset_of_an_end_passes_an_edited_flow,
            when_the_tap_goes_edited_flows_are_reset_and_others_go_on,
            a_slow_reader_gets_a_grown_stream_through_its_window,
            the_end_lets_go_of_what_waits,
            bad_taps_are_refused_with_a_reason,
        },
        faults::{
            duplicates_arrive_twice,
            reordered_packets_arrive_late_and_all,
            a_slow_link_carries_its_rate_and_drops_the_tail_of_its_queue,
            corruption_is_caught_by_checksums_unless_they_are_repaired,
            a_black_hole_swallows_what_is_long,
            a_reset_ends_a_connection_at_both_ends,
            a_half_open_connection_is_lost_at_one_end_only,
            a_slow_close_is_told_when_the_rule_is_healed,
            a_hidden_close_leaves_the_other_end_believing_until_it_is_healed,
            a_stalled_connection_goes_on_when_the_rule_is_healed,
            a_stalled_link_carries_so_many_bytes_and_no_more,
            a_latency_spreads_as_its_distribution_says,
            bursts_lose_packets_in_runs,
            a_flapping_cut_lets_packets_pass_now_and_then,
            a_rule_whose_time_is_up_heals_without_anybody,
            a_port_is_matched_on_the_side_that_was_asked_for,
            what_a_rule_makes_does_not_cross_a_cut,
        },
        soak::{
            ten_thousand_flips_of_a_partition_leave_nothing_behind,
        },
        processes::{
            a_stopped_tree_stands_still_and_goes_on,
            a_tree_that_forks_all_the_time_can_be_stopped_at_any_moment,
            killing_takes_the_children_too,
            killing_takes_a_session_that_forks_all_the_time,
            a_restart_appends_to_the_log,
            a_process_that_dies_at_start_can_be_seen,
            terminate_lets_it_end_by_itself_and_kills_it_otherwise,
            a_missing_binary_is_told_by_name,
            a_program_sees_its_own_node_only,
            handles_outlive_their_lab_harmlessly,
        },
        clocks::{
            a_redis_follows_its_clock_forth_and_back,
            a_restarted_redis_finds_its_clock_as_it_was,
            a_redis_drifts_as_fast_as_told,
            a_strobe_is_seen_both_ways,
            a_rust_program_drifts_and_its_waits_stay_short,
            a_java_machine_is_told_and_never_sleeps_for_the_offset,
            a_shell_and_its_children_are_told_and_a_program_without_the_clock_is_not,
        },
        captures::{
            a_capture_is_readable_and_shows_what_was_dropped,
        },
        lifetime::{
            a_lab_leaves_nothing_behind,
            kill_9_of_the_harness_mid_partition_leaves_nothing_behind,
            kill_9_at_any_moment_of_building_leaves_nothing_behind,
            node_names_are_checked,
        },
        benches::{
            the_bench_races_over_both_networks,
            the_bench_races_beside_rules_on_other_links,
            a_bench_whose_server_dies_shows_its_last_words,
        },
        hosts::{
            an_unprivileged_user_can_raise_a_lab,
        },
    ];
    let lack_of_disks = lack.clone().or_else(disk_lack);
    if let Some(lack) = lack_of_disks.as_ref().filter(|_| lack.is_none()) {
        eprintln!("skipping every test of faulty disks: {lack}");
    }
    tests.extend(trials![lack_of_disks.is_some();
        disks::{
            a_mounted_directory_behaves_like_any_other,
            errors_strike_what_the_rule_covers_and_heal,
            a_full_disk_tells_so_and_takes_what_fits,
            a_slow_sync_is_slow_and_others_are_not,
            a_stuck_sync_waits_for_its_healing_and_holds_up_nothing_else,
            a_process_can_be_stopped_and_killed_while_its_disk_is_stuck,
            a_power_cut_takes_what_was_not_synced,
            time_writes_back,
            a_strict_disk_loses_names_until_their_directory_is_synced,
            a_cut_may_tear_the_last_write_or_keep_some_blocks,
            a_disk_may_lie_about_its_syncs,
            a_bit_flips_for_the_reader_or_for_good,
            a_cut_waits_until_nobody_writes,
            memory_is_bounded_by_writing_back,
            bad_disk_rules_are_refused_with_a_reason,
            nothing_stays_mounted_when_the_disk_or_the_node_goes,
            kill_9_of_the_harness_with_a_stuck_disk_leaves_nothing_behind,
        },
    ]);
    let has_redis = std::process::Command::new("redis-server").arg("--version").output().is_ok();
    tests.extend(trials![lack_of_disks.is_some() || !has_redis;
        disk_redis::{
            an_error_at_fsync_ends_a_redis_that_syncs_always,
            a_full_disk_makes_redis_refuse_writes_until_there_is_room,
            a_slow_fsync_slows_a_redis_that_syncs_always,
            a_stuck_fsync_holds_redis_until_healed_or_killed,
            a_power_cut_takes_acknowledged_writes_from_who_does_not_sync,
            a_torn_write_is_cut_off_or_refused_by_redis,
            the_cost_is_told,
        },
    ]);
    tests.extend(trials![false; hosts::{ the_survey_agrees_with_what_a_lab_needs }]);
    libtest_mimic::run(&arguments, tests).exit_code()
}

/// Why disks cannot be made to fail here, if so.
pub fn disk_lack() -> Option<String> {
    let fuse = lab::host::survey().into_iter().find(|offer| offer.name == lab::host::FUSE)?;
    (!fuse.ok).then(|| format!("{}: {}", fuse.found, fuse.mend))
}
