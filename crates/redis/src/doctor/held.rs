//! Leases and their owners.

use std::collections::BTreeMap;
use std::time::Duration;

use celeriac_broker::Error;

use super::report::Mend;
use super::{Doctor, Holder, Life, MOST, PAGE, Report, texts};
use crate::restore::OWNER;

/// As `common.lua` has it: who was silent for longer is not counted among the living.
const DEAD: f64 = 9.0;

pub(super) async fn look(doctor: &Doctor, report: &mut Report) -> Result<(), Error> {
    let keys = &doctor.hub.keys;
    let time = texts(doctor.query(&["TIME"]).await?);
    let now: f64 = time.first().and_then(|seconds| seconds.parse().ok()).unwrap_or(0.0);
    // Who takes leases is known before: asked later, none of theirs looks as if nobody had it.
    let mut held = held(doctor, report, now).await?;
    let owners = doctor.owners().await?;
    let owners: BTreeMap<&str, &str> = owners
        .chunks_exact(2)
        .filter_map(|pair| Some((pair.first()?.as_str(), pair.get(1)?.as_str())))
        .collect();
    let silent = |seen: &str| now - seen.parse::<f64>().unwrap_or(0.0) / 1000.0;
    for (owner, seen) in &owners {
        let (is_dead, seconds) = (silent(seen) > DEAD, silent(seen));
        let (count, oldest) = held.remove(&Some((*owner).to_owned())).unwrap_or_default();
        if is_dead {
            let text = format!(
                "{owner} is dead for {seconds:.0} s and holds {count} messages: any worker that runs gives them back"
            );
            report.find(text, Some(Mend::Bury { owner: (*owner).to_owned(), seen: (*seen).to_owned() }));
        }
        let life = if is_dead { Life::Dead } else { Life::Alive };
        report.holders.push(Holder { owner: Some((*owner).to_owned()), life, held: count, oldest });
    }
    for (owner, (count, oldest)) in held {
        let life = if owner.is_some() { Life::Dead } else { Life::Unknown };
        let visibility = keys.options.visibility_timeout;
        match &owner {
            Some(owner) => {
                let text = format!("{owner} is not known and holds {count} messages");
                report.find(text, Some(Mend::GiveBack(owner.clone())));
            }
            None if oldest > visibility => {
                let text = format!(
                    "Python's workers hold messages for longer than the visibility timeout, {} s: \
                     any worker that runs gives them back",
                    visibility.as_secs_f64()
                );
                report.find(text, None);
            }
            None => {}
        }
        report.holders.push(Holder { owner, life, held: count, oldest });
    }
    timeless(doctor, report).await
}

type Held = BTreeMap<Option<String>, (u64, Duration)>;

/// How many messages each holds, and for how long.
async fn held(doctor: &Doctor, report: &mut Report, now: f64) -> Result<Held, Error> {
    let keys = &doctor.hub.keys;
    let (index, mut cursor) = (keys.prefixed(&keys.options.unacked_index_key), "0".to_owned());
    let mut held = Held::new();
    loop {
        let page = doctor.page(&["ZSCAN", &index, "CURSOR", "COUNT", &PAGE.to_string()], &mut cursor).await?;
        for pair in page.chunks_exact(2) {
            let [tag, score] = pair else { continue };
            let owner = tag.starts_with(OWNER).then(|| tag.split('.').next().unwrap_or(tag).to_owned());
            if held.len() >= MOST && !held.contains_key(&owner) {
                report.is_partial = true;
                continue;
            }
            let (count, oldest) = held.entry(owner).or_default();
            *count += 1;
            let age = now - score.parse::<f64>().unwrap_or(now);
            *oldest = (*oldest).max(Duration::try_from_secs_f64(age).unwrap_or_default());
        }
        if cursor == "0" {
            return Ok(held);
        }
    }
}

/// Leases that have no time: neither kombu nor we ever look at them.
async fn timeless(doctor: &Doctor, report: &mut Report) -> Result<(), Error> {
    let keys = &doctor.hub.keys;
    let (unacked, mut cursor) = (keys.prefixed(&keys.options.unacked_key), "0".to_owned());
    let mut found = Vec::new();
    loop {
        // Their messages come too: few at a time.
        let page = doctor.page(&["HSCAN", &unacked, "CURSOR", "COUNT", "20"], &mut cursor).await?;
        let tags: Vec<_> = page.into_iter().step_by(2).collect();
        found.extend(texts(doctor.ask("timeless", false, &tags).await?));
        report.is_partial |= found.len() > MOST;
        found.truncate(MOST);
        if cursor == "0" {
            break;
        }
    }
    if !found.is_empty() {
        let text =
            format!("{} messages are leased without a time: nobody would ever give them back", found.len());
        report.find(text, Some(Mend::Time(found)));
    }
    Ok(())
}
