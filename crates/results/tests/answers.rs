//! Answers of Redis that are lost: what they were for was done, and is asked for again.

use celeriac_protocol::{State, Value};
use celeriac_results::conformance::id;
use celeriac_results::{ChordPart, ResultStore, Settings};
use celeriac_testkit::{Redis, free_port};

use crate::proxy::Proxy;
use crate::redis;

/// The part whose answer was lost counts once, also where Redis has forgotten the script meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_counts_once_when_its_answer_is_lost() {
    let server = Redis::start();
    let proxy = Proxy::start(free_port(), server.port()).await;
    for chord_ordered in [true, false] {
        let store = redis::open(&proxy.url(), Settings { chord_ordered, ..Settings::default() });
        for forgets in [false, true] {
            let group = id();
            store.set_chord_size(&group, 3).await.unwrap();
            let count = async |id: &str| {
                let (state, result) = (&State::Success, &Value::from(id));
                let part = ChordPart { group: &group, index: None, id, state, result, again: false };
                store.chord_part(&part).await.unwrap()
            };
            assert_eq!(count("a").await, None);
            let lost = async |id: &str| {
                proxy.lose_an_answer();
                let forgetting = async {
                    while !proxy.has_lost_it() {
                        tokio::task::yield_now().await;
                    }
                    if forgets {
                        server.cli(&["SCRIPT", "FLUSH"]);
                    }
                };
                tokio::join!(count(id), forgetting).0
            };
            assert_eq!(lost("b").await, None);
            let header = lost("c").await.expect("all parts");
            let ids: Vec<_> = header.parts.iter().map(|part| part.id.as_str()).collect();
            assert_eq!(ids, ["a", "b", "c"], "{chord_ordered} {forgets}");
        }
        store.close().await;
    }
}
