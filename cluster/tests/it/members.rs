//! Group membership: who is shown, when, and as whom.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use cluster::{
    defence::Defence,
    group::{Group, GroupError, GroupMember, GroupOptions, Member, Stay},
    zk::{Session, SessionOptions},
};
use tokio::time::sleep;

use crate::{
    ensemble::{Ensemble, and_die, patient},
    failover::{SOON, on_a_runtime},
    proxy::{Proxy, Trap},
};

fn group(session: Arc<Session>, without: &[Defence]) -> Arc<Group> {
    let options = GroupOptions { without: without.iter().copied().collect(), ..GroupOptions::default() };
    Arc::new(Group::new(session, "crew", options).expect("a good name"))
}

/// A list, however often it must be asked for: on a busy machine sessions come and go.
async fn listed(group: &Group) -> Vec<Member> {
    let started = Instant::now();
    loop {
        match group.members().await {
            Ok(members) => return members,
            Err(e) => assert!(started.elapsed() < SOON, "{e}"),
        }
    }
}

async fn ids(group: &Group) -> Vec<String> {
    listed(group).await.into_iter().map(|member| member.id).collect()
}

async fn until_ids_are(group: &Group, wanted: &[&str]) {
    let started = Instant::now();
    while ids(group).await != wanted {
        assert!(started.elapsed() < SOON, "{:?} instead of {wanted:?}", ids(group).await);
        sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn everybody_sees_a_member_from_start_to_close() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let (ours, theirs) = (group(zk.session(), &[]), group(zk.session(), &[]));
        assert_eq!(listed(&theirs).await, []);
        for round in 0..20 {
            let member = GroupMember::start(ours.clone(), "a", "10.0.0.1:7", SOON).await.expect("it joins");
            let shown = listed(&theirs).await;
            assert_eq!(shown.len(), 1, "round {round}");
            assert_eq!(Some((shown[0].incarnation.clone(), shown[0].czxid)), member.present());
            assert_eq!((shown[0].id.as_str(), shown[0].payload.as_str()), ("a", "10.0.0.1:7"));
            member.close().await.expect("it leaves");
            assert_eq!(ids(&theirs).await, [""; 0], "round {round}");
            assert_eq!(member.present(), None);
            member.close().await.expect("twice is as good as once");
        }
        // One that is dropped leaves, too.
        let dropped = GroupMember::start(ours.clone(), "b", "", SOON).await.expect("it joins");
        drop(dropped);
        until_ids_are(&theirs, &[]).await;
        let bad = GroupMember::start(ours, "a/b", "", SOON).await.map(|_| ());
        assert_eq!(bad, Err(GroupError::Name("a/b".into())));
    });
}

#[test]
fn an_id_belongs_to_one_member_at_a_time() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let (ours, theirs) = (group(zk.session(), &[]), group(zk.session(), &[]));
        let first = GroupMember::start(ours, "a", "", SOON).await.expect("it joins");
        let patience = Duration::from_millis(500);
        let second = GroupMember::start(theirs.clone(), "a", "", patience).await.map(|_| ());
        assert_eq!(second, Err(GroupError::Taken("a".into())));
        // The one that was refused takes nothing away.
        sleep(Duration::from_millis(300)).await;
        assert_eq!(ids(&theirs).await, ["a"]);
        first.close().await.expect("it leaves");
        GroupMember::start(theirs, "a", "", SOON).await.expect("now it is free");
    });
}

/// The leader is stopped, another one is elected and shows a new member. A reader that is connected to the old
/// leader asks while that still stands, and gets its answer from it as soon as it moves again.
async fn list_through_a_stopped_leader(zk: &Ensemble, without: &[Defence]) -> Vec<String> {
    let leader = zk.leader().await;
    let trusts_library = without.contains(&Defence::WriteBeforeRead);
    let options = SessionOptions { trusts_library, ..patient(zk.addrs[leader].to_string()) };
    let reader = group(Arc::new(Session::open(options)), without);
    // The followers' clients stay where they are.
    let others: Vec<String> =
        zk.addrs.iter().enumerate().filter(|(i, _)| *i != leader).map(|(_, addr)| addr.to_string()).collect();
    let writer = group(Arc::new(Session::open(patient(others.join(",")))), &[]);
    let old = GroupMember::start(writer.clone(), "old", "", SOON).await.expect("it joins");
    assert_eq!(ids(&reader).await, ["old"]);

    zk.servers[leader].signal(libc::SIGSTOP);
    let new = GroupMember::start(writer.clone(), "new", "", SOON).await.expect("it joins, with a new leader");
    let listed = tokio::spawn(async move { ids(&reader).await });
    sleep(Duration::from_millis(100)).await;
    zk.servers[leader].signal(libc::SIGCONT);
    let listed = listed.await.expect("a list");
    new.close().await.expect("it leaves");
    old.close().await.expect("it leaves");
    listed
}

#[test]
fn a_stopped_leader_never_makes_a_list_stale() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        for _ in 0..2 {
            assert_eq!(list_through_a_stopped_leader(&zk, &[]).await, ["new", "old"]);
        }
    });
}

