//! The cluster of workers, as the one that leads it knows it.
//!
//! Of celeriac's workers with `--gossip watch` or `stream` one leads: it hears the heartbeats of all, Python's too, and
//! keeps the roster. [`App::cluster`] asks it:
//!
//! ```no_run
//! # async fn example(app: celeriac::App) -> Result<(), celeriac::ControlError> {
//! if let Some(roster) = app.cluster().members().await? {
//!     for member in &roster.members {
//!         println!("{} {}", member.hostname, member.sw_ident.as_deref().unwrap_or("?"));
//!     }
//! }
//! # Ok(())
//! # }
//! ```

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::{Address, Error, Published};
use celeriac_cluster::watch::message::{Key, Message, Snapshot, accept};
use tokio::time::Instant;
use uuid::Uuid;

pub use celeriac_cluster::watch::message::NodeId;
pub use celeriac_cluster::watch::roster::Member;

use crate::mailbox::Mailbox;
use crate::{App, ControlError};

/// The longest that the lead is waited for.
const LONGEST: Duration = Duration::from_secs(3600);
/// How long it is by default: of many that ask at once, the ninth in a second waits for its end.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks who is in the cluster. Made by [`App::cluster`].
#[derive(Debug, Clone)]
#[must_use = "nobody is asked before `members()` is called"]
pub struct Cluster {
    app: App,
    timeout: Duration,
}

/// The workers of a cluster, as its lead knew them when it was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Roster {
    /// Counts the leads.
    pub term: u64,
    /// Counts the changes in this term.
    pub version: u64,
    /// Who leads, by its name on the cluster's exchange.
    pub lead: NodeId,
    /// All workers, in the order of their numbers.
    pub members: Vec<Member>,
}

impl Roster {
    /// The one that leads.
    pub fn lead(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.node == Some(self.lead))
    }

    fn from_snapshot(snapshot: Snapshot) -> Self {
        let Snapshot { node, term, version, members, .. } = snapshot;
        let members = members.into_iter().map(Arc::unwrap_or_clone).collect();
        Roster { term, version, lead: node, members }
    }
}

impl Cluster {
    pub(crate) fn new(app: App) -> Self {
        Cluster { app, timeout: PATIENCE }
    }

    /// How long to wait for the answer, three seconds by default, an hour at most.
    pub fn timeout(self, timeout: Duration) -> Self {
        Cluster { timeout: timeout.min(LONGEST), ..self }
    }

    /// The workers; `None` when no worker of celeriac leads, which may be so for some seconds after one that did is
    /// gone.
    ///
    /// # Errors
    /// [`ControlError::Silent`] when the lead does not answer in time; [`ControlError::Broker`].
    pub async fn members(&self) -> Result<Option<Roster>, ControlError> {
        let (high, low) = Uuid::new_v4().as_u64_pair();
        let node = NodeId(high ^ low);
        let settings = &self.app.settings().events;
        // A lead that is asked by many answers all at once.
        let topology = settings.cluster_box(&node.to_string(), &[Key::Node(node), Key::Change]);
        let mut mailbox = Mailbox::open(&self.app, &topology).await?;
        let asked = self.ask(&mut mailbox, node).await;
        mailbox.close().await;
        self.app.producer().line().notice(&mailbox.connection, &asked).await;
        match asked? {
            Answer::Roster(roster) => Ok(Some(roster)),
            Answer::Nobody => Ok(None),
            Answer::Silence => Err(ControlError::Silent(self.timeout)),
        }
    }

    async fn ask(&self, mailbox: &mut Mailbox, node: NodeId) -> Result<Answer, Error> {
        let settings = &self.app.settings().events;
        let question = settings.cluster_message(&Message::Ask { node });
        let question = question.map_err(|error| Error::NotAccepted(error.to_string()))?;
        let exchange = settings.cluster().exchanges.swap_remove(0).name;
        let address = Address::exchange(exchange, Key::Lead.to_string()).mandatory();
        if mailbox.connection.publish(&address, question).await? == Published::Returned {
            return Ok(Answer::Nobody);
        }
        let deadline = Instant::now() + self.timeout;
        while let Some(delivery) = mailbox.next(deadline).await? {
            let body = delivery.message.decode(&accept());
            let message = body.map_err(|error| error.to_string());
            match message.and_then(|body| Message::read(&body).map_err(|error| error.to_string())) {
                Ok(Message::Snapshot(snapshot)) => {
                    return Ok(Answer::Roster(Roster::from_snapshot(snapshot)));
                }
                Ok(_) => {}
                Err(error) => tracing::debug!("ignored on the cluster's exchange: {error}"),
            }
        }
        Ok(Answer::Silence)
    }
}

enum Answer {
    Roster(Roster),
    /// Nobody has the lead's key.
    Nobody,
    Silence,
}
