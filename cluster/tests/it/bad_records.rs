//! Nonsense in ZooKeeper and intruders at Redis: the cluster goes on.

use std::time::Duration;

use cluster::{
    client::Client, credentials::Secret, redis_link::RedisLink, status, store::Store, znodes::Paths,
};
use zookeeper_client::{Acls, CreateMode};

use crate::{
    failover::{SOON, master_after, on_a_runtime, write_until_acknowledged},
    rig::{Rig, client_options},
};

#[test]
fn malformed_records_stop_neither_agents_nor_clients() {
    on_a_runtime(async {
        let Some(mut rig) = Rig::start(0).await else { return };
        let view = rig.view();
        let (epoch, first) = master_after(&view, 0, 0).await;
        status::ready(&view, &client_options(), SOON).await.expect("the cluster takes writes");
        let mut client = Client::new(view.clone(), client_options());
        write_until_acknowledged(&mut client, "k", "before").await;

        let vandal = zookeeper_client::Client::connect(&rig.connect).await.expect("a session");
        let (paths, shard) = (Paths::default(), Paths::default().shard(0));
        for path in [paths.ring(), shard.lease(), shard.nodes(), shard.vote(&first)] {
            vandal.set_data(&path, b"{\"epoch\": not json", None).await.expect("it is there");
        }
        // A ring with a hole, and records of nodes that nobody knows.
        let hole = br#"{"epoch":9,"vnodes":128,"shards":[0],"owners":[[5,0]]}"#;
        vandal.set_data(&paths.ring(), hole, None).await.expect("it is there");
        let persistent = CreateMode::Persistent.with_acls(Acls::anyone_all());
        for path in [shard.vote("nobody"), shard.hello("nobody"), shard.member("nobody")] {
            vandal.create(&path, b"[1, 2", &persistent).await.expect("it was not there");
        }

        for i in 0..50 {
            write_until_acknowledged(&mut client, "k", &format!("{i}")).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        rig.node(&first).redis.take().expect("its redis").kill();
        write_until_acknowledged(&mut client, "k", "after").await;
        let (next, second) = master_after(&view, 0, epoch).await;
        assert!(next > epoch && second != first);
        assert_eq!(client.read("k").await.result, Ok(Some("after".into())));
    });
}

#[test]
fn who_has_no_password_or_the_wrong_one_gets_no_answer() {
    on_a_runtime(async {
        let Some(rig) = Rig::start(1).await else { return };
        let view = rig.view();
        status::ready(&view, &client_options(), SOON).await.expect("the cluster takes writes");
        let master = view.master(1).expect("a master");
        let mut nobody = RedisLink::connect(master.addr, SOON, view.transport()).await.expect("it connects");
        let refused = nobody.command(redis::cmd("GET").arg("k"), SOON).await.unwrap_err();
        assert!(refused.to_string().contains("NOAUTH"), "{refused}");

        let mut wrong = client_options();
        wrong.secret = Secret::new("guessed");
        let error = Client::new(view, wrong).write("k", "v").await.result.unwrap_err();
        assert!(error.definite && error.reason.contains("WRONGPASS"), "{error:?}");
    });
}