#[test]
fn a_stopped_leader_makes_a_list_stale_that_relies_on_sync() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        // Now and then the old leader learns that it is none before it gets to the reader's question.
        for _ in 0..8 {
            if list_through_a_stopped_leader(&zk, &[Defence::WriteBeforeRead]).await == ["old"] {
                return;
            }
        }
        panic!("eight lists through a stopped leader, and none was stale");
    });
}

#[test]
fn a_list_from_a_cache_is_as_old_as_the_last_message() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let writer = group(zk.session(), &[]);
        for (without, stale) in [(&[Defence::FreshMembers][..], true), (&[], false)] {
            let proxy = Proxy::start(zk.addrs[0]).await;
            let reader = group(Arc::new(Session::open(patient(proxy.addr.to_string()))), without);
            until_ids_are(&reader, &[]).await;
            proxy.hold();
            let member = GroupMember::start(writer.clone(), "a", "", SOON).await.expect("it joins");
            let (listed, ()) = tokio::join!(ids(&reader), async {
                sleep(Duration::from_millis(300)).await;
                proxy.flow();
            });
            assert_eq!(listed.is_empty(), stale, "{without:?}: {listed:?}");
            member.close().await.expect("it leaves");
        }
    });
}

#[test]
fn a_member_that_lost_its_session_comes_back_as_another_incarnation() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        let proxy = Proxy::start(zk.addrs[0]).await;
        let ours = group(Arc::new(Session::open(SessionOptions::new(proxy.addr.to_string()))), &[]);
        let theirs = group(zk.session(), &[]);
        let member = GroupMember::start(ours, "a", "", SOON).await.expect("it joins");
        let (before, _) = member.present().expect("it is there");
        proxy.cut();
        let started = Instant::now();
        until_ids_are(&theirs, &[]).await;
        println!("gone after {} ms", started.elapsed().as_millis());
        assert_eq!(member.present(), None, "it has known before");
        proxy.flow();
        let (after, czxid) = member.until_present().await;
        assert_ne!(before, after);
        let shown = listed(&theirs).await;
        assert_eq!((shown[0].incarnation.clone(), shown[0].czxid, shown.len()), (after.clone(), czxid, 1));
        let stays: Vec<Stay> = member.history().into_iter().map(|event| event.stay).collect();
        assert!(matches!(&stays[0], Stay::Joined { incarnation, .. } if *incarnation == before), "{stays:?}");
        let doubt = stays.iter().position(|stay| *stay == Stay::Doubtful).expect("it had doubts");
        assert!(stays[1..doubt].contains(&Stay::Disconnected), "{stays:?}");
        assert!(matches!(stays.last(), Some(Stay::Joined { incarnation, .. }) if *incarnation == after));
    });
}

/// A member that is in the group again in the very moment in which it is closed.
async fn close_while_it_is_created(zk: &Ensemble, without: &[Defence]) -> Vec<String> {
    let proxy = Proxy::start(zk.addrs[0]).await;
    let ours = group(Arc::new(Session::open(SessionOptions::new(proxy.addr.to_string()))), without);
    let theirs = group(zk.session(), &[]);
    let member = GroupMember::start(ours, "ghost", "", SOON).await.expect("it joins");
    proxy.cut();
    until_ids_are(&theirs, &[]).await;
    proxy.flow();
    proxy.trap("/crew/ghost", Trap::HoldRequest).await;
    proxy.caught().await;
    let (closed, ()) = tokio::join!(member.close(), async {
        sleep(Duration::from_millis(50)).await;
        proxy.flow();
    });
    closed.expect("it leaves");
    sleep(Duration::from_millis(300)).await;
    ids(&theirs).await
}

#[test]
fn a_close_waits_for_a_create_that_is_under_way() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        assert_eq!(close_while_it_is_created(&zk, &[]).await, [""; 0]);
        let ghost = close_while_it_is_created(&zk, &[Defence::JoinedClose]).await;
        assert_eq!(ghost, ["ghost"]);
    });
}

/// A process dies, and comes back before its session has expired: is it still there a while later?
async fn restart_within_the_old_session(zk: &Ensemble, without: &[Defence]) -> Vec<String> {
    let connect = zk.connect.clone();
    and_die(async move {
        let ours = group(Arc::new(Session::open(SessionOptions::new(connect))), &[]);
        std::mem::forget(GroupMember::start(ours, "a", "", SOON).await.expect("it joins"));
    });
    let ours = group(zk.session(), without);
    let member = GroupMember::start(ours.clone(), "a", "", SOON).await.expect("it joins");
    assert_eq!(ids(&ours).await, ["a"]);
    let before = member.present().expect("it is there");
    sleep(Duration::from_millis(2500)).await;
    let listed = ids(&ours).await;
    assert_eq!(member.present(), Some(before), "it has seen nothing");
    listed
}

#[test]
fn a_znode_of_an_earlier_process_does_not_count_as_joined() {
    on_a_runtime(async {
        let Some(zk) = Ensemble::start().await else { return };
        assert_eq!(restart_within_the_old_session(&zk, &[]).await, ["a"]);
        until_ids_are(&group(zk.session(), &[]), &[]).await;
        assert_eq!(restart_within_the_old_session(&zk, &[Defence::OwnedMembership]).await, [""; 0]);
    });
}
