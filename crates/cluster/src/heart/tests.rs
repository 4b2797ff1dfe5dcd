use super::*;

const LOAD: Load = Load { active: 1, processed: 7, loadavg: [0.211, 0.5, 1.0] };

fn kinds(heart: &mut Heart, ticks: &[f64]) -> Vec<(f64, &'static str)> {
    ticks.iter().filter_map(|now| Some((*now, heart.handle(Input::Tick, LOAD, *now)?.kind))).collect()
}

#[test]
fn the_fields_are_celerys_in_its_order() {
    let mut heart = Heart::new(2.0, 1_700_000_000_123);
    let beat = heart.handle(Input::Start, LOAD, 10.0).unwrap();
    assert_eq!(beat.kind, "worker-online");
    let keys: Vec<&str> = beat.fields.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["freq", "active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys", "celeriac"]);
    assert_eq!(beat.fields.get("freq"), Some(&Value::Float(2.0)));
    assert_eq!(beat.fields.get("active"), Some(&Value::Int(1)));
    assert_eq!(beat.fields.get("processed"), Some(&Value::Int(7)));
    assert_eq!(beat.fields.get("loadavg"), Some(&Value::List(vec![0.22.into(), 0.5.into(), 1.0.into()])));
    assert_eq!(beat.fields.get("sw_ident"), Some(&"celeriac".into()));
    let own = beat.fields.get("celeriac").and_then(Value::as_map).unwrap();
    assert_eq!(own.get("started"), Some(&Value::Int(1_700_000_000_123)));
    assert_eq!(own.get("node"), None);
}

#[test]
fn a_worker_that_listens_to_the_clusters_exchange_tells_its_name_there() {
    let mut heart = Heart::new(2.0, 1).with_node(NodeId(0xab));
    let node = |beat: Beat| beat.fields.get("celeriac").unwrap().as_map().unwrap().get("node").cloned();
    let online = heart.handle(Input::Start, LOAD, 10.0).unwrap();
    assert_eq!(node(online), Some("00000000000000ab".into()));
    heart.set_node(None);
    assert_eq!(node(heart.handle(Input::Tick, LOAD, 12.0).unwrap()), None);
}

#[test]
fn it_beats_in_its_rhythm_between_start_and_stop() {
    let mut heart = Heart::new(2.0, 1);
    assert_eq!((heart.next_timeout(), heart.handle(Input::Tick, LOAD, 0.0)), (None, None));
    assert_eq!(heart.handle(Input::Stop, LOAD, 0.0), None, "a heart at rest has nothing to end");
    heart.handle(Input::Start, LOAD, 10.0);
    assert_eq!(heart.next_timeout(), Some(12.0));
    let beats = kinds(&mut heart, &[11.9, 12.0, 12.1, 14.0]);
    assert_eq!(beats, [(12.0, "worker-heartbeat"), (14.0, "worker-heartbeat")]);
    assert_eq!(heart.handle(Input::Stop, LOAD, 15.0).unwrap().kind, "worker-offline");
    assert_eq!(heart.handle(Input::Stop, LOAD, 15.0), None);
    assert_eq!(heart.next_timeout(), None);
    assert_eq!(heart.handle(Input::Start, LOAD, 20.0).unwrap().kind, "worker-online");
    assert_eq!(heart.next_timeout(), Some(22.0));
}

#[test]
fn missed_beats_are_skipped_and_the_rhythm_stays() {
    let mut heart = Heart::new(2.0, 1);
    heart.handle(Input::Start, LOAD, 10.0);
    let beats = kinds(&mut heart, &[19.0, 19.0, 19.5, 20.0]);
    assert_eq!(beats, [(19.0, "worker-heartbeat"), (20.0, "worker-heartbeat")]);
    assert_eq!(heart.next_timeout(), Some(22.0));
}

#[test]
fn a_clock_that_is_set_back_does_not_silence_it() {
    let mut heart = Heart::new(2.0, 1);
    heart.handle(Input::Start, LOAD, 10_000.0);
    let beats = kinds(&mut heart, &[100.0, 101.0, 102.0]);
    assert_eq!(beats, [(100.0, "worker-heartbeat"), (102.0, "worker-heartbeat")]);
}

#[test]
fn an_asked_beat_is_celerys_and_changes_no_timer() {
    let mut heart = Heart::new(2.0, 1);
    heart.handle(Input::Start, LOAD, 10.0);
    let beat = heart.handle(Input::Asked, LOAD, 11.0).unwrap();
    let keys: Vec<&str> = beat.fields.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["freq", "sw_ident", "sw_ver", "sw_sys", "celeriac"]);
    assert_eq!(beat.fields.get("freq"), Some(&Value::Int(5)));
    assert_eq!(heart.next_timeout(), Some(12.0));
}

#[test]
fn odd_intervals_are_clamped() {
    for (asked, used) in
        [(0.0, 2.0), (-1.0, 2.0), (f64::NAN, 2.0), (0.01, 0.5), (f64::INFINITY, 60.0), (7.0, 7.0)]
    {
        assert_eq!(Heart::new(asked, 1).interval(), used, "{asked}");
    }
}
