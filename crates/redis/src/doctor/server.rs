//! The server and its settings.

use celeriac_broker::Error;

use super::{Doctor, Report, Server, number, texts};

/// What Redis gives a client of publish/subscribe by default: less cuts off who is slow for a moment.
const BUFFER: u64 = 32 << 20;

pub(super) async fn look(doctor: &Doctor, report: &mut Report) -> Result<(), Error> {
    let info = texts(doctor.query(&["INFO"]).await?);
    let field = |name: &str| {
        let value = info.iter().find_map(|line| line.split_once(':').filter(|(field, _)| *field == name));
        value.map_or("", |(_, value)| value.trim())
    };
    report.server = Server {
        version: field("redis_version").to_owned(),
        used_memory: field("used_memory").parse().unwrap_or(0),
        policy: field("maxmemory_policy").to_owned(),
        has_aof: field("aof_enabled") == "1",
    };
    let Server { version, policy, has_aof, .. } = report.server.clone();
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_some_and(|major| major < 6) {
        report.find(format!("Redis {version} does not tell when queues change: 6 or newer does"), None);
    }
    if policy != "noeviction" && !policy.is_empty() {
        report.find(
            format!("maxmemory-policy is {policy}: a full Redis throws queues away; use noeviction"),
            None,
        );
    }
    if !has_aof {
        let text = "there is no append-only file: a crash loses what came since the last snapshot; use appendonly yes";
        report.find(text, None);
    }
    // Who may not ask for settings does without.
    let setting = async |name: &str| match doctor.query(&["CONFIG", "GET", name]).await {
        Ok(answer) => texts(answer).into_iter().nth(1).unwrap_or_default(),
        Err(_) => String::new(),
    };
    let timeout = setting("timeout").await;
    if timeout.parse::<u64>().is_ok_and(|seconds| seconds > 0) {
        report.find(format!("timeout is {timeout}: Redis closes connections that wait; use 0"), None);
    }
    let limits = setting("client-output-buffer-limit").await;
    if let Some(limit) = pubsub_limit(&limits).filter(|limit| *limit > 0 && *limit < BUFFER) {
        let text = format!(
            "client-output-buffer-limit pubsub is {limit} bytes: who is slow is cut off; use 32mb or more"
        );
        report.find(text, None);
    }
    report.alone = is_alone(doctor, report).await;
    Ok(())
}

/// `normal 0 0 0 slave … pubsub hard soft seconds`.
fn pubsub_limit(limits: &str) -> Option<u64> {
    let mut words = limits.split_whitespace().skip_while(|word| *word != "pubsub");
    words.nth(1)?.parse().ok()
}

/// Whether nobody else uses this database: who may not ask is not alone.
async fn is_alone(doctor: &Doctor, report: &mut Report) -> bool {
    let (Ok(id), Ok(list)) = (doctor.query(&["CLIENT", "ID"]).await, doctor.query(&["CLIENT", "LIST"]).await)
    else {
        return false;
    };
    let (id, list) = (format!("id={}", number(&id)), texts(list));
    let has = |line: &str, wanted: &str| line.split(' ').any(|word| word == wanted);
    let Some(ours) = list.iter().find(|line| has(line, &id)) else { return false };
    let Some(database) = ours.split(' ').find(|word| word.starts_with("db=")).map(str::to_owned) else {
        return false;
    };
    let others = list.iter().filter(|line| has(line, &database) && !has(line, &id)).count();
    report.is_partial |= list.is_empty();
    others == 0
}

#[cfg(test)]
mod tests {
    use super::pubsub_limit;

    #[test]
    fn limits_are_read() {
        let limits = "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60";
        assert_eq!(pubsub_limit(limits), Some(33_554_432));
        assert_eq!(pubsub_limit("normal 0 0 0"), None);
    }
}
