use super::*;

fn gossip(clock: u64) -> (Gossip, Arc<LamportClock>) {
    let clock = Arc::new(LamportClock::new(clock));
    (Gossip::new(Config::new("me", 1), clock.clone(), NOW), clock)
}

fn names(gossip: &Gossip) -> Vec<String> {
    let mut names: Vec<String> = gossip.members().map(|worker| worker.hostname.to_string()).collect();
    names.sort();
    names
}

#[test]
fn members_join_leave_and_are_lost() {
    let (mut gossip, _) = gossip(0);
    let mut say = |kind, name, now| told(&hear(&mut gossip, &beat(kind, name, 1, "py-celery"), now));
    assert_eq!(say("worker-heartbeat", "a", NOW), ["joined a"]);
    assert_eq!(say("worker-online", "b", NOW), ["joined b"]);
    assert_eq!(say("worker-heartbeat", "b", NOW + 2.0), [""; 0]);
    assert_eq!(say("worker-online", "b", NOW + 2.0), ["joined b"], "as Celery, each time");
    assert_eq!(say("worker-offline", "b", NOW + 2.5), ["left b"]);
    assert_eq!(say("worker-offline", "nobody", NOW + 2.5), ["left nobody"], "as Celery");
    assert_eq!(say("worker-heartbeat", "c", NOW + 4.0), ["joined c"]);
    assert_eq!(names(&gossip), ["a", "c"]);
    assert_eq!(gossip.alive(NOW + 4.5).map(|worker| &*worker.hostname).collect::<Vec<_>>(), ["c"]);

    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 4.5)), [""; 0], "not before the look is due");
    assert_eq!(gossip.next_timeout(), Some(NOW + 5.0));
    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 5.0)), ["lost a"]);
    assert_eq!(names(&gossip), ["c"]);
    let again = beat("worker-heartbeat", "a", 1, "py-celery");
    assert_eq!(told(&hear(&mut gossip, &again, NOW + 6.0)), ["joined a"]);
    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 10.0)), ["lost a", "lost c"]);
    assert_eq!(gossip.next_timeout(), Some(NOW + 15.0));
}

