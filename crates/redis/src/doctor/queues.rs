//! Queues, their bindings, and the keys of ours that nobody has.

use std::collections::BTreeSet;

use celeriac_broker::Error;

use super::report::Mend;
use super::{Doctor, MOST, PAGE, QueueState, Report, numbers};

pub(super) async fn look(doctor: &Doctor, report: &mut Report) -> Result<(), Error> {
    let mut names = Names { found: BTreeSet::new(), is_full: false };
    let declared = declared(doctor, &mut names).await?;
    lists(doctor, &mut names).await?;
    ours(doctor, report, &mut names).await?;
    report.is_partial |= names.is_full;
    for name in names.found {
        queue(doctor, report, name).await?;
    }
    bindings(doctor, report, &declared).await
}

/// Names of queues, as far as they are shown.
struct Names {
    found: BTreeSet<String>,
    is_full: bool,
}

impl Names {
    fn add(&mut self, name: &str) {
        if self.found.len() < MOST {
            self.found.insert(name.to_owned());
        } else if !self.found.contains(name) {
            self.is_full = true;
        }
    }
}

/// The queues that celeriac has declared.
async fn declared(doctor: &Doctor, names: &mut Names) -> Result<BTreeSet<String>, Error> {
    let (key, mut cursor) = (doctor.hub.keys.own("queues"), "0".to_owned());
    loop {
        let page = doctor.page(&["HSCAN", &key, "CURSOR", "COUNT", &PAGE.to_string()], &mut cursor).await?;
        page.iter().step_by(2).for_each(|name| names.add(name));
        if cursor == "0" {
            return Ok(names.found.clone());
        }
    }
}

/// The queues that have messages.
async fn lists(doctor: &Doctor, names: &mut Names) -> Result<(), Error> {
    let (keys, mut cursor) = (&doctor.hub.keys, "0".to_owned());
    let of_prefix = format!("{}*", keys.glob(""));
    loop {
        for key in doctor.page_of("list", &of_prefix, &mut cursor).await? {
            let name = key.strip_prefix(&keys.options.global_keyprefix).unwrap_or(&key);
            let queue = name.rsplit_once(&keys.options.sep).map_or(name, |(queue, _)| queue);
            names.add(queue);
        }
        if cursor == "0" {
            return Ok(());
        }
    }
}

/// Keys of ours that go with an owner, a consumer or a queue.
async fn ours(doctor: &Doctor, report: &mut Report, names: &mut Names) -> Result<(), Error> {
    let (keys, mut cursor) = (&doctor.hub.keys, "0".to_owned());
    let glob = format!("{}*", keys.glob("celeriac."));
    let [owner, consumers, bound] = ["owner.", "consumers.", "bound."].map(|name| keys.own(name));
    loop {
        let words = ["SCAN", "CURSOR", "MATCH", &glob, "COUNT", &PAGE.to_string()];
        for key in doctor.page(&words, &mut cursor).await? {
            if let Some(queue) = key.strip_prefix(&consumers) {
                names.add(queue);
            } else if let Some(owner) = key.strip_prefix(&owner)
                && super::number(&doctor.ask("owned", false, &[owner]).await?) > 0
            {
                let text = format!("{owner} is not known, and has left queues that go with it");
                report.find(text, Some(Mend::Leave(owner.to_owned())));
            } else if let Some(queue) = key.strip_prefix(&bound)
                && super::number(&doctor.ask("bound", false, &[queue]).await?) > 0
            {
                let text = format!("{queue} is bound by celeriac, and there is no such queue");
                // A Python worker may have it, empty and bound to other exchanges.
                let mend = report.alone.then(|| Mend::Bound(queue.to_owned()));
                report.find(text, mend);
            }
        }
        if cursor == "0" {
            return Ok(());
        }
    }
}

async fn queue(doctor: &Doctor, report: &mut Report, name: String) -> Result<(), Error> {
    let answer = numbers(doctor.ask("queue", false, &[name.as_str()]).await?);
    let [orphan, consumers, dead, lengths @ ..] = &answer[..] else { return Ok(()) };
    let steps = &doctor.hub.keys.options.priority_steps;
    let lengths: Vec<_> =
        steps.iter().zip(lengths).map(|(step, length)| (*step, u64::try_from(*length).ok())).collect();
    if lengths.iter().any(|(_, length)| length.is_none()) {
        report.find(format!("{name}: a key of this queue is no list"), None);
    }
    if *orphan == 1 {
        let text = format!("{name} went with a worker or client that is gone");
        report.find(text, Some(Mend::Queue(name.clone())));
    } else if *dead > 0 {
        let text = format!("{name} has {dead} consumers that are gone");
        report.find(text, Some(Mend::Queue(name.clone())));
    }
    report.queues.push(QueueState { name, lengths, consumers: u64::try_from(*consumers).unwrap_or(0) });
    Ok(())
}

/// The tables of exchanges. Python's transient queues say nothing of whether they live.
async fn bindings(doctor: &Doctor, report: &mut Report, declared: &BTreeSet<String>) -> Result<(), Error> {
    let (keys, mut cursor) = (&doctor.hub.keys, "0".to_owned());
    let (start, glob) = (keys.prefixed("_kombu.binding."), format!("{}*", keys.glob("_kombu.binding.")));
    loop {
        for key in doctor.page_of("set", &glob, &mut cursor).await? {
            let exchange = key.strip_prefix(&start).unwrap_or(&key).to_owned();
            table(doctor, report, declared, &key, exchange).await?;
        }
        if cursor == "0" {
            return Ok(());
        }
    }
}

async fn table(
    doctor: &Doctor,
    report: &mut Report,
    declared: &BTreeSet<String>,
    key: &str,
    exchange: String,
) -> Result<(), Error> {
    let (mut count, mut transient, mut cursor) = (0, Vec::new(), "0".to_owned());
    loop {
        let words = ["SSCAN", key, "CURSOR", "COUNT", &PAGE.to_string()];
        for member in doctor.page(&words, &mut cursor).await? {
            count += 1;
            let queue = member.rsplit(&doctor.hub.keys.options.sep).next().unwrap_or_default();
            if Doctor::is_transient(queue) && !declared.contains(queue) {
                transient.push(member);
            }
        }
        report.is_partial |= transient.len() > MOST;
        transient.truncate(MOST);
        if cursor == "0" {
            break;
        }
    }
    report.bindings.push((exchange.clone(), count, transient.len() as u64));
    if report.alone && !transient.is_empty() {
        let number = transient.len();
        let text = format!(
            "exchange {exchange}: {number} bindings of Python's workers and clients, none of which is connected"
        );
        report.find(text, Some(Mend::Bindings { exchange, members: transient }));
    }
    Ok(())
}
