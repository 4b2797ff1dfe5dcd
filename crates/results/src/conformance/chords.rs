use celeriac_protocol::{State, TaskMeta, Value};

use super::{Fixture, Stores, id, settings};
use crate::{ChordHeader, ChordPart, Error, Settings};

async fn count(
    stores: &Stores,
    group: &str,
    part: (&str, Option<i64>, i64),
    again: bool,
) -> Option<ChordHeader> {
    let (id, index, result) = (part.0, part.1, Value::from(part.2));
    let part = ChordPart { group, index, id, state: &State::Success, result: &result, again };
    stores.worker.chord_part(&part).await.unwrap()
}

fn results(header: Option<ChordHeader>) -> Vec<i64> {
    let header = header.expect("all parts");
    let mut results: Vec<_> = header.parts.iter().filter_map(|part| part.result.as_i64()).collect();
    results.sort_unstable();
    results
}

/// Whether the store counts chords; one that does not says so.
async fn counts(stores: &Stores) -> bool {
    match stores.worker.set_chord_size(&id(), 1).await {
        Ok(()) => true,
        Err(error) => {
            assert!(matches!(error, Error::Unsupported { .. }) && !error.is_recoverable(), "{error}");
            let part = ChordPart {
                group: "g",
                index: None,
                id: "a",
                state: &State::Success,
                result: &Value::Null,
                again: false,
            };
            assert_eq!(stores.worker.chord_part(&part).await, Err(error.clone()));
            assert_eq!(stores.worker.chord_done("g").await, Err(error));
            false
        }
    }
}

/// Whoever counts the last part gets all of them, in their order, also when the size comes late.
pub async fn the_last_part_of_a_chord_gets_all(fixture: &dyn Fixture) {
    let stores = fixture.open(Settings::default()).await;
    if counts(&stores).await {
        let group = id();
        assert_eq!(count(&stores, &group, ("c", Some(2), 30), false).await, None);
        assert_eq!(count(&stores, &group, ("d", None, 40), false).await, None);
        stores.caller.set_chord_size(&group, 4).await.unwrap();
        assert_eq!(count(&stores, &group, ("b", Some(1), 20), false).await, None);
        let (other, error) = (id(), TaskMeta::revoked("a", "revoked"));
        assert_eq!(count(&stores, &other, ("x", Some(0), 1), false).await, None);
        let part = ChordPart {
            group: &group,
            index: Some(0),
            id: "a",
            state: &error.state,
            result: &error.result,
            again: false,
        };
        let header = stores.worker.chord_part(&part).await.unwrap().expect("all parts");
        assert_eq!(header.saved, None);
        let ids: Vec<_> = header.parts.iter().map(|part| part.id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c", "d"]);
        assert_eq!(header.parts[0].exception(), error.exception());
        stores.worker.chord_done(&group).await.unwrap();
        assert_eq!(count(&stores, &group, ("a", Some(0), 10), false).await, None);
    }
    stores.close().await;
}

/// A part that is run again counts once, with its latest result, until the body is called.
pub async fn a_part_that_comes_again_counts_once(fixture: &dyn Fixture) {
    for (serializer, chord_ordered) in
        ["json", "msgpack", "yaml"].into_iter().flat_map(|name| [(name, true), (name, false)])
    {
        let stores = fixture.open(Settings { chord_ordered, ..settings(serializer) }).await;
        if counts(&stores).await {
            let (group, odd) = (id(), "\u{f6}\"\\ \u{1f600}");
            stores.caller.set_chord_size(&group, 3).await.unwrap();
            for result in [1, 2] {
                assert_eq!(count(&stores, &group, ("order-12", Some(0), result), result == 2).await, None);
            }
            // Parts of groups in a header may have the same place; their ids may be in each other.
            assert_eq!(count(&stores, &group, ("order-1", Some(0), 3), true).await, None);
            assert_eq!(results(count(&stores, &group, (odd, Some(1), 4), false).await), [2, 3, 4]);
            assert_eq!(results(count(&stores, &group, (odd, Some(1), 5), true).await), [2, 3, 5]);
            stores.worker.chord_done(&group).await.unwrap();
            stores.worker.chord_done(&group).await.unwrap();
        }
        stores.close().await;
    }
}
