//! Writes that several rooms of the crate need.

use std::future::Future;

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
/// Waits until everything that was committed before this call is visible to reads that follow it on the same
/// session: a transaction of the whole ensemble that checks that `path` exists, and changes nothing.
///
/// `sync` is no substitute: the leader answers it alone, and may have been deposed without knowing it yet.
pub async fn barrier(client: &Client, path: &str) -> Result<(), Error> {
    const ANY_VERSION: i32 = -1;
    let mut check = client.new_multi_writer();
    check.add_check_version(path, ANY_VERSION)?;
    check.commit().await.map(drop).map_err(Error::from)
}

/// Creates the persistent znode `path` and whatever is missing above it.
pub(crate) async fn make_dirs(client: &Client, path: &str) -> Result<(), Error> {
    client.mkdir(path, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await
}

/// A read or delete whose znode may be missing.
pub(crate) async fn existing<T>(call: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Error> {
    match call.await {
        Ok(value) => Ok(Some(value)),
        Err(Error::NoNode) => Ok(None),
        Err(e) => Err(e),
    }
}

/// Whether the same request may well succeed later, or on another session.
pub(crate) fn is_passing(e: &Error) -> bool {
    !matches!(
        e,
        Error::NoAuth
            | Error::AuthFailed
            | Error::InvalidAcl
            | Error::BadArguments(_)
            | Error::QuotaExceeded
            | Error::NoChildrenForEphemerals
            | Error::Unimplemented
            | Error::MarshallingError
    )
}

/// 128 bits that nobody else has drawn, as 32 hexadecimal digits.
pub(crate) fn nonce() -> String {
    use std::hash::{BuildHasher, Hasher, RandomState};
    // Each has keys of its own, made from randomness of the system.
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), half())
}
