//! The fuzz target, fed with messages and with changes of them.

#[path = "../../../fuzz/src/feed.rs"]
mod feed;
#[path = "../../../fuzz/src/cluster.rs"]
mod target;

#[test]
fn cluster_messages() {
    let digests = vec![r#""00000000000000ff""#; 64].join(",");
    let member = r#"[1,"w1@host",1800000000000,"0000000000000001",42,2.0,"celeriac","0.1.0","Linux"]"#;
    let node = r#""node":"0000000000000001""#;
    let seeds = [
        format!(
            r#"{{"type":"beat",{node},"hostname":"w1@host","term":1,"seq":3,"interval":5.0,"version":2,"size":2,"digest":"00000000000000aa","watchers":["0000000000000001","0000000000000002"],"sure":true,"revoked":"0000000000000000","clock":7}}"#
        ),
        format!(
            r#"{{"type":"change",{node},"term":1,"version":9,"steps":[["joined",{member}],["left","w2@host",5],["lost","w3@host",6]]}}"#
        ),
        format!(
            r#"{{"type":"snapshot",{node},"term":1,"version":9,"members":[{member},[2,"w2@host",7,null,null,2.0,null,null,null]],"departures":[[8,"lost","w3@host",6]]}}"#
        ),
        format!(r#"{{"type":"ask",{node}}}"#),
        format!(r#"{{"type":"probe",{node}}}"#),
        format!(r#"{{"type":"compare",{node},"starts":true,"buckets":[{digests}],"clock":7}}"#),
        r#"{"type":"revokes","buckets":[5,63],"ids":[["a",0.0],["b",1e3]],"last":true,"strangers":false,"clock":7}"#
            .to_owned(),
        r#"{"type":"delta","ids":[["a",0.5]]}"#.to_owned(),
        format!(
            r#"{{"type":"stand",{node},"id":"e1","topic":"task","clock":7,"name":"w1@host.42","again":false}}"#
        ),
        format!(r#"{{"type":"elected",{node},"id":"e1","leader":"w1@host.42","clock":8}}"#),
    ];
    feed::run(target::message, &seeds, b"\"[]{}:,0-\\eE.9fN\xff");
}