#[test]
fn a_member_is_told_with_all_that_it_said() {
    let (mut gossip, _) = gossip(0);
    let actions = hear(&mut gossip, &beat("worker-online", "a", 7, "py-celery"), NOW);
    let [Action::Joined(worker)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((worker.pid, worker.freq, worker.clock), (Some(1), 2.0, 7));
    assert_eq!(worker.sw_ident.as_deref(), Some("py-celery"));
}

#[test]
fn the_clock_follows_all_others_and_ticks_for_ours() {
    let (mut gossip, clock) = gossip(10);
    hear(&mut gossip, &beat("worker-heartbeat", "a", 100, "celeriac"), NOW);
    assert_eq!(clock.value(), 101);
    hear(&mut gossip, &beat("worker-heartbeat", "a", 5, "celeriac"), NOW);
    assert_eq!(clock.value(), 102);
    hear(&mut gossip, &beat("worker-heartbeat", "me", 500, "celeriac"), NOW);
    assert_eq!(clock.value(), 103, "our own event only ticks");
    assert_eq!(names(&gossip), ["a"], "we are no member of our own roster");
    let clockless = Event { clock: None, ..beat("worker-heartbeat", "a", 0, "celeriac") };
    hear(&mut gossip, &clockless, NOW);
    assert_eq!(clock.value(), 104);
    hear(&mut gossip, &event("worker-elect-ack", "a", 200, &[("id", "x".into())]), NOW);
    assert_eq!(clock.value(), 201);
    hear(&mut gossip, &beat("task-received", "a", 900, "celeriac"), NOW);
    assert_eq!(clock.value(), 201, "events of tasks are none of ours");
    hear(&mut gossip, &beat("worker-heartbeat", "a", u64::MAX, "celeriac"), NOW);
    assert_eq!(clock.value(), 202, "beyond belief");
}

#[test]
fn what_no_worker_says_changes_no_roster() {
    let (mut gossip, _) = gossip(0);
    let custom = event("custom-thing", "a", 1, &[]);
    assert_eq!(told(&hear(&mut gossip, &custom, NOW)), [""; 0]);
    let elect = event("worker-elect", "a", 1, &[]);
    assert_eq!(told(&hear(&mut gossip, &elect, NOW)), ["refused: worker-elect of a has no good id"]);
    assert_eq!(names(&gossip), [""; 0]);
}

#[test]
fn hostile_heartbeats_do_no_harm() {
    let (mut gossip, _) = gossip(0);
    let rubbish: [Value; 5] =
        [f64::NAN.into(), (-1.0).into(), "often".into(), Value::BigInt("9".repeat(1000)), Value::Null];
    for value in rubbish {
        let fields = ["freq", "active", "processed", "loadavg", "sw_ident", "celeriac", "alive", "id"];
        let fields: Vec<_> = fields.iter().map(|key| (*key, value.clone())).collect();
        hear(&mut gossip, &event("worker-heartbeat", "a", 1, &fields), NOW);
    }
    let long = "x".repeat(1 << 20);
    hear(&mut gossip, &event("worker-heartbeat", "a", 1, &[("sw_ver", long.as_str().into())]), NOW);
    let kept = gossip.members().next().unwrap();
    assert!(kept.freq.is_finite() && kept.freq > 0.0 && kept.sw_ver.is_none());
    assert_eq!(told(&gossip.handle(Input::Tick, NOW + 1e9)), ["lost a"]);
}

#[test]
fn a_crowd_is_bounded_and_the_silent_make_room() {
    let (mut gossip, _) = gossip(0);
    let mut crowded = 0;
    for number in 0..MAX_MEMBERS + 100 {
        let actions =
            hear(&mut gossip, &beat("worker-heartbeat", &format!("w{number}"), 1, "py-celery"), NOW);
        crowded += actions.iter().filter(|action| matches!(action, Action::Crowded { .. })).count();
        hear(&mut gossip, &beat("worker-heartbeat", "w0", 1, "py-celery"), NOW);
    }
    assert_eq!((gossip.members().count(), crowded), (MAX_MEMBERS, 1));
    let names = names(&gossip);
    assert!(names.contains(&"w0".to_owned()) && !names.contains(&"w1".to_owned()));
}

#[test]
fn a_clock_set_back_does_not_end_the_looks() {
    let (mut gossip, _) = gossip(0);
    hear(&mut gossip, &beat("worker-heartbeat", "a", 1, "py-celery"), NOW - 3_600.0);
    assert_eq!(told(&gossip.handle(Input::Tick, NOW - 3_000.0)), ["lost a"]);
    assert_eq!(gossip.next_timeout(), Some(NOW - 2_995.0));
}

#[test]
fn the_drift_of_a_clock_is_told_once() {
    let (mut gossip, _) = gossip(0);
    let late = Event { timestamp: NOW - 100.0, ..beat("worker-heartbeat", "a", 1, "py-celery") };
    assert_eq!(told(&hear(&mut gossip, &late, NOW)), ["drifted a", "joined a"]);
    assert_eq!(told(&hear(&mut gossip, &late, NOW)), [""; 0]);
}

#[test]
fn a_backlog_in_our_queue_is_no_drift() {
    let (mut gossip, _) = gossip(0);
    let beat_at =
        |name: &str, sent| Event { timestamp: sent, ..beat("worker-heartbeat", name, 1, "celeriac") };
    let mut hear = |name: &str, sent, now| told(&hear(&mut gossip, &beat_at(name, sent), now));
    hear("a", NOW, NOW);
    hear("me", NOW, NOW);
    // We stood still for half a minute, and so did our heart.
    for number in 0..15 {
        let sent = NOW + 2.0 * f64::from(number);
        hear("a", sent, NOW + 30.0);
        assert_eq!(hear(&format!("w{number}"), sent, NOW + 30.0), [format!("joined w{number}")]);
    }
    // We do not keep up: what comes, our own heartbeats too, is half a minute old.
    for number in 0..15 {
        let sent = NOW + 30.0 + 2.0 * f64::from(number);
        hear("me", sent, sent + 30.0);
        assert_eq!(hear("a", sent + 1.0, sent + 31.0), [""; 0]);
    }
}

#[test]
fn a_clock_that_is_off_is_told_whatever_waits() {
    let beat_at = |name, sent| Event { timestamp: sent, ..beat("worker-heartbeat", name, 1, "celeriac") };
    for (off, lag) in [(-30.0, 0.5), (-30.0, 60.0), (30.0, 0.5), (100.0, 60.0)] {
        let (mut gossip, _) = gossip(0);
        let mut drifts = Vec::new();
        for number in 0..20 {
            let sent = NOW + 2.0 * f64::from(number);
            for (name, stamp) in [("me", sent), ("a", sent + off), ("b", sent)] {
                for action in hear(&mut gossip, &beat_at(name, stamp), sent + lag) {
                    let Action::Drifted(drift) = action else { continue };
                    drifts.push((drift.hostname.to_string(), drift.seconds()));
                }
            }
        }
        assert_eq!(drifts.len(), 1, "{off} {lag}: {drifts:?}");
        assert_eq!(drifts[0].0, "a");
    }
}
