//! Writes that several rooms of the crate need.

use zookeeper_client::{Acls, Client, CreateMode, Error};

/// Makes `path` an ephemeral znode of this session holding `data`, whoever owned it before.
///
/// A znode left over from an older session of the same agent would vanish with that session, so it is
/// replaced, not reused.
pub async fn put_ephemeral(client: &Client, path: &str, data: &[u8]) -> Result<(), Error> {
    let options = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    match client.create(path, data, &options).await {
        Err(Error::NodeExists) => {}
        other => return other.map(|_| ()),
    }
    let Some(stat) = client.check_stat(path).await? else {
        return client.create(path, data, &options).await.map(|_| ());
    };
    if stat.ephemeral_owner == client.session_id().0 {
        return client.set_data(path, data, None).await.map(|_| ());
    }
    let mut swap = client.new_multi_writer();
    swap.add_delete(path, Some(stat.version))?;
    swap.add_create(path, data, &options)?;
    swap.commit().await.map(|_| ()).map_err(Error::from)
}

/// Creates the persistent znode `path` holding `data`; true if it did not exist before.
pub async fn put_persistent(client: &Client, path: &str, data: &[u8]) -> Result<bool, Error> {
    match client.create(path, data, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await {
        Ok(_) => Ok(true),
        Err(Error::NodeExists) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Makes `path` a persistent znode holding `data`, whatever it held before.
pub async fn put(client: &Client, path: &str, data: &[u8]) -> Result<(), Error> {
    match client.set_data(path, data, None).await {
        Err(Error::NoNode) if put_persistent(client, path, data).await? => Ok(()),
        // Somebody else has created it in between.
        Err(Error::NoNode) => client.set_data(path, data, None).await.map(|_| ()),
        other => other.map(|_| ()),
    }
}
