//! Requests and replies of the authenticated mode: those of [`super::request`], proven both ways. See
//! [`crate::seal`] for what the codes cover.

use std::collections::HashMap;

use redis::{Pipeline, Value, pipe};

use super::{
    Route, command, outcome,
    request::{self, Requests},
};
use crate::{
    credentials::Secret,
    dataset,
    defence::{Defence, Without},
    seal::{
        Keys, Scripts, Server,
        channel::{Accepted, Exchange, Nonce, Rejected},
    },
    store::{Answer, CallError, Command},
};

/// Keys and scripts of one server: its agent loads the scripts, clients call them.
pub fn of_server(secret: &Secret, server: &Server, without: &Without) -> (Keys, Scripts) {
    let keys = Keys::of(secret, server.shard);
    let scripts = Scripts::of(server, &keys, command::OPERATIONS, &request::body(without));
    (keys, scripts)
}

/// A client's side of the authenticated mode.
#[derive(Debug)]
pub struct Authentic {
    secret: Secret,
    without: Without,
    nonce: Nonce,
    servers: HashMap<Server, (Keys, Scripts)>,
    /// Newest version that an acknowledged call has seen of each key, for as long as the client lives: what was
    /// set back to an older authentic state is noticed by whoever knew better.
    versions: HashMap<String, u64>,
}

/// What a reply is compared with.
#[derive(Debug)]
pub struct Asked {
    server: Server,
    nonce: Nonce,
    epoch: u64,
    key: String,
}

impl Authentic {
    /// A client with a name of its own.
    pub fn new(secret: Secret, without: Without) -> Self {
        Authentic {
            secret,
            without,
            nonce: Nonce::fresh(),
            servers: HashMap::new(),
            versions: HashMap::new(),
        }
    }

    /// The request for `command` on `key` to the master that `route` names.
    pub fn request(
        &mut self,
        requests: &Requests,
        route: &Route,
        key: &str,
        command: &Command,
    ) -> (Pipeline, Asked) {
        let server = Server { shard: route.shard, node: route.node.clone() };
        let asked = Asked { server, nonce: self.nonce.advance(), epoch: route.epoch, key: key.to_owned() };
        let (keys, scripts) = self
            .servers
            .entry(asked.server.clone())
            .or_insert_with(|| of_server(&self.secret, &asked.server, &self.without));
        let exchange = Exchange { keys, server: &asked.server, nonce: &asked.nonce };
        let names = [key, dataset::EPOCH, dataset::SEQ, dataset::OWNED];
        let words = [requests.checked_words(command, route.epoch), command::words(command)].concat();
        let mut pipeline = pipe();
        pipeline.add_command(exchange.operation(&scripts.operation, &names, &words));
        if requests.waits(command) {
            pipeline.add_command(exchange.mark(&scripts.mark));
            pipeline.add_command(requests.wait());
        }
        pipeline.add_command(exchange.evidence(&scripts.evidence, dataset::EPOCH));
        (pipeline, asked)
    }

    /// What came back for it. Whatever proves nothing is indefinite: it may have been said by anybody.
    pub fn judge(
        &mut self,
        requests: &Requests,
        asked: &Asked,
        command: &Command,
        replies: &[Value],
    ) -> Result<Answer, CallError> {
        let (Some(first), Some(last)) = (replies.first(), replies.last()) else {
            return Err(CallError::unexpected());
        };
        let Some((keys, _)) = self.servers.get(&asked.server) else { return Err(CallError::unexpected()) };
        let exchange = Exchange { keys, server: &asked.server, nonce: &asked.nonce };
        let accepted = exchange.accept(&asked.key, asked.epoch, first).map_err(rejected)?;
        if let Value::ServerError(e) = &accepted.answer {
            return Err(outcome::refused(e));
        }
        let answer = Answer::parse(command, &accepted.answer)?;
        // `WAIT` says it with one digit that proves nothing; it only made the evidence worth asking for.
        let evidence = exchange.accept_evidence(last).map_err(rejected)?;
        let mut sure = Ok(());
        if requests.waits(command) {
            sure = outcome::acknowledged(&Value::Int(evidence.copies.into()), requests.needed());
        }
        if self.without.defends(Defence::EpochCheck) && evidence.epoch != Some(asked.epoch) {
            sure = sure.and(Err(CallError::indefinite("epoch changed")));
        }
        let sure = sure.and_then(|()| self.not_set_back(&asked.key, &accepted));
        let definite = !command.may_have_changed(&answer);
        sure.map(|()| answer).map_err(|e| CallError { definite, ..e })
    }

    /// Remembers the version of a key; an error if a newer one was acknowledged before.
    fn not_set_back(&mut self, key: &str, accepted: &Accepted) -> Result<(), CallError> {
        let version = accepted.sealed.as_ref().map_or(0, |sealed| sealed.version);
        let known = self.versions.entry(key.to_owned()).or_default();
        if version < *known {
            return Err(CallError::indefinite(format!("version {version} after version {known}")));
        }
        *known = version;
        Ok(())
    }
}

fn rejected(why: Rejected) -> CallError {
    CallError::indefinite(why.to_string())
}
