//! The set of revoked ids.

use celeriac_protocol::Revoked;
use proptest::prelude::*;

fn ids(revoked: &Revoked) -> Vec<(&str, f64)> {
    revoked.iter().collect()
}

#[test]
fn the_oldest_go_first() {
    let mut revoked = Revoked::new(2, 100.0);
    assert!(revoked.is_empty());
    assert!(revoked.add("b", 2.0) && revoked.add("a", 1.0));
    assert_eq!(ids(&revoked), [("a", 1.0), ("b", 2.0)]);
    assert!(revoked.add("c", 3.0));
    assert_eq!(ids(&revoked), [("b", 2.0), ("c", 3.0)]);
    assert!(!revoked.contains("a") && revoked.contains("b"));
    assert!(!revoked.add("older than all", 1.5) && revoked.len() == 2);
}

#[test]
fn a_known_id_keeps_its_stamp() {
    let mut revoked = Revoked::default();
    assert!(revoked.add("a", 1.0));
    assert!(!revoked.add("a", 50.0));
    assert_eq!(ids(&revoked), [("a", 1.0)]);
}

#[test]
fn an_id_comes_with_its_age() {
    let mut revoked = Revoked::new(10, 100.0);
    assert!(revoked.add("now", 200.0) && revoked.add_aged("old", 99.0, 200.0));
    assert!(!revoked.add_aged("now", 50.0, 200.0), "a known id keeps its stamp");
    assert!(!revoked.add_aged("expired", 100.0, 200.0));
    assert_eq!(ids(&revoked), [("old", 101.0), ("now", 200.0)]);
    assert_eq!((revoked.stamp("old"), revoked.stamp("expired")), (Some(101.0), None));
    revoked.purge(200.0 + 1.0);
    assert_eq!(ids(&revoked), [("now", 200.0)]);
    assert_eq!(revoked.expires(), 100.0);
}

#[test]
fn what_is_revoked_again_lives_for_the_whole_time_again() {
    let mut revoked = Revoked::new(10, 100.0);
    revoked.add("a", 1.0);
    revoked.add("b", 2.0);
    assert!(revoked.revoke("a", 90.0));
    assert_eq!(ids(&revoked), [("b", 2.0), ("a", 90.0)]);
    revoked.purge(120.0);
    assert_eq!(ids(&revoked), [("a", 90.0)]);
    assert!(revoked.add("a", 190.0), "it had expired, and is no known id any more");
}

#[test]
fn what_has_expired_is_dropped() {
    let mut revoked = Revoked::new(10, 100.0);
    revoked.add("a", 0.0);
    revoked.add("b", 50.0);
    revoked.purge(99.9);
    assert_eq!(revoked.len(), 2);
    revoked.purge(100.0);
    assert_eq!(ids(&revoked), [("b", 50.0)]);
    assert!(revoked.add("c", 150.0));
    assert_eq!(ids(&revoked), [("c", 150.0)]);
}

#[test]
fn nonsense_is_refused() {
    let mut revoked = Revoked::new(10, 100.0);
    for (id, now) in [("", 1.0), ("a", f64::NAN), ("a", f64::INFINITY), ("a", -1.0)] {
        assert!(!revoked.add(id, now), "{id} {now}");
        assert!(!revoked.add_aged(id, 0.0, now), "{id} {now}");
    }
    assert!(revoked.add("known", 1.0));
    for age in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 2.0, 100.0] {
        assert!(!revoked.add_aged("a", age, 1.0), "{age}");
    }
    assert!(!revoked.add_aged("a", 1.0, f64::INFINITY) && revoked.contains("known"), "nothing was purged");
    assert!(!revoked.add(&"x".repeat(1025), 1.0) && revoked.add(&"x".repeat(1024), 1.0));
    assert!(!Revoked::new(0, 100.0).add("a", 1.0));
    assert!(revoked.add("zero", -0.0) && revoked.contains("zero"));
}

proptest! {
    /// Against a list that is sorted anew each time.
    #[test]
    fn it_is_a_sorted_list(limit in 0usize..6, adds in prop::collection::vec((0u8..12, 0u32..40, 0u32..25), 0..60)) {
        let (mut revoked, mut list) = (Revoked::new(limit, 20.0), Vec::<(f64, String)>::new());
        for (id, now, age) in adds {
            let (id, now, age) = (id.to_string(), f64::from(now), f64::from(age));
            revoked.add_aged(&id, age, now);
            let is_good = age <= now && age < 20.0;
            list.retain(|(stamp, _)| !is_good || stamp + 20.0 > now);
            if is_good && !list.iter().any(|(_, known)| *known == id) {
                list.push((now - age, id));
                list.sort_by(|one, other| one.partial_cmp(other).unwrap());
                list.drain(..list.len().saturating_sub(limit));
            }
            let expected: Vec<(&str, f64)> = list.iter().map(|(stamp, id)| (id.as_str(), *stamp)).collect();
            prop_assert_eq!(ids(&revoked), expected);
            prop_assert_eq!(revoked.len(), list.len());
        }
    }
}
